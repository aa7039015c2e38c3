"""Run notebooks for their committed outputs, or take these from an executed copy, and stamp every cell with what it shows.

    tools/outputs.py nbs/29_spill.ipynb nbs/35_metrics.ipynb
    tools/outputs.py --from results/demo/demo.ipynb nbs/experiments/demo.ipynb

The stamp (`ran` in the cell's metadata) is a hash of the cell's id, code and outputs: `make test` finds outputs that are not those of their code.
"""
import argparse, base64, hashlib, io, json, os, re, sys, sysconfig, tempfile, time
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 300_000 # bytes of a notebook
PICTURE = 'image/png'
COLOURS = 256, 128 # of pictures in a notebook that is too large; with fewer, heat maps have steps and grey parts get colours
WHOLE = 'import pandas; pandas.set_option("display.max_colwidth", None)' # tables with whole cells, run before a notebook
BAR = re.compile(r'\d+%\|.*\| \S+/\S+ \[|\d+it \[\d+:\d+|\r\Z') # of tqdm, as text, or what was written over
TEMPORARY = re.compile(re.escape(os.path.join(tempfile.gettempdir(), 'tmp')) + r'\w{8}/?') # a folder that is gone
WARNING = re.compile(r'^\S+:\d+: \w*Warning: .*\n(  .*\n)?', re.M) # Python's own, with the line it is about


def code(cell):
    "Without `#|` lines, which say how a page shows it."
    return '\n'.join(l for l in cell.source.splitlines() if not l.startswith('#|'))


def stamp(cell):
    "Of what a cell shows and why: its id, because two cells may have the same code, its code and its outputs."
    return hashlib.sha256(json.dumps([cell.id, code(cell), cell.outputs], sort_keys=True).encode()).hexdigest()[:12]


def directive(cell, name, value=''):
    "Has the cell this `#|` line?"
    return re.search(rf'^#\|\s*{name}\s*{value}\s*$', cell.source, re.M | re.I)


def hidden(cell): return directive(cell, 'hide') or directive(cell, 'include:', 'false')


def shown(nb):
    "The code cells whose outputs a reader sees."
    return [c for c in nb.cells if c.cell_type == 'code' and c.outputs and not hidden(c)]


def title(cell): return code(cell).strip().split('\n')[0][:60]


def unstamped(nb):
    "Cells whose outputs did not come from their code, each with why."
    why = lambda c: 'outputs of unknown origin' if 'ran' not in c.metadata else 'code or outputs changed since it ran'
    return [f'{c.id} ({why(c)}): {title(c)}' for c in shown(nb) if c.metadata.get('ran') != stamp(c)]


def runs(cell):
    "Does nbdev_test run it too?"
    return not (directive(cell, 'eval:', 'false') or directive(cell, 'notest') or 'nbdev_export(' in cell.source)


def execute(
    path, # A notebook; it stays as it is
    timeout=None, # Seconds a cell, at most
): # The notebook with outputs
    "Run it in its folder, in a fresh kernel of this interpreter, whatever kernels are installed, with the library of this checkout."
    from nbclient import NotebookClient
    from wepadim.notebooks import own_kernel
    nb = nbformat.read(path, 4)
    sources = [c.source for c in nb.cells]
    for c in nb.cells:
        if c.cell_type == 'code': c.outputs, c.source = [], c.source if runs(c) else ''
    before = lambda name, first: os.pathsep.join([str(first), *filter(None, [os.environ.get(name)])])
    env = {**os.environ, 'PYTHONPATH': before('PYTHONPATH', ROOT), 'PATH': before('PATH', Path(sys.executable).parent)}
    NotebookClient(nb, timeout=timeout, kernel_manager_class=own_kernel(), extra_arguments=['--log-level=CRITICAL', f'--IPKernelApp.exec_lines={WHOLE}'], resources={'metadata': {'path': str(Path(path).parent)}}).execute(env=env)
    for c, source in zip(nb.cells, sources): c.source = source
    nb.metadata.pop('widgets', None)   # the state of sliders is of no use without a kernel
    return nb


def taken(
    path, # A notebook
    executed, # A copy of it that was run, by papermill for instance
): # The notebook with the outputs of the copy
    "Cell by cell, in their order; cells of other code end it."
    injected = lambda c: 'injected-parameters' in c.metadata.get('tags', [])
    nb, ran = nbformat.read(path, 4), nbformat.read(executed, 4)
    mine, theirs = [c for c in nb.cells if c.cell_type == 'code'], [c for c in ran.cells if c.cell_type == 'code' and not injected(c)]
    if len(mine) != len(theirs): sys.exit(f'{executed} has {len(theirs)} code cells, {path} {len(mine)}: run it again')
    if other := [f'  {c.id}: {title(c)}' for c, t in zip(mine, theirs) if code(c) != code(t)]:
        sys.exit('\n'.join([f'{executed} was run with other code than {path} has in these cells; run it again:', *other]))
    stopped = lambda c: c.metadata.get('papermill', {}).get('status', 'completed') != 'completed' or any(o.output_type == 'error' for o in c.outputs)
    if at := next(filter(stopped, theirs), None): sys.exit(f'{executed} did not run to its end; it stopped in: {title(at)}')
    for c, t in zip(mine, theirs): c.outputs = t.outputs
    return nb


def quiet(outputs):
    "Without progress bars and what Python and the kernel say on stderr; warnings of the project stay."
    kept = []
    for o in outputs:
        if o.output_type == 'stream':
            lines = ''.join(l for l in o.text.splitlines(True) if not BAR.search(l))   # splitlines parts at carriage returns too
            o.text = WARNING.sub('', lines) if o.name == 'stderr' else lines
        if o.get('text', '-').strip() and not ('widget' in ' '.join(o.get('data', {})) and BAR.search(o.data.get('text/plain', ''))): kept.append(o)
    return kept


def placed(value):
    "Texts without this machine's folders: paths begin at the checkout or in a temporary folder, those of installed packages with dots."
    if isinstance(value, dict): return {k: v if k.startswith('image') else placed(v) for k, v in value.items()}
    if not isinstance(value, str): return value
    value = value.replace(sysconfig.get_path('purelib'), '...').replace(f'{ROOT}{os.sep}', '')
    return TEMPORARY.sub('', value)


def png(im):
    "Its bytes, as small as they get without a change."
    im.save(out := io.BytesIO(), 'png', optimize=True)
    return out.getvalue()


def smaller(
    data, # Of a PNG
    colours=None, # So many, the best for it; None: only what changes no pixel
): # Of a PNG, not larger
    from PIL import Image
    im = Image.open(io.BytesIO(data)).convert('RGBA')
    if im.getextrema()[3] != (255, 255): return min(data, png(im), key=len)   # transparent parts: no palette
    im = im.convert('RGB')
    if colours: im = im.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)   # rare colours too: the bright end of a heat map
    elif im.getcolors(256): im = im.quantize(256, dither=Image.Dither.NONE)
    return min(data, png(im), key=len)


def fit(nb, limit=LIMIT):
    "Smaller pictures: first without a change, then of fewer colours, the largest first and only while the notebook is too large. Returns its size."
    size = lambda: len(nbformat.writes(nb).encode())
    pictures = [(base64.b64decode(o.data[PICTURE]), o.data) for c in shown(nb) for o in c.outputs if PICTURE in o.get('data', {})]
    def reduce(whole, data, colours=None): data[PICTURE] = base64.b64encode(smaller(whole, colours)).decode()
    for p in pictures: reduce(*p)
    for colours in COLOURS:
        for p in sorted(pictures, key=lambda p: -len(p[0])):
            if size() > limit: reduce(*p, colours)
    return size()


def finish(nb, path):
    "Clean and stamp the notebook and write it; returns its size."
    from nbdev.clean import clean_nb
    from wepadim.errors import write_atomic
    for c in nb.cells:
        if c.cell_type == 'code': c.outputs = [] if hidden(c) else [nbformat.from_dict(placed(o)) for o in quiet(c.outputs)]
    size = fit(nb)
    clean_nb(nb, allowed_cell_metadata_keys=['tags'])
    for c in shown(nb): c.metadata['ran'] = stamp(c)
    write_atomic(path, nbformat.writes(nb) + '\n')
    return size


def main():
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('notebooks', nargs='+', type=Path, metavar='NOTEBOOK')
    p.add_argument('--from', dest='executed', type=Path, metavar='EXECUTED', help='take the outputs of this executed copy of the one NOTEBOOK')
    args, failed = p.parse_args(), []
    if args.executed and len(args.notebooks) > 1: p.error('--from takes one notebook')
    for path in args.notebooks:
        start = time.time()
        try: size = finish(taken(path, args.executed) if args.executed else execute(path), path)
        except (CellExecutionError, DeadKernelError) as e: failed.append(f'{path}: {str(e).strip().splitlines()[-1]}')
        else:
            print(f'{path}: {time.time() - start:.0f} s, {size/1000:.0f} kB', flush=True)
            if size > LIMIT: failed.append(f'{path}: {size/1000:.0f} kB, {LIMIT//1000} are allowed: make its figures smaller')
    if failed: sys.exit('\n'.join(failed))


if __name__ == '__main__': main()
