"The code for a GPU, on a stand-in that refuses what a GPU refuses: it gives what the CPU gives."
import json

import numpy as np, pytest, torch

from stand_in_gpu import GPU, GpuTensor, stand_in
from wepadim.config import RunSettings, preset
from wepadim.data import category
from wepadim.single import run_single
from wepadim.model import WEPaDiM
from wepadim.cache import features
from wepadim.phases import run_phase1
from wepadim.search import search
from study import compare, reduced_rows

SMALL = dict(backbone='efficientnet-lite0', image_size=64, grid_size=4)


@pytest.fixture(autouse=True)
def one_thread():
    "Matrices are small here: more threads wait longer for each other than they work."
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def gpu(monkeypatch): return lambda: stand_in(monkeypatch)


def test_the_stand_in_notices_mix_ups(gpu):
    gpu()
    here, there = torch.ones(3, 4), torch.ones(3, 4, device='cuda')
    mixed = [lambda: here + there, lambda: there @ here.T, lambda: here.add_(there), lambda: torch.cat([there, here]), lambda: there.equal(here), lambda: torch.where(there > 0, there, here),
             lambda: here[there > 0], lambda: here.__setitem__(there > 0, 0), lambda: there.__setitem__(here > 0, here.flatten()), lambda: torch.stack([there[0, 0], here[0, 0]])]
    for mix in mixed:
        with pytest.raises(RuntimeError, match='same device'): mix()
    for read in (lambda: there.numpy(), lambda: np.asarray(there), lambda: np.add(there, 1)):
        with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"): read()
    with pytest.raises(RuntimeError, match='same device'): torch.nn.Linear(4, 2).to(GPU)(here)


def test_the_stand_in_allows_what_a_gpu_allows(gpu):
    gpu()
    here, there = torch.arange(12.).view(3, 4), torch.zeros(3, 4, device='cuda')
    there[:, :2] = here[:, :2]; there[here > 6] = 1; here[:1] = there[:1]
    assert there.tolist() == [[0, 1, 0, 0], [4, 5, 0, 1], [1, 1, 1, 1]] and here[0].tolist() == [0, 1, 0, 0] and type(here) is torch.Tensor
    on_gpu = [there + here[0, 1], there*2, there.sort()[0], there.max(1).values, there[here > 0], *there, *there.split(1), there.T, torch.cat([there, there]), here.to(GPU), there.new_zeros(2), torch.zeros_like(there), torch.nn.Linear(4, 2).to(GPU)(there)]
    assert all(type(x) is GpuTensor and x.device == GPU and x.is_cuda for x in on_gpu)
    on_cpu = [there.cpu(), there.to('cpu'), here*2, torch.zeros_like(there, device='cpu'), here.copy_(there)]
    assert all(type(x) is torch.Tensor and x.device.type == 'cpu' for x in on_cpu)
    there.cpu()[:] = 9   # a copy: what is on the GPU stays as it is
    assert float(there.sum()) == 15 and there.cpu().numpy().shape == (3, 4)


DETECTORS = {'published': SMALL | dict(preset='published', grid_size='smallest'), 'recommended': SMALL, 'reduced': SMALL | dict(n_features=20, window=1),
             'every cell by itself': SMALL | dict(window=0), 'exact': SMALL | dict(n_features=0, window=1)}


@pytest.mark.parametrize('name', DETECTORS)
def test_detectors(name, painted_cells, tmp_path, gpu):
    good, test = painted_cells/'cell'/'train'/'good', painted_cells/'cell'/'test'/'hole'
    def predict(gpu_id, **kw):
        m = WEPaDiM(gpu_id=gpu_id, **DETECTORS[name], **kw).fit(good)
        return m, m.predict(test)
    model, want = predict(-1)
    gpu()
    for kw in ({}, dict(memory_budget=.01)):
        m, p = predict(0, **kw)
        assert type(m.gaussian.W) is GpuTensor
        for k in ('scores', 'maps', 'calibrated'): np.testing.assert_allclose(getattr(p, k), getattr(want, k), rtol=1e-6)
    m.save(tmp_path/'m')
    for gpu_id in (0, -1): np.testing.assert_allclose(WEPaDiM.load(tmp_path/'m', gpu_id).predict(test).scores, want.scores, rtol=1e-6)


def same(a, b):
    "Are the numbers of two results equal to 1e-6?"
    if isinstance(a, dict): return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)): return len(a) == len(b) and all(map(same, a, b))
    return a == pytest.approx(b, rel=1e-6) if isinstance(a, float) else a == b


VARYING = {'time', 'seconds', 'stages', 'images_per_second', 'peak_rss_gib', 'peak_gpu_gib', 'provenance', 'identity'}


def numbers(folder, file):
    "Results in a file, without what differs from run to run."
    [path] = folder.rglob(file)
    return {k: v for k, v in json.loads(path.read_text()).items() if k not in VARYING}


@pytest.fixture
def run(painted_cells, tmp_path):
    "The settings of a run, in a folder of its own."
    return lambda name, gpu_id, **kw: RunSettings(data_path=str(painted_cells), save_path=str(tmp_path/name), run_name='r', gpu_id=gpu_id, **dict(heatmaps=0) | kw)


def test_a_run(run, tmp_path, gpu):
    detector = preset('recommended', **SMALL)
    run_single([detector], run('cpu', -1))
    gpu()
    run_single([detector], run('gpu', 0, save_model=True, heatmaps=2))
    assert same(numbers(tmp_path/'gpu', 'cell.json'), numbers(tmp_path/'cpu', 'cell.json'))


AXES = dict(wavelet_type=['haar', 'db4'], window=[0, 1])


def test_phase_1(run, tmp_path, gpu):
    "A budget that is too small for everything: on a GPU too, what can be in a file is no tensor there."
    base, found = preset('recommended', **SMALL), {}
    cached, tiny, choice = dict(cache_dir=str(tmp_path/'cache')), dict(memory_budget=.01), dict(selection='synthetic')
    for name, kw in {'cpu': choice, 'gpu': cached | choice, 'again': cached | tiny, 'tiny': tiny | choice}.items():
        if name == 'gpu': gpu()
        found[name], _ = run_phase1(base, run(name, -1 if name == 'cpu' else 0, **kw), 'custom', AXES)
        assert len(found[name]) == 4 and same(found[name], found['cpu']), name
    chosen = [numbers(tmp_path/name, '*_selection.json')['categories'] for name in ('cpu', 'gpu', 'tiny')]
    assert same(chosen[1], chosen[0]) and same(chosen[2], chosen[0])


def test_searches_that_reduce(run, painted_cells, gpu):
    cat, base = category(painted_cells, 'cell'), preset('recommended', **SMALL)
    configs = [base.model_copy(update=dict(n_features=d, window=r)) for d in (0, 10) for r in (0, 1, 2)]
    def look(gpu_id, budget=2.75):
        found, _ = search(configs, *features(cat, configs, run('s', gpu_id, memory_budget=budget)), [s.label for s in cat.test], budget=budget)
        return [m for _, m, _ in found]
    want = look(-1)
    gpu()
    assert len(want) == 6 and same(look(0), want) and same(look(0, .01), want)


def test_studies(run, painted_cells, tmp_path, gpu):
    cat, chosen = category(painted_cells, 'cell'), preset('recommended', **SMALL)
    alone = chosen.model_copy(update=dict(window=0))
    def study(name, gpu_id):
        r, folder = run(name, gpu_id, limit=(12, 8)), tmp_path/name
        rows = [*compare(cat, {"as it is": chosen, "alone": alone}, r, folder), *reduced_rows(cat, chosen.model_copy(update=dict(n_features=20)), r, folder)]
        return [{k: v for k, v in row.items() if k != 'seconds'} for row in rows]
    want = study('cpu', -1)
    gpu()
    assert same(study('gpu', 0), want)
