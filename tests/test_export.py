"Exported detectors on real photographs: the same scores in both engines; files that are damaged; commands without PyTorch; the lines of the docs in an environment of their own."
import json, os, shutil, signal, subprocess, sys, time, venv
from pathlib import Path

import nbformat, numpy as np, pytest

from wepadim.config import preset
from wepadim.data import picture_batches
from wepadim.export import TARGETS, export
from wepadim.exported import Exported
from wepadim.images import load_view
from wepadim.model import WEPaDiM
from wepadim.weights import find_weights

PAGE = Path(__file__).parents[1]/'nbs'/'explanations'/'without_this_library.ipynb'
LITE = 'efficientnet-lite0'


def sorted_files(folder): return sorted(p for p in Path(folder).iterdir() if p.is_file())


def program(file):
    "A file as another program runs it: a function of pictures [B, H, W, 3] that returns scores, maps and labels."
    names = ['score', 'map', 'label']
    if file.suffix == '.onnx':
        import onnxruntime
        session = onnxruntime.InferenceSession(file)
        return lambda pictures: session.run(names, dict(image=pictures))
    import openvino
    compiled = openvino.compile_model(file, 'CPU', dict(INFERENCE_PRECISION_HINT='f32'))
    def run(pictures):
        found = compiled(dict(image=pictures))
        return [np.array(found[name]) for name in names]
    return run


@pytest.mark.parametrize('input', ['whole', 'crop'])
@pytest.mark.parametrize('name', ['recommended', 'published'])
@pytest.mark.parametrize('backbone', ['resnet18', LITE])
def test_scores_of_real_photographs(backbone, name, input, real_data, real_weights, tmp_path):
    bottle = real_data('MVTec', 'bottle')
    weights = real_weights('resnet18.pth') if backbone == 'resnet18' else None
    model = WEPaDiM(preset(name, backbone, input=input), weights=weights).fit(sorted_files(bottle/'train'/'good')[:48])
    test = [p for kind in ('good', 'broken_small', 'contamination') for p in sorted_files(bottle/'test'/kind)[:6]][:16]
    p = model.predict(test)
    ranges = np.ptp(p.maps, axis=(1, 2))
    pictures = [x for _, few in picture_batches(test, input, model.settings.image_size, 16) for x in few]
    assert p.labels.any() and not p.labels.all()
    for format, (ending, _) in TARGETS.items():
        file = export(model, tmp_path/f'bottle{ending}', format)
        run = program(file)
        singles = [np.concatenate(parts) for parts in zip(*(run(x[None]) for x in pictures))]
        for scores, maps, labels in (run(np.stack(pictures)), singles):   # batches of 16 and of 1
            assert abs(scores/p.scores - 1).max() < 1e-3
            assert (abs(maps - p.maps).max((1, 2))/ranges).max() < 1e-3
            assert (labels == p.labels).all()


@pytest.fixture(scope='module')
def place(painted_cells, tmp_path_factory):
    "A saved model, its files, and pictures of three sizes."
    from PIL import Image
    root = tmp_path_factory.mktemp('exported')
    (root/'parts').mkdir()
    for i, path in enumerate(sorted_files(painted_cells/'cell'/'test'/'hole')[:4] + sorted_files(painted_cells/'cell'/'test'/'good')[:3]):
        with Image.open(path) as im: im.resize([(300, 300), (200, 260), (64, 64)][i//2]).save(root/'parts'/f'{i}.png')
    model = WEPaDiM(backbone=LITE, image_size=96, grid_size=8, n_features=32).fit(painted_cells/'cell'/'train'/'good')
    middle = np.sort(model.predict(root/'parts').scores)[2:4].mean()
    model.set_threshold(middle).save(root/'model')   # some of the parts are alarms
    for format, (ending, _) in TARGETS.items(): export(model, root/f'cell{ending}', format)
    return root


def table(path): return [line.split(',') for line in Path(path).read_text(encoding='utf-8-sig').splitlines()]


@pytest.mark.parametrize('ending', ['.onnx', '.xml'])
def test_predict_takes_the_file(ending, place, call, tmp_path):
    "Tables, pictures and page are those of the model."
    for name, model in (('file', place/f'cell{ending}'), ('folder', place/'model')):
        code, err, out = call('wepadim_predict', model, place/'parts', '--out', tmp_path/name, '--coco', '--batch_size', '3')
        assert code == 0 and all('scoring' in line for line in err), err
    assert [p.relative_to(tmp_path/'file') for p in sorted((tmp_path/'file').rglob('*'))] == [p.relative_to(tmp_path/'folder') for p in sorted((tmp_path/'folder').rglob('*'))]
    for csv in ('scores.csv', 'regions.csv'):
        (head, *ours), (same, *theirs) = table(tmp_path/'file'/csv), table(tmp_path/'folder'/csv)
        assert head == same and [row[0] for row in ours] == [row[0] for row in theirs]
    ours, theirs = table(tmp_path/'file'/'scores.csv')[1:], table(tmp_path/'folder'/'scores.csv')[1:]
    assert [row[2] for row in ours] == [row[2] for row in theirs] and {row[2] for row in ours} == {'0', '1'}
    assert np.allclose([float(row[1]) for row in ours], [float(row[1]) for row in theirs], rtol=1e-3)
    assert np.allclose([float(row[3]) for row in ours], [float(row[3]) for row in theirs], atol=1e-2)
    record = json.loads((tmp_path/'file'/'run.json').read_text())
    assert record['engine'] == dict({'.onnx': 'onnxruntime', '.xml': 'openvino'})[ending] and record['weights_sha256']
    code, err, out = call('wepadim_predict', place/f'cell{ending}', place/'parts', '--out', tmp_path/'all', '--threshold', '0', '--no_heatmaps')
    assert code == 0 and {row[2] for row in table(tmp_path/'all'/'scores.csv')[1:]} == {'1'}


NO_TORCH = '''
import sys
from wepadim.tools import wepadim_predict
try: wepadim_predict(sys.argv[1:])
except SystemExit as e: assert not e.code, e.code
print('imported:', [m for m in ('torch', 'torchvision', 'timm') if m in sys.modules])
'''


@pytest.mark.parametrize('ending', ['.onnx', '.xml'])
def test_predict_imports_no_torch(ending, place, tmp_path):
    argv = [sys.executable, '-W', 'default', '-c', NO_TORCH, str(place/f'cell{ending}'), str(place/'parts'), '--out', str(tmp_path/'out'), '--coco']
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, env={k: v for k, v in os.environ.items() if k != 'PYTHONWARNINGS'})
    assert 'wepadim' not in ''.join(line for line in done.stderr.splitlines() if 'Warning' in line), done.stderr
    assert done.stdout.splitlines()[-1] == 'imported: []', done.stderr
    assert len(table(tmp_path/'out'/'scores.csv')) == 1 + len(sorted_files(place/'parts')) and (tmp_path/'out'/'report.html').is_file()


def test_watch_takes_the_file(place, tmp_path):
    "A line that runs the file, is stopped and goes on; PyTorch stays away."
    (tmp_path/'in').mkdir()
    shutil.copy(place/'parts'/'0.png', tmp_path/'in')
    argv = [sys.executable, '-c', NO_TORCH, str(place/'cell.onnx'), str(tmp_path/'in'), '--watch', '--interval', '.05', '--out', str(tmp_path/'out'), '--no_heatmaps']
    scores = tmp_path/'out'/'scores.csv'
    for n in (1, 2):
        line = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 120
        while time.monotonic() < end and line.poll() is None:
            if scores.exists() and len(table(scores)) > n: break
            time.sleep(.1)
        line.send_signal(signal.SIGTERM)
        out, err = line.communicate(timeout=60)
        assert 'imported: []' in out, err
        assert len(table(scores)) == 1 + n
        shutil.copy(place/'parts'/'1.png', tmp_path/'in')


def refused(result, *says):
    "One line on stderr that says these, and exit code 2."
    code, err, out = result
    assert code == 2 and len(err) == 1 and all(word in err[0] for word in says), err


@pytest.mark.parametrize('ending', ['.onnx', '.xml'])
def test_files_that_changed(ending, place, call, tmp_path):
    file = tmp_path/f'cell{ending}'
    for e in ('.onnx', '.xml', '.bin'): shutil.copy(place/f'cell{e}', tmp_path)
    whole = file.read_bytes()
    def said(content):
        file.write_bytes(content)
        return call('wepadim_predict', file, place/'parts', '--out', tmp_path/'out')
    for at in (20, len(whole)//2, len(whole) - 200):   # one bit
        refused(said(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1:]), f'cell{ending}', 'damaged', 'export it again')
    for n in (len(whole) - 1, len(whole)//2, 300): refused(said(whole[:n]), f'cell{ending}', 'cut off', 'export it again')
    refused(said(whole.replace(b'wepadim format 1', b'wepadim format 2')), f'cell{ending}', 'format version 2; this version reads 1')
    for other in (b'', b'no graph', whole[300:-100]): refused(said(other), f'cell{ending}', 'no file of wepadim_export')
    assert not (tmp_path/'out').exists()
    assert said(whole)[0] == 0


def test_numbers_of_openvino_that_changed(place, call, tmp_path):
    for ending in ('.xml', '.bin'): shutil.copy(place/f'cell{ending}', tmp_path)
    numbers = tmp_path/'cell.bin'
    whole = numbers.read_bytes()
    for content in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:], b''):
        numbers.write_bytes(content)
        refused(call('wepadim_predict', tmp_path/'cell.xml', place/'parts', '--out', tmp_path/'out'), 'cell.xml', 'damaged')
    numbers.unlink()
    refused(call('wepadim_predict', tmp_path/'cell.xml', place/'parts', '--out', tmp_path/'out'), 'cell.bin', 'belong together')


def test_a_model_of_another_program(place, call, tmp_path):
    import onnx
    model = onnx.load(place/'cell.onnx')
    model.producer_name = 'pytorch'
    del model.metadata_props[:]
    onnx.save(model, tmp_path/'other.onnx')
    refused(call('wepadim_predict', tmp_path/'other.onnx', place/'parts', '--out', tmp_path/'out'), 'other.onnx', 'no file of wepadim_export')


def test_places_and_flags(place, call, tmp_path):
    (tmp_path/'there.onnx').write_text('mine')
    (tmp_path/'there.bin').write_text('mine')
    refused(call('wepadim_export', place/'model', tmp_path/'there.onnx'), 'there.onnx: exists already')
    refused(call('wepadim_export', place/'model', tmp_path/'there.xml', '--format', 'openvino'), 'there.bin: exists already')
    refused(call('wepadim_export', place/'model', tmp_path/'new.xml'), 'new.xml', '.onnx')
    refused(call('wepadim_export', place/'model', tmp_path/'new.onnx', '--format', 'onx'), "unknown format 'onx'", 'onnx')
    refused(call('wepadim_export', place/'cell.onnx', tmp_path/'new.onnx'), 'cell.onnx: no such folder')
    refused(call('wepadim_export', place/'model', tmp_path/'there.onnx'/'new.onnx'), 'new.onnx: cannot be written')
    for flag in (('--gpu_id', '0'), ('--engine', 'torch')):
        refused(call('wepadim_predict', place/'cell.onnx', place/'parts', *flag), flag[0], 'as it was exported')
    refused(call('wepadim_predict', place/'cell.onnx', place/'parts', '--precision', 'bfloat16'), 'cell.onnx: an .onnx file runs in float32')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['there.bin', 'there.onnx']


def test_packages_that_are_missing(place, tmp_path):
    "One line that names the extra."
    code = '''
import sys
for name in {missing!r}: sys.modules[name] = None
from wepadim.tools import wepadim_export, wepadim_predict
{command}([{argv}])
'''
    def said(command, missing, *argv):
        words = ', '.join(repr(str(a)) for a in argv)
        done = subprocess.run([sys.executable, '-c', code.format(missing=missing, command=command, argv=words)], capture_output=True, text=True)
        return done.returncode, done.stderr.splitlines(), done.stdout
    for missing in ('onnx', 'onnxruntime'):
        refused(said('wepadim_export', [missing], place/'model', tmp_path/'a.onnx'), f'{missing} is not installed', "pip install 'wepadim[onnx]'")
    refused(said('wepadim_export', ['openvino'], place/'model', tmp_path/'a.xml', '--format', 'openvino'), "pip install 'wepadim[openvino]'")
    refused(said('wepadim_predict', ['onnxruntime'], place/'cell.onnx', place/'parts'), "pip install 'wepadim[onnx]'")
    refused(said('wepadim_predict', ['openvino'], place/'cell.xml', place/'parts'), "pip install 'wepadim[openvino]'")


def test_pictures_of_16_bits(painted_cells, call, tmp_path):
    "The range of the good ones travels with the file."
    from PIL import Image
    def deep(folder, paths):
        (tmp_path/folder).mkdir()
        for path in paths: Image.fromarray((np.asarray(Image.open(path).convert('L'), np.uint16)*16)).save(tmp_path/folder/f'{path.stem}.png')
    deep('good', sorted_files(painted_cells/'cell'/'train'/'good')[:8])
    deep('new', sorted_files(painted_cells/'cell'/'test'/'hole')[:2])
    model = WEPaDiM(backbone=LITE, image_size=64, grid_size=8).fit(tmp_path/'good')
    assert model.settings.value_range == (0, 4095)
    exported = Exported(export(model, tmp_path/'deep.onnx'))
    new = sorted_files(tmp_path/'new')
    assert exported.about['value_range'] == [0, 4095]
    assert np.allclose(exported.predict(new).scores, model.predict(new).scores, rtol=1e-3)


@pytest.mark.parametrize('format', TARGETS)
def test_a_region_of_interest(format, painted_cells, call, tmp_path):
    "Where to look is in the file, for the maps and for the pictures; inputs need not be square."
    from PIL import Image
    mask = np.zeros((300, 300))
    mask[:, :150] = 255
    model = WEPaDiM(backbone=LITE, image_size=(96, 64), grid_size=8, n_features=32, roi=mask).fit(painted_cells/'cell'/'train'/'good')
    model.save(tmp_path/'model')
    file = export(model, tmp_path/f'left{TARGETS[format][0]}', format)
    new = sorted_files(painted_cells/'cell'/'test'/'hole')[:2]
    exported = Exported(file)
    p, q = model.predict(new), exported.predict(new)
    assert (exported.inside == model.inside).all() and exported.inside.shape == (64, 96) and exported.inside.mean() == .5
    assert not q.maps[:, :, 48:].any() and abs(q.scores/p.scores - 1).max() < 1e-3
    for name, source in (('ours', tmp_path/'model'), ('theirs', file)):
        code, err, _ = call('wepadim_predict', source, *new, '--out', tmp_path/name)
        assert code == 0, err
    pictures = [p.relative_to(tmp_path/'ours') for p in (tmp_path/'ours').rglob('*.png')]
    assert len(pictures) == 2
    for picture in pictures:
        ours, theirs = (np.asarray(Image.open(tmp_path/name/picture), int) for name in ('ours', 'theirs'))
        right = ours.shape[1]*3//4
        assert abs(ours - theirs).mean() < 1 and ours[:, right:].mean() < .6*ours[:, :right].mean()


def lines_of_the_page():
    "The program that the docs show."
    [code] = [c.source for c in nbformat.read(PAGE, 4).cells if 'onnxruntime.InferenceSession' in c.source]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    imports = [line for line in code.splitlines() if line.startswith(('import', 'from'))]
    assert imports == ['import json', 'import numpy as np', 'import onnxruntime', 'from PIL import Image, ImageOps']
    return code


def test_the_page_in_an_environment_of_its_own(place, tmp_path):
    "Exactly these lines, where nothing but onnxruntime, numpy and Pillow is installed."
    venv.create(tmp_path/'env', with_pip=True)
    python = next(p for p in ((tmp_path/'env'/'bin'/'python'), (tmp_path/'env'/'Scripts'/'python.exe')) if p.exists())
    alone = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'PYTHONHOME')}
    installed = subprocess.run([python, '-m', 'pip', 'install', '-q', 'onnxruntime', 'numpy', 'pillow'], capture_output=True, text=True, env=alone)
    if installed.returncode: pytest.skip(f'the packages cannot be installed: {installed.stderr.strip().splitlines()[-1]}')
    (tmp_path/'page.py').write_text(lines_of_the_page())
    shutil.copy(place/'cell.onnx', tmp_path/'part.onnx')
    shutil.copy(place/'parts'/'0.png', tmp_path/'new.png')
    done = subprocess.run([python, 'page.py'], cwd=tmp_path, capture_output=True, text=True, env=alone)
    assert done.returncode == 0, done.stderr
    p = WEPaDiM.load(place/'model').predict(tmp_path/'new.png')
    _, score, _, threshold, word = done.stdout.replace(',', '').replace(':', '').split()
    assert abs(float(score)/p.scores[0] - 1) < 1e-3 and word == ('defective' if p.labels[0] else 'good')
    assert (tmp_path/'heat.png').is_file()
    assert subprocess.run([python, '-c', 'import torch'], capture_output=True, env=alone).returncode
