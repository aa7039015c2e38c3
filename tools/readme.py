"""README.md from nbs/index.ipynb, and nbs/llms.txt, the list of pages, from all notebooks; without quarto.

README: markdown as it is, code as blocks, links made to fit the top folder.
"""
import re
from configparser import ConfigParser
from pathlib import Path

import nbformat, yaml

REPO = 'https://github.com/wepadim/wepadim/blob/main/' # how pages of the site link to files that are not pages
WORDS = 900 # that README may have
HEAD = '<!-- Made from nbs/index.ipynb by `make readme`: edit that, not this. -->\n\n'


def link(m):
    "A link of nbs/ as seen from the top folder."
    target = m[2]
    if target.startswith(REPO): return f'{m[1]}({target.removeprefix(REPO)})'
    return m[0] if re.match(r'https?:|#|mailto:', target) else f'{m[1]}({target[3:] if target.startswith("../") else "nbs/" + target})'


def cell_text(cell):
    if cell.cell_type == 'raw' or re.match(r'#\|\s*(hide|default_exp)', cell.source): return None
    if cell.cell_type == 'markdown': return re.sub(r'(\[[^\]]*\])\(([^)\s]+)\)', link, cell.source)
    code = '\n'.join(l for l in cell.source.splitlines() if not l.startswith('#|'))
    text = ''.join(o.get('text', '') or o.get('data', {}).get('text/plain', '') for o in cell.outputs)
    return f'```python\n{code}\n```' + (f'\n\n```\n{text.strip()}\n```' if text.strip() else '')


def render(root):
    "The text of README.md."
    nb = nbformat.read(Path(root)/'nbs'/'index.ipynb', 4)
    return HEAD + '\n\n'.join(t for t in map(cell_text, nb.cells) if t) + '\n'


def listed(entry, title=''):
    "The pages of a sidebar in their order, each with the title of its section."
    if isinstance(entry, str): return [(title, entry)]
    if isinstance(entry, dict): return listed(entry['contents'], entry.get('section', title))
    return [page for part in entry for page in listed(part, title)]


def page_line(path, address):
    "A page in one line: its title, where it is, and what it is about."
    first = next(c.source for c in nbformat.read(path, 4).cells if c.cell_type == 'markdown')
    title, about = re.match(r'# (.+)\n\n> (.+)', first).groups()
    return f'- [{title}]({address}): {about}'


def pages_list(root):
    "The text of nbs/llms.txt: what the project is, then every page of the site, by section."
    settings = ConfigParser(delimiters=['='])
    settings.read(Path(root)/'settings.ini', encoding='utf-8')
    about, site = settings['DEFAULT'], settings['DEFAULT']['doc_host'] + settings['DEFAULT']['doc_baseurl']
    lines, before = [f'# {about["title"]}', '', f'> {about["description"]}'], None
    for section, page in listed(yaml.safe_load((Path(root)/'_quarto.yml').read_text())['website']['sidebar']['contents']):
        if section != before: lines += ['', f'## {section or "Start"}', '']
        before = section
        html = re.sub(r'(^|/)\d+[a-z]?_', r'\1', page).replace('.ipynb', '.html')   # as nbdev names it
        lines.append(page_line(Path(root)/'nbs'/page, f'{site}/{html}'))
    return '\n'.join(lines) + '\n'


def written(root):
    "{file: what it must hold}."
    return {Path(root)/'README.md': render(root), Path(root)/'nbs'/'llms.txt': pages_list(root)}


if __name__ == '__main__':
    for path, text in written(Path(__file__).resolve().parents[1]).items():
        path.write_text(text, encoding='utf-8')
        print(f'{path.name} written')
