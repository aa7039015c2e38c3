"Locks, signals, a full disk, bad images that may be skipped, damaged models, other schedulers: what happens when things go wrong."
import ast, csv, json, os, shutil, signal, subprocess, sys, time
from pathlib import Path

import numpy as np, psutil, pytest, torch
from PIL import Image

from wepadim.config import RunSettings, preset
from wepadim.errors import CannotWrite, InputError, write_atomic
from wepadim.data import category
from wepadim.runs import run_lock
from wepadim.single import run_single
from wepadim.model import WEPaDiM

ROOT = Path(__file__).resolve().parents[1]
SMALL = '--preset recommended --models efficientnet-lite0 --image_size 96 --grid_size 6 --heatmaps 0'.split()
GRID = [*SMALL, '--experiment_type', 'grid_search', '--wavelet_type', 'haar', 'db4', '--wavelet_level', '1', '2', '--sigma', '2', '4']
finals = lambda save: [f for p in sorted(save.glob('*/efficientnet-lite0/*_final.json')) for f in json.loads(p.read_text())]
numbers = lambda save: [{k: r[k] for k in ('class', 'img_auc', 'pixel_auc', 'aupro', 'n_train')} for p in sorted(save.glob('*/efficientnet-lite0/categories/*.json')) for r in [json.loads(p.read_text())]]


def same(a, b):
    "Equal, metrics to 1e-4: other numbers of threads add in another order, and of a small region one pixel counts much."
    if isinstance(a, dict): return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list): return len(a) == len(b) and all(map(same, a, b))
    return a == pytest.approx(b, rel=1e-4) if isinstance(a, float) else a == b


@pytest.fixture(scope='module')
def model(painted_cells, tmp_path_factory):
    "A small fitted model on disk."
    m = WEPaDiM(backbone='efficientnet-lite0', image_size=64, grid_size=4)
    return m.fit(painted_cells/'cell'/'train'/'good').save(tmp_path_factory.mktemp('model')/'cell')


def start(*argv):
    return subprocess.Popen([Path(sys.executable).with_name('wepadim_run'), *map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(found, process, seconds=120):
    end = time.time() + seconds
    while not found() and process.poll() is None and time.time() < end: time.sleep(.05)


@pytest.mark.parametrize('which,code', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_cleanly_and_the_run_goes_on(two, tmp_path, shell, which, code):
    p = start('--data_path', two, '--save_path', tmp_path, *SMALL)
    wait_for(lambda: list(tmp_path.glob('*/efficientnet-lite0/categories/bottle.json')), p)
    p.send_signal(which)
    out, err = p.communicate(timeout=60)
    if p.returncode == 0: pytest.skip('it was finished before the signal came')
    assert p.returncode == code and err.strip().splitlines()[-1] == 'wepadim_run: stopped; what is finished is kept: run the same command again to go on' and 'Traceback' not in err
    r = shell('wepadim_run', '--data_path', two, '--save_path', tmp_path, *SMALL)
    assert r.returncode == 0 and 'bottle' in r.stdout and '(already done)' in r.stdout, r.stderr
    assert [x['class'] for x in numbers(tmp_path)] == ['bottle', 'cable']


@pytest.mark.parametrize('which', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_a_search(two, tmp_path, shell, which):
    p = start('--data_path', two, '--save_path', tmp_path, '--cache_dir', tmp_path/'cache', *GRID)
    wait_for(lambda: list(tmp_path.glob('*/efficientnet-lite0/passes/bottle/*.json')), p)
    p.send_signal(which)
    out, err = p.communicate(timeout=60)
    if p.returncode == 0: pytest.skip('it was finished before the signal came')
    assert p.returncode in (130, 143) and 'run the same command again to go on' in err and 'Traceback' not in err, err
    time.sleep(2)   # its kernel lets go
    r = shell('wepadim_run', '--data_path', two, '--save_path', tmp_path, *GRID)
    assert r.returncode == 0 and len(finals(tmp_path)) == 8, r.stderr


def test_a_kernel_that_is_killed(two, tmp_path, shell):
    "What the system does when memory runs out: neither the user's doing nor a wrong input, so it has an exit code of its own."
    p = start('--data_path', two, '--save_path', tmp_path, *GRID)
    wait_for(lambda: list(tmp_path.glob('*/efficientnet-lite0/passes/bottle/*.json')), p)
    if p.poll() is not None: pytest.skip('it was finished before the kernel could be killed')
    [kernel] = [c for c in psutil.Process(p.pid).children(recursive=True) if 'ipykernel_launcher' in c.cmdline()]
    kernel.kill()
    out, err = p.communicate(timeout=60)
    assert p.returncode == 3 and len(err.strip().splitlines()) == 1, (p.returncode, err)
    assert err.startswith('wepadim_run: error: the process that ran phase1_search.ipynb died') and '--memory_budget' in err and 'run the same command again' in err, err
    r = shell('wepadim_run', '--data_path', two, '--save_path', tmp_path, *GRID)
    assert r.returncode == 0 and len(finals(tmp_path)) == 8, r.stderr


@pytest.mark.parametrize('spec', ['{"argv": ["/nowhere/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Python 3", "language": "python"}', '{'], ids=['another Python', 'damaged'])
def test_the_kernels_that_are_installed_do_not_matter(spec, painted_cells, tmp_path, shell):
    kernels = tmp_path/'jupyter'/'kernels'
    (kernels/'python3').mkdir(parents=True)
    (kernels/'python3'/'kernel.json').write_text(spec)
    r = shell('wepadim_run', '--data_path', painted_cells, '--save_path', tmp_path, *SMALL, '--experiment_type', 'grid_search', '--sigma', '2', '4',
              JUPYTER_PATH=str(tmp_path/'jupyter'))
    assert r.returncode == 0 and r.stderr == '' and len(finals(tmp_path)) == 2, r.stderr


@pytest.mark.parametrize('encoding', ['ascii', 'cp949'])
def test_names_that_the_console_cannot_show(encoding, painted_cells, tmp_path, shell):
    name = 'pièce 部品 ' + b'\xff'.decode('utf-8', 'surrogateescape')
    shutil.copytree(painted_cells/'cell', tmp_path/name/'cell')
    broken = tmp_path/name/'cell'/'test'/'good'/f'{name}.png'
    broken.write_text('no image')
    console = lambda command, *argv: shell(command, *argv, PYTHONIOENCODING=encoding, encoding=encoding)
    r = console('wepadim_check', tmp_path/name)
    assert r.returncode == 2 and r'pi\xe8ce' in r.stdout and r'\udcff.png: cannot be read' in r.stdout and 'Traceback' not in r.stderr, r.stderr
    broken.unlink()
    for more in ([], ['--experiment_type', 'grid_search', '--sigma', '2', '4']):
        r = console('wepadim_run', '--data_path', tmp_path/name, '--save_path', tmp_path/name/'results', *SMALL, *more)
        assert r.returncode == 0 and r'pi\xe8ce' in r.stdout and r.stderr == '', r.stderr


def test_a_second_run_in_the_same_folder_is_refused(two, tmp_path, shell):
    save = ['--data_path', two, '--save_path', tmp_path, '--run_name', 'mine']
    with run_lock(tmp_path/'mine'):
        for flags in (SMALL, GRID, [*SMALL, '--overwrite']):
            (tmp_path/'mine'/'config.json').write_text('{}') if '--overwrite' in flags else None
            r = shell('wepadim_run', *save, *flags)
            assert r.returncode == 2 and len(r.stderr.strip().splitlines()) == 1 and 'another run is at work here' in r.stderr, r.stderr
    (tmp_path/'mine'/'config.json').unlink()
    # a run that is killed lets go of its lock
    p = start(*save, *SMALL)
    wait_for(lambda: (tmp_path/'mine'/'config.json').is_file(), p)
    p.kill(); p.communicate()
    r = shell('wepadim_run', *save, *SMALL)
    assert r.returncode == 0, r.stderr


def test_a_full_disk(two, tmp_path, shell):
    disk = tmp_path/'disk'
    disk.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk], capture_output=True).returncode: pytest.skip('this test mounts a small tmpfs, which needs root')
    try:
        (disk/'filler').write_bytes(b'x'*(40 << 10))
        r = shell('wepadim_run', '--data_path', two, '--save_path', disk, '--run_name', 'r', *SMALL)
        if r.returncode == 0: (disk/'filler').write_bytes(b'x')
        assert r.returncode == 2 and r.stderr.strip().splitlines()[-1].startswith('wepadim_run: error: ') and 'No space left' in r.stderr and 'free some space' in r.stderr and 'Traceback' not in r.stderr, (r.returncode, r.stderr)
        for p in disk.rglob('*.json'): json.loads(p.read_text())   # whole, or not there
        assert not list(disk.rglob('*.tmp'))
        (disk/'filler').unlink()
        subprocess.run(['mount', '-o', 'remount,size=4m', disk], check=True)
        r = shell('wepadim_run', '--data_path', two, '--save_path', disk, '--run_name', 'r', *SMALL)
        assert r.returncode == 0 and len(numbers(disk)) == 2, r.stderr
    finally: subprocess.run(['umount', disk], check=True)


@pytest.mark.parametrize('more', [[], ['--experiment_type', 'grid_search', '--cov_reg', '.1', '.01']])
def test_no_room_for_temporary_files(two, tmp_path, shell, more):
    disk = tmp_path/'disk'
    disk.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', disk], capture_output=True).returncode: pytest.skip('this test mounts a small tmpfs, which needs root')
    try: r = shell('wepadim_run', '--data_path', two, '--save_path', tmp_path, '--run_name', 'r', '--memory_budget', '.01', *SMALL, *more, TMPDIR=str(disk))
    finally: subprocess.run(['umount', disk], check=True)
    last = r.stderr.strip().splitlines()[-1]
    assert r.returncode == 2 and last.startswith('wepadim_run: error: ') and 'set TMPDIR' in last and str(disk) in last and 'Traceback' not in r.stderr, (r.returncode, r.stderr)
    assert shell('wepadim_run', '--data_path', two, '--save_path', tmp_path, '--run_name', 'r', '--memory_budget', '.01', *SMALL, *more).returncode == 0


def test_a_read_only_disk(two, tmp_path, shell):
    (tmp_path/'disk').mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'ro', 'tmpfs', tmp_path/'disk'], capture_output=True).returncode: pytest.skip('this test mounts a tmpfs, which needs root')
    try:
        r = shell('wepadim_run', '--data_path', two, '--save_path', tmp_path/'disk', *SMALL)
        assert r.returncode == 2 and len(r.stderr.strip().splitlines()) == 1 and 'Read-only file system' in r.stderr and '--save_path' in r.stderr, r.stderr
    finally: subprocess.run(['umount', tmp_path/'disk'], check=True)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path/'file').write_text('x')
    with pytest.raises(CannotWrite, match='cannot be written'): write_atomic(tmp_path/'file'/'a.json', '{}')
    with pytest.raises(CannotWrite, match='choose another --save_path'):
        with run_lock(tmp_path/'file'/'run'): pass


def test_bad_images_may_be_skipped(painted_cells, model, tmp_path, shell):
    root = tmp_path/'data'
    shutil.copytree(painted_cells, root)
    (root/'cell'/'test'/'good'/'002.png').write_bytes((root/'cell'/'test'/'good'/'002.png').read_bytes()[:700])
    r = shell('wepadim_run', '--data_path', root, '--save_path', tmp_path/'a', *SMALL)
    assert r.returncode == 2 and '002.png' in r.stderr
    r = shell('wepadim_run', '--data_path', root, '--save_path', tmp_path/'a', *SMALL, '--skip_bad_images')
    assert r.returncode == 0 and '002.png' in r.stderr and 'left out' in r.stderr, r.stderr
    [path] = (tmp_path/'a').glob('*/efficientnet-lite0/categories/cell.json')
    result = json.loads(path.read_text())
    assert result['n_test_good'] == 5 and len(result['skipped_images']) == 1 and result['skipped_images'][0].startswith('cell/test/good/002.png: ')
    r = shell('wepadim_predict', model, root/'cell'/'test'/'good', '--out', tmp_path/'p')
    assert r.returncode == 2 and '002.png' in r.stderr
    r = shell('wepadim_predict', model, root/'cell'/'test'/'good', '--out', tmp_path/'p', '--skip_bad_images')
    rows = list(csv.DictReader((tmp_path/'p'/'scores.csv').open(encoding='utf-8-sig')))
    assert r.returncode == 1 and len(rows) == 5 and '002.png' in r.stderr, r.stderr
    assert all(not Path(x['image']).is_absolute() and (tmp_path/'p'/x['image']).resolve().is_file() for x in rows)


def test_paths_in_config_are_relative(painted_cells, tmp_path):
    run = RunSettings(data_path=str(painted_cells), save_path=str(tmp_path), run_name='r', heatmaps=0)
    run_single([preset('recommended', 'efficientnet-lite0', image_size=64, grid_size=4)], run)
    about = json.loads((tmp_path/'r'/'config.json').read_text())['run']
    assert not Path(about['data_path']).is_absolute() and (tmp_path/'r'/about['data_path']).resolve() == painted_cells.resolve()
    assert str(tmp_path) not in ''.join(p.read_text() for p in (tmp_path/'r').rglob('*.json'))


def test_a_damaged_model_is_noticed(model, tmp_path):
    rng = np.random.default_rng(0)
    for name in ('model.json', 'model.safetensors'):
        data = (model/name).read_bytes()
        cuts = [data[:int(n)] for n in np.linspace(0, len(data) - 1, 20)]
        flips = []
        for at in [0, 8, 9, 60, len(data) - 2, *rng.integers(0, len(data), 15)]:
            b = bytearray(data); b[at] ^= 1 << int(rng.integers(8)); flips.append(bytes(b))
        for broken in cuts + flips:
            shutil.rmtree(tmp_path/'m', ignore_errors=True); shutil.copytree(model, tmp_path/'m')
            (tmp_path/'m'/name).write_bytes(broken)
            try: WEPaDiM.load(tmp_path/'m')
            except InputError as e: assert 'model.' in str(e) and '\n' not in str(e)
            else: assert name == 'model.json' and json.loads(broken) == json.loads(data)   # the same in other words: without the last newline, say


def test_a_split_file_that_leads_out(tmp_path):
    root = tmp_path/'VisA'
    for i in range(3):
        (root/'candle').mkdir(parents=True, exist_ok=True); Image.new('RGB', (8, 8)).save(root/'candle'/f'{i}.JPG')
    (root/'split_csv').mkdir()
    for bad in ('../secret.JPG', '/etc/passwd', 'candle/../../x.JPG'):
        (root/'split_csv'/'1cls.csv').write_bytes('\r\n'.join(['\ufeffobject,split,label,image,mask', *(f'candle,train,normal,candle/{i}.JPG,' for i in range(3)), f'candle,test,normal,{bad},']).encode())
        with pytest.raises(InputError, match='leads out of the data set'): category(root, 'candle', 'visa')


def test_nothing_that_could_run_code_is_read():
    for path in (ROOT/'wepadim').glob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            assert not {'pickle', 'marshal', 'shelve', 'joblib', 'dill'} & set(names), path
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else ''
                assert called not in ('eval', 'exec', 'compile', '__import__'), path
                assert not any(k.arg == 'shell' and getattr(k.value, 'value', None) for k in node.keywords), path
                if isinstance(node.func, ast.Attribute) and node.func.attr == 'load' and getattr(node.func.value, 'id', '') == 'torch':
                    assert any(k.arg == 'weights_only' and k.value.value is True for k in node.keywords), path


def test_threads_batches_and_memory_do_not_move_scores(painted_cells):
    good, test = painted_cells/'cell'/'train'/'good', painted_cells/'cell'/'test'/'hole'
    def scores(threads=2, batch=32, budget=1.0, name='recommended'):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try: return WEPaDiM(preset=name, backbone='efficientnet-lite0', image_size=128, memory_budget=budget, **(dict(grid_size=8) if name == 'recommended' else {})).fit(good, batch).predict(test, batch).scores
        finally: torch.set_num_threads(before)
    for name in ('recommended', 'published'):
        want = scores(name=name)
        for other in (dict(threads=1), dict(batch=1), dict(budget=.001)): np.testing.assert_allclose(scores(name=name, **other), want, rtol=1e-6)


def test_same_seed_same_bytes(painted_cells):
    fit = lambda: WEPaDiM(backbone='efficientnet-lite0', image_size=96, grid_size=6).fit(painted_cells/'cell'/'train'/'good').files()
    assert fit() == fit()


def test_processes_give_the_same_results(two, tmp_path, shell):
    for flags, answer in ((SMALL, numbers), ([*SMALL, '--experiment_type', 'grid_search', '--sigma', '2', '4'], finals)):
        got = []
        for n in (1, 2):
            save = tmp_path/f'{len(flags)}-{n}'
            r = shell('wepadim_run', '--data_path', two, '--save_path', save, *flags, '--workers', n)
            assert r.returncode == 0, r.stderr
            got.append(answer(save))
        assert same(*got) and got[0]


@pytest.fixture
def cluster(tmp_path):
    "A Dask scheduler and two worker processes on this machine: (address, processes)."
    here, processes = Path(sys.executable).parent, []
    env = {**os.environ, 'DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES': '5'}
    def run(*argv): processes.append(subprocess.Popen([here/'dask', *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path, env=env))
    run('scheduler', '--host', '127.0.0.1', '--port', '0', '--no-dashboard', '--scheduler-file', str(tmp_path/'scheduler.json'))
    end = time.time() + 60
    while not (tmp_path/'scheduler.json').is_file() and time.time() < end: time.sleep(.1)
    address = json.loads((tmp_path/'scheduler.json').read_text())['address']
    for _ in range(2): run('worker', address, '--nthreads', '1', '--no-nanny', '--no-dashboard', '--memory-limit', '0', '--local-directory', str(tmp_path))
    from distributed import Client
    with Client(address, timeout=30, set_as_default=False) as c: c.wait_for_workers(2, 60)
    yield address, processes
    for p in processes: p.kill(); p.wait()


def test_a_cluster_gives_the_same_results_though_a_worker_is_killed(two, tmp_path, shell, cluster):
    address, processes = cluster
    run = lambda save, *more: [str(x) for x in ('--data_path', two, '--save_path', tmp_path/save, *SMALL, *more)]
    assert shell('wepadim_run', *run('local')).returncode == 0
    r = shell('wepadim_run', *run('cluster', '--workers', address))
    assert r.returncode == 0 and same(numbers(tmp_path/'cluster'), numbers(tmp_path/'local')), r.stderr
    p = start(*run('killed', '--workers', address))
    wait_for(lambda: (tmp_path/'killed').is_dir() and list((tmp_path/'killed').glob('*/config.json')), p)
    time.sleep(1.5)
    processes[1].kill()   # in the middle of its job
    out, err = p.communicate(timeout=300)
    assert p.returncode == 0 and same(numbers(tmp_path/'killed'), numbers(tmp_path/'local')), err


def test_a_scheduler_that_is_not_there(two, tmp_path, shell):
    t = time.time()
    r = shell('wepadim_run', '--data_path', two, '--save_path', tmp_path, *SMALL, '--workers', 'tcp://127.0.0.1:9')
    assert r.returncode == 2 and len(r.stderr.strip().splitlines()) == 1 and 'no Dask scheduler answers there' in r.stderr, r.stderr
    assert time.time() - t < 30   # of which most is Python's start


def test_a_backbone_without_weights_costs_the_others_nothing(painted_cells, tmp_path, monkeypatch):
    "Its error comes after the results of the others are written."
    from wepadim.weights import find_weights
    monkeypatch.delenv('WEPADIM_WEIGHTS', raising=False)
    folder = tmp_path/'weights'
    folder.mkdir()
    source = find_weights('efficientnet-lite0')
    shutil.copy(source, folder/f'efficientnet-lite0{source.suffix}')
    models = ('resnet18', 'efficientnet-lite0')   # the dead one first
    run = RunSettings(data_path=str(painted_cells), models=models, weights=str(folder), save_path=str(tmp_path), run_name='r', heatmaps=0)
    with pytest.raises(InputError, match='resnet18: no category could be run'):
        run_single([preset('recommended', m, image_size=64, grid_size=4) for m in models], run)
    [summary] = json.loads((tmp_path/'r'/'efficientnet-lite0'/'efficientnet-lite0_wavelet_experiment.json').read_text())
    assert summary['avg_img_auc'] is not None
    assert not (tmp_path/'r'/'resnet18'/'resnet18_wavelet_experiment.json').exists()


def test_results_of_another_version_are_refused_in_one_line(painted_cells, tmp_path):
    "A config.json as version 0.1.0 wrote it, and a model of format 4."
    old = tmp_path/'old'
    old.mkdir()
    identity = dict(experiment_type='single', dataset_type='auto', data_path='MVTec', max_train_samples=None)
    (old/'config.json').write_text(json.dumps(dict(identity=identity, settings={'resnet18': dict(align=32, distance='sqrt')})))
    run = RunSettings(data_path=str(painted_cells), save_path=str(tmp_path), run_name='old')
    with pytest.raises(InputError, match='holds the results of another run') as e: run_single([preset()], run)
    assert '\n' not in str(e.value)
    (tmp_path/'model').mkdir()
    (tmp_path/'model'/'model.json').write_text(json.dumps(dict(format='wepadim', format_version=4)))
    with pytest.raises(InputError, match='format version 4; this version reads 6 and 7: fit the model again'): WEPaDiM.load(tmp_path/'model')
