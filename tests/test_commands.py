"The command lines on real images: the demo, the published quick start, a model from run to prediction."
import csv, json, shutil

import numpy as np, pytest, torch
from PIL import Image

from wepadim.backbone import parameters

RESULT_KEYS = {'model', 'wavelet_type', 'wavelet_level', 'wavelet_kept_subbands', 'sigma', 'cov_reg', 'avg_img_auc', 'avg_pixel_auc', 'avg_inference_time',
               'time', 'class_results', 'commit', 'seed', 'versions', 'preset'}


def result(save_path, model):
    [path] = save_path.glob(f'*/{model}/{model}_wavelet_experiment.json')
    [summary] = json.loads(path.read_text())
    assert RESULT_KEYS <= set(summary) and (path.parent/f'{model}_resource_summary.json').is_file() and (path.parents[1]/'config.json').is_file()
    return summary


def test_demo(tmp_path, shell):
    r = shell('wepadim_demo', '--save_path', tmp_path)
    assert r.returncode == 0, r.stderr
    assert r.stderr.startswith('running demo.ipynb') and r.stdout.startswith('real defects, image AUROC')
    assert 'F1-max' in r.stdout and 'seconds: fit' in r.stdout and 'images per second: predict' in r.stdout
    s = result(tmp_path, 'efficientnet-lite0')
    [c] = s['class_results']
    assert (c['n_train'], c['n_test_good'], c['n_test_defective']) == (300, 100, 100)
    assert c['img_auc'] >= .92
    assert c['pixel_auc'] is None and c['pixel_reason']
    painted = json.loads((tmp_path/'demo'/'efficientnet-lite0'/'synthetic.json').read_text())
    assert painted['synthetic'] is True and .9 < painted['pixel_auc'] <= 1 and .5 < painted['aupro'] <= 1
    html = (tmp_path/'demo'/'report.html').read_text()
    assert html.count('data:image/png') >= 8 and 'synthetic' in html and 'CC BY-NC-SA' in html


def test_one_category_from_run_to_prediction(painted_cells, tmp_path, shell):
    out = tmp_path/'results'
    r = shell('wepadim_run', '--data_path', painted_cells, '--models', 'efficientnet-lite0', '--preset', 'recommended', '--image_size', '160', '--grid_size', '10',
              '--save_path', out, '--save_model')
    assert r.returncode == 0, r.stderr
    [c] = result(out, 'efficientnet-lite0')['class_results']
    assert c['pixel_auc'] > .8 and 0 < c['aupro'] <= 1 and c['img_auc'] > .8
    [model] = out.glob('*/efficientnet-lite0/models/cell')
    for extra in ([], ['--batch_size', '3']):
        r = shell('wepadim_predict', model, painted_cells/'cell'/'test'/'good', painted_cells/'cell'/'test'/'hole', '--out', tmp_path/'p', '--threshold', '1e3', *extra)
        assert r.returncode == 0, r.stderr
        rows = list(csv.DictReader((tmp_path/'p'/'scores.csv').open(encoding='utf-8-sig')))
        if extra: np.testing.assert_allclose([float(x['score']) for x in rows], before, rtol=1e-6)
        before = [float(x['score']) for x in rows]
    assert len(rows) == 8 and {x['label'] for x in rows} <= {'0', '1'}
    assert np.mean(before[6:]) > np.mean(before[:6])
    maps = sorted((tmp_path/'p'/'heatmaps').iterdir())
    assert len(maps) == 8 and Image.open(maps[0]).size == (300, 300)


def _as_visa(painted, root):
    "The same images in VisA's own layout, as category candle; masks hold class numbers, the split lists other categories too."
    rows = ['object,split,label,image,mask', 'capsules,train,normal,capsules/Data/Images/Normal/000.JPG,']
    def put(src, rel):
        (root/rel).parent.mkdir(parents=True, exist_ok=True)
        Image.open(src).convert('RGB').save(root/rel, quality=95) if rel.endswith('JPG') else Image.fromarray((np.asarray(Image.open(src)) > 0).astype(np.uint8)*3).save(root/rel)
        return rel
    for split, folder in (('train', 'train'), ('test', 'test')):
        for p in sorted((painted/'cell'/folder/'good').iterdir()):
            rows.append(f"candle,{split},normal,{put(p, f'candle/Data/Images/Normal/{split}{p.stem}.JPG')},")
    for p in sorted((painted/'cell'/'ground_truth').rglob('*.png')):
        stem = p.stem.removesuffix('_mask')
        image = put(painted/'cell'/'test'/p.parent.name/f'{stem}.png', f'candle/Data/Images/Anomaly/{stem}.JPG')
        rows.append(f"candle,test,anomaly,{image},{put(p, f'candle/Data/Masks/Anomaly/{stem}.png')}")
    (root/'split_csv').mkdir()
    (root/'split_csv'/'1cls.csv').write_text('\n'.join(rows) + '\n')


def test_the_published_quick_start_as_written(painted_cells, tmp_path, shell):
    "Both quick-start commands, other data paths. Offline, so efficientnet-b0 has random weights from a file: what counts here is that the commands run."
    visa, mvtec, weights = tmp_path/'VisA', tmp_path/'MVTec', tmp_path/'weights'
    _as_visa(painted_cells, visa)
    shutil.copytree(painted_cells/'cell', mvtec/'bottle')
    weights.mkdir()
    torch.save(parameters('efficientnet-b0', 'random'), weights/'efficientnet-b0.pth')
    for kind, root, name, gpu in (('visa', visa, 'candle', '0'), ('mvtec', mvtec, 'bottle', '0'), ('mvtec', mvtec, 'bottle', '-1')):
        save = tmp_path/f'results-{kind}{gpu}'
        r = shell('wepadim_run', '--dataset_type', kind, '--data_path', root, '--models', 'efficientnet-b0', '--experiment_type', 'single', '--classes', name,
                  '--gpu_id', gpu, '--save_path', save, WEPADIM_WEIGHTS=str(weights))
        assert r.returncode == 0, r.stderr
        if gpu == '0' and not torch.cuda.is_available(): assert r.stderr.strip() == 'warning: gpu_id 0 asked for, but no GPU was found: running on the CPU'
        if gpu == '-1': assert r.stderr.strip() == ''
        [c] = result(save, 'efficientnet-b0')['class_results']
        assert c['class'] == name and c['n_train'] == 20 and c['pixel_auc'] is not None


@pytest.mark.parametrize('kind,folder,name', [('visa', 'VisA', 'fryum'), ('mvtec', 'magnetic_tile', 'tile')])
def test_real_categories(kind, folder, name, real_data, real_weights, tmp_path, shell):
    r = shell('wepadim_run', '--dataset_type', kind, '--data_path', real_data(folder), '--models', 'resnet18', '--weights', real_weights('resnet18.pth'), '--classes', name,
              '--save_path', tmp_path, '--limit', 60, '--heatmaps', 1)
    assert r.returncode == 0, r.stderr
    [c] = result(tmp_path, 'resnet18')['class_results']
    assert c['img_auc'] > .7 and c['pixel_auc'] > .6 and 0 < c['aupro'] <= 1


def test_phase2_and_ablation(real_weights, painted_cells, tmp_path, shell):
    "The seed's commands for the second phase, with one backbone on a small data set."
    root = tmp_path/'MVTec'
    shutil.copytree(painted_cells/'cell', root/'bottle')
    common = ['--dataset_type', 'mvtec', '--data_path', root, '--weights', real_weights('resnet18.pth'), '--gpu_id', '-1']
    r = shell('wepadim_phase2', *common, '--models', 'resnet18', '--save_path', tmp_path)
    assert r.returncode == 0, r.stderr
    for column, best in (('image', ('sym4', 2, 2.0, .01)), ('pixel', ('haar', 1, 2.0, .001))):
        [s] = json.loads((tmp_path/f'phase2_mvtec_{column}'/'resnet18'/'resnet18_wavelet_experiment.json').read_text())
        assert (s['wavelet_type'], s['wavelet_level'], s['sigma'], s['cov_reg']) == best and s['avg_pixel_auc'] is not None
    r = shell('wepadim_ablation', *common, '--model', 'resnet18', '--base_params', 'pixel', '--save_dir_base', tmp_path/'ablation', '--gaussian_sigmas', '2,4')
    assert r.returncode == 0, r.stderr
    [path] = (tmp_path/'ablation').glob('*/resnet18/resnet18_wavelet_grid_search_results_final.json')
    found = json.loads(path.read_text())
    assert len(found) == 30 and len({tuple(f['params']['wavelet_kept_subbands']) for f in found}) == 15
    # the ablation's base set is phase 2's configuration
    same = next(f for f in found if f['params']['wavelet_kept_subbands'] == ['LL', 'LH', 'HL'] and f['params']['sigma'] == 2)
    assert same['avg_img_auc'] == pytest.approx(s['avg_img_auc'], abs=1e-9) and same['avg_pixel_auc'] == pytest.approx(s['avg_pixel_auc'], abs=1e-6)


def test_the_demo_does_not_touch_another_run(tmp_path, shell):
    "An error inside the demo's notebook is one line too."
    (tmp_path/'demo').mkdir()
    (tmp_path/'demo'/'config.json').write_text('{"identity": {"data_path": "mine"}}')
    r = shell('wepadim_demo', '--save_path', tmp_path)
    assert r.returncode == 2, r.stderr
    lines = r.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith('wepadim_demo: error: ') and 'holds the results of another run' in lines[0], r.stderr
    assert json.loads((tmp_path/'demo'/'config.json').read_text()) == {'identity': {'data_path': 'mine'}}


def test_demo_with_another_preset(tmp_path, shell):
    r = shell('wepadim_demo', '--save_path', tmp_path, '--preset', 'published', '--image_size', '160')
    assert r.returncode == 0, r.stderr
    s = result(tmp_path, 'efficientnet-lite0')
    assert (tmp_path/'demo_published_160'/'report.html').is_file() and s['preset'] == 'published'
    assert (s['settings']['input'], s['settings']['image_size'], s['settings']['compat']) == ('crop', 160, 'published')


def test_a_configuration_chosen_without_labels(painted_cells, tmp_path, shell):
    "A grid search that chooses on painted defects: three columns, a warning, and the same numbers as the search."
    r = shell('wepadim_run', '--data_path', painted_cells, '--models', 'efficientnet-lite0', '--preset', 'recommended', '--image_size', '96', '--grid_size', '6', '--experiment_type', 'grid_search',
              '--cov_reg', '.3', '.03', '--window', '0', '1', '2', '--selection', 'synthetic', '--save_path', tmp_path, '--run_name', 'chosen')
    assert r.returncode == 0, r.stderr
    assert 'chosen without labels' in r.stdout and 'best on the test set (oracle)' in r.stdout and 'an oracle that sees the labels' in r.stdout
    folder = tmp_path/'chosen'/'efficientnet-lite0'
    found = json.loads((folder/'efficientnet-lite0_wavelet_grid_search_results_final.json').read_text())
    chosen = json.loads((folder/'efficientnet-lite0_selection.json').read_text())
    one = chosen['categories']['cell']
    assert len(found) == 6 and chosen['selection'] == 'synthetic' and one['test_labels']['img_auc'] + one['test_labels']['aupro'] == max(f['avg_img_auc'] + f['avg_aupro'] for f in found)
    assert next(f for f in found if f['params'] == one['synthetic']['params'])['avg_img_auc'] == one['synthetic']['img_auc']
    r = shell('wepadim_run', '--data_path', painted_cells, '--models', 'efficientnet-lite0', '--experiment_type', 'grid_search', '--cov_reg', '.1', '--selection', 'labels', '--save_path', tmp_path)
    assert r.returncode == 2 and len(r.stderr.strip().splitlines()) == 1 and 'selection' in r.stderr
