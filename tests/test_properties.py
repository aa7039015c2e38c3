"Properties that hold for every input that hypothesis can think of: settings, split files, metrics against their definitions, alignment."
import csv, io, json, tempfile
from pathlib import Path

import numpy as np, pytest, torch
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from wepadim.config import BACKBONES, InputError, RunSettings, Settings, subbands
from wepadim.errors import read_json, write_json
from wepadim.data import category
from wepadim.maps import map_matrices
from wepadim.metrics import alarm_metrics, aupro, auroc, average_precision, f1_max, image_metrics, pixel_curve, pixel_metrics
from wepadim.pixels import PixelLabels
from wepadim.embedding import grid_matrices, place_matrix, resize_matrix

few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
many = settings(max_examples=200, deadline=None)
words = st.one_of(st.none(), st.booleans(), st.integers(-10**6, 10**6), st.floats(), st.text(max_size=12), st.lists(st.text(max_size=4), max_size=3))


# ---------- settings ----------
@many
@given(cls=st.sampled_from([Settings, RunSettings]), data=st.data())
def test_settings_are_taken_or_refused_in_one_line(cls, data):
    "Any value of any setting: an `InputError` of one line that names it, or an object that survives being written."
    names = data.draw(st.lists(st.sampled_from([*cls.model_fields, 'sigmaa', '']), min_size=1, max_size=3, unique=True))
    given = {n: data.draw(words) for n in names}
    try: s = cls(**given)
    except InputError as e:
        assert len(str(e).splitlines()) <= 1 or any('\n' in str(v) for v in given.values())
        assert any(n in str(e) for n in names) or 'sub-band' in str(e) or 'wavelet' in str(e), e
        return
    with tempfile.TemporaryDirectory() as d:
        assert read_json(write_json(Path(d)/'s.json', s), cls) == s


@many
@given(st.lists(st.sampled_from(['LL', 'LH', 'HL', 'HH']), min_size=1, max_size=8), st.sampled_from(['|', ' ', ',']))
def test_subbands_have_one_order(names, sep):
    assert subbands(sep.join(names)) == subbands(names) == subbands(subbands(names)) and set(subbands(names)) == set(names)


# ---------- split files ----------
cells = st.one_of(st.sampled_from(['train', 'test', 'normal', 'anomaly', 'candle', '', 'candle/0.png', 'candle/1.png', 'candle/2.png', 'candle/m.png', '../x', '/etc/passwd']), st.text(max_size=8))


@few
@given(header=st.one_of(st.just(['object', 'split', 'label', 'image', 'mask']), st.lists(st.sampled_from(['object', 'split', 'label', 'image', 'mask', 'x']), max_size=6)), rows=st.lists(st.lists(cells, max_size=6), max_size=6),
       whole=st.booleans(), end=st.sampled_from(['\n', '\r\n']), start=st.sampled_from(['', '\ufeff']))
def test_split_files(tmp_path_factory, header, rows, whole, end, start):
    "A category, or an `InputError` that names the file or the image."
    root = tmp_path_factory.mktemp('visa')
    (root/'candle').mkdir(); (root/'split_csv').mkdir()
    for i in range(3): (root/'candle'/f'{i}.png').write_bytes(b'x')
    (root/'candle'/'m.png').write_bytes(b'x')
    if whole: rows = [['candle', 'train', 'normal', f'candle/{i}.png', ''] for i in range(2)] + rows
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerows([header, *rows])
    (root/'split_csv'/'1cls.csv').write_bytes((start + text.getvalue()).encode('utf-8', 'replace'))
    try: c = category(root, 'candle', 'visa')
    except InputError as e: assert any(s in str(e) for s in ('1cls.csv', str(root), 'candle')), e
    else:
        assert len(c.train) >= 2 and all(s.label == 0 for s in c.train) and all(s.path.is_file() and root in s.path.parents for s in c.train + c.test)
        paths = [s.path for s in c.train + c.test]
        assert len(set(paths)) == len(paths)


# ---------- metrics ----------
ties = st.integers(-3, 3).map(float)
scores = st.lists(st.one_of(ties, st.floats(-2.**90, 2.**90, width=32)), min_size=1, max_size=30)


def naive_auroc(labels, s):
    good, bad = s[labels == 0], s[labels == 1]
    return np.mean([(b > g) + .5*(b == g) for b in bad for g in good])


@many
@given(scores, st.data())
def test_auroc_ap_f1_are_their_definitions(s, data):
    labels, s = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(s), max_size=len(s)))), np.float32(s)
    m = image_metrics(labels, s)
    if len(set(labels)) < 2: assert m['img_auc'] is None and m['img_reason']; return
    assert m['img_auc'] == pytest.approx(naive_auroc(labels, s), abs=1e-12) and auroc(labels, s) == m['img_auc']
    assert 0 <= m['img_auc'] <= 1 and auroc(1 - labels, s) == pytest.approx(1 - m['img_auc'], abs=1e-12)
    curve = [((labels[s >= t] == 1).sum(), (s >= t).sum()) for t in np.unique(s)[::-1]]
    n, found, ap = labels.sum(), 0, 0.
    for tp, k in curve: ap, found = ap + (tp - found)/n*tp/k, tp
    assert average_precision(labels, s) == pytest.approx(ap, abs=1e-12)
    assert f1_max(labels, s)[0] == pytest.approx(max(2*tp/(k + n) for tp, k in curve), abs=1e-12)


def naive_aupro(masks, maps, limit=.3):
    "The mean overlap of regions over the false-positive rate of good pixels, by trapezoids between all thresholds."
    from scipy import ndimage
    regions = [(i, r == j) for i, m in enumerate(masks) for r, n in [ndimage.label(m, np.ones((3, 3)))] for j in range(1, n + 1)]
    points = [(0., 0.)]
    for t in np.unique(maps)[::-1]: points.append(((maps[~masks] >= t).mean(), np.mean([(maps[i][r] >= t).mean() for i, r in regions])))
    x, y = map(np.array, zip(*points))
    inside = x <= limit
    xs, ys = x[inside], y[inside]
    if not inside.all():
        k = inside.sum()
        xs, ys = np.r_[xs, limit], np.r_[ys, y[k - 1] + (y[k] - y[k - 1])*(limit - x[k - 1])/(x[k] - x[k - 1])]
    return np.sum(np.diff(xs)*(ys[1:] + ys[:-1])/2)/limit


@few
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from(['ties', 'constant', 'floats', 'halves']), st.floats(.05, .6))
def test_pixel_metrics_are_their_definitions(seed, n, kind, part):
    rng = np.random.default_rng(seed)
    masks = rng.random((n, 9, 11)) < part*rng.random((n, 1, 1))
    maps = {'ties': rng.integers(0, 4, masks.shape), 'constant': np.ones(masks.shape), 'floats': rng.normal(size=masks.shape), 'halves': rng.integers(-1, 2, masks.shape)/2}[kind].astype(np.float32)
    if not masks.any(): assert pixel_metrics(masks, maps)['pixel_auc'] is None; return
    assume(not masks.all())
    m = pixel_metrics(masks, maps)
    assert m['pixel_auc'] == pytest.approx(naive_auroc(masks.ravel().astype(int), maps.ravel()), abs=1e-9)
    assert m['aupro_05'] == pytest.approx(naive_aupro(masks, maps, .05), abs=1e-9)
    assert m['aupro'] == pytest.approx(naive_aupro(masks, maps), abs=1e-9) and aupro(masks, maps) == pytest.approx(m['aupro'], abs=1e-9)


def naive_aupimo(good, bad, low=1e-5, high=1e-4):
    "The area under the overlap of one image, on a logarithmic axis, straight piece by straight piece."
    points = [(0., 0.)] + [((good >= t).mean(), (bad >= t).mean()) for t in np.unique(np.r_[good, bad])[::-1]]
    area = 0.
    for (f0, t0), (f1, t1) in zip(points, points[1:]):
        if f1 == f0: continue
        a, b, slope = max(f0, low), min(f1, high), (t1 - t0)/(f1 - f0)
        if a < b: area += (t0 - slope*f0)*np.log(b/a) + slope*(b - a)
    return area/np.log(high/low)


@settings(few, max_examples=8)
@given(st.integers(0, 2**32 - 1), st.sampled_from(['ties', 'constant', 'levels', 'full']))
def test_aupimo_is_its_definition(seed, kind):
    "Two good images of 320 x 320, three defective ones; one of them with a full mask, one whose defect the mask has lost."
    rng = np.random.default_rng(seed)
    maps = {'constant': np.ones((5, 320, 320)), 'levels': rng.integers(0, 200, (5, 320, 320))}.get(kind, rng.integers(0, 40, (5, 320, 320))).astype(np.float32)
    masks = np.zeros(maps.shape, bool)
    masks[2, 5:9, 5:9] = masks[3, :60] = True
    if kind == 'full': masks[3] = True
    maps[2:] += rng.integers(0, 20)*masks[2:] if kind != 'constant' else 0
    top = maps[:2].ravel().argsort()[-9:]
    if kind != 'constant': maps[:2].reshape(-1)[top] += 30
    truth = PixelLabels(masks, good=[True, True, False, False, False])
    got = pixel_curve(truth, maps).overlaps
    for i in (2, 3): assert got[i] == pytest.approx(naive_aupimo(maps[:2].ravel(), maps[i][masks[i]]), abs=1e-9)
    assert np.isnan(got[[0, 1, 4]]).all()
    m = pixel_metrics(truth, maps)
    assert m['aupimo'] == np.nanmean(got) and m['aupimo_median'] == np.nanmedian(got) and 'aupimo_reason' not in m


def test_aupimo_is_that_of_anomalib():
    "Which samples thresholds and joins them by straight lines: equal to some thousandths."
    from scipy import ndimage
    from anomalib.metrics.pimo import functional as pimo
    rng = np.random.default_rng(0)
    maps = ndimage.gaussian_filter(rng.normal(size=(16, 384, 384)), (0, 2, 2)).astype(np.float32)
    masks = np.zeros(maps.shape, bool)
    for i in range(12, 16): masks[i, 20:20 + 9*i, 50:120] = True
    maps[12:] += masks[12:]*rng.uniform(.3, .7, (4, 1, 1)).astype(np.float32)
    theirs = pimo.aupimo_scores(torch.tensor(maps), torch.tensor(masks).int(), num_thresholds=50_000)[4].numpy()
    ours = pixel_curve(PixelLabels(masks), maps).overlaps
    np.testing.assert_allclose(ours[12:], theirs[12:], atol=.01)
    assert .05 < ours[12:].mean() < .95


@many
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 40, 10**6]), st.sampled_from([1, 7, 49, 50, 51, 120]), st.sampled_from([1, 8, 50, 63, 101]))
def test_presorted_parts_and_alarms_are_their_definitions(seed, values, n_good, n_bad):
    rng = np.random.default_rng(seed)
    good, bad = rng.integers(0, values, n_good).astype(np.float32), rng.integers(0, values, n_bad).astype(np.float32) + rng.integers(0, 3)
    labels, scores = np.repeat([0, 1], [n_good, n_bad]), np.r_[good, bad]
    every = np.r_[np.unique(scores), np.inf]
    m = image_metrics(labels, scores)
    assert m['pg2'] == pytest.approx(max((good < t).mean() for t in every if (bad < t).sum()*100 <= 2*n_bad), abs=1e-9)
    assert m['pb2'] == pytest.approx(max((bad >= t).mean() for t in every if (good >= t).sum()*100 <= 2*n_good), abs=1e-9)
    for threshold in (every[0], every[len(every)//2]):
        a = alarm_metrics(labels, scores >= threshold)
        assert a == dict(recall_at_threshold=(bad >= threshold).mean(), false_alarm_rate_at_threshold=(good >= threshold).mean())
    assert image_metrics(labels[:n_good], good)['pg2'] is None and alarm_metrics(labels[:n_good], good > 0)['recall_at_threshold_reason']


# ---------- alignment ----------
sizes = st.integers(1, 40)


@many
@given(sizes, sizes)
def test_resizing_keeps_what_is_constant(n, m):
    R = resize_matrix(n, m)
    assert R.shape == (m, n) and (R >= -1e-12).all()
    np.testing.assert_allclose(R.sum(1), 1, atol=1e-9)
    if n == m: np.testing.assert_allclose(R, np.eye(n), atol=1e-9)


@few
@given(st.integers(1, 32), st.integers(32, 96), st.sampled_from([0., 1., 4.]))
def test_maps_of_a_flat_grid_are_flat(grid, size, sigma):
    U, V = map_matrices((grid, grid), size, sigma, 'gaussian')
    m = U @ np.ones((grid, grid)) @ V.T
    assert m.shape == (size, size)
    np.testing.assert_allclose(m, 1, atol=1e-6)


@many
@given(st.integers(1, 30), st.lists(st.floats(-50, 50), min_size=1, max_size=20))
def test_places_are_weighted_neighbours(n, at):
    "Each row is an interpolation of at most two coefficients, beyond the ends the last one, and exact where a place is a coefficient."
    P = place_matrix(np.array(at), n)
    np.testing.assert_allclose(P.sum(1), 1, atol=1e-9)
    assert ((P > 0).sum(1) <= 2).all()
    np.testing.assert_allclose(P @ np.arange(n), np.clip(at, 0, n - 1), atol=1e-9)


@few
@given(st.sampled_from(['haar', 'db2', 'sym4']), st.sampled_from(['dwt', 'swt', 'none']), st.integers(8, 32), st.integers(2, 24), st.integers(1, 2), st.sampled_from(['centred', 'stretched']))
def test_alignment_of_what_is_constant_inside(wavelet, transform, n, grid, level, geometry):
    "LL of a constant map is constant on the grid, wherever no filter reaches over the border."
    M = grid_matrices(n, grid, wavelet, level, 'symmetric', transform, geometry)
    for (half, j), m in M.items():
        assert m.shape == (grid, n) and np.isfinite(m).all()
        inner = (m @ np.ones(n))[grid//3:-(grid//3) or None]
        want = 0 if half == 'hi' else inner[0]
        np.testing.assert_allclose(inner, want, atol=1e-9)
