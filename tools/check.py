"Are the notebooks clean, their outputs those of their code, the library what the notebooks export, README what index.ipynb says, and can the docs be made?"
import filecmp, re, shutil, subprocess, sys, tempfile
from pathlib import Path

import browser, density, mutate, outputs, pages, readme

ROOT = Path(__file__).resolve().parents[1]
SKIP = shutil.ignore_patterns('.ipynb_checkpoints', '__pycache__', '_proc')


def differing(a, b, pattern):
    "Relative paths of the files that are not the same, or only there once."
    names = {p.relative_to(x) for x in (a, b) for p in x.rglob(pattern) if '__pycache__' not in p.parts and '.ipynb_checkpoints' not in p.parts}
    return sorted(str(n) for n in names if not ((a/n).is_file() and (b/n).is_file() and filecmp.cmp(a/n, b/n, shallow=False)))


def run(code, cwd):
    "Run nbdev's own functions inside the copy."
    r = subprocess.run([sys.executable, '-c', code], cwd=cwd, capture_output=True, text=True)
    if r.returncode: sys.exit(f'{code} failed:\n{r.stdout[-3000:]}\n{r.stderr[-3000:]}')


def verdict(what, wrong, fix):
    if wrong: sys.exit(f'{what}: {", ".join(map(str, wrong))}\n{fix}')
    print(f'{what}: ok')


def unlinked(proc):
    "Links of the pages, as the site gets them, to pages and files that are not there."
    import nbformat
    pages = [(p, ''.join(c.source for c in nbformat.read(p, 4).cells if c.cell_type != 'code')) for p in proc.rglob('*.ipynb')]
    gone = [f'{p.name}: {t}' for p, text in pages for t in re.findall(re.escape(readme.REPO) + r'([^)#\s]+)', text) if not (ROOT/t).exists()]
    there = lambda p, t: (p.parent/t).exists() or (p.parent/t).with_suffix('.ipynb').exists() or (ROOT/'nbs'/'images') in (ROOT/'nbs'/p.relative_to(proc).parent/t).resolve().parents
    return gone + [f'{p.name}: {t}' for p, text in pages for t in re.findall(r'\]\((?!https?:|#|mailto:)([^)#\s]+)', text) if not there(p, t)]


def unreachable(root):
    "Pages that the sidebar does not list, and entries without a page."
    import yaml
    def listed(x): return [x] if isinstance(x, str) else [p for y in x for p in listed(y)] if isinstance(x, list) else listed(x.get('contents', []))
    there, found = set(listed(yaml.safe_load((root/'_quarto.yml').read_text())['website']['sidebar'])), {str(p.relative_to(root/'nbs')) for p in (root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts}
    return sorted(there ^ found)


def long_cells(nbs):
    "Code cells of more than 30 lines: two ideas, or a part for a function."
    import nbformat
    found = []
    for p in sorted(nbs.rglob('*.ipynb')):
        if '.ipynb_checkpoints' in p.parts: continue
        for c in nbformat.read(p, 4).cells:
            lines = c.source.splitlines()
            if c.cell_type == 'code' and len(lines) > 30: found.append(f'{p.name}: {lines[0][:40]}')
    return found


def dense(root):
    "Where the component notebooks break a rule of density.py, and the figures that miss their limit."
    pages = density.component_notebooks(root/'nbs')
    found = [f for cells in pages for f in density.faults_of(cells)]
    found += [*density.module_faults(root/'wepadim'), *density.missed(density.measured(pages))]
    return [f'\n  {f}' for f in found]


def strange_outputs(nbs):
    "Cells that show what their code did not make."
    import nbformat
    found = [f'\n  {p.name}: {c}' for p in sorted(nbs.rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts for c in outputs.unstamped(nbformat.read(p, 4))]
    return [''.join(found)] if found else []


def temporary_paths(nbs):
    "Cells that show a folder which was gone when they ended."
    import nbformat
    shown = [(p, c) for p in sorted(nbs.rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts for c in outputs.shown(nbformat.read(p, 4))]
    return [f'{p.name}: {outputs.title(c)}' for p, c in shown if any(outputs.TEMPORARY.search(str(o.get('text') or o.get('data', {}).get('text/plain', ''))) for o in c.outputs)]


def cut_tables(nbs):
    "Cells with a table that has lost a column, or the end of a text."
    import nbformat
    cut = re.compile(r'<t[hd][^>]*>[^<]*\.\.\.</t[hd]>')
    shown = [(p, c) for p in sorted(nbs.rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts for c in outputs.shown(nbformat.read(p, 4))]
    return [f'{p.name}: {outputs.title(c)}' for p, c in shown if any(cut.search(o.get('data', {}).get('text/html', '')) for o in c.outputs)]


def unclean(experiments):
    "Pages of experiments whose outputs name a commit with changes: nobody can get that code."
    return [p.name for p in sorted(experiments.glob('*.ipynb')) if '+changes' in p.read_text(encoding='utf-8')]


def scripted(proc):
    "Pages for which Quarto would load libraries from elsewhere: those with HTML or scripts among their outputs."
    import nbformat
    needs_script = {'text/html', *pages.INTERACTIVE}
    return [p.name for p in sorted(proc.rglob('*.ipynb')) if any(needs_script & set(o.get('data', {})) for c in nbformat.read(p, 4).cells for o in c.get('outputs', []))]


def unused_terms(proc):
    "Terms of the glossary that no page uses."
    text = '\n'.join(p.read_text(encoding='utf-8') for p in proc.rglob('*.ipynb'))
    return [name for _, name in pages.glossary(proc) if f'glossary.ipynb#{name}' not in text]


def look(proc):
    "The pages in a browser, where there is one."
    pandoc, chromium = browser.tools()
    missing = [name for name, path in (('pandoc', pandoc), ('chromium', chromium)) if not path]
    if missing: print(f'pages in a browser: skipped, {" and ".join(missing)} not installed (Debian: apt install pandoc chromium)')
    else: verdict('pages in a browser', [f'\n  {f}' for f in browser.faults(proc, pandoc, chromium)], 'mend the notebook, nbs/styles.css or tools/pages.py')


def unfinished(proc):
    "Pages, as the site gets them, without a description, pictures without a text for those who do not see them, public names that are not shown."
    import nbformat
    from wepadim._modidx import d as index
    wrong, shown = [], set()
    for p in sorted(proc.rglob('*.ipynb')):
        nb = nbformat.read(p, 4)
        if 'description:' not in nb.cells[0].source: wrong.append(f'{p.name}: no description')
        pictures = [c for c in nb.cells if c.cell_type == 'code' and any('image/png' in o.get('data', {}) for o in c.get('outputs', []))]
        wrong += [f'{p.name}: a picture without fig-alt: {c.source.splitlines()[0][:40]}' for c in pictures if 'fig-alt' not in c.source]
        shown |= {n for c in nb.cells for n in re.findall(r'^show_doc\(([\w.]+)', c.source, re.M)}
    public = {'.'.join(n.split('.')[2:]) for names in index['syms'].values() for n in names}
    return wrong + [f'{n} is not shown' for n in sorted(public) if not re.search(r'(^|\.)_', n) and n not in shown]


with tempfile.TemporaryDirectory() as d:   # a copy, so that checking changes nothing
    copy = Path(d)/'wepadim'
    copy.mkdir()
    for name in ('settings.ini', 'setup.py', '_quarto.yml', 'README.md'): shutil.copy(ROOT/name, copy)
    for name in ('nbs', 'wepadim'): shutil.copytree(ROOT/name, copy/name, ignore=SKIP, symlinks=True)
    run('from nbdev.clean import nbdev_clean; nbdev_clean()', copy)
    verdict('clean notebooks', differing(ROOT/'nbs', copy/'nbs', '*.ipynb'), 'run nbdev_clean and commit')
    shutil.rmtree(copy/'wepadim')
    (copy/'wepadim').mkdir()
    run('from nbdev.doclinks import nbdev_export; nbdev_export()', copy)
    verdict('library as exported', differing(ROOT/'wepadim', copy/'wepadim', '*.py'), 'run nbdev_export and commit; never edit wepadim/ by hand')
    verdict('README and list of pages', [p.name for p, text in readme.written(ROOT).items() if p.read_text(encoding='utf-8') != text], 'run `make readme` and commit')
    verdict('length of README', [f'{n} words, {readme.WORDS} are allowed'] if (n := len((ROOT/'README.md').read_text(encoding='utf-8').split())) > readme.WORDS else [], 'move what is not for a first visit to a page')
    run('from nbdev.serve import proc_nbs\nif __name__ == "__main__": proc_nbs(n_workers=0)', copy)   # not nbdev_proc_nbs: it would install quarto
    sources = {p.relative_to(copy/'nbs') for p in (copy/'nbs').rglob('*.ipynb')}
    verdict('docs pre-processing', [p for p in sources if not (copy/'_proc'/p).is_file()], 'see nbdev_proc_nbs')
    pages.make_all_fit(copy/'_proc')
    verdict('every page in the sidebar', unreachable(ROOT), 'bring _quarto.yml up to date')
    verdict('links between pages', unlinked(copy/'_proc'), 'mend the links')
    verdict('pages as the site gets them', unfinished(copy/'_proc'), 'see CONTRIBUTING.md')
    verdict('pages without scripts from elsewhere', scripted(copy/'_proc'), 'see tools/pages.py')
    verdict('terms of the glossary in use', unused_terms(copy/'_proc'), 'use them, or take them out of nbs/glossary.ipynb')
    look(copy/'_proc')
    verdict('size of notebooks', [p.name for p in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts and p.stat().st_size > outputs.LIMIT], 'make their pictures smaller')
    verdict('outputs of their code', strange_outputs(ROOT/'nbs'), 'run these notebooks with `make outputs`, see CONTRIBUTING.md')
    verdict('paths of temporary folders', temporary_paths(ROOT/'nbs'), 'run these notebooks with `make outputs`')
    verdict('whole tables', cut_tables(ROOT/'nbs'), "let pandas show all: pd.set_option('display.max_columns', None) or 'display.max_colwidth'")
    verdict('commits of experiments', unclean(ROOT/'nbs'/'experiments'), 'run them from a clean checkout, and take their outputs')
    verdict('cells that can be read', long_cells(ROOT/'nbs'), 'split them: at most 30 lines')
    verdict('one idea a line', dense(ROOT), 'see tools/density.py')
    verdict('lines that `make mutate` breaks', mutate.out_of_date(ROOT/'wepadim'), 'bring the list in tools/mutate.py up to date')
