"A table of what users get wrong: each ends in one clear line and exit code 2, or in a right result; never in a traceback, and nothing else is touched."
import csv, hashlib, json, os, pickle, shutil, struct, zlib
from pathlib import Path

import numpy as np, pytest, torch
from PIL import Image
from safetensors.torch import save_file

from wepadim import cli
from wepadim.backbone import parameters
from wepadim.model import WEPaDiM

SMALL = '--models efficientnet-lite0 --image_size 64 --grid_size 4 --preset recommended --heatmaps 0'.split()
TRAIN, TEST = 'cell/train/good', 'cell/test/good'


@pytest.fixture(scope='module')
def few(painted_cells, tmp_path_factory):
    "Six good images to train on, three good and two defective ones to test on."
    root = tmp_path_factory.mktemp('few')
    shutil.copytree(painted_cells, root, dirs_exist_ok=True)
    for p in sorted((root/TRAIN).iterdir())[6:] + sorted((root/TEST).iterdir())[3:]: p.unlink()
    for kind in ('missing', 'patch', 'scar'):
        shutil.rmtree(root/'cell'/'test'/kind); shutil.rmtree(root/'cell'/'ground_truth'/kind)
    return root


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return parameters('efficientnet-lite0')


@pytest.fixture
def data(few, tmp_path):
    shutil.copytree(few, tmp_path/'data')
    return tmp_path/'data'


def digests(root): return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(Path(root).rglob('*')) if p.is_file()}


def refused(result, *says, command='wepadim_run'):
    code, err, out = result
    assert code == 2, (code, err, out)
    assert len(err) == 1 and err[0].startswith(f'{command}: error: '), err
    for s in says: assert s in err[0], (s, err[0])


def numbers(save):
    [path] = Path(save).glob('*/efficientnet-lite0/categories/*.json')
    return json.loads(path.read_text())


def png(path, array, **how): Image.fromarray(array).save(path, **how)
def noise(*shape, high=256, kind=np.uint8): return np.random.default_rng(0).integers(0, high, shape).astype(kind)


# ---------- data sets ----------
def _no_good_test(root): shutil.rmtree(root/TEST)
def _no_bad_test(root): shutil.rmtree(root/'cell/test/hole')
def _no_test(root): shutil.rmtree(root/'cell/test')
def _class_numbers(root):
    for p in (root/'cell/ground_truth/hole').iterdir(): png(p, (np.asarray(Image.open(p)) > 0).astype(np.uint8)*3)
def _rgba_masks(root):
    for p in (root/'cell/ground_truth/hole').iterdir(): Image.open(p).convert('RGBA').save(p)
def _one_bit_masks(root):
    for p in (root/'cell/ground_truth/hole').iterdir(): Image.open(p).convert('1').save(p)
def _junk(root):
    (root/'.DS_Store').write_text('x'); (root/TRAIN/'._000.png').write_text('x'); (root/TRAIN/'Thumbs.db').write_text('x'); (root/'cell/readme.txt').write_text('x')


GOOD_DATA = {'no good test images': (_no_good_test, 'img_auc', None), 'no defective test images': (_no_bad_test, 'img_auc', None), 'no test images': (_no_test, 'img_auc', None),
             'masks of class numbers': (_class_numbers, 'pixel_auc', 'same'), 'masks with an alpha channel': (_rgba_masks, 'pixel_auc', 'same'), 'one-bit masks': (_one_bit_masks, 'pixel_auc', 'same'),
             'files of the system': (_junk, 'img_auc', 'same')}


@pytest.fixture(scope='module')
def plain(few, tmp_path_factory):
    "What a run on the data as they are finds."
    save = tmp_path_factory.mktemp('plain')
    cli.wepadim_run(['--data_path', str(few), '--save_path', str(save), *SMALL])
    return numbers(save)


@pytest.mark.parametrize('case', GOOD_DATA)
def test_data_that_are_unusual_but_right(case, data, plain, tmp_path, call):
    change, metric, want = GOOD_DATA[case]
    change(data)
    code, err, out = call('wepadim_run', '--data_path', data, '--save_path', tmp_path/'r', *SMALL)
    assert code == 0 and not any('Traceback' in l for l in err), err
    assert numbers(tmp_path/'r')[metric] == (plain[metric] if want == 'same' else want)


def _black_mask(root): png(sorted((root/'cell/ground_truth/hole').iterdir())[0], np.zeros((300, 300), np.uint8))
def _loop(root): (root/TRAIN/'900.png').symlink_to('900.png')
def _dangling(root): (root/TRAIN/'900.png').symlink_to('nowhere.png')
def _pipe(root): os.mkfifo(root/TRAIN/'900.png')
def _file_as_category(root): shutil.rmtree(root/'cell'); (root/'cell').write_text('x')


BAD_DATA = {'an empty mask of a defective image': (_black_mask, ['_mask.png', 'empty']), 'a link to itself': (_loop, ['900.png']), 'a link to nothing': (_dangling, ['900.png']),
            'a pipe named like an image': (_pipe, ['900.png']), 'a file where a category should be': (_file_as_category, ['no data set in a known layout'])}


@pytest.mark.parametrize('case', BAD_DATA)
def test_data_that_are_wrong(case, data, tmp_path, call):
    change, says = BAD_DATA[case]
    change(data)
    refused(call('wepadim_run', '--data_path', data, '--save_path', tmp_path/'r', *SMALL), *says)
    assert not list((tmp_path/'r').rglob('*_experiment.json'))


# ---------- VisA's split file ----------
def visa(root, few):
    rows = [['object', 'split', 'label', 'image', 'mask']]
    def put(src, rel): (root/rel).parent.mkdir(parents=True, exist_ok=True); shutil.copy(src, root/rel); return rel
    for i, p in enumerate(sorted((few/TRAIN).iterdir())): rows.append(['candle', 'train', 'normal', put(p, f'candle/Data/Images/Normal/{i}.png'), ''])
    for i, p in enumerate(sorted((few/TEST).iterdir())): rows.append(['candle', 'test', 'normal', put(p, f'candle/Data/Images/Normal/9{i}.png'), ''])
    for i, (p, m) in enumerate(zip(sorted((few/'cell/test/hole').iterdir()), sorted((few/'cell/ground_truth/hole').iterdir()))):
        rows.append(['candle', 'test', 'anomaly', put(p, f'candle/Data/Images/Anomaly/{i}.png'), put(m, f'candle/Data/Masks/Anomaly/{i}.png')])
    return rows


def table(rows, sep=',', end='\n', start=''): return (start + end.join(sep.join(r) for r in rows) + end).encode()
def edit(rows, i, j, value): return [[value if (a, b) == (i, j) else x for b, x in enumerate(r)] for a, r in enumerate(rows)]


SPLITS = {'a BOM and CRLF': (lambda r: table(r, end='\r\n', start='\ufeff'), None), 'blank lines at the end': (lambda r: table(r) + b'\n\n', None), 'columns in another order': (lambda r: table([x[::-1] for x in r]), None),
          'a column more': (lambda r: table([[*x, 'note'] for x in r]), None),
          'a column less': (lambda r: table([x[:4] for x in r]), ['1cls.csv', 'mask']), 'semicolons': (lambda r: table(r, ';'), None), 'nothing': (lambda r: b'', ['1cls.csv', 'column']),
          'only a header': (lambda r: table(r[:1]), ['1cls.csv']), 'not text': (lambda r: bytes(range(128, 256))*9, ['1cls.csv', 'cannot be read']), 'NUL bytes': (lambda r: table(r)[:90] + b'\0\0' + table(r)[90:], ['1cls.csv']),
          'a file that is not there': (lambda r: table(edit(r, 2, 3, 'candle/Data/Images/Normal/77.png')), ['77.png', 'no such image']), 'a mask that is not there': (lambda r: table(edit(r, -1 + len(r), 4, 'candle/gone.png')), ['gone.png', 'no such mask']),
          'another split': (lambda r: table(edit(r, 1, 1, 'validation')), ['validation', 'train or test']), 'another label': (lambda r: table(edit(r, 1, 2, 'good')), ['good', 'normal or anomaly']),
          'a defective image in training': (lambda r: table(edit(r, -1 + len(r), 1, 'train')), ['into training']), 'an absolute path': (lambda r: table(edit(r, 1, 3, '/etc/hostname')), ['leads out']),
          'a path that climbs out': (lambda r: table(edit(r, 1, 3, 'candle/../../x.png')), ['leads out']), 'a row twice': (lambda r: table([*r, r[-1]]), ['twice', '1cls.csv']),
          'an image in both splits': (lambda r: table([*r, ['candle', 'test', 'normal', r[1][3], '']]), ['twice', '1cls.csv']), 'a short row': (lambda r: table([*r, ['candle', 'test']]), ['1cls.csv'])}


@pytest.mark.parametrize('case', SPLITS)
def test_split_files(case, few, tmp_path, call):
    text, says = SPLITS[case]
    root = tmp_path/'VisA'
    rows = visa(root, few)
    (root/'split_csv').mkdir()
    (root/'split_csv'/'1cls.csv').write_bytes(text(rows))
    result = call('wepadim_run', '--data_path', root, '--dataset_type', 'visa', '--save_path', tmp_path/'r', *SMALL)
    if says: return refused(result, *says)
    assert result[0] == 0, result
    r = numbers(tmp_path/'r')
    assert (r['n_train'], r['n_test_good'], r['n_test_defective']) == (6, 3, 2) and r['pixel_auc'] is not None


# ---------- images ----------
def _bomb(path):
    chunk = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)) + chunk(b'IDAT', zlib.compress(b'\0'*1000)) + chunk(b'IEND', b''))
def _tiff(value):
    def write(path):
        a = np.full((20, 20), .5, np.float32); a[3, 4] = value
        Image.fromarray(a).save(path.with_suffix('.tif')); path.unlink()
    return write
def _narrow(path): png(path, noise(5000, 1, 3))


def _exif(path):
    im = Image.open(path).convert('RGB'); e = im.getexif(); e[0x0112] = 6
    im.rotate(90, expand=True).save(path.with_suffix('.jpg'), exif=e, quality=100); path.unlink()
def _frames(path):
    a = Image.open(path).convert('RGB'); a.save(path.with_suffix('.tif'), save_all=True, append_images=[a.rotate(90)]); path.unlink()


IMAGES = {'0 bytes': (lambda p: p.write_bytes(b''), ['cannot be read as an image']), 'text': (lambda p: p.write_text('no image'), ['cannot be read as an image']), 'a bomb': (_bomb, ['cannot be read as an image', 'exceeds limit']),
          'NaN in a float TIFF': (_tiff(np.nan), ['not finite']), 'infinity in a float TIFF': (_tiff(np.inf), ['not finite']),
          '1 x 1': (lambda p: png(p, noise(1, 1, 3)), None), '1 x 5000': (_narrow, None), '16 bit': (lambda p: png(p, noise(40, 50, high=65536, kind=np.uint16)), None), 'a palette': (lambda p: Image.open(p).convert('P').save(p), None),
          'an alpha channel': (lambda p: Image.open(p).convert('RGBA').save(p), 'same'), 'grey and alpha': (lambda p: Image.open(p).convert('LA').save(p), 'same'), 'RGB': (lambda p: Image.open(p).convert('RGB').save(p), 'same'),
          'CMYK': (lambda p: (Image.open(p).convert('CMYK').save(p.with_suffix('.jpg')), p.unlink()), None), 'several frames': (_frames, ['it holds 2 pictures']), 'turned by its EXIF': (_exif, 'near'), 'one bit': (lambda p: Image.open(p).convert('1').save(p), None)}


@pytest.fixture(scope='module')
def model(few, tmp_path_factory):
    m = WEPaDiM(backbone='efficientnet-lite0', image_size=64, grid_size=4).fit(few/TRAIN)
    return m.save(tmp_path_factory.mktemp('model')/'cell')


@pytest.mark.parametrize('case', IMAGES)
def test_images(case, few, model, tmp_path, call):
    change, says = IMAGES[case]
    (tmp_path/'in').mkdir()
    source = sorted((few/TEST).iterdir())[0]
    shutil.copy(source, tmp_path/'in'/'a.png')
    change(tmp_path/'in'/'a.png')
    result = call('wepadim_predict', model, tmp_path/'in', '--out', tmp_path/'out')
    if isinstance(says, list): return refused(result, 'a.', *says, command='wepadim_predict')
    assert result[0] == 0, result
    [row] = csv.DictReader((tmp_path/'out'/'scores.csv').open(encoding='utf-8-sig'))
    assert np.isfinite(float(row['score'])) and len(list((tmp_path/'out'/'heatmaps').iterdir())) == 1
    want = WEPaDiM.load(model).predict(source).scores[0]
    if says == 'same': assert float(row['score']) == pytest.approx(want, rel=1e-6)
    if says == 'near': assert float(row['score']) == pytest.approx(want, rel=.05)


@pytest.mark.parametrize('kind', ['png', 'jpg', 'tif', 'bmp'])
def test_truncated_images(kind, few, model, tmp_path, call):
    "At ten places; the very last bytes of some formats carry nothing."
    Image.open(sorted((few/TEST).iterdir())[0]).convert('RGB').save(tmp_path/f'whole.{kind}')
    whole = (tmp_path/f'whole.{kind}').read_bytes()
    for at in np.linspace(0, len(whole)*.95, 10).astype(int):
        (tmp_path/f'a.{kind}').write_bytes(whole[:at])
        refused(call('wepadim_predict', model, tmp_path/f'a.{kind}', '--out', tmp_path/'out'), f'a.{kind}', 'cannot be read as an image', command='wepadim_predict')
    assert not (tmp_path/'out'/'scores.csv').exists()


def test_a_narrow_image_and_the_crop(data, tmp_path, call):
    _narrow(data/TRAIN/'001.png')
    refused(call('wepadim_run', '--data_path', data, '--save_path', tmp_path/'r', *SMALL, '--input', 'crop'), '001.png', '--input whole')


# ---------- names ----------
NAMES = ['two words', 'ünïcode 漢字 🔬', 'line\nbreak', '-dash', '--help', 'x'*246, '%s {0} $HOME', "quote ' and \"", '<b>bold</b>' .replace('/', '∕'), 'a,b;c', b'bad \xff bytes'.decode('utf-8', 'surrogateescape')]


@pytest.mark.parametrize('name', NAMES, ids=range(len(NAMES)))
def test_names(name, data, model, tmp_path, call):
    for folder, i in ((TRAIN, 0), (TEST, 0)): sorted((data/folder).iterdir())[i].rename(data/folder/f'{name}.png')
    code, err, out = call('wepadim_run', '--data_path', data, '--save_path', tmp_path/'r', *SMALL[:-2], '--heatmaps', '3')
    assert code == 0, err
    assert numbers(tmp_path/'r')['n_train'] == 6
    code, err, out = call('wepadim_predict', model, data/TEST, data/'cell'/'test'/'hole', '--out', tmp_path/'out')   # of two folders: heat maps are named after both
    assert code == 0, err
    with (tmp_path/'out'/'scores.csv').open(newline='', encoding='utf-8-sig', errors='surrogateescape') as f: rows = list(csv.DictReader(f))
    assert len(rows) == 5 and any((tmp_path/'out'/r['image']).resolve() == (data/TEST/f'{name}.png').resolve() for r in rows)
    assert len(list((tmp_path/'out'/'heatmaps').iterdir())) == 5


def test_names_in_pictures(data, tmp_path, call):
    "Of categories, in the titles of pictures: what the font lacks, what is not UTF-8, what would be a formula."
    (data/'cell').rename(data/('부품 $x_$ ' + b'\xff'.decode('utf-8', 'surrogateescape')))
    code, err, out = call('wepadim_run', '--data_path', data, '--save_path', tmp_path/'r', *SMALL[:-2], '--heatmaps', '1')
    assert (code, err) == (0, [])
    code, err, out = call('wepadim_report', tmp_path/'r', '--out', tmp_path/'report')
    assert (code, err) == (0, [])


def test_names_of_categories(data, tmp_path, call):
    (data/'cell').rename(data/'my part, <new> & 漢字')
    code, err, out = call('wepadim_run', '--data_path', data, '--save_path', tmp_path/'r', *SMALL, '--save_model')
    assert code == 0 and 'my part, <new> & 漢字' in out, err
    assert call('wepadim_report', tmp_path/'r', '--out', tmp_path/'report')[0] == 0
    for page in (tmp_path/'report').glob('*.html'): assert '<new>' not in page.read_text(), page   # names are text, not markup
    assert '&lt;new&gt;' in (tmp_path/'report'/'categories.html').read_text()


@pytest.mark.parametrize('flag', ['--data_path', '--save_path', '--weights'])
def test_a_link_to_itself(flag, few, tmp_path, call):
    (tmp_path/'loop').symlink_to('loop')
    flags = {'--data_path': few, '--save_path': tmp_path/'r', flag: tmp_path/'loop'}
    refused(call('wepadim_run', *[x for kv in flags.items() for x in kv], *SMALL), 'loop')


# ---------- settings ----------
FLAGS = {'sigma': ['-1', 'nan', 'inf', '65', 'wide'], 'cov_reg': ['-0.1', 'nan', '-inf', 'lots'], 'wavelet_level': ['0', '9', '1.5', 'two'], 'image_size': ['16', '5000', '-64', 'nan', '64.5'], 'grid_size': ['0', '300', 'huge', '-3'],
         'window': ['-1', '9', 'most', '1.5'], 'false_alarm_rate': ['0', '1', '-1', 'nan'], 'seed': ['-1', '1e400', 'x', str(2**32)], 'n_features': ['-5', '1.5', '5000'],
         'input': ['half'], 'wavelet_transform': ['fft'], 'compat': ['publisht', '1'],
         'train_batch_size': ['0', '-1', 'nan', '1e9'], 'test_batch_size': ['0'], 'memory_budget': ['0', '-1', 'nan', 'inf', 'much'], 'gpu_id': ['-2', 'x'], 'limit': ['1', '0', '-3', 'x', '1.5'], 'heatmaps': ['-1', '1e6'],
         'workers': ['0', '-2', 'all', 'localhost', 'http://x:1'], 'run_name': ['../up', 'a/b', '', '.', 'x'*201], 'selection': ['best'], 'experiment_type': ['many']}


@pytest.mark.parametrize('flag', FLAGS)
def test_flags_out_of_range(flag, few, tmp_path, call):
    for value in FLAGS[flag]:
        refused(call('wepadim_run', '--data_path', few, '--save_path', tmp_path/'r', '--models', 'efficientnet-lite0', f'--{flag}={value}'), flag)
    assert not (tmp_path/'r').exists()


CONTRADICTORY = {'several values in a single run': ('--sigma 2 4', ['--sigma', 'grid_search']), 'sub-band sets in a single run': ('--wavelet_subband_sets LL', ['--wavelet_kept_subbands']),
                 'too deep for so small an image': ('--image_size 32 --wavelet_level 3', ['wavelet_level 3']), 'a value twice': ('--models efficientnet-lite0 efficientnet-lite0', ['twice']), 'a flag without a value': ('--sigma', ['--sigma']),
                 'a training and no test limit': ('--limit 6 0', ['limit', '1 test image']), 'three limits': ('--limit 6 4 2', ['limit']), 'a category twice': ('--classes cell cell', ['twice']), 'selection without a search': ('--selection synthetic', ['--selection', 'grid_search']),
                 'a cache in a single run': ('--cache_dir x', ['--cache_dir', 'grid_search']),
                 'models of a search': ('--experiment_type grid_search --sigma 2 4 --save_model', ['--save_model', 'single']), 'heat maps of a search': ('--experiment_type grid_search --sigma 2 4 --heatmaps 3', ['--heatmaps', 'single']),
                 'a wavelet of no transform': ('--wavelet_transform none --wavelet_type haar', ['--wavelet_type', 'does nothing'])}


@pytest.mark.parametrize('case', CONTRADICTORY)
def test_flags_that_contradict(case, few, tmp_path, call):
    flags, says = CONTRADICTORY[case]
    refused(call('wepadim_run', '--data_path', few, '--save_path', tmp_path/'r', *SMALL, *flags.split()), *says)


# ---------- weights ----------
class Evil:
    def __reduce__(self): return (os.system, (f'touch {os.environ["EVIL"]}',))


def _truncated(w, f): torch.save(w, f); f.write_bytes(f.read_bytes()[:len(f.read_bytes())//2])
def _renamed(w, f): torch.save({f'model.{k}x': v for k, v in w.items()}, f)
def _nan(w, f): torch.save({k: torch.full_like(v, float('nan')) if k == 'conv_stem.weight' else v for k, v in w.items()}, f)
def _shape(w, f): torch.save({k: v[..., :1] if k == 'conv_stem.weight' else v for k, v in w.items()}, f)
def _list(w, f): torch.save([1, 2], f)
def _strings(w, f): torch.save({k: 'x' for k in w}, f)
def _evil(w, f): f.write_bytes(pickle.dumps(Evil()))
def _cut_safetensors(w, f): save_file({k: v.contiguous() for k, v in w.items()}, f.with_suffix('.safetensors')); g = f.with_suffix('.safetensors'); g.write_bytes(g.read_bytes()[:9999]); g.rename(f)


WEIGHTS = {'truncated': _truncated, 'renamed keys': _renamed, 'NaN': _nan, 'other shapes': _shape, 'a list': _list, 'strings': _strings, 'code in a pickle': _evil, 'truncated safetensors': _cut_safetensors,
           'empty': lambda w, f: f.write_bytes(b''), 'a folder without it': lambda w, f: f.mkdir()}


@pytest.mark.parametrize('case', WEIGHTS)
def test_weights(case, few, weights, tmp_path, call, monkeypatch):
    monkeypatch.setenv('EVIL', str(tmp_path/'evil'))
    WEIGHTS[case](weights, tmp_path/'w.pth')
    says = {'NaN': 'not finite', 'other shapes': 'instead of', 'renamed keys': 'lacks'}.get(case, '')
    refused(call('wepadim_run', '--data_path', few, '--save_path', tmp_path/'r', *SMALL, '--weights', tmp_path/'w.pth'), 'w.pth', says)
    assert not (tmp_path/'evil').exists()


# ---------- models, results ----------
PREDICT = {'no such model': ('{tmp}/none {few}', ['none', 'no such folder']), 'a file as model': ('{few}/cell/test/good/000.png {few}', ['000.png']), 'an empty folder as model': ('{tmp}/empty {few}', ['model.json', 'no such file']),
           'images that are not there': ('{model} {tmp}/none', ['none', 'no such image']), 'an empty folder of images': ('{model} {tmp}/empty', ['holds no images']), 'a threshold that is no number': ('{model} {good} --threshold high', ['--threshold']),
           'an infinite threshold': ('{model} {good} --threshold inf', ['threshold']), 'NaN as threshold': ('{model} {good} --threshold nan', ['threshold']), 'no images at once': ('{model} {good} --batch_size 0', ['--batch_size']),
           'a GPU of negative number': ('{model} {good} --gpu_id -5', ['gpu_id']), 'a file as output': ('{model} {good} --out {few}/cell/test/good/000.png', ['000.png']), 'nothing to score': ('{model}', ['images'])}


@pytest.mark.parametrize('case', PREDICT)
def test_predictions(case, few, model, tmp_path, call):
    words, says = PREDICT[case]
    (tmp_path/'empty').mkdir()
    before = digests(few)
    refused(call('wepadim_predict', *[w.format(tmp=tmp_path, few=few, model=model, good=few/TEST) for w in words.split()], *([] if '--out' in words else ['--out', tmp_path/'out'])), *says, command='wepadim_predict')
    assert digests(few) == before and not (tmp_path/'out'/'scores.csv').exists()


META = {'another version': {'format_version': 99}, 'a path that climbs out': {'weights': '../../x.pth'}, 'another backbone': {'settings': {'backbone': 'resnet18'}}, 'not finite': {'eps': float('nan')}, 'a list': None}


@pytest.mark.parametrize('case', META)
def test_a_model_that_was_edited(case, few, model, tmp_path, call):
    shutil.copytree(model, tmp_path/'m')
    meta = json.loads((model/'model.json').read_text())
    (tmp_path/'m'/'model.json').write_text(json.dumps([meta] if META[case] is None else {**meta, **META[case]}))
    refused(call('wepadim_predict', tmp_path/'m', few/TEST, '--out', tmp_path/'out'), 'model.json', command='wepadim_predict')


def _half(folder): p = next(folder.rglob('config.json')); p.write_text(p.read_text()[:40])
def _not_json(folder): next(folder.rglob('config.json')).write_text('[]')


@pytest.mark.parametrize('change,flags,says', [(_half, '', ['config.json', '--overwrite']), (_not_json, '', ['config.json']), (lambda f: None, '--sigma 9', ['another run', 'sigma 2.0 there, 9.0 now', '--run_name'])], ids=['half-written', 'not a config', "another run's"])
def test_result_folders(change, flags, says, few, tmp_path, call):
    run = lambda *more: call('wepadim_run', '--data_path', few, '--save_path', tmp_path, '--run_name', 'mine', *SMALL, *more)
    assert run()[0] == 0
    change(tmp_path/'mine')
    before = digests(tmp_path)
    refused(run(*flags.split()), *says)
    assert digests(tmp_path) == before


def test_a_half_written_result_is_computed_again(few, plain, tmp_path, call):
    run = lambda: call('wepadim_run', '--data_path', few, '--save_path', tmp_path, '--run_name', 'mine', *SMALL)
    assert run()[0] == 0
    path = tmp_path/'mine'/'efficientnet-lite0'/'categories'/'cell.json'
    for text in (path.read_text()[:100], '', '[]', '{}', 'null', '{"result": 1}'):
        path.write_text(text)
        code, err, out = run()
        assert code == 0 and numbers(tmp_path)['img_auc'] == plain['img_auc'] and (text in ('{}', '{"result": 1}') or any('damaged' in l for l in err)), (text, err)


def test_a_file_where_results_should_go(few, tmp_path, call):
    (tmp_path/'r').write_text('precious')
    refused(call('wepadim_run', '--data_path', few, '--save_path', tmp_path/'r', *SMALL), '--save_path')
    assert (tmp_path/'r').read_text() == 'precious'
