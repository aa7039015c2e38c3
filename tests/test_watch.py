"wepadim_predict --watch in processes of its own: pictures that arrive in pieces, kills, a folder that vanishes, a disk that is full, commands that fail, drift."
import csv, io, multiprocessing, os, shutil, signal, subprocess, sys, threading, time
from pathlib import Path

import numpy as np, pytest
from PIL import Image

from wepadim.model import WEPaDiM

N = 40


@pytest.fixture(scope='module')
def model(painted_cells, tmp_path_factory):
    m = WEPaDiM(backbone='efficientnet-lite0', image_size=64, grid_size=4, n_features=16)
    return m.fit(painted_cells/'cell'/'train'/'good').save(tmp_path_factory.mktemp('model')/'cell')


@pytest.fixture(scope='module')
def pictures(painted_cells):
    "The contents of forty different pictures."
    found = []
    for i, path in zip(range(N), sorted((painted_cells/'cell').glob('t*/*/*.png'))*2):
        im = np.asarray(Image.open(path).convert('L')).copy()
        im[:8, :8] = i
        Image.fromarray(im).save(b := io.BytesIO(), 'png')
        found.append(b.getvalue())
    return found


def line(argv, log):
    "A line in a process that the test may kill; what it says goes into a file."
    import torch
    from wepadim.tools import wepadim_predict
    torch.set_num_threads(1)
    with open(log, 'a', buffering=1) as f:
        sys.stdout = sys.stderr = f
        wepadim_predict([str(a) for a in argv])


@pytest.fixture
def start(tmp_path):
    "Start a line on tmp_path/in; every line is ended at the end of a test."
    context, running = multiprocessing.get_context('forkserver'), []
    context.set_forkserver_preload(['wepadim.tools', 'wepadim.model', 'wepadim.plots'])
    def go(model, *more, out='out'):
        (tmp_path/'in').mkdir(exist_ok=True)
        argv = [model, tmp_path/'in', '--watch', '--interval', '.1', '--out', tmp_path/out, *more]
        p = context.Process(target=line, args=(argv, tmp_path/'log'))
        p.start()
        running.append(p)
        return p
    yield go
    for p in running:
        if p.is_alive(): p.kill()
        p.join()


def table(out, name='scores.csv'):
    "Rows of a table, which must be whole at any time."
    text = (out/name).read_text(encoding='utf-8-sig')
    assert text.endswith('\n')
    return list(csv.DictReader(text.splitlines()))


def names(out): return [Path(r['image']).name for r in table(out)] if (out/'scores.csv').exists() else []


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(.05)


def log(tmp_path): return (tmp_path/'log').read_text() if (tmp_path/'log').exists() else ''


def stop(process):
    os.kill(process.pid, signal.SIGTERM)
    process.join(30)
    return process.exitcode


def test_three_kills_lose_and_double_nothing(model, pictures, start, tmp_path):
    "Pictures arrive in two pieces, while the process is killed three times; in the end each has one row, as without a kill."
    def camera():
        for i, content in enumerate(pictures):
            with open(tmp_path/'in'/f'{i:02}.png', 'wb') as f:
                f.write(content[:len(content)//2])
                f.flush()
                time.sleep(.15)
                f.write(content[len(content)//2:])
    p, out = start(model, '--batch_size', '3'), tmp_path/'out'
    feeding = threading.Thread(target=camera)
    feeding.start()
    for kill in range(3):
        until(lambda: len(names(out)) >= 8*(kill + 1))
        p.kill()
        p.join()
        assert p.exitcode == -signal.SIGKILL
        p = start(model, '--batch_size', '3')
    feeding.join()
    until(lambda: len(names(out)) >= N)
    time.sleep(.5)
    assert stop(p) == 0, log(tmp_path)
    assert sorted(names(out)) == [f'{i:02}.png' for i in range(N)]
    p = WEPaDiM.load(model).predict(tmp_path/'in')
    want = dict(zip([Path(i).name for i in p.items], p.scores))
    for r in table(out): assert abs(float(r['score']) - want[Path(r['image']).name]) < 1e-5*want[Path(r['image']).name]
    regions = table(out, 'regions.csv')
    assert len(regions) == sum(map(len, p.regions)) == len({(r['image'], r['region']) for r in regions})
    assert len(list((out/'heatmaps').iterdir())) == N and (out/'report.html').read_text().count('"score":') == N
    assert not [f for f in out.rglob('.*') if f.suffix == '.tmp'] and 'Traceback' not in log(tmp_path)


def test_alarms_reach_a_command(model, pictures, start, tmp_path):
    "Without a shell, in bounded time, and the line goes on whatever the command does; an alarm that a kill cut off is given again."
    lamp = tmp_path/'lamp.py'
    lamp.write_text('import sys, time\nopen(sys.argv[2], "a").write(sys.argv[1] + "\\n")\nif "hang" in sys.argv[1]: time.sleep(60)\nif "fail" in sys.argv[1]: sys.exit(3)\n')
    command = ('--threshold', '0', '--no_heatmaps', '--on_alarm', f"'{sys.executable}' {lamp} {{image}} {tmp_path/'given'}")
    given = lambda: [Path(l).name for l in (tmp_path/'given').read_text().splitlines()] if (tmp_path/'given').exists() else []
    p, strange = start(model, *command), 'a $(touch owned); "{score}" #.png'
    for name, content in zip(('fail.png', strange, 'hang.png', 'later.png'), pictures): (tmp_path/'in'/name).write_bytes(content)
    until(lambda: len(names(tmp_path/'out')) == 4 and 'hang.png' in given())
    p.kill()
    p.join()
    for orphan in subprocess.run(['pgrep', '-f', str(lamp)], capture_output=True, text=True).stdout.split(): os.kill(int(orphan), signal.SIGKILL)
    p = start(model, *command)
    until(lambda: given().count('hang.png') == 2 and 'later.png' in given(), 40)
    assert stop(p) == 0
    assert sorted(set(given())) == sorted(['fail.png', strange, 'hang.png', 'later.png'])
    assert 'failed with exit code 3' in log(tmp_path) and 'took more than 10 s' in log(tmp_path) and len(names(tmp_path/'out')) == 4
    assert not list(tmp_path.rglob('owned')) and 'Traceback' not in log(tmp_path)


def test_a_folder_that_vanishes_and_a_broken_picture(model, pictures, start, tmp_path):
    p, out = start(model, '--no_heatmaps'), tmp_path/'out'
    (tmp_path/'in'/'1.png').write_bytes(pictures[0])
    (tmp_path/'in'/'broken.png').write_bytes(pictures[1][:3000])
    until(lambda: names(out) == ['1.png'] and 'broken.png: cannot be read' in log(tmp_path))
    (tmp_path/'in').rename(tmp_path/'away')
    until(lambda: 'the folder is not there; waiting' in log(tmp_path))
    (tmp_path/'away'/'2.png').write_bytes(pictures[2])
    (tmp_path/'away').rename(tmp_path/'in')
    until(lambda: '2.png' in names(out))
    assert 'the folder is there again' in log(tmp_path) and names(out) == ['1.png', '2.png'] and stop(p) == 1   # one is not inspected
    assert '1 picture(s) cannot be read, such as ../in/broken.png' in log(tmp_path)
    p = start(model, '--no_heatmaps')
    (tmp_path/'in'/'broken.png').write_bytes(pictures[1])
    until(lambda: 'broken.png' in names(out))
    assert stop(p) == 0 and names(out) == ['1.png', '2.png', 'broken.png']


def test_a_disk_that_is_full(model, pictures, start, tmp_path):
    "Rows that are written stay whole, and the line goes on when there is space."
    disk = tmp_path/'disk'
    disk.mkdir()
    if os.geteuid() or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', disk], capture_output=True).returncode: pytest.skip('needs to mount a small disk: run as root')
    try:
        p = start(model, '--batch_size', '2', out='disk/out')
        until((disk/'out'/'scores.csv').exists)
        def fill():
            with open(disk/'filler', 'wb', buffering=0) as f:
                try:
                    while True: f.write(b'x'*4096)
                except OSError: pass
        for i in range(4): (tmp_path/'in'/f'{i}.png').write_bytes(pictures[i])
        until(lambda: 'cannot be written' in log(tmp_path) or len(names(disk/'out')) == 4)
        fill()
        for i in range(4, 12): (tmp_path/'in'/f'{i}.png').write_bytes(pictures[i])
        until(lambda: 'cannot be written' in log(tmp_path))
        table(disk/'out'), table(disk/'out', 'regions.csv')   # whole
        subprocess.run(['mount', '-o', 'remount,size=40m', disk], check=True)
        until(lambda: len(names(disk/'out')) == 12)
        assert stop(p) == 0 and len(set(names(disk/'out'))) == 12
    finally:
        for left in multiprocessing.active_children(): left.kill(); left.join()
        subprocess.run(['umount', '-l', disk])


def test_drift_is_noticed(model, painted_cells, start, tmp_path):
    "Twenty pictures as they were learned, then the same ones darker."
    p, good = start(model, '--no_heatmaps'), sorted((painted_cells/'cell'/'test'/'good').iterdir())
    for i in range(24): shutil.copy(good[i % len(good)], tmp_path/'in'/f'a{i:02}.png')
    until(lambda: len(names(tmp_path/'out')) == 24)
    assert 'outside their 5% to 95%' not in log(tmp_path)
    for i in range(80): Image.open(good[i % len(good)]).convert('L').point(lambda v: v//8).save(tmp_path/'in'/f'b{i:02}.png')
    until(lambda: len(names(tmp_path/'out')) == 104)
    assert stop(p) == 0 and log(tmp_path).count('outside their 5% to 95%') == 1 and 'last 100: median score' in log(tmp_path)


def test_what_is_refused(model, pictures, start, tmp_path, call):
    (tmp_path/'in').mkdir()
    watch = lambda *more, folder='in': call('wepadim_predict', model, tmp_path/folder, '--watch', '--out', tmp_path/'out', *more)
    for more, says in ((['--on_alarm', ''], 'expected a command'), (['--on_alarm', '/no/such/lamp {image}'], 'no such program'), (['--on_alarm', "lamp 'x"], 'No closing quotation'), (['--interval', '0'], 'seconds from'),
                       (['--coco'], '--coco: not with --watch'), (['--skip_bad_images'], '--skip_bad_images: not with --watch')):
        code, err, out = watch(*more)
        assert code == 2 and len(err) == 1 and says in err[0], err
    assert watch(folder='nothing')[0] == 2
    p = start(model)
    until((tmp_path/'out'/'scores.csv').exists)
    code, err, out = watch()
    assert code == 2 and 'another process writes here' in err[0]
    assert stop(p) == 0
    (tmp_path/'in'/'a.png').write_bytes(pictures[0])
    code, err, out = call('wepadim_predict', model, tmp_path/'in', '--out', tmp_path/'out')
    assert code == 2 and 'the tables of a watched folder' in err[0]
    code, err, out = watch('--threshold', '3')
    assert code == 2 and 'rows of another model, threshold or version' in err[0]


def test_compose_file_runs_the_watcher():
    "The example compose file names a command, flags and folders that exist."
    import yaml
    from wepadim.tools import _predict_parser
    root = Path(__file__).resolve().parents[1]
    line = yaml.safe_load((root/'compose.yaml').read_text())['services']['line']
    program, *flags = line['command']
    assert f'{program}=' in (root/'settings.ini').read_text()
    args = _predict_parser().parse_args(flags)
    assert args.watch and args.engine == 'openvino'
    mounted = [v.split(':')[1] for v in line['volumes']]
    for path in (args.model, *args.images, args.out):
        assert any(path == m or path.startswith(m + '/') for m in mounted), path
    assert 'openvino_requirements' in (root/'Dockerfile').read_text()   # for --engine openvino
