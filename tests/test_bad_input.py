"Bad input ends with exit code 2 and one line that names the culprit and the mending."
import shutil

import pytest, torch

from wepadim.backbone import parameters

SMALL = '--preset recommended --models efficientnet-lite0 --image_size 96 --grid_size 6 --heatmaps 0'.split()


def _corrupt_image(root): (root/'cell'/'train'/'good'/'003.png').write_bytes((root/'cell'/'train'/'good'/'003.png').read_bytes()[:900])
def _text_image(root): (root/'cell'/'test'/'good'/'002.png').write_text('no image')
def _missing_mask(root): (root/'cell'/'ground_truth'/'scar'/'001_mask.png').unlink()
def _other_size_mask(root):
    from PIL import Image
    Image.new('L', (7, 7), 255).save(root/'cell'/'ground_truth'/'scar'/'001_mask.png')
def _no_train(root): shutil.rmtree(root/'cell'/'train'/'good'); (root/'cell'/'train'/'good').mkdir()
def _only_one(root): [p.unlink() for p in sorted((root/'cell'/'train'/'good').iterdir())[1:]]
def _empty(root): shutil.rmtree(root/'cell')
def _other_layout(root): (root/'cell').rename(root/'stuff'); shutil.rmtree(root/'stuff'/'train')
def _nothing(root): pass


CASES = {
    'no such data path': (_nothing, '--data_path {root}/nowhere', ['nowhere', 'no such folder', '--data_path']),
    'a file as data path': (_nothing, '--data_path {root}/cell/train/good/000.png', ['000.png', 'no such folder']),
    'empty folder': (_empty, '', ['the folder is empty', 'data/README.md']),
    'other layout': (_other_layout, '', ['no data set in a known layout', '<category>/train/good']),
    'wrong dataset_type': (_nothing, '--dataset_type visa', ['1cls.csv', 'no such split file']),
    'unknown dataset_type': (_nothing, '--dataset_type mvtek', ['dataset_type', "'mvtec'"]),
    'unknown category': (_nothing, '--classes cel', ["unknown category 'cel'", "did you mean 'cell'"]),
    'unknown backbone': (_nothing, '--models resnet19', ['models', 'resnet18', 'efficientnet-b0']),
    'unknown wavelet': (_nothing, '--wavelet_type haarr', ["unknown wavelet 'haarr'", "did you mean 'haar'"]),
    'continuous wavelet': (_nothing, '--wavelet_type mexh', ["unknown wavelet 'mexh'"]),
    'unknown sub-band': (_nothing, '--wavelet_kept_subbands LL LX', ["unknown sub-band 'LX'", 'LL, LH, HL, HH']),
    'negative sigma': (_nothing, '--sigma -1', ['sigma', '-1', 'greater than or equal to 0']),
    'negative cov_reg': (_nothing, '--cov_reg -0.01', ['cov_reg', '-0.01']),
    'not a number': (_nothing, '--cov_reg lots', ['cov_reg', 'lots', 'number']),
    'too deep a level': (_nothing, '--wavelet_level 5', ['wavelet_level 5 is too deep', 'the deepest possible is']),
    'unknown flag': (_nothing, '--sigmaa 2', ['--sigmaa', '--help']),
    'unknown preset': (_nothing, '--preset bets', ["unknown preset 'bets'", 'published']),
    'corrupt training image': (_corrupt_image, '', ['003.png', 'cannot be read as an image', 'replace or remove']),
    'text as test image': (_text_image, '', ['002.png', 'cannot be read as an image']),
    'missing mask': (_missing_mask, '', ['001_mask.png', 'no such mask', 'remove the ground_truth folder']),
    'mask of another size': (_other_size_mask, '', ['001_mask.png', 'the mask is 7x7', '300x300']),
    'no training images': (_no_train, '', ["'cell' has 0 training images", 'at least 2']),
    'one training image': (_only_one, '', ["'cell' has 1 training images", 'at least 2']),
    'no such weights': (_nothing, '--weights {root}/none.pth', ['none.pth', 'no such file']),
    'weights of another architecture': (_nothing, '--weights {root}/resnet18.pth', ['resnet18.pth', 'not the weights of this backbone', 'lacks conv_stem.weight']),
    'weights that are text': (_nothing, '--weights {root}/cell/notes.txt', ['notes.txt', 'cannot be read as a weights file']),
}


@pytest.mark.parametrize('case', CASES)
def test_one_line_and_exit_code_2(case, painted_cells, tmp_path, call):
    change, flags, says = CASES[case]
    root = tmp_path/'data'
    shutil.copytree(painted_cells, root)
    if 'resnet18.pth' in flags: torch.save(parameters('resnet18', 'random'), root/'resnet18.pth')
    (root/'cell'/'notes.txt').write_text('weights are elsewhere')
    change(root)
    code, lines, _ = call('wepadim_run', '--data_path', root, '--save_path', tmp_path/'results', *SMALL, *flags.format(root=root).split())
    assert code == 2 and len(lines) == 1 and lines[0].startswith('wepadim_run: error: '), lines
    assert all(s in lines[0] for s in says), lines[0]
    assert not list(tmp_path.glob('results/*/*/*_experiment.json'))   # no result of a run that failed


def test_in_a_process_of_its_own(painted_cells, tmp_path, shell):
    r = shell('wepadim_run', '--data_path', painted_cells, '--save_path', tmp_path/'results', *SMALL, '--sigma', '-1')
    assert r.returncode == 2 and r.stdout == '' and len(r.stderr.splitlines()) == 1 and r.stderr.startswith('wepadim_run: error: '), r.stderr


def test_a_failure_leaves_finished_categories_alone(painted_cells, tmp_path, shell):
    root = tmp_path/'data'
    for name in ('cell', 'other'): shutil.copytree(painted_cells/'cell', root/name)
    (root/'other'/'test'/'good'/'001.png').write_bytes(b'')
    run = lambda: shell('wepadim_run', '--data_path', root, '--save_path', tmp_path/'results', *SMALL)
    r = run()
    assert r.returncode == 1 and 'other failed' in r.stderr and '001.png' in r.stderr and 'Traceback' not in r.stderr
    [done] = tmp_path.glob('results/*/efficientnet-lite0/categories/*.json')
    before = done.read_bytes()
    shutil.copy(painted_cells/'cell'/'test'/'good'/'001.png', root/'other'/'test'/'good'/'001.png')
    r = run()
    assert r.returncode == 0 and 'cell: image AUROC' in r.stdout and '(already done)' in r.stdout, r.stderr
    assert done.read_bytes() == before
