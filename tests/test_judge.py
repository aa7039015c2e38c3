"How runs are judged, on real files: metrics at the size of the masks, and repeats."
import csv, json

import pytest

LITE = 'efficientnet-lite0'
SMALL = f'--preset recommended --models {LITE} --image_size 64 --grid_size 8 --heatmaps 0'.split()
NEW = ('aupro_05', 'aupimo', 'pg2', 'pb2', 'recall_at_threshold', 'false_alarm_rate_at_threshold')


def run(call, data, save, *more):
    "The summary of a run."
    code, err, out = call('wepadim_run', '--data_path', data, '--save_path', save, *SMALL, *more)
    assert code == 0, err
    [path] = save.glob(f'*/{LITE}/{LITE}_wavelet_experiment.json')
    [summary] = json.loads(path.read_text())
    return summary, path, out


def test_new_metrics_at_both_resolutions(painted_cells, tmp_path, call):
    "Six good images of 64 x 64 are too few pixels for AUPIMO, those of 300 x 300 are enough."
    for resolution in ('input', 'mask'):
        summary, path, out = run(call, painted_cells, tmp_path/resolution, '--metric_resolution', resolution)
        [c] = summary['class_results']
        assert set(NEW) <= set(c) and c['metric_rules']['resolution'] == resolution and 0 < c['aupro_05'] <= c['aupro'] <= 1
        assert c['recall_at_threshold'] == c['threshold']['image']['detected'] and c['false_alarm_rate_at_threshold'] == c['threshold']['image']['achieved_false_alarms']
        [scores] = path.parent.glob('categories/*/scores.csv')
        rows = list(csv.DictReader(scores.open(encoding='utf-8-sig')))
        of_defective = [float(r['aupimo']) for r in rows if r['aupimo']]
        if resolution == 'input':
            assert c['aupimo'] is None and c['aupimo_reason'].startswith('24576 pixels of good images') and not of_defective
            assert summary['not_computed']['aupimo'] == ['cell']
        else:
            assert c['masks']['defects_lost'] == 0 and c['aupimo'] == pytest.approx(sum(of_defective)/8, abs=1e-5)
            assert all(r['aupimo'] == '' for r in rows if r['label'] == '0')
    assert 'AUPIMO' in out and 'PG2' in out


def test_repeats(painted_cells, tmp_path, call):
    summary, _, out = run(call, painted_cells, tmp_path/'a', '--repeats', 2)
    plain, _, _ = run(call, painted_cells, tmp_path/'b')
    [c], [p] = summary['class_results'], plain['class_results']
    assert c['img_auc'] == p['img_auc'] and 'spread' not in p
    assert c['spread']['repeats'] == 2 and len(c['spread']['metrics']) == 2 and c['spread']['std']['pixel_auc'] > 0
    assert summary['spread']['mean']['img_auc'] == c['spread']['mean']['img_auc'] and ' ± ' in out


@pytest.mark.parametrize('argv,says', [
    (['--metric_resolution', 'maks'], 'metric_resolution'),
    (['--repeats', '1'], "repeats='1' is not valid"),
    (['--metrics', 'aupimo'], '--metrics: a single run computes all metrics'),
    (['--experiment_type', 'grid_search', '--sigma', '1', '2', '--metrics', 'aupino'], 'aupimo'),
    (['--experiment_type', 'grid_search', '--sigma', '1', '2', '--repeats', '3'], '--repeats: a search fits')])
def test_bad_flags(painted_cells, tmp_path, call, argv, says):
    code, err, _ = call('wepadim_run', '--data_path', painted_cells, '--save_path', tmp_path, *SMALL[:-2], *argv)
    assert code == 2 and len(err) == 1 and says in err[0], err


def test_a_search_computes_what_it_is_asked_for(painted_cells, tmp_path, call):
    code, err, _ = call('wepadim_run', '--data_path', painted_cells, '--save_path', tmp_path, *SMALL[:-2], '--experiment_type', 'grid_search', '--sigma', '1', '2', '--metrics', 'aupro_05')
    assert code == 0, err
    [path] = tmp_path.glob(f'*/{LITE}/*_final.json')
    found = json.loads(path.read_text())
    assert all(f['avg_aupro_05'] > 0 and 'aupimo' not in f['class_results'][0] and 'pg2' in f['class_results'][0] for f in found)


def test_two_runs_are_compared(painted_cells, tmp_path, call):
    "At the size of the masks, so that AUPIMO is there; both runs kept their models, then one has none any more."
    common = ('wepadim_run', '--data_path', painted_cells, '--save_path', tmp_path, *SMALL, '--metric_resolution', 'mask', '--run_name')
    for argv in (['a', '--save_model'], ['b', '--sigma', 6, '--save_model'], ['fewer', '--limit', 20, 8], ['crop', '--input', 'crop', '--save_model']): assert call(*common, *argv)[0] == 0
    a, b = tmp_path/'a', tmp_path/'b'
    code, err, out = call('wepadim_compare', a, b)
    assert code == 0 and 'not decided' in out and 'AUPIMO' in out, err
    made = tmp_path/'compare_a_b'
    page = (made/'compare.html').read_text()
    assert 'data:image/png' in page and {p.suffix for p in made.glob('*metrics*')} == {'.csv', '.tex', '.html'}
    rows = {r['metric']: r for r in csv.DictReader((made/f'{LITE}_cell_metrics.csv').open())}
    [x], [y] = ([json.loads(p.read_text()) for p in run.glob(f'{LITE}/categories/cell.json')] for run in (a, b))
    assert float(rows['AUPIMO']['b - a']) == pytest.approx(100*(y['aupimo'] - x['aupimo']), abs=.02) and all(rows[m]['low'] and rows[m]['better'] for m in ('AUPIMO', 'pixel AUROC', 'pixel AP', 'pixel F1-max', 'AUPRO', 'AUPRO 0.05'))
    images = list(csv.DictReader((made/f'{LITE}_cell_images.csv').open()))
    assert len(images) == 14 and abs(float(images[0]['changed'])) >= abs(float(images[-1]['changed']))
    first = page
    assert call('wepadim_compare', a, b)[0] == 0 and (made/'compare.html').read_text() == first   # the same bytes again
    for argv, says in (([a, tmp_path/'fewer'], 'has no score of'), ([a, tmp_path/'nowhere'], 'not a finished run'), ([a], 'run_b')):
        code, err, _ = call('wepadim_compare', *argv)
        assert code == 2 and len(err) == 1 and says in err[0], err
    import shutil
    shutil.rmtree(b/LITE/'models')
    code, _, out = call('wepadim_compare', a, b)
    assert code == 0 and out.count('run b kept no models') == 1 and 'run b kept no models' in (made/'compare.html').read_text()
    assert {r['metric']: r['better'] for r in csv.DictReader((made/f'{LITE}_cell_metrics.csv').open())}['AUPRO'] == ''
    code, _, out = call('wepadim_compare', a, tmp_path/'crop')
    made, line = tmp_path/'compare_a_crop', 'they count different pixels: the whole image (a), the centre crop'
    assert code == 0 and out.count(line) == 1 and line in (made/'compare.html').read_text()
    rows = {r['metric']: r for r in csv.DictReader((made/f'{LITE}_cell_metrics.csv').open())}
    assert rows['image AUROC']['low'] and rows['AUPRO']['b - a'] and not any(rows[m][k] for m in ('AUPRO', 'AUPIMO', 'pixel AUROC') for k in ('low', 'high', 'better'))
