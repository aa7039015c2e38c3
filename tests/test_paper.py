"The page of the paper: killed in the middle it goes on, and ends with the same tables; times are apart."
import csv, os, re, shutil, signal, subprocess, sys, time

import pytest

LITE = 'efficientnet-lite0'
START = [sys.executable, '-c', 'from wepadim.tools import wepadim_paper; wepadim_paper()']
TIMES = ('fit s', 'ms an image, batch 1', 'ms an image, batch 16') # columns of cost.csv that another run changes


@pytest.fixture(scope='module')
def both(painted_cells, tmp_path_factory):
    "A folder with one category of MVTec AD, and one of VisA with its split file."
    root, cell = tmp_path_factory.mktemp('both'), painted_cells/'cell'
    shutil.copytree(cell, root/'MVTec'/'bottle')
    rows = ['object,split,label,image,mask']
    for split, kind in (('train', 'good'), ('test', 'good'), ('test', 'hole'), ('test', 'scar')):
        for picture in sorted((cell/split/kind).iterdir()):
            bad, name = kind != 'good', f'{split}_{picture.name}'
            image, mask = f"fryum/Data/Images/{'Anomaly' if bad else 'Normal'}/{name}", f'fryum/Data/Masks/Anomaly/{name}' if bad else ''
            for listed, source in ((image, picture), (mask, cell/'ground_truth'/kind/f'{picture.stem}_mask.png')):
                if not listed: continue
                (root/'VisA'/listed).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, root/'VisA'/listed)
            rows.append(f"fryum,{split},{'anomaly' if bad else 'normal'},{image},{mask}")
    (root/'VisA'/'split_csv').mkdir()
    (root/'VisA'/'split_csv'/'1cls.csv').write_text('\n'.join(rows))
    return root


def start(data, save):
    argv = ['--data_path', data, '--models', LITE, '--limit', '8', '8', '--save_path', save]
    return subprocess.Popen([*START, *map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})


def finished(data, save):
    "Exit code and stdout of a run that is left alone."
    process = start(data, save)
    out, err = process.communicate(timeout=900)
    assert process.returncode in (0, 1), err
    return process.returncode, out


def kill_when(data, save, pattern, n=1):
    "SIGKILL a run as soon as it has written n such files."
    process = start(data, save)
    while len(list((save/'paper').glob(pattern))) < n:
        assert process.poll() is None, process.communicate()
        time.sleep(.02)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def rows_of(path):
    return list(csv.DictReader(path.open()))


def without_times(save):
    "{file: content} of the page and the tables; of cost, what does not change."
    folder = save/'paper'
    found = {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in ('.csv', '.tex', '.html') and p.stem not in ('cost', 'paper')}
    page, n = re.subn(r'<section id="cost">.*?</section>', '', (folder/'paper.html').read_text(), flags=re.S)
    assert n == 1
    cost = [{k: v for k, v in row.items() if k not in TIMES} for row in rows_of(folder/'cost.csv')]
    return found, page, cost


def test_killed_and_resumed(both, tmp_path):
    calm, torn = tmp_path/'calm', tmp_path/'torn'
    code, out = finished(both, calm)
    assert code == 0 and 'MVTec: missing here: cable, ' in out and 'VisA: missing here: candle, ' in out
    for pattern, n in (('runs/MVTec_recommended/*/categories/bottle.json', 1), ('runs/MVTec_phase1/*/passes/bottle/*.json', 3), ('cost/VisA_recommended_*.json', 1)):
        kill_when(both, torn, pattern, n)
        assert not (torn/'paper'/'paper.html').exists()
    kept = {p: p.read_bytes() for p in (torn/'paper'/'cost').glob('*.json')}
    assert len(kept) == 4
    assert finished(both, torn)[0] == 0
    assert without_times(torn) == without_times(calm)
    assert all(p.read_bytes() == content for p, content in kept.items())   # not measured again
    whole = {p: p.read_bytes() for p in (torn/'paper').glob('*.*') if p.suffix in ('.csv', '.tex', '.html')}
    assert finished(both, torn)[0] == 0 and all(p.read_bytes() == content for p, content in whole.items())   # the times too
    check_tables(torn/'paper')
    check_another_category(both, torn)


def check_tables(folder):
    means = rows_of(folder/'means.csv')
    ours = [r for r in means if r['source'] == 'measured here']
    assert [r['method'] for r in ours] == ['recommended', 'paper, best for image', 'paper, best for pixel']*2
    assert {r['categories'] for r in ours} == {'1 of 15', '1 of 12'} and [r['pixels of'] for r in ours[:2]] == ['mask', 'input']
    assert [r['AUPIMO'] for r in means if r['method'] == 'PatchCore'] == ['67.2', '38.0'] and '98.43' in {r['image AUROC'] for r in means}
    beside = rows_of(folder/'beside.csv')
    assert [(r['category'], r['method']) for r in beside] == [(c, m) for c in ('bottle', 'fryum') for m in ('recommended', 'PaDiM', 'PatchCore', 'EfficientAD-M')]
    assert [r['AUPIMO'] for r in beside if r['method'] == 'PaDiM'] == ['63.8', '1.5'] and {r['pixels of'] for r in beside} == {'mask'}
    assert 'as busy as it was then' in (folder/'paper.html').read_text()
    assert all('ORACLE' not in r['method'] for name in ('means', 'fixed', 'phase2', 'worst') for r in rows_of(folder/f'{name}.csv'))
    oracle = rows_of(folder/'oracle.csv')
    assert len(oracle) == 2*2*3 and all('ORACLE' in r['method'] and 'test labels' in r['chosen'] and r['cov_reg'] for r in oracle)
    assert [r['category'] for r in rows_of(folder/'fixed.csv')] == ['bottle', 'mean of 1 of 15', 'worst', 'fryum', 'mean of 1 of 12', 'worst']
    cost = rows_of(folder/'cost.csv')
    assert len(cost) == 6 and all(float(r[k]) > 0 for r in cost for k in (*TIMES, 'model MB')) and all(' thread' in r['machine'] for r in cost)


def check_another_category(both, save):
    "A category that cannot be read is named, the others are there as before, and the exit code is 1."
    cable = both/'MVTec'/'cable'
    shutil.copytree(both/'MVTec'/'bottle', cable)
    (cable/'train'/'good'/'000.png').write_text('no image')
    code, _ = finished(both, save)
    shutil.rmtree(cable)
    page = (save/'paper'/'paper.html').read_text()
    assert code == 1 and 'failed: MVTec efficientnet-lite0 recommended cable: ' in page and '000.png: cannot be read' in page
    fixed = rows_of(save/'paper'/'fixed.csv')
    assert [r['category'] for r in fixed[:4]] == ['bottle', 'cable (failed)', 'mean of 1 of 15', 'worst']


@pytest.mark.parametrize('argv,says', [
    (['--data_path', '{tmp}'], 'neither MVTec AD nor VisA is here or below; expected a folder MVTec with bottle/train/good'),
    (['--data_path', '{tmp}/nowhere'], 'no such folder'),
    (['--models', 'resnet19'], "unknown backbone 'resnet19' (did you mean 'resnet18'?)"),
    (['--weights', '{tmp}'], 'no weights of any backbone are here'),
    (['--weights', '{tmp}', '--models', 'resnet18'], 'holds neither resnet18.pth nor'),
    (['--weights', '{tmp}/nowhere'], 'no such file or folder'),
    (['--save_path', '/proc/nowhere'], 'cannot be written'),
    (['--run_name', '../x'], 'run_name'),
    (['--limit', '1'], 'at least 2 training images'),
    (['--repeats', '1'], 'repeats'),
    (['--sigma', '2'], 'unrecognized arguments: --sigma')])
def test_bad_input(both, tmp_path, call, argv, says):
    given = [word.format(tmp=tmp_path) for word in argv]
    usual = ['--data_path', both, '--models', LITE, '--save_path', tmp_path/'r']
    for flag in ('--models', '--data_path', '--save_path'):
        if flag in given or flag == '--models' and '--weights' in given:
            at = usual.index(flag)
            del usual[at:at + 2]
    code, err, _ = call('wepadim_paper', *usual, *given)
    assert code == 2 and len(err) == 1 and says in err[0], err


def test_other_settings_in_the_same_folder(both, tmp_path, call):
    "They are refused, and --overwrite starts anew; only a folder of ours is deleted."
    from wepadim import paper
    argv = ['--data_path', both, '--models', LITE, '--save_path', tmp_path]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, 'run_suite', lambda *_: ([], {}))
        assert call('wepadim_paper', *argv, '--limit', 8, 8)[0] == 0
        code, err, _ = call('wepadim_paper', *argv, '--limit', 9, 9)
        assert code == 2 and len(err) == 1 and 'holds the results of another run' in err[0]
        assert call('wepadim_paper', *argv, '--limit', 9, 9, '--overwrite')[0] == 0
    (tmp_path/'mine').mkdir()
    code, err, _ = call('wepadim_paper', *argv, '--run_name', 'mine', '--overwrite')
    assert code == 2 and 'not the folder of a run' in err[0] and (tmp_path/'mine').is_dir()
