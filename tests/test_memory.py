"What a run needs, measured from outside: the memory budget bounds it, a stream does not grow it, a large JPEG is decoded small."
import json, subprocess, sys

import numpy as np, pytest
from PIL import Image

PEAK = 'import json\nprint(json.dumps(dict(out, peak=peak()/2**30)))'


def child(code, *argv, timeout=400):
    "Run code in a process of its own: the dictionary `out` that it makes, and its peak of resident memory in GiB."
    if sys.platform != 'linux': pytest.skip('elsewhere, a process starts with the peak of the one that started it')
    r = subprocess.run([sys.executable, '-c', f'import sys\nfrom wepadim.model import WEPaDiM\nfrom wepadim.provenance import peak_rss as peak\nimport numpy as np\n{code}\n{PEAK}', *map(str, argv)], capture_output=True, text=True, timeout=timeout)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout.splitlines()[-1])


FIT = '''
rng = np.random.default_rng(0)
images = [rng.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(600)]
m = WEPaDiM(backbone='efficientnet-lite0', image_size=64, grid_size=28, wavelet_transform='dwt', wavelet_level=1, wavelet_kept_subbands='LL', n_features=0, window=0, memory_budget=float(sys.argv[1]))
room = m._room(len(images))
m.fit(images)
out = dict(spill=room.spill, scores=m.predict(images[:8]).scores.tolist())'''


def test_the_budget_bounds_the_peak():
    "600 images on a grid of 28 x 28: embeddings of 0.45 GiB, Gaussians of 0.38."
    tight, ample = child(FIT, 2), child(FIT, 8)
    assert tight['spill'] and not ample['spill']
    assert tight['peak'] < 2 < ample['peak'], (tight['peak'], ample['peak'])
    np.testing.assert_allclose(tight['scores'], ample['scores'], rtol=1e-6)


SEARCH = '''
from wepadim.config import preset
from wepadim.spaces import expand
from wepadim.passes import extract, plan_maps
from wepadim.search import search
from wepadim.backbone import Backbone
rng = np.random.default_rng(0)
make = lambda n: [rng.integers(0, 256, (128, 128, 3)).astype(np.uint8) for _ in range(n)]
N, M, budget = 160, 40, float(sys.argv[1])
base = preset('published', 'efficientnet-lite0', input='whole', image_size=128, grid_size=28)
configs = expand(base, dict(wavelet_kept_subbands=(('LL',), ('LL', 'LH', 'HL', 'HH')), cov_reg=(.1, .01))) + [base.model_copy(update=dict(wavelet_kept_subbands=('LL', 'LH', 'HL', 'HH'), n_features=32))]
backbone = Backbone('efficientnet-lite0')
room = plan_maps(configs, N, M, budget, backbone)
maps = [extract(backbone, make(k), base, 16, spill=room.spill) for k in (N, M)]
masks = np.zeros((M, 128, 128), bool)
masks[M//2:, 40:60, 50:90] = True
found, _ = search(configs, *maps, masks.any((1, 2)), masks, budget=budget)
out = dict(spill=room.spill, scores=[s.tolist() for *_, s in found], metrics=[m for _, m, _ in found])'''


def test_the_budget_bounds_a_search():
    "200 images on a grid of 28 x 28: embeddings of 0.6 GiB, and more for a configuration that reduces them."
    tight, ample = child(SEARCH, 1.65), child(SEARCH, 8)
    assert tight['spill'] and not ample['spill']
    assert tight['peak'] < min(1.65, ample['peak'] - .2), (tight['peak'], ample['peak'])   # libraries in the page cache count for 0.4 GiB more or less
    assert tight['scores'] == ample['scores'] and tight['metrics'] == ample['metrics']


def test_a_stream_does_not_grow():
    "20,000 generated images: after the first thousand, memory stays as it is."
    out = child('''
import psutil, torch
from wepadim.backbone import add_backbone
rng = np.random.default_rng(0)
make = lambda n: (rng.integers(0, 256, (32, 32, 3)).astype(np.uint8) for _ in range(n))
net = lambda: (torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3, 4, 1), torch.nn.ReLU()), {'one': ['0', '1']})
add_backbone('tiny', net, ['one'])
m = WEPaDiM(backbone='tiny', weights='random', image_size=32, grid_size=2).fit(list(make(8)))
seen, rss = 0, []
for p in m.stream(make(20_000)):
    seen += len(p.scores)
    rss.append(psutil.Process().memory_info().rss/2**20)
out = dict(seen=seen, grown=max(rss) - max(rss[:len(rss)//20]))''')
    assert out['seen'] == 20_000 and out['grown'] < 40, out


def test_a_large_jpeg_is_decoded_small(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (75, 100, 3)).astype(np.uint8)).resize((4000, 3000)).save(tmp_path/'a.jpg')
    out = child('''
from wepadim.data import image_tensor
from wepadim.images import load_image
load_image(sys.argv[1], 256).load()
before = peak()
x = image_tensor(sys.argv[1], 'whole', 256)
small = peak() - before
load_image(sys.argv[1])
out = dict(shape=list(x.shape), small=small/2**20, whole=(peak() - before)/2**20)''', tmp_path/'a.jpg')
    assert out['shape'] == [3, 256, 256] and out['small'] < out['whole']/3, out   # in MiB; decoded at half its size, and a buffer or two
