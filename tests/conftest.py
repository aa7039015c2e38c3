"Where real data and weights are, and how to run a command line as a user does."
import os, subprocess, sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]/'nbs'/'studies'))   # study.py lies there

if 'PYTEST_XDIST_WORKER' in os.environ:   # several workers that each use every core are slower than one
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1)//int(os.environ['PYTEST_XDIST_WORKER_COUNT']))))


def _needs(variable, *parts):
    root = os.environ.get(variable)
    if not root: pytest.skip(f'set {variable} to run this: see data/README.md, "For the tests"')
    path = Path(root, *parts)
    if not path.exists(): pytest.skip(f'{variable} is set, but there is no {path}')
    return path


@pytest.fixture(scope='session', autouse=True)
def own_cache(tmp_path_factory):
    "Networks that tests convert are kept in a folder of this run of tests, which all its workers share."
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base)/'torch'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TORCH_HOME', str(folder))
        yield


@pytest.fixture
def real_data():
    "A folder below WEPADIM_DATA, or a skip that says how to set it."
    return lambda *parts: _needs('WEPADIM_DATA', *parts)


@pytest.fixture
def real_weights():
    "A file below WEPADIM_WEIGHTS, or a skip that says how to set it."
    return lambda *parts: _needs('WEPADIM_WEIGHTS', *parts)


@pytest.fixture
def shell():
    "Run a console script in a process of its own."
    def run(command, *argv, timeout=600, encoding=None, **env):
        return subprocess.run([Path(sys.executable).with_name(command), *map(str, argv)], capture_output=True, text=True, encoding=encoding, timeout=timeout,
                              stdin=subprocess.DEVNULL, env={**os.environ, **env})
    return run


@pytest.fixture
def call(capsys):
    "Run a command in this process: (exit code, lines of stderr, stdout)."
    from wepadim import cli, tools
    def run(command, *argv):
        capsys.readouterr()
        module = next(m for m in (cli, tools) if command in m.__all__)
        try: code = getattr(module, command)([str(a) for a in argv]) or 0
        except SystemExit as e: code = e.code or 0
        out, err = capsys.readouterr()
        return code, [l for l in err.splitlines() if l.strip()], out
    return run


@pytest.fixture(scope='session')
def painted_cells(tmp_path_factory):
    "A small data set in MVTec AD's layout: real solar cells, some with painted defects and their masks."
    import numpy as np
    from PIL import Image
    from wepadim.data import category, elpv_root
    from wepadim.synthetic import paint_defect
    root, cells = tmp_path_factory.mktemp('data'), category(elpv_root(), 'mono').spare
    def put(array, *parts):
        path = root.joinpath('cell', *parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)
    for i, s in enumerate(cells[:20]): put(np.asarray(Image.open(s.path)), 'train', 'good', f'{i:03}.png')
    for i, s in enumerate(cells[20:26]): put(np.asarray(Image.open(s.path)), 'test', 'good', f'{i:03}.png')
    for i, (kind, s) in enumerate(zip(['hole', 'scar', 'missing', 'patch']*2, cells[26:34])):
        image, mask = paint_defect(s.path, kind, i)
        put(image, 'test', kind, f'{i:03}.png')
        put(mask.astype(np.uint8)*255, 'ground_truth', kind, f'{i:03}_mask.png')
    return root


@pytest.fixture(scope='session')
def two(painted_cells, tmp_path_factory):
    "Two categories of painted cells, the second with fewer training images."
    import shutil
    root = tmp_path_factory.mktemp('two')/'MVTec'
    for name in ('bottle', 'cable'): shutil.copytree(painted_cells/'cell', root/name)
    for p in sorted((root/'cable'/'train'/'good').iterdir())[12:]: p.unlink()
    return root
