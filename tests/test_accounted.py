"Every picture has a role or a reason, grey values one range, masks their meaning; what cannot give an honest number is said."
import csv, json, shutil, unicodedata, zlib
from pathlib import Path

import numpy as np, pytest
from PIL import Image, TiffImagePlugin

from wepadim import layouts
from wepadim.config import InputError
from wepadim.census import NO_PICTURE, NO_ROLE, census
from wepadim.data import categories, category, detect_layout
from wepadim.checks import check
from wepadim.files import all_files
from wepadim.images import find_value_range, load_image
from wepadim.masks import load_mask
from wepadim.model import WEPaDiM

SMALL = '--models efficientnet-lite0 --image_size 64 --grid_size 4 --preset recommended --heatmaps 0'.split()

SEARCH = SMALL[:-2] # a search draws no heat maps


def part(i, size=64, bad=False):
    "A disk on a ground, [size, size] of floats in 0..1; a bad one has a dark spot: (values, mask)."
    rng, (y, x) = np.random.default_rng(i), np.mgrid[:size, :size]
    a = .25 + .45*(np.hypot(y - size/2 - rng.normal(0, .5), x - size/2 - rng.normal(0, .5)) < size*.38) + rng.normal(0, .015, (size, size))
    mask = np.zeros((size, size), bool)
    if bad:
        top, left = rng.integers(size//3, size//2, 2)
        mask[top:top + size//8, left:left + size//6] = True
        a[mask] = .02
    return a.clip(0, 1), mask


def grey8(a): return (255*a).round().astype(np.uint8)
def deep(a, bits): return ((2**bits - 1)*a).round().astype(np.uint16)


def save(a, path, **how):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    (a if isinstance(a, Image.Image) else Image.fromarray(a)).save(path, **how)
    return path


def small(**kw): return WEPaDiM(backbone='efficientnet-lite0', image_size=64, grid_size=4, **kw)


def plain(root, n=8, bads=3, masks=True):
    "A plain folder of good parts, bad parts and masks."
    for i in range(n): save(grey8(part(i)[0]), root/'good'/f'{i:03}.png')
    for i in range(bads):
        a, m = part(100 + i, bad=True)
        save(grey8(a), root/'bad'/f'{i:03}.png')
        if masks: save(255*m.astype(np.uint8), root/'masks'/f'{i:03}.png')
    return root


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp('model')
    return small().fit(plain(root/'parts')/'good').save(root/'saved')


def result(save_path):
    [path] = Path(save_path).glob('*/efficientnet-lite0/categories/*.json')
    return json.loads(path.read_text())


# ---------- every file ----------
def test_every_file_is_counted_once(tmp_path):
    root = plain(tmp_path/'parts')
    save(grey8(part(50)[0]), root/'good'/'camera 1'/'night'/'a.webp', lossless=True)
    save(grey8(part(51)[0]), root/'good'/'no_ending', format='png')
    save(grey8(part(52, bad=True)[0]), root/'bad'/'scratch'/'0.JP2')
    save(np.full((64, 64), 255, np.uint8)*0 + 3, root/'masks'/'scratch'/'0.png')
    (root/'good'/'notes.txt').write_text('x'); (root/'.DS_Store').write_text('x'); (root/'good'/'._000.png').write_text('x'); (root/'masks'/'777.png').write_bytes((root/'masks'/'000.png').read_bytes())
    c = category(root, 'parts')
    found = census(c)
    assert found.train + found.good == 10 and found.defective == {'bad': 3, 'scratch': 1} and found.masks == 4
    assert {Path(p).name for p in found.unused[NO_PICTURE]} == {'notes.txt'} and found.unused['a mask of no image'] == ['masks/777.png']
    assert found.train + found.good + 4 + found.masks + sum(map(len, found.unused.values())) == len(all_files(root))


def test_the_commands_print_the_census_and_keep_it(tmp_path, call):
    root = plain(tmp_path/'parts', 10)
    (root/'good'/'notes.txt').write_text('x')
    code, err, out = call('wepadim_check', root)
    assert code == 0 and 'parts (folder): 8 to train on, 2 good and 3 defective to test on (bad 3), 3 masks' in out and 'not used: 1 no picture: good/notes.txt' in out, (out, err)
    code, err, out = call('wepadim_run', '--data_path', root, '--save_path', tmp_path/'r', *SMALL, '--save_model')
    assert code == 0 and '8 to train on' in out and 'good/notes.txt' in out, err
    kept = result(tmp_path/'r')
    assert kept['census']['train'] == 8 and kept['census']['unused'] == [{'why': NO_PICTURE, 'files': 1, 'names': ['good/notes.txt']}]
    [saved] = (tmp_path/'r').rglob('models/parts')
    code, err, out = call('wepadim_predict', saved, root/'good', '--out', tmp_path/'p', '--no_heatmaps')
    assert code == 0 and 'notes.txt' in out, (out, err)
    assert 'notes.txt' in json.dumps(json.loads((tmp_path/'p'/'run.json').read_text())['census'])


def test_a_picture_that_is_left_out_is_exit_code_1(model, tmp_path, call):
    for i in range(2): save(grey8(part(i)[0]), tmp_path/'new'/f'{i}.png')
    (tmp_path/'new'/'2.png').write_bytes((tmp_path/'new'/'0.png').read_bytes()[:200])
    run = lambda *more: call('wepadim_predict', model, tmp_path/'new', '--out', tmp_path/'p', '--no_heatmaps', *more)
    assert run()[0] == 2
    code, err, out = run('--skip_bad_images')
    assert code == 1 and '2.png' in ' '.join(err) + out and len(list(csv.DictReader((tmp_path/'p'/'scores.csv').open(encoding='utf-8-sig')))) == 2, (err, out)
    (tmp_path/'new'/'2.png').rename(tmp_path/'new'/'2.txt')
    (tmp_path/'new'/'2.txt').write_text('no picture')
    assert run()[0] == 0
    save(grey8(part(3)[0]), tmp_path/'new'/'.hidden.png')
    code, err, out = run()
    assert code == 1 and '.hidden.png' in ' '.join(err) + out


def test_nested_folders_are_scored(model, tmp_path, call):
    for n in ('0.png', 'line 1/0.png', 'line 1/b/0.PNG'): save(grey8(part(len(n))[0]), tmp_path/'new'/n)
    assert call('wepadim_predict', model, tmp_path/'new', '--out', tmp_path/'new'/'out')[0] == 0
    rows = list(csv.DictReader((tmp_path/'new'/'out'/'scores.csv').open(encoding='utf-8-sig')))
    assert len(rows) == 3
    assert call('wepadim_predict', model, tmp_path/'new', '--out', tmp_path/'new'/'out')[0] == 0   # what an earlier one drew is not scored
    assert len(list(csv.DictReader((tmp_path/'new'/'out'/'scores.csv').open(encoding='utf-8-sig')))) == 3


@pytest.mark.parametrize('make', [lambda p: Image.fromarray(grey8(part(1)[0])).save(p, save_all=True, append_images=[Image.fromarray(grey8(part(2)[0]))]), lambda p: p.write_bytes(b'')], ids=['pages', 'empty'])
def test_files_that_are_not_one_picture(make, model, tmp_path, call):
    root = plain(tmp_path/'parts')
    make(root/'good'/'shots.tif')
    code, err, out = call('wepadim_check', root)
    assert code == 2 and any('shots.tif' in l for l in out.splitlines() + err)
    code, err, out = call('wepadim_predict', model, root/'good', '--out', tmp_path/'p')
    assert code == 2 and len(err) == 1 and 'shots.tif' in err[0], err


def test_folders_that_are_not_understood(tmp_path, call):
    root = plain(tmp_path/'parts')
    save(grey8(part(9)[0]), root/'new'/'0.png')
    code, err, out = call('wepadim_run', '--data_path', root, '--save_path', tmp_path/'r', *SMALL)
    assert code == 2 and len(err) == 1 and 'new' in err[0] and 'not understood' in err[0]
    (root/'new').rename(root/'crack')
    assert census(category(root, 'parts')).defective == {'bad': 3, 'crack': 1}


def test_a_folder_to_fit_on_holds_good_images_alone(tmp_path):
    with pytest.raises(InputError, match='bad, good, masks'): small().fit(plain(tmp_path/'parts'))


# ---------- grey values ----------
@pytest.mark.parametrize('bits', [10, 12, 14, 16])
def test_more_bits_show_the_same(bits, tmp_path):
    "Detectors of 8-bit pictures and of their originals score alike; both take both kinds."
    for i in range(10): a, _ = part(i); save(grey8(a), tmp_path/'8'/f'{i}.tif'); save(deep(a, bits), tmp_path/'deep'/f'{i}.tif')
    new = [part(60 + i, bad=i > 1)[0] for i in range(4)]
    eight, more = (small().fit(tmp_path/n) for n in ('8', 'deep'))
    assert more.settings.value_range == (0, 2**bits - 1) and eight.settings.value_range is None
    want = eight.predict([grey8(a) for a in new]).scores
    np.testing.assert_allclose(more.predict([deep(a, bits) for a in new]).scores, want, rtol=.15)
    files = [save(deep(a, bits), tmp_path/'new'/f'{i}.tif') for i, a in enumerate(new)]
    np.testing.assert_allclose(more.predict(files).scores, more.predict([deep(a, bits) for a in new]).scores, rtol=1e-6)
    np.testing.assert_allclose(more.predict([grey8(a) for a in new]).scores, want, rtol=.15)
    again = WEPaDiM.load(more.save(tmp_path/'m'))
    assert again.settings.value_range == more.settings.value_range and again.predict(files).scores.tolist() == more.predict(files).scores.tolist()


def _signed(a): return Image.fromarray((4000*a - 1000).round().astype(np.int32))
def _large(a): return Image.fromarray((200_000*a).round().astype(np.int32))
def _floats(a): return Image.fromarray(a.astype(np.float32))
def _degrees(a): return Image.fromarray((20 + 15*a).astype(np.float32))


def _zero_is_white(a, path):
    tags = TiffImagePlugin.ImageFileDirectory_v2(); tags[262] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(deep(1 - a, 12)).save(path, tiffinfo=tags)


@pytest.mark.parametrize('kind', [_signed, _large, _floats, _degrees, _zero_is_white])
def test_other_kinds_of_values(kind, tmp_path):
    "A picture looks as in 8 bits, up to where black and white lie."
    a = np.stack([part(i)[0] for i in range(4)])
    a[:, 0, 0], a[:, 0, 1] = 0, 1   # all use the whole range
    for i in range(4): kind(a[i], tmp_path/f'{i}.tif') if kind is _zero_is_white else save(kind(a[i]), tmp_path/f'{i}.tif')
    found = find_value_range(sorted(tmp_path.iterdir()))
    seen = np.asarray(load_image(tmp_path/'2.tif', found))[..., 0]
    assert abs(seen.astype(int) - grey8(a[2])).max() <= 2, found


def test_16_bits_a_colour_are_refused(tmp_path):
    a = deep(np.stack([part(1)[0]]*3, -1), 12)
    raw = b''.join(b'\0' + row.astype('>u2').tobytes() for row in a)
    chunk = lambda kind, data: len(data).to_bytes(4, 'big') + kind + data + zlib.crc32(kind + data).to_bytes(4, 'big')
    head = (64).to_bytes(4, 'big')*2 + bytes([16, 2, 0, 0, 0])
    (tmp_path/'a.png').write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(raw)) + chunk(b'IEND', b''))
    with pytest.raises(InputError, match='a.png.*16 bits a colour'): load_image(tmp_path/'a.png', (0, 4095))


def test_floats_that_cannot_be_compared(tmp_path, call):
    for i in range(6): save(Image.fromarray((part(i)[0]*(1 if i % 2 else 200)).astype(np.float32)), tmp_path/'parts'/'good'/f'{i}.tif')
    code, err, out = call('wepadim_run', '--data_path', tmp_path/'parts', '--save_path', tmp_path/'r', *SMALL)
    assert code == 2 and len(err) == 1 and '--value_range 0' in err[0], err
    assert call('wepadim_check', tmp_path/'parts')[0] == 2
    assert call('wepadim_run', '--data_path', tmp_path/'parts', '--save_path', tmp_path/'r', *SMALL, '--value_range', '0', '200')[0] == 0
    assert result(tmp_path/'r')['value_range'] == [0, 200]
    code, err, _ = call('wepadim_run', '--data_path', tmp_path/'parts', '--save_path', tmp_path/'r', *SMALL, '--value_range', '200', '0')
    assert code == 2 and 'value_range' in err[0] and 'rising' in err[0]


def test_one_picture_that_uses_more_bits_is_named(tmp_path, capsys):
    for i in range(6): save(deep(part(i)[0], 12), tmp_path/'p'/'train'/'good'/f'{i}.tif')
    a = deep(part(7)[0], 12); a[0, 0] = 65535
    save(a, tmp_path/'p'/'train'/'good'/'hot_pixel.tif')
    find_value_range(sorted((tmp_path/'p'/'train'/'good').iterdir()))
    said = capsys.readouterr().err
    assert 'hot_pixel.tif' in said and '--value_range 0 4095' in said
    assert any('will look dark' in str(p) for p in check(tmp_path/'p'))


def test_values_beyond_the_range_are_said(tmp_path, capsys):
    for i in range(4): save(deep(.9*part(i)[0], 12), tmp_path/'good'/f'{i}.tif')
    m = small().fit(tmp_path/'good')
    m.predict(save(deep(part(9)[0], 12)*2, tmp_path/'flash.tif'))
    assert 'flash.tif' in (said := capsys.readouterr().err) and 'beyond the range 0 to 4095' in said
    with pytest.raises(InputError, match='flash.tif.*not known which value is white'): small().fit([grey8(part(i)[0]) for i in range(4)]).predict(tmp_path/'flash.tif')


# ---------- masks ----------
MASKS = {'black and white': lambda m, p: save(255*m.astype(np.uint8), p), 'numbers': lambda m, p: save(2*m.astype(np.uint8), p), 'one bit': lambda m, p: save(Image.fromarray(m), p),
         'JPEG': lambda m, p: save(255*m.astype(np.uint8), p.with_suffix('.jpg'), quality=70), 'JPEG called png': lambda m, p: save(255*m.astype(np.uint8), p, format='jpeg', quality=80),
         'other case': lambda m, p: save(255*m.astype(np.uint8), p.with_name(p.name.upper())), 'a layer': lambda m, p: save(np.dstack([np.full((*m.shape, 3), 255, np.uint8), 255*m.astype(np.uint8)]), p),
         'two files': lambda m, p: [save(255*(m & half).astype(np.uint8), p.with_name(f'{p.stem}_mask_{i}.png')) for i, half in enumerate(_halves(m))],
         'a folder of files': lambda m, p: [save(255*(m & half).astype(np.uint8), p.with_suffix('')/f'{i}.png') for i, half in enumerate(_halves(m))]}


def _halves(m):
    ys = np.flatnonzero(m.any(1))
    top = np.zeros_like(m); top[:ys[len(ys)//2]] = True
    return top, ~top


@pytest.mark.parametrize('kind', MASKS)
def test_masks_mean_what_they_show(kind, tmp_path, call):
    root = plain(tmp_path/'parts', masks=False)
    truth = [part(100 + i, bad=True)[1] for i in range(3)]
    for i, m in enumerate(truth): MASKS[kind](m, root/'masks'/f'{i:03}.png')
    bad = [s for s in category(root, 'parts').test if s.label]
    for s, m in zip(bad, truth): assert (load_mask(s.masks, (64, 64)) != m).mean() < (.01 if 'JPEG' in kind else 1e-9)
    assert call('wepadim_check', root)[0] == 0


def test_names_in_another_unicode_form(tmp_path):
    root = plain(tmp_path/'parts', bads=0)
    a, m = part(100, bad=True)
    save(grey8(a), root/'bad'/(unicodedata.normalize('NFC', 'Stück é') + '.png'))
    save(255*m.astype(np.uint8), root/'masks'/(unicodedata.normalize('NFD', 'stück É') + '.png'))
    [s] = [s for s in category(root, 'parts').test if s.label]
    assert (load_mask(s.masks) == m).all()


def test_an_inverted_mask_is_refused_and_can_be_accepted(tmp_path, call):
    root = plain(tmp_path/'parts')
    save(255*(1 - part(100, bad=True)[1].astype(np.uint8)), root/'masks'/'000.png')
    for command, flags in (('wepadim_check', [root]), ('wepadim_run', ['--data_path', root, '--save_path', tmp_path/'r', *SMALL])):
        code, err, out = call(command, *flags)
        assert code == 2 and '000.png' in out + err[-1] + err[0] and '--large_masks' in out + err[0], (out, err)
        assert call(command, *flags, '--large_masks')[0] == 0


def test_defects_that_vanish_are_counted(tmp_path, call):
    root = tmp_path/'parts'
    for i in range(8): save(grey8(part(i, 300)[0]), root/'good'/f'{i}.png')
    for i in range(2):
        m = np.zeros((300, 300), np.uint8); m[100:140, 90:150] = 255; m[201:203, 201:203] = 255
        save(grey8(part(50 + i, 300)[0]), root/'bad'/f'{i}.png'); save(m, root/'masks'/f'{i}.png')
    code, err, out = call('wepadim_run', '--data_path', root, '--save_path', tmp_path/'r', *SMALL)
    assert code == 0 and '2 of 4 defects are lost' in out and not err, (out, err)
    assert result(tmp_path/'r')['masks'] == dict(without_mask=0, defects=4, defects_lost=2, images_lost=0, lost_in=['bad/0.png', 'bad/1.png'], resolution='input')


# ---------- the same picture ----------
def test_the_same_picture_the_same_score(model, tmp_path):
    m = WEPaDiM.load(model)
    rgb = np.stack([grey8(part(7)[0])]*3, -1); rgb[:12] = (200, 40, 40)
    photo = Image.fromarray(rgb)
    want = float(m.predict(photo).scores[0])
    same = lambda x, rtol=1e-6: np.testing.assert_allclose(m.predict(x).scores, want, rtol=rtol)
    turned = Image.Exif(); turned[0x0112] = 6
    path = save(photo.transpose(Image.Transpose.ROTATE_90), tmp_path/'turned.png', exif=turned)
    for x in (path, Image.open(path), [Image.open(path)], rgb, rgb[None], rgb/255, (rgb/255).astype(np.float32), rgb.astype(np.uint16)*257, np.stack([rgb, rgb]), photo.convert('RGBA'), photo.convert('CMYK')): same(x)
    for mode, how in (('P', {}), ('RGBA', {}), ('LA', {})):
        path = save(photo.convert(mode), tmp_path/f'{mode}.png')
        assert m.predict(path).scores[0] == m.predict(Image.open(path)).scores[0]
    seen = []
    for colour in (0, 130, 255):   # colours that nobody sees
        a = np.dstack([rgb, np.full((64, 64), 255, np.uint8)]); a[:8, :, 3] = 0; a[:8, :, :3] = colour
        seen += [m.predict(save(Image.fromarray(a), tmp_path/f'{colour}.png')).scores[0], m.predict(Image.fromarray(a)).scores[0]]
    assert len(set(seen)) == 1
    for x, says in ((rgb[..., :2], r'\[64, 64, 2\]'), (np.moveaxis(rgb, -1, 0), r'\[3, 64, 64\]'), (rgb > 9, 'bool'), (np.dstack([rgb, rgb[..., :1]]), r'\[64, 64, 4\]'), (rgb.astype(np.float32), 'floats from')):
        with pytest.raises(InputError, match=says): m.predict(x)


def test_16_bit_arrays_of_another_camera_are_refused(model):
    with pytest.raises(InputError, match='not known which value is white'): WEPaDiM.load(model).predict(deep(part(7)[0], 12))


# ---------- where things lie ----------
LAID_OUT = {'masks among the images': lambda r: [*_put(r, 'good/images', 8), *_put(r, 'good/masks', 8, mask=True), *_put(r, 'bad/images', 3, bad=True), *_put(r, 'bad/masks', 3, mask=True)],
            'the word in front': lambda r: [*_put(r, 'good', 8), *_put(r, 'bad', 3, bad=True), *_put(r, 'bad', 3, mask=True, name='mask_{}')],
            'masks by another name': lambda r: [*_put(r, 'OK_Parts (2)', 8), *_put(r, 'NG 2', 3, bad=True, name='img_{:03}'), *_put(r, 'ground-truth', 3, mask=True, name='mask_{}')],
            'training and testing': lambda r: [*_put(r, 'Training/normal', 6), *_put(r, 'Testing/Normal', 2, first=9), *_put(r, 'Testing/abnormal', 3, bad=True), *_put(r, 'masks/abnormal', 3, mask=True)],
            'pictures in train itself': lambda r: [*_put(r, 'train', 6), *_put(r, 'test/good', 2, first=9), *_put(r, 'test/dent', 3, bad=True), *_put(r, 'ground_truth/dent', 3, mask=True, name='{}_mask')]}


def _put(root, folder, n, bad=False, mask=False, first=0, name='{}'):
    for i in range(n):
        a, m = part(100 + i if bad or mask else first + i, bad=bad or mask)
        yield save(255*m.astype(np.uint8) if mask else grey8(a), root/folder/(name.format(i) + '.png'))


@pytest.mark.parametrize('kind', LAID_OUT)
def test_what_lies_elsewhere_is_found(kind, tmp_path):
    root = tmp_path/'parts'
    LAID_OUT[kind](root)
    found = census(category(root, 'parts'))
    assert (found.train + found.good, sum(found.defective.values()), found.masks) == (8, 3, 3), found
    for s in category(root, 'parts').test:
        if s.label: assert (load_mask(s.masks) == part(100 + int(''.join(c for c in s.path.stem if c.isdigit())), bad=True)[1]).all()


@pytest.mark.parametrize('inside,where', [('good/NG', 'good'), ('bad/good', 'bad'), ('good/camera/Defective', 'good')])
def test_bad_parts_among_the_good_are_refused(inside, where, tmp_path):
    root = plain(tmp_path/'parts')
    save(grey8(part(40)[0]), root/inside/'0.png')
    with pytest.raises(InputError, match=f'a folder called {Path(inside).name} inside'): category(root, 'parts')
    if where == 'good':
        with pytest.raises(InputError): small().fit(root/'good')


# ---------- layouts ----------
def test_help_and_errors_come_from_the_registry(tmp_path, call, monkeypatch):
    monkeypatch.setattr(layouts, 'LAYOUTS', layouts.LAYOUTS)
    before = dict(layouts.LAYOUTS)
    try:
        layouts.add_layout('boxes', '<category>/crate', lambda root: [], None)
        for command in ('wepadim_run', 'wepadim_check', 'wepadim_phase1'):
            assert 'boxes' in call(command, '--help')[2] and 'kolektor2' in call(command, '--help')[2]
        (tmp_path/'thing'/'Crate').mkdir(parents=True)
        code, err, out = call('wepadim_run', '--data_path', tmp_path, '--save_path', tmp_path/'r', *SMALL)
        assert code == 2 and 'found the folder(s) thing' in err[0] and 'nearest is boxes: expected <category>/crate' in err[0]
        assert 'boxes' in call('wepadim_run', '--data_path', tmp_path, '--dataset_type', 'bags')[1][0]
    finally:
        layouts.LAYOUTS.clear(); layouts.LAYOUTS.update(before)


def test_a_layout_by_another_name_is_an_error(tmp_path, call):
    for i in range(3): save(grey8(part(i)[0]), tmp_path/'can'/'train'/'good'/f'{i}.png')
    save(grey8(part(9)[0]), tmp_path/'can'/'test_public'/'bad'/'0.png')
    assert detect_layout(tmp_path) == 'mvtec_ad2' and categories(tmp_path, 'mvtec_ad2') == ['can']
    assert '--dataset_type mvtec_ad2' in call('wepadim_run', '--data_path', tmp_path, '--dataset_type', 'dagm', '--save_path', tmp_path/'r', *SMALL)[1][0]


# ---------- numbers that would not be honest ----------
def test_copies_and_sizes(tmp_path):
    root = plain(tmp_path/'parts')
    assert check(root) == []
    shutil.copy(root/'good'/'001.png', root/'good'/'copy.png')
    Image.open(root/'bad'/'001.png').save(root/'good'/'wrong_box.bmp')   # the same picture in another format
    save(grey8(part(70, 48)[0]), root/'good'/'small.png')
    said = '\n'.join(map(str, check(root)))
    assert 'wrong_box.bmp' in said and 'it is in bad and in good' in said and 'good/001.png' in said and 'copy.png' in said and 'the same picture as good/' in said and '2 sizes: 64x64 (10), 48x48 (1)' in said, said


def test_good_images_that_are_one_picture(tmp_path, call, capsys):
    a = grey8(part(1)[0])
    for i in range(6): save(a, tmp_path/'parts'/'good'/f'{i}.png')
    code, err, out = call('wepadim_check', tmp_path/'parts')
    assert code == 2 and 'the same picture' in out
    code, err, out = call('wepadim_run', '--data_path', tmp_path/'parts', '--save_path', tmp_path/'r', *SMALL)
    assert code == 0 and any('all the same picture' in l for l in err), err
    capsys.readouterr()
    small().fit([a, a.copy(), a.copy()])


def test_a_search_needs_good_and_defective_images(tmp_path, call):
    root = plain(tmp_path/'parts', bads=0)
    code, err, out = call('wepadim_run', '--data_path', root, '--save_path', tmp_path/'r', *SMALL)
    assert code == 0 and 'no defective ones among the test images' in out
    code, err, out = call('wepadim_run', '--data_path', root, '--save_path', tmp_path/'r', *SEARCH, '--experiment_type', 'grid_search', '--sigma', '2', '4')
    assert code == 2 and len(err) == 1 and 'no defective ones' in err[0], err
    assert not list((tmp_path/'r').rglob('*.ipynb'))   # before any notebook was started


def test_some_masks_are_missing(tmp_path, call):
    visa = tmp_path/'VisA'
    rows = ['object,split,label,image,mask']
    def add(split, label, i, a, m=None):
        image = f'candle/Data/Images/{label}/{i}.png'
        mask = f'candle/Data/Masks/{i}.png' if m is not None else ''
        save(grey8(a), visa/image)
        if mask: save(m.astype(np.uint8), visa/mask)
        rows.append(f'candle,{split},{label},{image},{mask}')
    for i in range(8): add('train' if i < 6 else 'test', 'normal', i, part(i)[0])
    for i in range(3): add('test', 'anomaly', i, part(100 + i, bad=True)[0], None if i == 1 else part(100 + i, bad=True)[1])
    (visa/'split_csv').mkdir()
    (visa/'split_csv'/'1cls.csv').write_text('\n'.join(rows))
    code, err, out = call('wepadim_run', '--data_path', visa, '--save_path', tmp_path/'r', *SMALL)
    kept = result(tmp_path/'r')
    assert code == 0 and kept['pixel_auc'] > .9 and kept['masks']['without_mask'] == 1 and 'candle/Data/Images/anomaly/1.png: this defective image has no mask' in out, (out, err)


def test_a_run_leaves_the_score_of_every_image(tmp_path, call):
    root = plain(tmp_path/'부품')
    assert call('wepadim_run', '--data_path', root, '--save_path', tmp_path/'r', *SMALL)[0] == 0
    [path] = (tmp_path/'r').rglob('scores.csv')
    assert path.read_bytes()[:3] == b'\xef\xbb\xbf'   # by this, Excel knows UTF-8
    rows = list(csv.DictReader(path.open(encoding='utf-8-sig')))
    assert list(rows[0]) == ['image', 'label', 'score', 'alarm', 'calibrated', 'aupimo'] and len(rows) == 2 + 3 and [r['label'] for r in rows] == ['0', '0', '1', '1', '1']
    from wepadim.metrics import auroc
    assert auroc([int(r['label']) for r in rows], [float(r['score']) for r in rows]) == pytest.approx(result(tmp_path/'r')['img_auc'])
    path.unlink()   # without it, the category is not finished
    assert call('wepadim_run', '--data_path', root, '--save_path', tmp_path/'r', *SMALL)[0] == 0 and path.is_file()


def test_nothing_is_decoded_for_the_census(tmp_path, monkeypatch):
    root = plain(tmp_path/'parts')
    monkeypatch.setattr(Image.Image, 'load', lambda *a: pytest.fail('a picture was decoded'))
    monkeypatch.setattr('PIL.ImageFile.ImageFile.load', lambda *a: pytest.fail('a picture was decoded'))
    c = category(root, 'parts')
    assert census(c).train == 6


def test_a_split_file_named_by_hand_is_for_its_own_data(tmp_path, monkeypatch):
    "Another data set is not taken for VisA because VISA_SPLIT_CSV is set."
    (tmp_path/'mine.csv').write_text('object,split,label,image,mask\ncandle,train,normal,candle/0.png,\n')
    monkeypatch.setenv('VISA_SPLIT_CSV', str(tmp_path/'mine.csv'))
    assert detect_layout(plain(tmp_path/'parts')) == 'folder'


def test_a_data_set_in_a_folder_of_its_own_name(tmp_path):
    plain(tmp_path/'parts'/'parts')
    found = census(category(tmp_path/'parts', 'parts'))
    assert (found.train + found.good, sum(found.defective.values()), found.masks) == (8, 3, 3)
