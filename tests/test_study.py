"What the study pages call: nbs/studies/study.py."
from dataclasses import replace

import numpy as np, pytest, torch
from PIL import Image

import study
from wepadim.config import RunSettings, preset
from wepadim.data import category, limit
from wepadim.errors import InputError
from wepadim.evaluate import run_category
from wepadim.listed import elpv_root
from wepadim.samples import Sample

BASE = preset('recommended', 'efficientnet-lite0', image_size=64, grid_size=4, n_features=16)


@pytest.fixture(scope='module')
def cells():
    return limit(category(elpv_root(), 'mono'), 16, 8)


@pytest.fixture
def run(): return RunSettings(data_path=str(elpv_root()))


def test_the_solar_cells_are_the_default(monkeypatch):
    monkeypatch.delenv('WEPADIM_DATA', raising=False)
    [cells] = study.study_categories()
    assert cells.name == 'mono' and study.study_backbone() == 'efficientnet-lite0'
    with pytest.raises(InputError, match='no category of bottle'): study.study_categories(['bottle'])


def test_rows_are_those_of_a_run_and_are_kept(cells, run, tmp_path):
    variants = {'LL': BASE, 'smaller': BASE.model_copy(update=dict(image_size=48, grid_size=3)), 'decimated': BASE.model_copy(update=dict(wavelet_transform='dwt'))}
    rows = study.compare(cells, variants, run, tmp_path)
    assert [r['variant'] for r in rows] == list(variants) and rows[0]['grid'] == [4, 4] and rows[0]['pixel_auc'] is None
    for row, settings in zip(rows, variants.values()):
        assert row['img_auc'] == pytest.approx(run_category(settings, run, cells).result['img_auc'], abs=1e-9)
    [file] = tmp_path.iterdir()
    before = file.stat().st_mtime_ns
    assert study.compare(cells, variants, run, tmp_path) == rows and file.stat().st_mtime_ns == before
    study.compare(replace(cells, train=cells.train[:-1]), variants, run, tmp_path)   # other images: another file
    assert len(list(tmp_path.iterdir())) == 2
    assert study.side_by_side(rows)[0]['decimated'] == round(100*rows[2]['img_auc'], 2)


def test_averages_leave_out_what_is_not_there():
    def row(name, auc): return dict(category=name, variant='LL', img_auc=auc, pixel_auc=None, aupro=None, seconds=1., grid=[4, 4])
    assert study.averages([row('a', .5), row('b', 1.)]) == [{'variant': 'LL', 'image AUROC': 75., 'pixel AUROC': None, 'AUPRO': None, 'seconds': 2., 'grid': '4x4'}]


def test_moved_parts(cells, tmp_path):
    away = study.moved_category(cells, tmp_path)
    assert len(away.train) == 16 and [s.label for s in away.test] == [s.label for s in cells.test]
    assert study.moved_category(cells, tmp_path).train == away.train
    assert (np.asarray(Image.open(away.train[0].path)) != np.asarray(Image.open(cells.train[0].path).convert('RGB'))).mean() > .5


def test_a_defect_that_leaves_the_view(cells, tmp_path):
    "Of a defect in the middle and one in the corner, a large shift keeps one."
    def spot(at):
        mask = np.zeros((60, 60), np.uint8)
        mask[at:at + 2, at:at + 2] = 255
        Image.fromarray(mask).save(tmp_path/f'{at}.png')
        return Sample(tmp_path/f'{at}.png', 1, 'spot', (tmp_path/f'{at}.png',))
    two = replace(cells, train=cells.train[:2], test=[spot(30), spot(0)], spare=[])
    moved = study.moved_category(two, tmp_path, degrees=0, shift=.4, seed=0)
    assert [s.path.name for s in moved.test] == ['0000.png']


def test_principal_components():
    x = torch.randn(50, 4, 6, generator=torch.Generator().manual_seed(0))*torch.tensor([1., 2, 3, 4, 5, 6])
    v = study.principal_components(x, 2)
    assert torch.allclose(v.T @ v, torch.eye(2), atol=1e-5) and (x @ v).var() > x[..., 4:].var()*.95
    chosen = study.random_channels(4, 2, 0)
    assert chosen.shape == (4, 2) and chosen.sum() == 2 and torch.equal(chosen.T @ chosen, torch.eye(2))


def test_the_first_way_to_reduce_is_the_detector_itself(cells, run, tmp_path):
    rows = study.reduced_rows(cells, BASE, run, tmp_path)
    assert [r['variant'] for r in rows] == ['random directions', 'principal components', 'random channels']
    assert rows[0]['img_auc'] == pytest.approx(run_category(BASE, run, cells).result['img_auc'], abs=1e-9)
