"tools/peers.py without anomalib: what it measures of the presets, and what it says where something is missing."
import importlib.util, json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope='module')
def tool():
    "tools/peers.py as a module."
    path = Path(__file__).resolve().parents[1]/'tools'/'peers.py'
    spec = importlib.util.spec_from_file_location('peers', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def weights(tmp_path):
    "A weights file of resnet18 that nobody has trained."
    import torch, torchvision
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path/'resnet18.pth')
    return tmp_path/'resnet18.pth'


def said(tool, capsys, *argv):
    "Exit code and lines of stderr."
    with pytest.raises(SystemExit) as e: tool.peers([str(a) for a in argv])
    return e.value.code, capsys.readouterr().err.splitlines()


def test_a_preset_is_measured(tool, painted_cells, weights, tmp_path):
    argv = ['--data_path', painted_cells, '--weights', weights, '--save_path', tmp_path/'out', '--limit', 4]
    tool.peers([str(a) for a in argv] + ['--only', 'published'])
    part = json.loads((tmp_path/'out'/'cell'/'methods'/'published.json').read_text())
    result, scores = part['result'], part['result']['scores']
    assert list(scores) == list(tool.CHANGES) and {len(s) for s in scores.values()} == {4}
    assert all(scores['as they are'] != scores[how] for how in ('turned', 'shifted', 'brightness'))
    assert result['aupro'] is not None and result['peak_bytes'] > result['model_bytes'] > 2**20
    cat = tool.limit(tool.chosen_category(painted_cells, 'cell', 1024), 4, 4)
    assert tool.kept(tmp_path/'out'/'cell', 'published', tool.key_of('published', tool.methods()['published'], cat, weights))
    tool.report(cat, weights, tmp_path/'out'/'cell', {'published': result})
    assert {p.name for p in (tmp_path/'out'/'cell').iterdir()} == {'methods', 'peers.csv', 'peers.json', 'peers.png', 'robustness.csv', 'robustness.png'}
    assert 'WE-PaDiM published,whole 256' in (tmp_path/'out'/'cell'/'peers.csv').read_text()


def test_anomalib_is_measured(tool, painted_cells, weights, tmp_path):
    argv = ['--data_path', painted_cells, '--weights', weights, '--save_path', tmp_path/'out', '--limit', 4, '--only', 'padim']
    tool.peers([str(a) for a in argv])
    result = json.loads((tmp_path/'out'/'cell'/'methods'/'padim.json').read_text())['result']
    assert {len(s) for s in result['scores'].values()} == {4} and 0 <= result['pixel_auc'] <= 1 and result['img_auc'] is not None


def test_a_moved_picture(tool):
    x = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)
    assert np.array_equal(tool.moved(x, 0, 0, 0), x)
    assert np.array_equal(tool.moved(x, 0, .05, 0)[:, 4:], x[:, :-4])
    assert tool.moved(x, 10, .05, .05).shape == x.shape


def test_what_is_missing_is_one_line(tool, painted_cells, weights, tmp_path, capsys):
    common = ['--data_path', painted_cells, '--save_path', tmp_path]
    for argv, word in [(['--category', 'bottel', '--only', 'published'], 'bottel'), (['--weights', tmp_path/'none', '--only', 'published'], 'none'),
                       (['--limit', 1, '--only', 'published'], 'limit'), (['--only', 'padim2'], 'padim2')]:
        code, lines = said(tool, capsys, *common, *argv)
        assert code == 2 and len(lines) == 1 and word in lines[0], lines


def test_without_anomalib(tool, painted_cells, weights, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    code, lines = said(tool, capsys, '--data_path', painted_cells, '--weights', weights)
    assert code == 2 and len(lines) == 1 and 'make peers' in lines[0]
