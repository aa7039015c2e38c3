"Preset `published` on real data gives the published implementation's numbers."
import json, os
from pathlib import Path

import numpy as np, pytest

from wepadim.data import category
from wepadim.truth import load_masks
from wepadim.metrics import auroc
from wepadim.model import WEPaDiM

KEYS = ('wavelet_type', 'wavelet_level', 'wavelet_kept_subbands', 'sigma', 'cov_reg')


@pytest.fixture
def reference(real_data):
    path = Path(os.environ.get('WEPADIM_REFERENCE') or real_data().parent/'reference'/'bottle_resnet18.json')
    if not path.is_file(): pytest.skip(f'no {path}: set WEPADIM_REFERENCE to the published scores of MVTec bottle')
    return json.loads(path.read_text())


def test_every_entry_of_the_reference(real_data, real_weights, reference):
    cat = category(real_data('MVTec'), 'bottle')
    weights, names = real_weights('resnet18.pth'), [str(s.path.relative_to(cat.root/'bottle')) for s in cat.test]
    assert sorted(names) == sorted(reference['image_order']) and len(reference['entries']) >= 1
    for entry in reference['entries']:
        model = WEPaDiM(preset='published', backbone='resnet18', weights=weights, **{k: entry[k] for k in KEYS})
        p = model.fit([s.path for s in cat.train]).predict([s.path for s in cat.test])
        want = dict(zip(reference['image_order'], entry['image_scores']))
        np.testing.assert_allclose(p.scores, [want[n] for n in names], rtol=1e-5)
        assert auroc([s.label for s in cat.test], p.scores) == pytest.approx(entry['img_auc'], abs=1e-5)
        assert auroc(load_masks(cat, model.settings), p.maps) == pytest.approx(entry['pixel_auc'], abs=1e-5)


def test_phase1_finds_the_reference_among_its_216(real_data, real_weights, reference, tmp_path, shell):
    r = shell('wepadim_phase1', '--dataset_type', 'mvtec', '--data_path', real_data('MVTec'), '--classes', 'bottle', '--model', 'resnet18', '--weights', real_weights('resnet18.pth'),
              '--save_path', tmp_path, '--run_name', 'phase1')
    assert r.returncode == 0, r.stderr
    found = json.loads((tmp_path/'phase1'/'resnet18'/'resnet18_wavelet_grid_search_results_final.json').read_text())
    assert len(found) == 216
    by_params = {json.dumps({k: f['params'][k] for k in KEYS}): f for f in found}
    checked = 0
    for entry in reference['entries']:
        f = by_params.get(json.dumps({k: entry[k] for k in KEYS}))
        if f is None: continue   # not in the reduced grid
        assert f['avg_img_auc'] == pytest.approx(entry['img_auc'], abs=1e-5) and f['avg_pixel_auc'] == pytest.approx(entry['pixel_auc'], abs=1e-5)
        checked += 1
    assert checked >= 1
