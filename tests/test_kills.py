"A search that is killed again and again, at random moments, ends with the results of one that was left alone."
import json, multiprocessing, shutil, signal

import numpy as np, pytest, torch

from wepadim.config import RunSettings, preset

GRID = dict(wavelet_type=['haar', 'db4', 'sym4'], wavelet_level=[1, 2], sigma=[2., 4.], cov_reg=[.1, .01])
KILLS = 25


def search(root, save):
    "One run, in a process that the test may kill."
    torch.set_num_threads(1)
    from wepadim.phases import run_phase1
    base = preset('recommended', 'efficientnet-lite0', image_size=96, grid_size=6, wavelet_transform='dwt', wavelet_kept_subbands='LL', window=0)
    run_phase1(base, RunSettings(data_path=str(root), save_path=str(save), run_name='r', cache_dir=str(save/'cache')), 'custom', GRID)


def results(save):
    "All numbers and settings, without times and machines."
    [path] = save.glob('r/efficientnet-lite0/*_final.json')
    drop = lambda x: {k: drop(v) for k, v in x.items() if 'time' not in k and k not in ('seconds', 'provenance', 'stages')} if isinstance(x, dict) else [drop(v) for v in x] if isinstance(x, list) else x
    return drop(json.loads(path.read_text()))


def test_a_search_that_is_killed_25_times(two, tmp_path):
    context, rng, kills, ends = multiprocessing.get_context('forkserver'), np.random.default_rng(0), 0, 0
    context.set_forkserver_preload(['wepadim.phases'])
    def start(save):
        p = context.Process(target=search, args=(two, save))
        p.start()
        return p
    calm = start(tmp_path/'calm')
    calm.join(300)
    assert calm.exitcode == 0
    want, torn = results(tmp_path/'calm'), tmp_path/'torn'
    assert len(want) == 24
    while kills < KILLS:
        p = start(torn)
        p.join(rng.uniform(0, 2.5))
        if p.is_alive(): p.kill()
        p.join()
        if p.exitcode != 0:   # it may have come to its end just before
            assert p.exitcode == -signal.SIGKILL
            kills += 1
            for f in torn.rglob('*.json'): json.loads(f.read_text())   # whole, or not there
            continue
        assert p.exitcode == 0 and results(torn) == want
        shutil.rmtree(torn)
        ends += 1
    p = start(torn)
    p.join(300)
    assert p.exitcode == 0 and results(torn) == want
    left = [f for f in (torn/'r').rglob('*') if f.name.endswith('.tmp')]
    assert len(left) <= kills, left
    print(f'{kills} kills, {ends + 1} times to the end')
