"wepadim_predict on folders as users have them: like names, images given twice, predictions into the same folder one after the other, Excel, drives of Windows."
import csv, json, os, shutil, unicodedata
from pathlib import Path

import pytest
from PIL import Image

from wepadim.model import WEPaDiM


@pytest.fixture(scope='module')
def model(painted_cells, tmp_path_factory):
    m = WEPaDiM(backbone='efficientnet-lite0', image_size=64, grid_size=4)
    return m.fit(painted_cells/'cell'/'train'/'good').save(tmp_path_factory.mktemp('model')/'cell')


@pytest.fixture
def put(painted_cells, tmp_path):
    "Write different images under these names."
    cells = sorted((painted_cells/'cell').rglob('test/*/*.png'))
    def write(*names):
        for i, name in enumerate(names):
            path = tmp_path/name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.open(cells[i]).save(path)
        return [tmp_path/n for n in names]
    return write


def table(out):
    with open(Path(out)/'scores.csv', encoding='utf-8-sig', errors='surrogateescape', newline='') as f: return list(csv.DictReader(f))


def maps(out): return {p.name: p.read_bytes() for p in sorted((Path(out)/'heatmaps').iterdir())}


LIKE = {'a folder or two underscores': ['a/line1/0.png', 'a/line1__0.png', 'a/line1/x/0.png', 'a/line1__x__0.png', 'a/line1/x__0.png'],
        'endings': ['a/0.png', 'a/0.bmp', 'a/0_png.bmp', 'a/0_bmp.tif', 'a/0_bmp_2.png', 'a/0.tif'],
        'case and forms of letters': ['a/Part.png', 'a/part.png', 'a/PART.bmp', 'a/ü.png', 'a/u\u0308.png', 'a/' + unicodedata.normalize('NFD', '부품') + '.png', 'a/부품.png'],
        'long': ['a/' + 'x'*250 + '.png', 'a/' + 'x'*250 + '.bmp', 'a/' + '부'*83 + '.png', 'a/' + '부'*82 + '.png', 'a/' + 'b'*200 + '/' + 'c'*200 + '.png']}


@pytest.mark.parametrize('case', LIKE)
def test_every_image_has_a_heat_map_of_its_own(case, put, model, tmp_path, call):
    images = put(*LIKE[case])
    code, err, out = call('wepadim_predict', model, *{p.parent for p in images}, '--out', tmp_path/'p')
    assert code == 0, err
    found, folded = maps(tmp_path/'p'), {unicodedata.normalize('NFC', n).casefold() for n in maps(tmp_path/'p')}
    assert len(set(found.values())) == len(folded) == len(images) and max(len(os.fsencode(n)) for n in found) <= 255
    named = json.loads((tmp_path/'p'/'run.json').read_text())['heatmaps']
    assert set(named) == {r['image'] for r in table(tmp_path/'p')} and sorted(named.values()) == sorted(found)


def test_an_image_given_twice_is_scored_once(put, model, tmp_path, call, monkeypatch):
    put('a/1.png', 'a/b/2.png')
    (tmp_path/'link').symlink_to('a')
    monkeypatch.chdir(tmp_path)
    code, err, out = call('wepadim_predict', model, 'a/b', 'a', tmp_path/'a'/'1.png', 'a/../a/b/2.png', 'link', '--out', 'p')
    assert code == 0 and out.startswith('2 images'), err
    assert [r['image'] for r in table('p')] == ['../a/b/2.png', '../a/1.png'] and len(maps('p')) == 2


def test_a_later_prediction_takes_the_place_of_an_earlier_one(put, model, tmp_path, call):
    put('a/1.png', 'a/2.png', 'b/2.png', 'b/3.png')
    predict = lambda *argv: call('wepadim_predict', model, *argv, '--out', tmp_path/'p')[0]
    assert predict(tmp_path/'a') == 0
    before = maps(tmp_path/'p')
    for mine in ('mine.png', 'notes.txt'): (tmp_path/'p'/'heatmaps'/mine).write_text('precious')
    assert predict(tmp_path/'b') == 0
    assert list(maps(tmp_path/'p')) == ['2.png', '3.png', 'mine.png', 'notes.txt'] and maps(tmp_path/'p')['2.png'] != before['2.png']
    assert predict(tmp_path/'b', '--no_heatmaps') == 0
    assert list(maps(tmp_path/'p')) == ['mine.png', 'notes.txt']
    for mine in ('mine.png', 'notes.txt'): (tmp_path/'p'/'heatmaps'/mine).unlink()
    assert predict(tmp_path/'a') == 0 and predict(tmp_path/'a', '--no_heatmaps') == 0
    assert sorted(os.listdir(tmp_path/'p')) == ['regions.csv', 'run.json', 'scores.csv']


def test_heat_maps_of_a_prediction_that_was_not_finished(put, model, tmp_path, call):
    "They are kept for the same prediction, and go for another."
    put('a/1.png', 'a/2.png', 'a/3.png', 'b/2.png')
    good = (tmp_path/'a'/'3.png').read_bytes()
    predict = lambda folder: call('wepadim_predict', model, tmp_path/folder, '--out', tmp_path/'p', '--batch_size', '1')[0]
    (tmp_path/'a'/'3.png').write_text('no image')
    assert predict('a') == 2
    drawn = {n: (tmp_path/'p'/'heatmaps'/n).stat().st_mtime_ns for n in maps(tmp_path/'p')}
    assert sorted(drawn) == ['1.png', '2.png']
    (tmp_path/'a'/'3.png').write_bytes(good)
    assert predict('a') == 0
    assert len(maps(tmp_path/'p')) == 3 and drawn.items() <= {n: (tmp_path/'p'/'heatmaps'/n).stat().st_mtime_ns for n in maps(tmp_path/'p')}.items()
    shutil.rmtree(tmp_path/'p')
    (tmp_path/'a'/'3.png').write_text('no image')
    assert predict('a') == 2 and predict('b') == 0
    assert list(maps(tmp_path/'p')) == ['2.png']


def test_results_among_the_images(put, model, tmp_path, call):
    "Heat maps are no images to inspect the next time."
    put('a/1.png', 'a/2.png')
    for folders in (['a'], ['a', 'a/out/heatmaps']):
        assert call('wepadim_predict', model, *[tmp_path/f for f in folders], '--out', tmp_path/'a'/'out')[0] == 0
        assert [r['image'] for r in table(tmp_path/'a'/'out')] == ['../1.png', '../2.png'] and len(maps(tmp_path/'a'/'out')) == 2


def test_a_table_for_excel(put, model, tmp_path, call):
    "UTF-8 that begins with the mark by which Excel knows it; a name that is not UTF-8 keeps its bytes."
    put('a/부품 1.png')
    strange = b'\xff\xfe.png'.decode('utf-8', 'surrogateescape')
    (tmp_path/'a'/'부품 1.png').with_name(strange).write_bytes((tmp_path/'a'/'부품 1.png').read_bytes())
    assert call('wepadim_predict', model, tmp_path/'a', '--out', tmp_path/'p')[0] == 0
    raw = (tmp_path/'p'/'scores.csv').read_bytes()
    assert raw.startswith(b'\xef\xbb\xbfimage,score') and '../a/부품 1.png'.encode() in raw and b'../a/\xff\xfe.png' in raw
    assert all((tmp_path/'p'/r['image']).is_file() for r in table(tmp_path/'p'))


def test_two_drives_of_windows(put, model, tmp_path, call, monkeypatch):
    "There is no relative path from one to the other, and no folder that holds both."
    def two_drives(*_): raise ValueError("path is on mount 'D:', start on mount 'C:'")
    put('a/1.png', 'b/2.png')
    monkeypatch.setattr(os.path, 'relpath', two_drives); monkeypatch.setattr(os.path, 'commonpath', two_drives)
    code, err, out = call('wepadim_predict', model, tmp_path/'a', tmp_path/'b', '--out', tmp_path/'p')
    assert code == 0 and [r['image'] for r in table(tmp_path/'p')] == [str(tmp_path/'a'/'1.png'), str(tmp_path/'b'/'2.png')], err
    assert len(maps(tmp_path/'p')) == 2
