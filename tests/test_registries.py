"A new backbone, wavelet, layout or metric is known everywhere after one call, or one line."
import numpy as np, pytest, torch
from PIL import Image
from torch import nn

from wepadim.backbone import NETWORKS, Backbone, add_backbone, layer_shapes
from wepadim.config import BACKBONES, WAVELETS, Settings
from wepadim.data import category, detect_layout
from wepadim.layouts import LAYOUTS, Category, Sample, add_layout
from wepadim.metrics import METRICS, Metric, image_metrics, pixel_metrics
from wepadim.model import WEPaDiM
from wepadim.wavelet import add_wavelet


def pictures(folder, n, seed=0):
    "Some noise on grey as picture files."
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(n):
        noise = rng.normal(128, 10, (32, 32, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noise).save(folder/f'{i}.png')
    return sorted(folder.iterdir())


@pytest.fixture
def forget():
    "Take out of the registries what a test puts in."
    before = [(r, dict(r)) for r in (NETWORKS, LAYOUTS, METRICS)]
    lists = [(l, list(l)) for l in (BACKBONES, WAVELETS)]
    yield
    for registry, content in before:
        registry.clear()
        registry.update(content)
    for names, content in lists: names[:] = content


def test_a_backbone(tmp_path, forget):
    def build(): return nn.Sequential(nn.Conv2d(3, 6, 3, 4, 1), nn.ReLU()), {'one': ['0', '1']}
    add_backbone('pebble', build, layers=['one'])
    assert layer_shapes('pebble', size=32) == [(6, 8, 8)]
    assert Settings(backbone='pebble').backbone == 'pebble'
    model = WEPaDiM(backbone='pebble', weights='random', image_size=32, grid_size=4, n_features=0)
    scores, _, _ = model.fit(pictures(tmp_path/'good', 6)).predict(pictures(tmp_path/'new', 2, 1))
    assert len(scores) == 2 and np.isfinite(scores).all()
    again = WEPaDiM.load(model.save(tmp_path/'model'))
    assert np.array_equal(again.predict(tmp_path/'new').scores, scores)


def test_a_wavelet(tmp_path, forget):
    a = 1/np.sqrt(2)
    add_wavelet('mine', ([a, a], [-a, a], [a, a], [a, -a]))   # Haar under another name
    mine, haar = (WEPaDiM(backbone='efficientnet-lite0', weights='random', wavelet_type=w, image_size=64, grid_size=4) for w in ('mine', 'haar'))
    x = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    assert torch.allclose(mine.embed(x), haar.embed(x), atol=1e-5)


def test_a_layout(tmp_path, forget):
    pictures(tmp_path/'set'/'nut'/'left', 4)
    pictures(tmp_path/'set'/'nut'/'right', 3, 1)

    def names(root): return [p.name for p in root.iterdir() if (p/'left').is_dir()]
    def load(root, name, seed):
        good, bad = ([*(root/name/side).iterdir()] for side in ('left', 'right'))
        return Category(name, 'sides', root, [Sample(p) for p in good], [Sample(p, 1, 'right') for p in bad])

    add_layout('sides', '<category>/left, <category>/right', names, load)
    assert detect_layout(tmp_path/'set') == 'sides'
    nut = category(tmp_path/'set', 'nut')
    assert (len(nut.train), len(nut.test)) == (4, 3)


def test_a_metric(forget):
    METRICS['most'] = Metric('highest score', 'image', lambda curve: float(curve.ranking.bad.max()))
    METRICS['pixel_most'] = Metric('highest pixel', 'pixel', lambda curve: float(curve.ranking.bad.max()))
    assert image_metrics([0, 1, 1], [.1, .5, .9])['most'] == .9
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 1, 1] = True
    assert pixel_metrics(mask, np.where(mask, 3., 1.))['pixel_most'] == 3.
    assert pixel_metrics(None, np.ones((1, 4, 4)))['pixel_most'] is None
