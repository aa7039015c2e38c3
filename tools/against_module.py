"Run a component notebook's examples and tests against the exported module instead of the notebook's own cells: `python tools/against_module.py nbs/35_metrics.ipynb`."
import importlib, os, re, sys
from pathlib import Path

import matplotlib
import nbformat


def parts(path):
    "(module, [code of the cells that are not exported])."
    cells = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == 'code']
    [module] = [m.group(1) for c in cells for m in [re.match(r'#\|\s*default_exp\s+(\S+)', c)] if m]
    return module, [c for c in cells if not re.match(r'#\|\s*(default_exp|exports?\b|exporti\b|eval:\s*false)', c)]


def main(path):
    matplotlib.use('agg')
    from IPython.core.interactiveshell import InteractiveShell
    path = Path(path).resolve()
    name, cells = parts(path)
    module = importlib.import_module(f'wepadim.{name}')
    shell = InteractiveShell.instance()
    shell.user_ns.update({k: v for k, v in vars(module).items() if not k.startswith('__')}, display=lambda *a: None)
    os.chdir(path.parent)
    for c in cells:
        r = shell.run_cell(c, store_history=True, silent=False)
        if not r.success: sys.exit(f'{path.name}: {type(r.error_in_exec or r.error_before_exec).__name__}')


if __name__ == '__main__': main(sys.argv[1])
