"README.md from nbs/index.ipynb, without quarto: markdown as it is, code as blocks, links made to fit the top folder."
import re
from pathlib import Path

import nbformat

REPO = 'https://github.com/wepadim/wepadim/blob/main/' # how pages of the site link to files that are not pages
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


if __name__ == '__main__':
    top = Path(__file__).resolve().parents[1]
    (top/'README.md').write_text(render(top))
    print('README.md written')
