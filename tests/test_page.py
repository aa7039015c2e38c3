"report.html in a real browser: Debian's chromium, driven by playwright. The slider moves labels and counts, strange names stay text, two thousand pictures open fast."
import csv, shutil, time
from pathlib import Path

import numpy as np, pytest

from wepadim.model import WEPaDiM
from wepadim.page import page_entry, picture_files, write_page

STRANGE = '<img src=x onerror=document.title=`owned`><script>document.title=`owned`</script>.png' # its folder ends at the slash


@pytest.fixture(scope='module')
def browser():
    sync = pytest.importorskip('playwright.sync_api', reason='pip install playwright to run this')
    chromium = shutil.which('chromium') or shutil.which('chromium-browser')
    if not chromium: pytest.skip('install chromium to run this: apt-get install chromium')
    with sync.sync_playwright() as p:
        b = p.chromium.launch(executable_path=chromium, args=['--no-sandbox'])
        yield b
        b.close()


@pytest.fixture
def opened(browser):
    "Open a page; every message of its console, and every address that it asks for."
    pages = []
    def go(path, **options):
        page = browser.new_page(**options)
        page.said, page.asked = [], []
        page.on('console', lambda m: page.said.append(m.text)); page.on('pageerror', lambda e: page.said.append(str(e)))
        page.on('request', lambda r: page.asked.append(r.url))
        page.goto(Path(path).resolve().as_uri())
        pages.append(page)
        return page
    yield go
    for page in pages: page.close()


@pytest.fixture(scope='module')
def model(painted_cells, tmp_path_factory):
    m = WEPaDiM(backbone='efficientnet-lite0', image_size=64, grid_size=4)
    return m.fit(painted_cells/'cell'/'train'/'good').save(tmp_path_factory.mktemp('model')/'cell')


@pytest.fixture(scope='module')
def inspected(model, painted_cells, tmp_path_factory):
    "A prediction of pictures with names that a page could stumble over."
    from wepadim.tools import wepadim_predict
    here = tmp_path_factory.mktemp('inspected')
    names = ['<b>bold.png', '50% #1 & "two".png', '부품.png', "it's.png", 'a?b=c.png', STRANGE, *(f'{i}.png' for i in range(8))]
    for path, name in zip(sorted((painted_cells/'cell').rglob('test/*/*.png')), names):
        (here/'parts'/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, here/'parts'/name)
    median = np.median(WEPaDiM.load(model).predict(here/'parts').scores)
    wepadim_predict([str(model), str(here/'parts'), '--out', str(here/'out'), '--threshold', str(median)])
    return here/'out'


def rows(out):
    with open(out/'scores.csv', encoding='utf-8-sig', newline='') as f: return {r['image'].removeprefix('../parts/'): r for r in csv.DictReader(f)}


def labels(page): return [c.inner_text() for c in page.locator('.card .label').all()]


def test_the_page_says_what_the_table_says(inspected, opened):
    page, table = opened(inspected/'report.html'), rows(inspected)
    cards = page.locator('.card').all()
    assert len(cards) == len(table) == 14 and page.said == [] and page.title() == 'Inspected pictures'
    names = [c.locator('span').nth(2).inner_text().removeprefix('../parts/') for c in cards]
    assert set(names) == set(table) and STRANGE in names   # as text, whatever they are
    assert names == sorted(table, key=lambda n: -float(table[n]['score']))
    assert labels(page) == [('good', 'alarm')[int(table[n]['label'])] for n in names]
    alarms = sum(int(r['label']) for r in table.values())
    assert page.locator('#counts').inner_text() == f'{alarms} alarms, {14 - alarms} good' and 0 < alarms < 14
    page.wait_for_function('[...document.images].filter(i => i.closest(".card")).every(i => i.complete && i.naturalWidth)')   # every address is right
    assert all(url.startswith('file://') for url in page.asked)


def test_the_slider_moves_labels_and_counts(inspected, opened):
    page = opened(inspected/'report.html')
    page.locator('#slider').fill('0')
    assert set(labels(page)) == {'alarm'} and page.locator('#counts').inner_text() == '14 alarms, 0 good'
    assert '100.0%' in page.locator('#expected').inner_text()
    page.locator('#slider').fill('1000')
    assert set(labels(page)) == {'good'} and page.locator('#counts').inner_text() == '0 alarms, 14 good'
    page.locator('#slider').focus()
    scores = sorted((float(r['score']) for r in rows(inspected).values()), reverse=True)
    page.locator('#number').fill(str((scores[4] + scores[5])/2))   # between two pictures
    assert labels(page) == ['alarm']*5 + ['good']*9
    page.locator('#filter').select_option('good')
    assert labels(page) == ['good']*9 and page.locator('#found').inner_text() == '9 shown'
    page.locator('#number').fill('0')
    assert labels(page) == []   # the filter follows the threshold
    page.locator('#reset').click()
    assert page.locator('#counts').inner_text() == f"{sum(int(r['label']) for r in rows(inspected).values())} alarms, {sum(r['label'] == '0' for r in rows(inspected).values())} good"


def test_search_keys_and_names(inspected, opened):
    page = opened(inspected/'report.html')
    page.locator('#search').fill('<SCRIPT>')
    assert page.locator('.card').count() == 1
    page.locator('.card').click()
    assert STRANGE in page.locator('#name').inner_text() and page.locator('#name img, #name script').count() == 0
    page.wait_for_function('heat.complete && heat.naturalWidth && part.complete && part.naturalWidth')
    page.keyboard.press('Escape')
    page.locator('#search').fill('')
    page.locator('#sort').select_option('name')
    page.locator('.card').first.click()
    seen = [page.locator('#name').inner_text()]
    for key in ('ArrowRight', 'ArrowRight', 'ArrowLeft'):
        page.keyboard.press(key)
        seen.append(page.locator('#name').inner_text())
    assert len(set(seen)) == 3 and seen[1] == seen[3] and seen[:3] == sorted(seen[:3])
    full = page.locator('#full').evaluate('a => a.href')
    page.goto(full)
    assert page.evaluate('document.images[0].naturalWidth') == 300   # the heat map in full size
    assert page.title() != 'owned' and not any('owned' in s for s in page.said)


def test_dark_and_on_a_phone(inspected, opened):
    back = 'getComputedStyle(document.body).backgroundColor'
    light, dark = (opened(inspected/'report.html', color_scheme=c, viewport=dict(width=360, height=740)) for c in ('light', 'dark'))
    assert light.evaluate(back) == 'rgb(255, 255, 255)' and dark.evaluate(back) == 'rgb(22, 24, 27)'
    dark.locator('#theme').click()
    assert dark.evaluate(back) == 'rgb(255, 255, 255)'
    assert light.evaluate('document.documentElement.scrollWidth') <= 360   # nothing to the side
    light.locator('.card').first.click()
    assert light.locator('#detail').bounding_box()['width'] <= 360


def test_two_thousand_pictures(model, inspected, opened, tmp_path):
    "Opened in less than 3 seconds, 60 MB at most, and a move of the slider shows at once."
    small = [p.read_bytes() for p in sorted((inspected/'report_files').rglob('*.jpg'))]
    entries = []
    for i in range(2000):
        name = f'part_{i:04}.png'
        for j, file in enumerate(picture_files(name)[1:]):
            (tmp_path/file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path/file).write_bytes(small[(i + j) % len(small)])
        entries.append(page_entry(dict(row=[name, str(5 + i % 97 + i/2000), 0, '0.5'], regions=[]), name))
    report = write_page(WEPaDiM.load(model), entries, tmp_path)
    assert sum(p.stat().st_size for p in tmp_path.rglob('*') if p.is_file()) < 60e6
    start = time.perf_counter()
    page = opened(report)   # until all of its first pictures are there
    seconds = time.perf_counter() - start
    assert page.locator('.card').count() >= 120 and page.said == []
    move = '() => { const t = performance.now(); slider.value = 300; slider.dispatchEvent(new Event("input")); document.body.offsetHeight; return performance.now() - t }'
    moved = page.evaluate(move)
    page.locator('#filter').select_option('alarm')
    filtered = page.evaluate(move.replace('300', '400'))
    print(f'opened in {seconds:.2f} s, slider {moved:.0f} ms, with a filter {filtered:.0f} ms')
    assert seconds < 3 and moved < 200 and filtered < 400
    page.locator('#filter').select_option('all')
    for _ in range(40):
        page.mouse.wheel(0, 20000)
        page.wait_for_timeout(50)
        if page.locator('.card').count() == 2000: break
    assert page.locator('.card').count() == 2000   # the rest came while scrolling
    assert page.evaluate(move) < 400
