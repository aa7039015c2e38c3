"""Make the pages that nbdev has prepared fit for readers. Quarto runs it in _proc before it renders (`pre-render` in _quarto.yml).

Tests are folded, tables need no script, classes show their fields, and the first use of a term leads to the glossary.
It needs nothing but Python's own library, and changes nothing outside _proc.
"""
import ast, json, os, re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DONE = 'made_fit' # in the metadata of a page
INTERACTIVE = 'application/vnd.jupyter.widget-view+json', 'application/javascript'
TESTS = re.compile(r'\b(test_\w+|assert|ExceptionExpected)\b')
SIGNATURE = re.compile(r'```python\ndef (\w+)\(\n    (?:\*args, \*\*kwargs|\*\*values)\n\):\n```')
KEPT = re.compile( # what gets no link to the glossary: code, links, pictures, mathematics, HTML, headings, tables
    r'```.*?```|^ {4}[^\n]*|`[^`\n]*`|!?\[[^\]]*\]\([^)]*\)|\$\$.*?\$\$|\$[^$\n]+\$|<[^>\n]+>|^[#|>][^\n]*|https?://\S+', re.S | re.M)


def text(x): return ''.join(x)


def source(cell): return text(cell['source'])


def is_code(cell): return cell['cell_type'] == 'code'


def fold_name(cell):
    "What stands on a folded cell of a page of the library, or None: it shows something, so it is an example."
    code = source(cell)
    if not is_code(cell) or 'show_doc(' in code or 'code-fold' in code or cell.get('outputs'): return None
    if TESTS.search(code): return 'Tests'
    return 'Preparation'


def fold(cell):
    "Fold the code of a cell that shows nothing."
    if name := fold_name(cell): cell['source'] = f'#| code-fold: true\n#| code-summary: "{name}"\n{source(cell)}'


def table(html):
    "The table of a data frame: no style of its own, and no number where there is none."
    found = re.search(r'<table.*</table>', html, re.S)
    empty = 'None' if '<th>default</th>' in html else '–'
    return re.sub('<td>(NaN|None|nan)</td>', f'<td>{empty}</td>', found[0]) if found else html


def static(output):
    "An output that needs no script, or None. Quarto adds two libraries from elsewhere to a page with HTML, and not to one with Markdown."
    data = output.get('data', {})
    if any(kind in data for kind in INTERACTIVE): return None
    if 'text/html' in data: data['text/markdown'] = f'```{{=html}}\n{table(text(data.pop("text/html")))}\n```\n'
    return output


def fields(node):
    "The fields of a class, a line each, with their defaults and meanings."
    for f in node.body:
        if not isinstance(f, ast.AnnAssign): continue
        kind = ast.unparse(f.annotation)
        line = f.target.id + ('' if kind.startswith('_') else f': {kind}')
        described = isinstance(f.value, ast.Call) and len(f.value.args) == 2
        default, meaning = f.value.args if described else (f.value, None)
        if default is not None: line += f' = {ast.unparse(default)}'
        yield f'    {line}' + (f' # {meaning.value}' if meaning else '')


def class_text(node):
    "A class as a reader needs it: its bases and fields."
    bases = ', '.join(b for b in map(ast.unparse, node.bases) if not b.startswith('_'))
    head = f'class {node.name}' + (f'({bases})' if bases else '')
    lines = list(fields(node))
    return '\n'.join(['```python', head + ':' if lines else head, *lines, '```'])


def library_classes():
    "Every class of the library, by name."
    trees = [ast.parse(p.read_text(encoding='utf-8')) for p in (ROOT/'wepadim').glob('*.py')]
    return {n.name: n for tree in trees for n in tree.body if isinstance(n, ast.ClassDef)}


def signature(shown, classes):
    "What `show_doc` shows: no links in code, where they would be read as they are, no type that None has, and the fields of a class."
    def plain(block): return re.sub(r'\[(`?)([^\]\n]*?)\1\]\(https?://[^)\s]*\)', r'\2', block[0]).replace(':NoneType=None', '=None')
    shown = re.sub(r'```python\n.*?\n```', plain, shown, flags=re.S)
    def with_fields(found): return class_text(classes[found[1]]) if found[1] in classes else found[0]
    return SIGNATURE.sub(with_fields, shown)


def pattern(term, other):
    "What a term looks like in a text: `term` in one or several, in any case, or `other` exactly."
    words = re.escape(term) + 's?'
    if term.endswith('y'): words += f'|{re.escape(term[:-1])}ies'
    exact = f'|{re.escape(other)}' if other else ''
    return re.compile(rf'(?<![\w-])(?:(?i:{words}){exact})(?![\w-])')


def glossary(folder):
    "[(pattern, id)] of the terms, the longest first. A term's heading is `### Term {#id}`, or `### Term (another name) {#id}`."
    page = json.loads((folder/'glossary.ipynb').read_text(encoding='utf-8'))
    headings = re.findall(r'^### ([^({\n]+?) *(?:\((?:and )?([^)]*)\) *)?\{#([\w-]+)\}', '\n'.join(map(source, page['cells'])), re.M)
    longest_first = sorted(headings, key=lambda h: -len(h[0]))
    return [(pattern(term, other), name) for term, other, name in longest_first]


def one_link(markdown):
    "The text with one link where nbdev has linked a name inside a link."
    return re.sub(r'\[\[(`[^`\n]+`)\]\(https?://[^)\s]*\)\](?=\()', r'[\1]', markdown)


def link_first(markdown, terms, page):
    "The text with a link at the first use of each term; `terms` keeps those that are still to come."
    kept = []
    def keep(piece): kept.append(piece); return f'\0{len(kept) - 1}\0'
    markdown = KEPT.sub(lambda m: keep(m[0]), markdown)
    for term in list(terms):
        pattern, name = term
        if not (found := pattern.search(markdown)): continue
        terms.remove(term)
        markdown = markdown[:found.start()] + keep(f'[{found[0]}]({page}#{name})') + markdown[found.end():]
    return re.sub('\0(\\d+)\0', lambda m: kept[int(m[1])], markdown)


def shown_name(cell):
    found = re.search(r'show_doc\(([\w.]+)', source(cell)) if is_code(cell) else None
    return found and found[1]


def once(cells):
    "Cells without what is shown a second time."
    seen = set()
    for cell in cells:
        name = shown_name(cell)
        if name not in seen: yield cell
        if name: seen.add(name)


def make_fit(
    page, # A notebook that nbdev has prepared, as JSON
    path, # Its place, relative to the folder of the site
    terms, # Of `glossary`
    classes, # Of `library_classes`
): # The notebook, changed
    "One page, as a reader gets it."
    if page['metadata'].get(DONE): return page
    page['cells'] = list(once(page['cells']))
    to_come, home = list(terms), '../'*(len(path.parts) - 1)
    for cell in page['cells']:
        if cell['cell_type'] == 'markdown' and path.name != 'glossary.ipynb':
            cell['source'] = link_first(one_link(source(cell)), to_come, home + 'glossary.ipynb')
        if not is_code(cell): continue
        cell['outputs'] = [o for o in map(static, cell.get('outputs', [])) if o]
        if re.match(r'\d\d_', path.name): fold(cell)
        for o in cell['outputs']:
            if shown_name(cell) and 'text/markdown' in o.get('data', {}):
                o['data']['text/markdown'] = signature(text(o['data']['text/markdown']), classes)
    page['metadata'].pop('widgets', None)
    page['metadata'][DONE] = True
    return page


def make_all_fit(folder):
    "Every page of a site that nbdev has prepared."
    terms, classes = glossary(folder), library_classes()
    for file in sorted(folder.rglob('*.ipynb')):
        page = json.loads(file.read_text(encoding='utf-8'))
        page = make_fit(page, file.relative_to(folder), terms, classes)
        file.write_text(json.dumps(page, ensure_ascii=False, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    here = Path.cwd()
    if here.name == '_proc': make_all_fit(here)
