"Pages as readers get them: what tools/pages.py makes of them, and that the check in a browser finds what is wrong."
import base64, io, re, sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT/'tools'))
import browser, pages, readme


def code(source, *outputs): return dict(cell_type='code', source=source, outputs=list(outputs), metadata={})
def shown(**data): return dict(output_type='display_data', data=data, metadata={})
def page(*cells): return dict(cells=list(cells), metadata={}, nbformat=4, nbformat_minor=5)


def fit(*cells, name='01_config.ipynb', terms=()):
    return pages.make_fit(page(*cells), Path(name), list(terms), pages.library_classes())['cells']


def test_tests_are_folded_and_examples_are_not():
    tests, example, helper = fit(code('test_eq(1, 1)'), code('f(1)', shown(**{'text/plain': '1'})), code('x = 3'))
    assert '#| code-fold: true' in tests['source'] and 'Tests' in tests['source']
    assert example['source'] == 'f(1)'
    assert 'Preparation' in helper['source']
    assert fit(code('x = 3'), name='tutorials/your_own_images.ipynb')[0]['source'] == 'x = 3'


def test_tables_need_no_script_and_have_no_NaN():
    frame = '<style>x</style><table><tr><th>default</th></tr><tr><td>NaN</td></tr></table>'
    [cell] = fit(code('table', shown(**{'text/html': frame})))
    data = cell['outputs'][0]['data']
    assert 'text/html' not in data and '<td>None</td>' in data['text/markdown'] and 'style' not in data['text/markdown']
    assert pages.table('<table><td>NaN</td></table>') == '<table><td>–</td></table>'


def test_a_slider_is_left_out_where_there_is_no_kernel():
    [cell] = fit(code('slide', shown(**{pages.INTERACTIVE[0]: {}, 'text/plain': 'interactive(...)'})))
    assert cell['outputs'] == []


def test_a_class_shows_its_fields():
    signature = '```python\ndef Settings(\n    **values\n):\n```'
    text = pages.signature(signature, pages.library_classes())
    assert "    backbone = 'resnet18' # the frozen ImageNet network" in text and '**values' not in text


def test_links_in_signatures_become_names():
    text = pages.signature('```python\ndef f(\n    x, # A [`Settings`](https://here.org/config.html#settings)\n):\n```\n\nsee [`g`](https://here.org/g.html)', {})
    assert 'x, # A Settings\n' in text and '[`g`](https://here.org/g.html)' in text
    assert 'roi=None' in pages.signature('```python\ndef f(\n    roi:NoneType=None, # A mask\n):\n```', {})


def test_a_link_holds_no_second_one():
    [cell] = fit(dict(cell_type='markdown', source='[[`g`](https://here.org/g.html#g)](03_loops.ipynb) and [`h`](https://here.org/h.html#h)', metadata={}))
    assert cell['source'] == '[`g`](03_loops.ipynb) and [`h`](https://here.org/h.html#h)'


def test_only_the_first_use_of_a_term_is_linked():
    terms = [(re.compile(r'(?<![\w-])AUROCs?(?![\w-])', re.I), 'auroc')]
    text = '## AUROC\n\n`AUROC`, [AUROC](x.html): image AUROC and AUROC'
    assert pages.link_first(text, terms, 'glossary.ipynb') == text.replace('image AUROC', 'image [AUROC](glossary.ipynb#auroc)')
    assert terms == []
    block = 'The folder:\n\n    <run>/AUROC.csv\n'
    assert pages.link_first(block, [(re.compile('AUROC'), 'auroc')], 'glossary.ipynb') == block


def test_a_term_is_known_by_all_its_names():
    category, precision = pages.pattern('Category', ''), pages.pattern('Average precision', 'AP')
    assert category.search('all categories') and category.search('Category')
    assert precision.search('the AP of') and precision.search('average precision')
    assert not precision.search('a map, an ap, AP-like')


def test_what_is_shown_twice_is_shown_once_and_a_page_is_made_fit_once():
    cells = [code('show_doc(f)'), code('show_doc(g)'), code('show_doc(f)')]
    assert [c['source'] for c in fit(*cells)] == ['show_doc(f)', 'show_doc(g)']
    once = pages.make_fit(page(code('test_eq(1, 1)')), Path('01_x.ipynb'), [], {})
    before = str(once)
    assert str(pages.make_fit(once, Path('01_x.ipynb'), [], {})) == before


def test_readme_is_short_and_every_page_is_listed():
    assert len((ROOT/'README.md').read_text(encoding='utf-8').split()) <= readme.WORDS
    listed = (ROOT/'nbs'/'llms.txt').read_text(encoding='utf-8')
    assert listed.count('\n- [') == sum('.ipynb_checkpoints' not in p.parts for p in (ROOT/'nbs').rglob('*.ipynb'))


@pytest.fixture
def chromium():
    pandoc, chromium = browser.tools()
    if not (pandoc and chromium): pytest.skip('pandoc or chromium is not installed (Debian: apt install pandoc chromium)')
    return pandoc, chromium


def wide_png(width):
    file = io.BytesIO()
    Image.new('L', (width, 10)).save(file, 'PNG')
    return file.getvalue()


def test_the_browser_finds_what_is_wrong(chromium, tmp_path):
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
    title = new_raw_cell('---\ntitle: A page\n---')
    (tmp_path/'images').mkdir()
    (tmp_path/'styles.css').write_bytes((ROOT/'nbs'/'styles.css').read_bytes())
    good = 'This page says in two lines what it is for, with `code` in them, and then shows it to the reader.'
    picture = new_output('display_data', {'image/png': base64.b64encode(wide_png(800)).decode()})
    wide = '<div style="width: 900px">wide</div>'
    nbformat.write(new_notebook(cells=[title, new_markdown_cell(good), new_code_cell('x', outputs=[picture])]), tmp_path/'picture.ipynb')
    nbformat.write(new_notebook(cells=[title, new_markdown_cell('## No introduction')]), tmp_path/'sudden.ipynb')
    nbformat.write(new_notebook(cells=[title, new_markdown_cell(f'{good}\n\n{wide}')]), tmp_path/'wide.ipynb')
    nbformat.write(new_notebook(cells=[title, new_markdown_cell('# A page'), new_markdown_cell(good)]), tmp_path/'twice.ipynb')
    nbformat.write(new_notebook(cells=[title, new_markdown_cell(good), new_markdown_cell('see [[`f`](a.html)](b.html)')]), tmp_path/'link.ipynb')
    nbformat.write(new_notebook(cells=[title, new_markdown_cell(good), new_code_cell('x'*300)]), tmp_path/'fine.ipynb')
    found = browser.faults(tmp_path, *chromium)
    def says(name): return ' '.join(f for f in found if f.startswith(name))
    assert 'has 800 pixels' in says('picture') and 'a link that is none' in says('link')
    assert 'without alt text' in says('picture') and 'no introduction' in says('sudden')
    assert 'px wider than a window of 400' in says('wide') and 'two titles' in says('twice')
    assert says('fine') == ''
    (tmp_path/'styles.css').write_text('pre { white-space: pre }')
    found = browser.faults(tmp_path, *chromium)
    assert 'cut off at 1400 px' in says('fine') and 'contrast 1.1 in quarto-dark' in says('fine')
