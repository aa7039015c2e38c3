"A command declares only the flags that it reads: each is run with every flag, and it is recorded which values were read. What one kind of run does not read, it refuses."
import argparse, shutil, sys
from pathlib import Path

import matplotlib.pyplot as plt, nbformat, numpy as np, pytest
from PIL import Image

from wepadim import cache, cli, flags, notebooks, searches, single, sweep, tools
from wepadim.backbone import find_weights
from wepadim.config import RunSettings, Settings, preset
from wepadim.data import category
from wepadim.model import WEPaDiM
from wepadim.phases import run_phase1

COPIES = ('relative', 'run_parameters', 'flags_given') # functions that only hand settings on
ACCEPT = ('large_masks', 'skip_bad_images') # flags that each add a word to `RunSettings.accept`
LITE = 'efficientnet-lite0'


class Recorder:
    "Which flags a command declares, which it was given, and which values of arguments and settings the library has read."
    def __init__(self, patch):
        self.read, self.declared, self.given = set(), {}, {}
        for cls in (argparse.Namespace, RunSettings, Settings): patch.setattr(cls, '__getattribute__', self.watched(cls.__getattribute__), raising=False)
        real = flags.Parser.parse_args
        def parse_args(parser, argv=None):
            args = real(parser, argv)
            self.declared, self.given = {a.dest: a for a in parser._actions if a.dest not in ('help', 'version')}, vars(args)
            return args
        patch.setattr(flags.Parser, 'parse_args', parse_args)

    def watched(self, real):
        def get(obj, name):
            value, frame = real(obj, name), sys._getframe(1)
            while frame.f_code.co_name in ('<lambda>', '<listcomp>', '<dictcomp>', '<setcomp>', '<genexpr>'): frame = frame.f_back   # they belong to a function
            if frame.f_globals.get('__name__', '').startswith('wepadim') and frame.f_code.co_name not in COPIES and not name.startswith('_'): self.read.add((name, repr(value)))
            return value
        return get

    def values(self, name):
        "The values of a flag as settings hold them."
        raw = self.given[name]
        if name in Settings.model_fields: return [getattr(Settings(**{name: v}), name) for v in (raw if name in flags.AXES and isinstance(raw, list) else [raw])]
        return [getattr(RunSettings(**{name: raw}), name) if name in RunSettings.model_fields else raw]

    def usual(self, name):
        "What it is when it is not given."
        if self.declared[name].default is not argparse.SUPPRESS: return self.declared[name].default
        return getattr(preset(self.given['preset'], LITE) if name in Settings.model_fields else RunSettings(), name)

    def used(self):
        "The flags whose values, which are not the usual ones, were read."
        given = [k for k in self.given if k in self.declared and self.values(k) != [self.usual(k)] or k == 'experiment_type']
        accepted = ('accept', repr(tuple(flags._ACCEPT[k][0] for k in ACCEPT if self.given.get(k)))) in self.read
        return {k for k in given if k in ACCEPT and accepted or all((k, repr(v)) in self.read for v in self.values(k))}


def in_this_process(name, folder, parameters, page):
    "Stands in for `run_notebook`."
    space = {'__name__': f'wepadim notebook {name}', 'display': lambda *_: None, 'In': []}
    for cell in nbformat.read(notebooks.experiment_notebook(name), 4).cells:
        if cell.cell_type != 'code': continue
        exec(cell.source, space)
        space['In'].append(cell.source)
        if 'parameters' in cell.metadata.get('tags', []):
            space.update(parameters)
            space['In'].append('# Parameters\n' + '\n'.join(f'{k} = {v!r}' for k, v in parameters.items()))
    plt.close('all')
    return Path(folder)/page


@pytest.fixture
def recorder(monkeypatch):
    one_by_one = lambda work, jobs, workers=1: ((name, lambda args=args: work(*args)) for name, args in jobs.items())
    for module in (single, sweep): monkeypatch.setattr(module, 'run_jobs', one_by_one)
    for module in (searches, cli, tools): monkeypatch.setattr(module, 'run_notebook', in_this_process)
    return Recorder(monkeypatch)


RUN = dict(classes='cell', limit='16 9', train_batch_size=5, test_batch_size=3, gpu_id=0, engine='openvino', precision='bfloat16', memory_budget=1.5, workers=2, skip_bad_images=True, large_masks=True, overwrite=True, run_name='r',
           weights='{weights}', data_path='{data}')
DETECTOR = dict(preset='recommended', compat='published', input='crop', image_size=64, value_range='0 200', wavelet_type='db2', wavelet_level=2, wavelet_kept_subbands='LL LH', wavelet_transform='dwt',
                grid_size=5, n_features=12, cov_reg=.3, window=1, sigma=3, seed=7)
VIEW = dict(preset='recommended', input='crop', image_size=64)
CACHE = dict(cache_dir='{tmp}/cache', metrics='aupimo')
SINGLE, SEARCH = {**DETECTOR, **RUN, 'models': LITE, 'dataset_type': 'mvtec', 'save_path': '{tmp}/a'}, dict(experiment_type='grid_search', **CACHE)
PHASE = {**VIEW, **RUN, 'value_range': '0 200', 'dataset_type': 'auto', 'save_path': '{tmp}/a'}

# kind of run: (command, [flags of a run, and those that differ in the others], flags that it declares and refuses)
KINDS = {
    'single': ('wepadim_run', [dict(SINGLE, experiment_type='single', false_alarm_rate=.05, save_model=True, heatmaps=1, metric_resolution='mask', repeats=2, roi='{roi}')], dict(cache_dir='{tmp}/cache', metrics='aupimo', selection='synthetic', wavelet_subband_sets='LL')),
    'search': ('wepadim_run', [{**SINGLE, **SEARCH, 'selection': 'synthetic'}, {'wavelet_kept_subbands': None, 'wavelet_subband_sets': 'LL LL|LH'}], dict(false_alarm_rate=.05, save_model=True, heatmaps=1, metric_resolution='mask', repeats=2, roi='{roi}')),
    'phase 1': ('wepadim_phase1', [{**PHASE, **CACHE, 'model': LITE, 'grid': 'sequential', 'metric': 'aupro'}, {'grid': 'reduced', 'metric': None, 'selection': 'synthetic', 'preset': None, 'memory_budget': None}], {}),
    'phase 2': ('wepadim_phase2', [{**PHASE, 'models': LITE, 'save_model': True, 'heatmaps': 1, 'metric_resolution': 'mask', 'repeats': 2, 'roi': '{roi}', 'best_from': '{best}'}], {}),
    'ablation': ('wepadim_ablation', [{**PHASE, **CACHE, 'save_path': None, 'model': LITE, 'save_dir_base': '{tmp}/a', 'base_params': 'pixel', 'best_from': '{best}', 'selection': 'test_labels', 'wavelet_types': 'db2', 'wavelet_levels': 2,
                                       'gaussian_sigmas': 2, 'cov_reg_epsilons': .2}], {}),
    'paper': ('wepadim_paper', [{**RUN, 'classes': None, 'data_path': '{sets}', 'models': LITE, 'repeats': 2, 'save_path': '{tmp}/a'}], {}),
    'report': ('wepadim_report', [dict(results='{results}', out='{tmp}/report')], {}),
    'predict': ('wepadim_predict', [dict(model='{model}', images='{data}/cell/test/hole', out='{tmp}/p', threshold=3.5, roi='{roi}', skip_bad_images=True, no_heatmaps=True, coco=True, batch_size=3, gpu_id=0, engine='openvino', precision='bfloat16')], dict(watch=True, interval=2, on_alarm='true')),   # a line is tested in test_watch.py
    'check': ('wepadim_check', [dict(root='{data}', dataset_type='mvtec', large_masks=True)], {}),
    'demo': ('wepadim_demo', [dict(save_path='{tmp}/a', preset='published', input='whole', image_size='48x64')], {})}
POSITIONAL = ('results', 'model', 'images', 'root') # without their name, where a command takes them so


@pytest.fixture(scope='module')
def places(painted_cells, tmp_path_factory):
    "Data, weights, a saved model, and results of which one has found its best."
    root = tmp_path_factory.mktemp('places')
    base = preset('published', LITE, image_size=64)
    run = RunSettings(data_path=str(painted_cells), save_path=str(root/'results'), run_name='found')
    run_phase1(base, run, 'custom', dict(sigma=[1., 3.]))
    WEPaDiM(base).fit(painted_cells/'cell'/'train'/'good').save(root/'model')
    (root/'sets'/'MVTec').mkdir(parents=True)
    (root/'sets'/'MVTec'/'bottle').symlink_to(painted_cells/'cell')
    Image.fromarray(np.tri(300) > 0).save(root/'roi.png')
    return dict(sets=root/'sets', data=painted_cells, weights=find_weights(LITE), roi=root/'roi.png', model=root/'model',
                results=root/'results', best=root/'results'/'found')


def words(command, flags, places, tmp):
    "An argument list."
    positional = POSITIONAL if command in ('wepadim_report', 'wepadim_predict', 'wepadim_check') else ()
    text = lambda v: [] if v is True else str(v).format(tmp=tmp, **places).split()
    given = {k: text(v) for k, v in flags.items() if v is not None}
    return [w for k in positional if k in given for w in given[k]] + [w for k, v in given.items() if k not in positional for w in (f'--{k}', *v)]


def unread(kind, recorder, call, places, tmp):
    "The flags of a kind of run that are declared, and neither read nor refused."
    command, runs, refused = KINDS[kind]
    used = set()
    for i, changes in enumerate(runs):
        recorder.read.clear()
        code, err, out = call(command, *words(command, {**runs[0], **changes}, places, tmp/str(i)))
        assert code == 0, err
        used |= recorder.used()
    for flag, value in refused.items():
        code, err, out = call(command, *words(command, {**runs[0], **CACHE, flag: value} if kind == 'search' else {**runs[0], flag: value}, places, tmp/'refused'))
        assert code == 2 and len(err) == 1 and f'--{flag}' in err[0], (flag, err)
    return set(recorder.declared) - used - set(refused)


@pytest.mark.parametrize('kind', KINDS)
def test_every_flag_is_read(kind, recorder, call, places, tmp_path):
    assert not unread(kind, recorder, call, places, tmp_path)


def test_a_flag_that_nobody_reads_is_noticed(recorder, call, places, tmp_path, monkeypatch):
    "The test of this test: a flag of its own, and one whose value is put aside for that of another."
    real = tools._predict_parser
    def with_more():
        p = real()
        p.add_argument('--colour', default='red'); p.add_argument('--save_path', default='.')
        return p
    monkeypatch.setattr(tools, '_predict_parser', with_more)
    command, [flags], refused = KINDS['predict']
    monkeypatch.setitem(KINDS, 'predict', (command, [dict(flags, colour='blue', save_path='{tmp}/elsewhere')], refused))
    assert unread('predict', recorder, call, places, tmp_path) == {'colour', 'save_path'}


def test_a_search_reads_both_batch_sizes(painted_cells, monkeypatch):
    "For the features, beside what --selection reads."
    seen, cat = [], category(painted_cells, 'cell')
    monkeypatch.setattr(cache, 'extract', lambda backbone, paths, base, batch, *_, **__: seen.append((len(paths), batch)))
    for sizes in ((5, 3), (64, 64)): cache.features(cat, [preset('published', LITE, image_size=64)], RunSettings(train_batch_size=sizes[0], test_batch_size=sizes[1]))
    assert seen == [(len(cat.train), 5), (len(cat.test), 3), (len(cat.train), 16), (len(cat.test), 16)]   # on a CPU 16 at most


SMALL = f'--preset recommended --models {LITE} --image_size 64 --grid_size 4'.split()


def test_results_to_stdout_the_rest_to_stderr(places, call, shell, tmp_path):
    "Of each command: what was asked for can be piped on, and holds no warning and no progress."
    data = tmp_path/'data'
    shutil.copytree(places['data'], data)
    (data/'cell'/'test'/'good'/'000.png').write_text('no image')
    def streams(command, *argv, by=call, code=0):
        r = by(command, *argv)
        got, err, out = r if by == call else (r.returncode, r.stderr.splitlines(), r.stdout)
        assert got == code and not any(w in out.lower() for w in ('warning', 'error', 'running', 'skipped', '%|')), (got, err, out)
        return [l for l in err if l.strip()], [l for l in out.splitlines() if l.strip()]
    some = ['--data_path', data, '--save_path', tmp_path/'r', *SMALL, '--skip_bad_images']
    err, out = streams('wepadim_run', *some, '--save_model')
    assert len(err) == 1 and err[0].startswith('warning: cell:') and '000.png' in err[0]
    assert out[0].startswith('cell (mvtec): 20 to train on') and '000.png' in out[1] and out[2].startswith(f'{LITE} cell: image AUROC')
    assert 'defects are lost' in out[3] and out[4].split()[:2] == ['model', 'category'] and out[-1].startswith('results in ') and len(out) == 7
    err, out = streams('wepadim_run', *some, '--experiment_type', 'grid_search', '--wavelet_level', '2', '8', '--wavelet_transform', 'dwt', by=shell)
    assert any(l.startswith('warning: cell: ') for l in err) and any(l.startswith(f'warning: {LITE}: 1 skipped: wavelet_level 8') for l in err) and all(l.startswith('warning: ') for l in err), err
    assert out[0].startswith('cell (mvtec): ') and f'{LITE}: best of 2 by avg_img_auc, chosen on test labels' in out and out[-1].startswith('results in ')
    [model] = (tmp_path/'r').glob(f'*/{LITE}/models/cell')
    err, out = streams('wepadim_predict', model, data/'cell'/'test'/'good', '--out', tmp_path/'p', '--skip_bad_images', code=1)
    assert len(err) == 2 and '000.png' in err[0] and '1 picture(s) left out' in err[1] and [l.split(':')[0] for l in out] == ['5 images to score', '  not used', '5 images']
    (tmp_path/'r'/'broken'/LITE).mkdir(parents=True)
    (tmp_path/'r'/'broken'/LITE/f'{LITE}_wavelet_experiment.json').write_text('{')
    err, out = streams('wepadim_report', tmp_path/'r', '--out', tmp_path/'report', by=shell)
    assert any('left out of the report' in l for l in err) and len(out) == 1 and ' tables and ' in out[0], (err, out)
    code, err, out = call('wepadim_check', data)
    assert code == 2 and '000.png: cannot be read' in out and len(err) == 1 and '1 problem(s)' in err[0]
    assert streams('wepadim_check', places['data'])[0] == []
