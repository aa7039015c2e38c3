"How dense is the code of the component notebooks? Prints a table, and every place that breaks a rule."
import ast, re, statistics, sys
from collections import namedtuple
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
LINE, NAMES, IN_A_ROW, MODULE, PUBLIC = 120, 12, 3, 350, 20
LIMITS = dict(over_120=2.0, nested=2.0, names_a_line=4.5, shown=70.0, prose_words=4.0)   # the last two at least, the others at most

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
OPERATORS = (*COMPREHENSIONS, ast.IfExp, ast.Lambda, ast.Subscript, ast.Slice, ast.Starred, ast.NamedExpr, ast.Compare,
             ast.BoolOp, ast.UnaryOp, ast.JoinedStr)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

Cell = namedtuple('Cell', 'page source tree exported hidden prose')


def parsed(source):
    "The syntax tree of a cell; None if it cannot be parsed, such as one with a magic command."
    try: return ast.parse(source)
    except SyntaxError: return None


def cells_of(path):
    "The cells of a notebook that say something, without their directives."
    found = []
    for c in nbformat.read(path, 4).cells:
        if c.cell_type == 'raw' or not c.source.strip(): continue
        if c.cell_type == 'markdown':
            found.append(Cell(path.name, c.source, None, False, False, True))
            continue
        directives = [l for l in c.source.split('\n') if l.lstrip().startswith('#|')]
        source = '\n'.join(l for l in c.source.split('\n') if not l.lstrip().startswith('#|'))
        exported = any('export' in l for l in directives)
        hidden = any('hide' in l or 'default_exp' in l for l in directives)
        if source.strip(): found.append(Cell(path.name, source, parsed(source), exported, hidden, False))
    return found


def only_imports(cell):
    return cell.tree is not None and all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in cell.tree.body)


def signatures(tree):
    "The lines of signatures and docstrings: they are read as text, not as code."
    lines = set()
    for n in ast.walk(tree):
        if isinstance(n, FUNCTIONS): lines |= set(range(n.lineno, max(n.body[0].lineno, n.lineno)))
        if isinstance(n, (*FUNCTIONS, ast.ClassDef, ast.Module)) and ast.get_docstring(n) is not None:
            lines |= set(range(n.body[0].lineno, n.body[0].end_lineno + 1))
    return lines


def body(cell):
    "{line number: line} of the code itself."
    apart = signatures(cell.tree)
    lines = enumerate(cell.source.split('\n'), 1)
    return {i: l for i, l in lines if l.strip() and not l.lstrip().startswith('#') and i not in apart}


def names(cell):
    "{line number: its distinct names and operators}."
    apart, found = signatures(cell.tree), {}
    for n in ast.walk(cell.tree):
        if not hasattr(n, 'lineno') or n.lineno in apart: continue
        here = found.setdefault(n.lineno, set())
        if isinstance(n, ast.Name): here.add(n.id)
        elif isinstance(n, ast.Attribute): here.add('.' + n.attr)
        elif isinstance(n, OPERATORS): here.add(type(n).__name__)
        elif isinstance(n, ast.BinOp): here.add(type(n.op).__name__)
    return {i: s for i, s in found.items() if s}


def depth(node, above=0):
    "How many comprehensions lie in each other; `for a in b for c in a` is two."
    here = above + (len(node.generators) if isinstance(node, COMPREHENSIONS) else 0)
    return max([here, *(depth(n, here) for n in ast.iter_child_nodes(node))])


def tricks(tree):
    "Lambdas where a function or a loop is easier to read."
    for n in ast.walk(tree):
        if isinstance(n, ast.Lambda) and (n.args.defaults or any(n.args.kw_defaults)): yield 'a lambda that binds a default'
        if isinstance(n, ast.Assign) and isinstance(n.value, ast.Tuple):
            if any(isinstance(x, ast.Lambda) for x in ast.walk(n.value)): yield 'a lambda in a tuple assignment'


def is_shown(cell):
    "Is this a visible test, or an example that ends in a value or a picture?"
    if cell.exported or cell.hidden or cell.tree is None or not cell.tree.body: return False
    tests = re.search(r'\b(test_\w+|expect_fail)\(|\bassert\b', cell.source)
    last = cell.tree.body[-1]
    value = isinstance(last, ast.Expr) and not cell.source.lstrip().startswith('show_doc(')
    return bool(tests or value)


def after(cells):
    "Yield (exported cell, the next code cell or None)."
    code = [c for c in cells if not c.prose]
    for cell, following in zip(code, [*code[1:], None]):
        if cell.exported and not only_imports(cell): yield cell, following


def rows_without(cells):
    "The longest row of exported cells without a test or an example after any of them."
    row = longest = 0
    for cell, following in after(cells):
        row += 1
        longest = max(longest, row)
        if following is not None and is_shown(following): row = 0
    return longest


def public_names(cells):
    "The functions, classes and constants that a module offers."
    found = set()
    for n in (n for c in cells if c.exported and c.tree for n in c.tree.body):
        if isinstance(n, (*FUNCTIONS, ast.ClassDef)) and not any('patch' in ast.unparse(d) for d in n.decorator_list): found.add(n.name)
        if isinstance(n, ast.Assign): found |= {x.id for t in n.targets for x in ast.walk(t) if isinstance(x, ast.Name)}
    return {n for n in found if not n.startswith('_')}


def faults_of(cells):
    "Yield every place in a notebook that breaks a rule."
    for c in (c for c in cells if c.exported and c.tree is not None):
        where = f'{c.page}: {c.source.strip().splitlines()[0][:60]}'
        many, lines = names(c), body(c)
        for i, l in lines.items():
            if len(l) > LINE: yield f'{where}: {len(l)} characters: {l.strip()[:80]}'
            if len(many.get(i, ())) > NAMES: yield f'{where}: {len(many[i])} names: {l.strip()[:80]}'
        if depth(c.tree) > 1: yield f'{where}: a comprehension inside a comprehension'
        for what in tricks(c.tree): yield f'{where}: {what}'
    if rows_without(cells) > IN_A_ROW: yield f'{cells[0].page}: {rows_without(cells)} exported cells in a row without an example or test'
    if len(public_names(cells)) > PUBLIC: yield f'{cells[0].page}: {len(public_names(cells))} public names'


def module_faults(package):
    "Yield every module that is too long."
    for p in sorted(package.glob('[a-z]*.py')):
        n = len(p.read_text().splitlines())
        if n > MODULE: yield f'{p.name}: {n} lines'


def measured(pages):
    "The five figures of some notebooks, each a list of its cells."
    every = [c for cells in pages for c in cells]
    exported = [c for c in every if c.exported and c.tree is not None and not only_imports(c)]
    lines = [len(l) for c in exported for l in body(c).values()]
    counts = [len(s) for c in exported for s in names(c).values()]
    shown = [f is not None and is_shown(f) for cells in pages for _, f in after(cells)]
    n_exported = sum(bool(l.strip()) for c in exported for l in c.source.split('\n'))
    words = sum(len(re.findall(r"[A-Za-z']+", re.sub(r'```.*?```', '', c.source, flags=re.S))) for c in every if c.prose)
    return dict(over_120=100*statistics.mean(l > LINE for l in lines), nested=100*statistics.mean(depth(c.tree) > 1 for c in exported),
                names_a_line=statistics.mean(counts), shown=100*statistics.mean(shown), prose_words=words/n_exported, lines=n_exported)


def missed(figures):
    "The figures that miss their limit."
    least = ('shown', 'prose_words')
    return [f'{k} {figures[k]:.1f}: {"at least" if k in least else "at most"} {v}' for k, v in LIMITS.items() if (figures[k] < v) == (k in least) and figures[k] != v]


def component_notebooks(nbs):
    return [cells_of(p) for p in sorted(nbs.glob('[0-9]*.ipynb'))]


def main(paths):
    pages = [cells_of(Path(p)) for p in paths] or component_notebooks(ROOT/'nbs')
    print('notebook                 over 120  nested  names  shown  prose  lines  public')
    for name, some in [*((cells[0].page, [cells]) for cells in pages), ('all', pages)]:
        m, public = measured(some), sum(len(public_names(cells)) for cells in some)
        print(f"{name:24} {m['over_120']:7.1f}% {m['nested']:6.1f}% {m['names_a_line']:6.2f} {m['shown']:5.0f}% "
              f"{m['prose_words']:6.2f} {m['lines']:6} {public:7}")
    for f in [f for cells in pages for f in faults_of(cells)] + list(module_faults(ROOT/'wepadim')): print(f)


if __name__ == '__main__': main(sys.argv[1:])
