"Preset `published` on real data gives the published implementation's numbers."
import json, os
from pathlib import Path

import numpy as np, pytest

from wepadim.data import category
from wepadim.experiment import load_masks
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
