"The experiment notebooks through papermill, and long runs: a failed category, a kill, a damaged file, another run's folder."
import json, os, shutil, signal, subprocess, sys, time
from pathlib import Path

import pandas as pd, pytest

from wepadim.notebooks import execute_notebook
from wepadim.errors import InputError

NOTEBOOKS = Path(__file__).resolve().parents[1]/'nbs'/'experiments'
SMALL = dict(image_size=96, grid_size=6)
GRID = dict(wavelet_type=['haar', 'db4'], wavelet_kept_subbands=['LL', 'LL|LH|HL'], sigma=[2.0, 4.0], cov_reg=[0.1, 0.01])
FLAGS = '--models efficientnet-lite0 --preset recommended --image_size 96 --grid_size 6 --experiment_type grid_search --wavelet_type haar db4 --wavelet_level 1 2 --sigma 2 4'.split()


def execute(name, **parameters):
    cells = [c for c in execute_notebook(NOTEBOOKS/f'{name}.ipynb', parameters).cells if c.cell_type == 'code']
    return '\n'.join(o.get('text', '') or str(o.get('data', {}).get('text/html', '')) for c in cells for o in c.outputs), sum('image/png' in o.get('data', {}) for c in cells for o in c.outputs)


def test_the_four_notebooks(two, tmp_path):
    "Phase 1, phase 2 from what it found, the ablation and the report, one after the other, and what is in their tables."
    common = dict(dataset_type='mvtec', data_path=str(two), preset_name='recommended', save_path=str(tmp_path), settings=SMALL, progress=False)
    text, pictures = execute('phase1_search', backbone='efficientnet-lite0', grid='custom', axes=GRID, run_name='p1', **common)
    model = tmp_path/'p1'/'efficientnet-lite0'
    found = json.loads((model/'efficientnet-lite0_wavelet_grid_search_results_final.json').read_text())
    assert len(found) == 16 and all([r['class'] for r in f['class_results']] == ['bottle', 'cable'] for f in found)
    assert all(f['avg_pixel_auc'] == pytest.approx(sum(r['pixel_auc'] for r in f['class_results'])/2) for f in found) and pictures >= 4
    top = max(found, key=lambda f: f['avg_pixel_auc'])
    assert f"{100*top['avg_pixel_auc']:.2f}".rstrip('0') in text and '16 configurations of efficientnet-lite0' in text

    execute('phase2_best_config', models=['efficientnet-lite0'], best_from=str(tmp_path/'p1'), run_name='p2', options=dict(heatmaps=1), **common)
    [single] = json.loads((tmp_path/'p2_pixel'/'efficientnet-lite0'/'efficientnet-lite0_wavelet_experiment.json').read_text())
    assert {k: single['settings'][k] for k in top['params']} == top['params']
    assert single['avg_pixel_auc'] == pytest.approx(top['avg_pixel_auc'], abs=1e-7) and single['avg_img_auc'] == pytest.approx(top['avg_img_auc'], abs=1e-9)   # other batches: a pair of pixels may change places

    execute('phase2_subband_ablation', backbone='efficientnet-lite0', best_from=str(tmp_path/'p1'), base_params='pixel', run_name='p3', **common)
    sets = json.loads((tmp_path/'p3'/'efficientnet-lite0'/'efficientnet-lite0_wavelet_grid_search_results_final.json').read_text())
    assert len({tuple(f['params']['wavelet_kept_subbands']) for f in sets}) == len(sets) == 15
    [same] = [f for f in sets if f['params'] == top['params']]
    assert same['avg_pixel_auc'] == pytest.approx(top['avg_pixel_auc'], abs=1e-9)

    _, pictures = execute('report', results_path=str(tmp_path), out=str(tmp_path/'report'))
    tables = {n: pd.read_csv(tmp_path/'report'/f'{n}.csv') for n in ('categories', 'backbones', 'ablation', 'efficiency')}
    row = tables['categories'].query("run == 'p2_pixel' and category == 'average'").iloc[0]
    assert row['pixel AUROC'] == pytest.approx(100*single['avg_pixel_auc'], abs=.006) and len(tables['categories']) == 2*3
    assert len(tables['backbones']) == 2 and len(tables['ablation']) == 15 and len(tables['efficiency']) == 4 and pictures >= 4
    best_set = tables['ablation'].set_index('wavelet_kept_subbands').loc['|'.join(top['params']['wavelet_kept_subbands'])]
    assert best_set['pixel AUROC'] == pytest.approx(100*top['avg_pixel_auc'], abs=.006)
    assert r'\bottomrule' in (tmp_path/'report'/'categories.tex').read_text() and '<table' in (tmp_path/'report'/'categories.html').read_text()
    assert len(list((tmp_path/'report').glob('*.png'))) == pictures


def test_an_unknown_notebook_parameter():
    with pytest.raises(InputError, match="unknown notebook parameter 'bakcbone' .did you mean 'backbone'"):
        execute('phase1_search', bakcbone='resnet18')


def finals(folder): return {p.name: p.read_bytes() for p in folder.glob('*/efficientnet-lite0/*_final.json')}


def test_failure_kill_and_damage_end_like_an_undisturbed_run(two, tmp_path, shell):
    search = lambda data, save, *more: shell('wepadim_run', '--data_path', data, '--save_path', save, *FLAGS, *more)
    r = search(two, tmp_path/'calm', '--cache_dir', tmp_path/'cache')
    assert r.returncode == 0 and r.stderr == '', r.stderr
    calm = finals(tmp_path/'calm')
    assert len(calm) == 1 and len(list((tmp_path/'cache').glob('*.safetensors'))) == 2
    # a category that fails: the other goes on, the reason is recorded, exit code 1
    broken = tmp_path/'MVTec'
    shutil.copytree(two, broken)
    (broken/'bottle'/'train'/'good'/'003.png').write_text('no image')
    r = search(broken, tmp_path/'save', '--run_name', 'mine')
    assert r.returncode == 1 and 'bottle failed' in r.stderr and '003.png' in r.stderr and 'Traceback' not in r.stderr, r.stderr
    model = tmp_path/'save'/'mine'/'efficientnet-lite0'
    assert '003.png' in json.loads((model/'efficientnet-lite0_resource_summary.json').read_text())['failed']['bottle']
    [found] = finals(tmp_path/'save').values()
    assert all([r['class'] for r in f['class_results']] == ['cable', 'bottle'] and f['class_results'][1]['img_auc'] is None for f in json.loads(found))
    # mended, started again, and killed as soon as something new is there
    shutil.copy(two/'bottle'/'train'/'good'/'003.png', broken/'bottle'/'train'/'good'/'003.png')
    before = [p.read_bytes() for p in sorted((model/'passes'/'cable').iterdir())]
    p = subprocess.Popen([Path(sys.executable).with_name('wepadim_run'), '--data_path', broken, '--save_path', tmp_path/'save', '--run_name', 'mine', *FLAGS],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    end = time.time() + 120
    while not list((model/'passes').glob('bottle/*.json')) and time.time() < end and p.poll() is None: time.sleep(.02)
    os.killpg(p.pid, signal.SIGKILL); p.wait()
    time.sleep(3)   # its kernel notices that its parent is gone
    # a file that is cut off is said and made again; the rest is used as it is
    cut = sorted((model/'passes'/'cable').iterdir())[0]
    cut.write_text(cut.read_text()[:200])
    r = search(broken, tmp_path/'save', '--run_name', 'mine')
    assert r.returncode == 0 and str(cut) in r.stderr and 'computed again' in r.stderr, r.stderr
    assert list(finals(tmp_path/'save').values()) == list(calm.values())
    assert [p.read_bytes() for p in sorted((model/'passes'/'cable').iterdir())][1:] == before[1:]
    # other settings do not mix, and --overwrite starts anew
    r = search(broken, tmp_path/'save', '--run_name', 'mine', '--input', 'crop')
    assert r.returncode == 2 and len(r.stderr.strip().splitlines()) == 1 and "input 'whole' there, 'crop' now" in r.stderr and '--overwrite' in r.stderr, r.stderr
    r = search(broken, tmp_path/'save', '--run_name', 'mine', '--input', 'crop', '--overwrite')
    assert r.returncode == 0 and list(finals(tmp_path/'save').values()) != list(calm.values()), r.stderr
