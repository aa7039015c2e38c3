"Inputs that are not square, pictures of 12 megapixels, and a mask that says where to look."
import csv, shutil, subprocess, sys
from pathlib import Path

import numpy as np, pytest, torch
from PIL import Image

from wepadim.backbone import Backbone
from wepadim.config import RunSettings, preset
from wepadim.errors import InputError, read_json
from wepadim.data import category
from wepadim.evaluate import run_category
from scipy import ndimage
from wepadim.masks import load_mask
from wepadim.metrics import auroc
from wepadim.model import WEPaDiM
from wepadim.passes import extract
from wepadim.roi import Roi
from wepadim.runs import run_folder
from wepadim.search import search
from wepadim.single import run_single

LITE = 'efficientnet-lite0'
SMALL = dict(backbone=LITE, image_size=64, grid_size=4)
LONG = dict(backbone=LITE, image_size=(64, 96), grid_size=4)
FLAGS = f'--preset recommended --models {LITE} --grid_size 4 --heatmaps 1'.split()


@pytest.fixture(scope='module')
def good(painted_cells): return sorted((painted_cells/'cell'/'train'/'good').glob('*.png'))


@pytest.fixture(scope='module')
def tall(painted_cells, tmp_path_factory):
    "The same data set, its pictures and masks 200 x 300."
    root = tmp_path_factory.mktemp('tall')/'data'
    for path in painted_cells.rglob('*.png'):
        new = root/path.relative_to(painted_cells)
        new.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((200, 300), Image.Resampling.NEAREST).save(new)
    return root


def half(path, size=(300, 300), box=(0, 0, 150, 300)):
    "A mask that is white in a box."
    im = Image.new('L', size)
    im.paste(255, box)
    im.save(path)
    return path


@pytest.mark.parametrize('size', ['256x', 'axb', '0x10', '31x64', '64x4096', '64x64x64', 'x', '-64x64'])
def test_a_malformed_size_is_one_line(size, painted_cells, tmp_path, call):
    code, err, _ = call('wepadim_run', '--data_path', painted_cells, *FLAGS, f'--image_size={size}', '--save_path', tmp_path)
    assert code == 2 and len(err) == 1, err
    assert f"image_size='{size}'" in err[0] and 'WIDTHxHEIGHT such as 256x640' in err[0]


def test_files_keep_a_number_for_squares(good, tmp_path):
    for given, kept in ((64, 64), ('64x64', 64), ('64x96', [64, 96])):
        m = WEPaDiM(backbone=LITE, image_size=given, grid_size=4).fit(good[:4])
        m.save(tmp_path/'m')
        meta = read_json(tmp_path/'m'/'model.json')
        assert meta['settings']['image_size'] == kept and meta['format_version'] == 6
        again = WEPaDiM.load(tmp_path/'m')
        assert again.settings == m.settings and np.array_equal(again.predict(good[4:6]).maps, m.predict(good[4:6]).maps)


@pytest.mark.parametrize('input', ['whole', 'crop'])
@pytest.mark.parametrize('compat', ['none', 'published'])
def test_everything_follows_the_shape(tall, tmp_path, call, input, compat):
    argv = ['--data_path', tall, *FLAGS, '--image_size', '64x96', '--input', input, '--compat', compat, '--save_model', '--save_path', tmp_path, '--run_name', 'r']
    code, err, _ = call('wepadim_run', *argv)
    assert code == 0, err
    result = read_json(tmp_path/'r'/LITE/'categories'/'cell.json')
    assert result['settings']['image_size'] == [64, 96] and '64 x 96' in result['metric_rules']['pixels']
    assert result['pixel_auc'] is not None and (tmp_path/'r'/LITE/'visualizations'/'cell_heatmaps.png').is_file()
    model = tmp_path/'r'/LITE/'models'/'cell'
    pictures = sorted((tall/'cell'/'test').rglob('*.png'))
    code, err, _ = call('wepadim_predict', model, *pictures, '--out', tmp_path/'out', '--coco')
    assert code == 0, err
    rows = list(csv.DictReader(open(tmp_path/'out'/'scores.csv', encoding='utf-8-sig')))
    table = {Path(r['image']).name: r for r in csv.DictReader(open(tmp_path/'r'/LITE/'categories'/'cell'/'scores.csv', encoding='utf-8-sig'))}
    assert len(rows) == len(pictures) and table
    m = WEPaDiM.load(model)
    p = m.predict(pictures)
    assert p.maps.shape == (len(pictures), 96, 64) and m.embedding.grid == (6, 4)
    assert np.allclose(p.scores, [float(r['score']) for r in rows], rtol=1e-5)
    for regions in p.regions:
        for r in regions: assert 0 <= r.left and r.left + r.width <= 200 and 0 <= r.top and r.top + r.height <= 300
    assert Image.open(next((tmp_path/'out'/'heatmaps').iterdir())).size == ((200, 300) if input == 'whole' else (64, 96))


def test_a_map_shows_a_defect_where_it_is(good):
    m = WEPaDiM(backbone=LITE, image_size=(128, 192), grid_size=16, window=0).fit(good[:6])
    picture = np.array(Image.open(good[6]).convert('RGB'))
    picture[200:240, 40:80] = 255
    amap = m.predict([picture]).maps[0]
    y, x = np.unravel_index(amap.argmax(), amap.shape)
    assert 20 <= x*300/128 <= 100 and 180 <= y*300/192 <= 260, (x, y)


def test_a_search_agrees_with_a_fit(tall):
    cat = category(tall, 'cell')
    paths, tests, labels = [s.path for s in cat.train], [s.path for s in cat.test], [s.label for s in cat.test]
    s = preset('recommended', LITE, image_size=(64, 96), grid_size=4, n_features=16)
    net = Backbone(LITE)
    [(_, _, scores)], _ = search([s], extract(net, paths, s), extract(net, tests, s), labels)
    assert np.allclose(np.asarray(scores), WEPaDiM(s).fit(paths).predict(tests).scores, rtol=1e-4)


def test_a_run_of_another_shape_is_another_run(tall, tmp_path):
    run = RunSettings(data_path=str(tall), save_path=str(tmp_path), dataset_type='mvtec')
    shapes = (64, (64, 96), (96, 64))
    assert len({run_folder([preset(backbone=LITE, image_size=s)], run) for s in shapes}) == 3
    fixed = run.model_copy(update=dict(run_name='fixed', models=(LITE,)))
    run_single([preset(backbone=LITE, image_size=64, grid_size=4)], fixed)
    with pytest.raises(InputError, match='image_size 64 there'): run_single([preset(backbone=LITE, image_size=(64, 96), grid_size=4)], fixed)


def test_a_turned_input_is_warned_of_once(tall, tmp_path, call):
    from wepadim import errors
    errors._warned.clear()
    code, err, _ = call('wepadim_run', '--data_path', tall, *FLAGS, '--image_size', '96x64', '--save_path', tmp_path)
    assert code == 0 and sum('did you mean --image_size 64x96' in line for line in err) == 1, err
    errors._warned.clear()
    _, err, _ = call('wepadim_run', '--data_path', tall, *FLAGS, '--image_size', '64x96', '--save_path', tmp_path)
    assert not any('did you mean' in line for line in err)


LARGE = '''
import sys, numpy as np
from PIL import Image
from wepadim.model import WEPaDiM
from wepadim.provenance import peak_rss
def part(seed, spot=False):
    "A brushed surface of 4000 x 3000 pixels; a spot is 6 pixels wide."
    rng = np.random.default_rng(seed)
    streaks = Image.fromarray(rng.normal(128, 9, (750, 50)).astype(np.float32)).resize((4000, 3000))
    grey = (np.asarray(streaks) + 6*rng.standard_normal((3000, 4000), dtype=np.float32)).clip(0, 255).astype(np.uint8)
    if spot: grey[1700:1706, 2300:2306] = 20
    return grey
w, h = map(int, sys.argv[1:3])
m = WEPaDiM(backbone='efficientnet-lite0', image_size=(w, h), memory_budget=2.75).fit([part(i) for i in range(8)])
good = [m.predict([part(100 + i)]).scores[0] for i in range(4)]
found = []
for i in range(4):
    p = m.predict([part(200 + i, True)])
    y, x = np.unravel_index(p.maps[0].argmax(), p.maps[0].shape)
    at_spot = abs(x*4000/w - 2303) < 100 and abs(y*3000/h - 1703) < 100
    found.append(bool(at_spot and p.scores[0] > max(good)))
print(sum(found), peak_rss()/2**30)
'''


def test_12_megapixels_stay_in_the_budget_and_show_six_pixels():
    "What a 256 input loses, one of 1536 x 1024 finds, in 2.75 GiB."
    found = {}
    for size in ((256, 256), (1536, 1024)):
        r = subprocess.run([sys.executable, '-c', LARGE, *map(str, size)], capture_output=True, text=True, timeout=900)
        assert r.returncode == 0, r.stderr[-2000:]
        assert 'memory_budget' not in r.stderr
        n, gib = r.stdout.split()
        found[size] = int(n)
        assert float(gib) < 2.75, gib
    assert found == {(256, 256): 0, (1536, 1024): 4}


# where to look

BAD_MASKS = {
    'of another shape': (lambda p: half(p, (200, 300)), ['200x300', '300x300']),
    'all black': (lambda p: half(p, box=(0, 0, 0, 0)), ['all black', 'white where to look']),
    'not a picture': (lambda p: p.write_text('no picture'), ['mask.png', 'cannot be read as a mask']),
    'not there': (lambda p: None, ['mask.png', 'no such file'])}


@pytest.mark.parametrize('kind', BAD_MASKS)
def test_a_bad_mask_is_one_line(kind, painted_cells, good, tmp_path, call):
    make, says = BAD_MASKS[kind]
    mask = tmp_path/'mask.png'
    make(mask)
    code, err, _ = call('wepadim_run', '--data_path', painted_cells, *FLAGS, '--image_size', '64', '--save_path', tmp_path/'r', '--roi', mask)
    assert code == 2 and len(err) == 1 and all(part in err[0] for part in says), err
    with pytest.raises(InputError, match=says[0]): WEPaDiM(**SMALL, roi=mask).fit(good[:4])
    WEPaDiM(**SMALL).fit(good[:4]).save(tmp_path/'m')
    code, err, _ = call('wepadim_predict', tmp_path/'m', good[0], '--out', tmp_path/'out', '--roi', mask)
    assert code == 2 and len(err) == 1 and all(part in err[0] for part in says), err


def test_what_lies_outside_changes_nothing_that_is_learned(good):
    "Wild pixels far outside, in training and in test pictures: scores, thresholds and scale stay as they are."
    rng = np.random.default_rng(0)
    mask = np.zeros((300, 300))
    mask[:, :100] = 1
    clean = [np.array(Image.open(p).convert('RGB')) for p in good[:12]]
    spoiled = []
    for c in clean:
        s = c.copy()
        s[:, 280:] = rng.integers(0, 256, (300, 20, 3))
        spoiled.append(s)
    kinds = dict(recommended={}, published=dict(preset='published', input='whole'), plain=dict(window=0, n_features=0))
    for kw in kinds.values():
        options = dict(backbone='resnet18', weights='random', image_size=192, **({} if 'preset' in kw else dict(grid_size=12)), **kw)
        m, n = (WEPaDiM(**options, roi=mask).fit(x[:8]) for x in (clean, spoiled))
        whole = WEPaDiM(**options).fit(clean[:8])
        a, b = m.predict(clean[8:]), n.predict(spoiled[8:])
        assert (a.maps[:, :, 64:] == 0).all() and (a.maps[:, :, :64] > 0).all()
        def gap(x, y): return abs(x/y - 1)
        assert gap(a.scores, b.scores).max() < .1
        assert gap(m.threshold, n.threshold) < .1 and gap(m.thresholds['pixel'].value, n.thresholds['pixel'].value) < .1
        assert max(gap(x, y) for x, y in zip(m.scale, n.scale)) < .1
        assert gap(m.predict(spoiled[8:]).scores, a.scores).max() < .1
        assert gap(whole.predict(spoiled[8:]).scores, whole.predict(clean[8:]).scores).min() > .2   # without a mask it matters


def test_positions_outside_are_not_asked(good):
    "Their embeddings may be anything: not a digit of what is inside changes but for rounding."
    mask = np.zeros((300, 300))
    mask[60:220, 30:200] = 1
    for window, n_features in ((2, 16), (0, 0)):
        m = WEPaDiM(backbone=LITE, image_size=64, grid_size=8, window=window, n_features=n_features, roi=mask)
        X = np.concatenate([e.numpy() for _, e in m._embeddings(good[:12], 12)])
        found = []
        for scale in (1, 30):
            x = torch.tensor(X)
            x[:, ~m._inside] *= scale
            m._fit_to(x, .5, 8)
            p = m._score([None]*12, x)
            found.append((p.scores, p.maps, m.threshold, m.thresholds['pixel'].value, *m.scale))
        for one, other in zip(*found): assert np.allclose(one, other, rtol=2e-3), (window, np.max(np.abs(one - other)))


def test_the_mask_is_kept_and_cannot_be_missed(good, tmp_path):
    m = WEPaDiM(**LONG, roi=half(tmp_path/'mask.png')).fit(good[:8])
    m.save(tmp_path/'m')
    again = WEPaDiM.load(tmp_path/'m')
    p, q = m.predict(good[8:10]), again.predict(good[8:10])
    assert np.array_equal(p.maps, q.maps) and (p.maps[:, :, 32:] == 0).all() and (p.maps[:, :, :32] > 0).all()
    assert not p.defects[:, :, 32:].any()
    meta = read_json(tmp_path/'m'/'model.json')
    assert meta['format_version'] == 7   # so that an older version refuses it, and does not look everywhere
    assert meta['roi']['size'] == [300, 300] and len(meta['roi']['sha256']) == 64


def test_a_crop_of_the_mask(good):
    mask = np.zeros((300, 300))
    mask[:, :150] = 1
    m = WEPaDiM(**SMALL, input='crop', roi=mask).fit(good[:6])
    assert m.predict(good[6:8]).maps[:, :, 33:].max() == 0
    corner = np.zeros((300, 300))
    corner[:9, :9] = 1
    with pytest.raises(InputError, match='nothing of its white is left'): WEPaDiM(**SMALL, input='crop', roi=corner)


def test_a_mask_of_all_white_changes_nothing(good):
    for kw in (SMALL, LONG, dict(backbone=LITE, preset='published')):
        plain, masked = (WEPaDiM(**kw, **more).fit(good[:8]) for more in ({}, dict(roi=np.ones((300, 300)))))
        assert np.allclose(plain.predict(good[8:10]).maps, masked.predict(good[8:10]).maps, rtol=1e-5)
        assert np.allclose(plain.threshold, masked.threshold) and np.allclose(plain.scale, masked.scale)
        assert np.allclose(plain.thresholds['pixel'].value, masked.thresholds['pixel'].value)


def test_another_view_of_a_roi_is_made_anew(good):
    "A `Roi` that was made for the whole picture is not taken as one of the crop."
    mask = np.zeros((300, 300))
    mask[:, :100] = 1
    crop = dict(SMALL, input='crop')
    ours, theirs = (WEPaDiM(**crop, roi=r) for r in (Roi(mask, 'whole', 64), mask))
    assert (ours.roi.view == theirs.roi.view).all() and ours.roi.view.mean() == .3125   # of the whole picture: .328


def test_predict_narrows(good, tmp_path, call):
    left, top = half(tmp_path/'left.png'), half(tmp_path/'top.png', box=(0, 0, 300, 150))
    WEPaDiM(**SMALL, roi=left).fit(good[:8]).save(tmp_path/'m')
    makers = []
    for roi in ((), ('--roi', top)):
        code, err, _ = call('wepadim_predict', tmp_path/'m', *good[8:11], '--out', tmp_path/'out', *roi)
        assert code == 0, err
        makers.append(read_json(tmp_path/'out'/'run.json')['roi'])
    assert (makers[0]['inside'], makers[1]['inside']) == (.5, .25) and makers[0]['sha256'] != makers[1]['sha256']
    m = WEPaDiM.load(tmp_path/'m').narrow(top)
    p = m.predict(good[8:11])
    assert p.maps[:, 32:].max() == 0 and p.maps[:, :, 32:].max() == 0 and (p.maps[:, :32, :32] > 0).all()
    rows = csv.DictReader(open(tmp_path/'out'/'scores.csv', encoding='utf-8-sig'))
    assert np.allclose([float(r['score']) for r in rows], p.scores, rtol=1e-5)


def test_metrics_leave_out_what_lies_outside(painted_cells, tmp_path):
    cat = category(painted_cells, 'cell')
    mask = half(tmp_path/'mask.png')
    run = RunSettings(data_path=str(painted_cells), roi=str(mask))
    own = np.stack([load_mask(s.masks) if s.masks else np.zeros((300, 300), bool) for s in cat.test])
    outside = sum(ndimage.label(m, np.ones((3, 3)))[1] - len(np.unique(ndimage.label(m, np.ones((3, 3)))[0][:, :150])) + 1 for m in own)
    for resolution in ('input', 'mask'):
        settings = preset(backbone=LITE, image_size=64, grid_size=4)
        out = run_category(settings, run.model_copy(update=dict(metric_resolution=resolution)), cat)
        roi, about = out.result['roi'], out.result['masks']
        assert roi['pixels_left_out'] == 64*32 and roi['inside'] == .5
        gone = about['defects_outside_roi']
        assert gone == outside if resolution == 'mask' else 0 < gone <= outside   # at 64 pixels, some of them are lost anyway
        known = sum(out.known)
        each = 64*32 if resolution == 'input' else 300*150
        assert len(out.pixels.flat(out.prediction.maps)) == known*each
        if resolution == 'mask':
            large = torch.nn.functional.interpolate(torch.from_numpy(out.prediction.maps)[:, None], (300, 300), mode='bilinear')[:, 0].numpy()
            assert out.result['pixel_auc'] == pytest.approx(auroc(own[:, :, :150].ravel(), large[:, :, :150].ravel()), abs=1e-6)
            continue
        inside, known_maps = out.masks[:, :, :32][out.known], out.prediction.maps[:, :, :32][out.known]
        assert out.result['pixel_auc'] == pytest.approx(auroc(inside.ravel(), known_maps.ravel()), abs=1e-9)
        alarms = out.prediction.defects[out.labels == 0][:, :, :32]
        assert out.result['threshold']['pixel']['achieved_false_alarms'] == pytest.approx(alarms.mean())


def test_a_run_with_a_mask_is_not_one_without(painted_cells, tmp_path, call):
    "Its results are used again only for the same mask, whatever the name of its file."
    one, other = half(tmp_path/'one.png'), half(tmp_path/'other.png', box=(0, 0, 150, 299))
    run = RunSettings(data_path=str(painted_cells), save_path=str(tmp_path/'r'), models=(LITE,))
    settings = preset(backbone=LITE, image_size=64, grid_size=4)
    def folder(**changes): return run_folder([settings], run.model_copy(update=changes))
    shutil.copy(one, tmp_path/'copy.png')
    assert len({folder(), folder(roi=str(one)), folder(roi=str(other))}) == 3
    assert folder(roi=str(one)) == folder(roi=str(tmp_path/'copy.png'))
    argv = ['--data_path', painted_cells, *FLAGS, '--image_size', '64', '--save_path', tmp_path/'r', '--run_name', 'fixed']
    assert call('wepadim_run', *argv, '--roi', one)[0] == 0
    code, _, out = call('wepadim_run', *argv, '--roi', tmp_path/'copy.png')
    assert code == 0 and 'already done' in out
    for flags in ((), ('--roi', other)):
        code, err, _ = call('wepadim_run', *argv, *flags)
        assert code == 2 and 'roi' in err[0], err
    result = read_json(tmp_path/'r'/'fixed'/LITE/'categories'/'cell.json')
    assert result['roi']['sha256'] == result['identity']['roi']


def test_a_search_refuses_a_mask(painted_cells, tmp_path, call):
    argv = ['--data_path', painted_cells, *FLAGS[:-2], '--experiment_type', 'grid_search', '--roi', half(tmp_path/'m.png'), '--save_path', tmp_path]
    code, err, _ = call('wepadim_run', *argv)
    assert code == 2 and '--roi: a search looks at whole pictures' in err[0], err
