"Break single lines of wepadim, one at a time, and see whether the component's notebook or else a test notices. `make mutate`; numbers as arguments choose some."
import os, re, shutil, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# (module, what is there, what takes its place, tests to ask if the notebook does not notice)
BREAKS = [
    ('errors', "os.replace(temporary, path)", "os.rename(temporary, str(path) + '~')", 'test_trust.py'),
    ('errors', "name in content and content[name] == value", "name in content", 'test_trust.py'),
    ('images', "if deep.white_is_zero: grey = 255 - grey", "if deep.white_is_zero: grey = grey", 'test_accounted.py'),
    ('images', "round((h - high)/2)", "round((w - high)/2)", 'test_reference.py'),
    ('masks', "return values >= max(half, noise)", "return values >= min(half, noise)", 'test_accounted.py'),
    ('synthetic', "(change.max(2) > 6) & (alpha > .1)", "(change.max(2) > 6) & (alpha < .1)", 'test_commands.py'),
    ('listed', "held_out = good[_N_TRAIN:_N_TRAIN + _N_TEST]", "held_out = good[:_N_TEST]", 'test_commands.py'),
    ('census', "why = cat.left_out.get(p) or why_unused(p, home)", "why = why_unused(p, home)", 'test_accounted.py'),
    ('loops', "1 << (_BITS - 1)", "0", 'test_predict.py'),
    ('steps', "missing//2, missing - missing//2", "missing - missing//2, missing//2", 'test_reference.py'),
    ('tracing', "if stage in layers: maps.append(x)", "if stage in layers: maps.insert(0, x)", 'test_reference.py'),
    ('tracing', "(bias - norm.running_mean.double())*scale", "(bias + norm.running_mean.double())*scale", 'test_reference.py'),
    ('engines', "ops.divide(ops.subtract(x, mean), std)", "ops.divide(ops.add(x, mean), std)", 'test_reference.py'),
    ('wavelet', "rows = like_x(down[half_down, j])", "rows = like_x(down[half_across, j])", 'test_reference.py'),
    ('wavelet', "reached = (at + i - c) % n", "reached = (at + i - c + 1) % n", 'test_properties.py'),
    ('wavelet', "return (2**level - 1)*start - float(", "return (2**level - 1)*start + float(", 'test_properties.py'),
    ('gaussian', "(n - 1)*ratio**2*q/rest", "n*ratio**2*q/rest", 'test_trust.py'),
    ('gaussian', "lam = (n - 1)*eps", "lam = n*eps", 'test_trust.py'),
    ('window', "torch.minimum(at, d[..., y, x], out=at)", "torch.minimum(at, d[..., x, y], out=at)", 'test_gpu.py'),
    ('window', "gz = yz + zz/others", "gz = yz - zz/others", 'test_gpu.py'),
    ('spill', "X.file.seek(X.at + first*each)", "X.file.seek(X.at + first*each + 4)", 'test_memory.py'),
    ('ranking', "good[below] < bad[i]: below += 1", "good[below] <= bad[i]: below += 1", 'test_properties.py'),
    ('ranking', "counted = scores >= bad[0]", "counted = scores > bad[0]", 'test_properties.py'),
    ('ranking', "np.uint64(0xffffffff) if negative", "np.uint64(0x80000000) if negative", 'test_properties.py'),
    ('ranking', "if doubt > _MOST_DOUBT: return None", "pass", 'test_properties.py'),
    ('ranking', "lowest = first/(first + at[i])", "lowest = here", 'test_properties.py'),
    ('png', "if name not in _NEEDED and _IGNORED.get(name) != len(content): return []", "pass", 'test_bad_table.py'),
    ('png', "guess = b if to_b <= to_c else c", "guess = b", 'test_predict.py'),
    ('grams', "smallest = min(cov_reg", "smallest = max(cov_reg", 'test_phases.py'),
    ('metrics', "if low >= limit: break", "if high >= limit: break", 'test_properties.py'),
    ('metrics', "weights[order[i]]*gain", "weights[i]*gain", 'test_properties.py'),
    ('maps', "return box @ G, G @ box", "return box @ G, box @ G", 'test_reference.py'),
    ('maps', "d.reshape(-1, *grid) @ V.T", "d.reshape(-1, *grid).mT @ V.T", 'test_reference.py'),
    ('roi', "torch.where(self.view, every/there, 0.)", "torch.where(self.view, 1., 0.)", 'test_view.py'),
    ('roi', "d.masked_fill(~self.cells, 0.)", "d.masked_fill(~self.cells, 1.)", 'test_view.py'),
    ('truth', "inside = None if roi is None else roi.view", "inside = None", 'test_view.py'),
    ('prediction', "labels = scores >= self.threshold", "labels = scores > self.threshold", 'test_predict.py'),
    ('graph', "up = rest.op('Mod', 2)*half.op('Mod', 2)", "up = rest.op('Mod', 2)", 'test_export.py'),
    ('translate', "seen = cells*k + np.arange(k)[::-1]", "seen = cells*k + np.arange(k)", 'test_export.py'),
    ('translate', "there &= inside[_near(grid, r)]", "there |= inside[_near(grid, r)]", 'test_export.py'),
    ('translate', "lambda x: x.op('Clip', 0., 6.)", "lambda x: x.op('Relu')", 'test_export.py'),
    ('watch', "if path in results and not _is_same(path, file):", "if path in results and not path:", 'test_watch.py'),
    ('model', "items[first:first + batch_size]", "items[:batch_size]", 'test_judge.py'),
    ('thresholds', "k = int(np.ceil((n + 1)*(1 - rate)))", "k = int(np.ceil((n + 1)*(1 - 2*rate)))", 'test_trust.py'),
    ('choosing', "lowest = max(scores.values()) - tolerance", "lowest = max(scores.values()) + tolerance", 'test_trust.py'),
    ('grams', "torch.minimum(here, spread(d), out=here)", "torch.maximum(here, spread(d), out=here)", 'test_phases.py'),
    ('sweep', "counts[id(f)] == most", "counts[id(f)] <= most", 'test_phases.py'),
    ('search', "if len(group) == 1: return", "if group: return", 'test_phases.py'),
    ('runs', "dict(kind=old.get('kind')), dict(kind=_kind(grid))", "dict(kind=1), dict(kind=1)", 'test_trust.py'),
    ('single', "    if dead: raise InputError('; '.join(dead))", "    if dead and not summaries: raise InputError('; '.join(dead))", 'test_trust.py'),
    ('config', "return COMPAT[part][compat == 'published']", "return COMPAT[part][compat != 'published']", 'test_reference.py'),
]


def out_of_date(wepadim):
    "Entries whose line is not there exactly once, in a folder of modules."
    counts = [(module, old, (wepadim/f'{module}.py').read_text(encoding='utf-8').count(old)) for module, old, *_ in BREAKS]
    return [f'{module}: {old!r} is there {n} times' for module, old, n in counts if n != 1]


def notebook_of(text):
    "The notebook that a module was exported from."
    return re.search(r'File to edit: \.\./(nbs/\S+\.ipynb)', text)[1]


def fails(copy, *argv):
    "Does a Python command in the copy end with an error?"
    env = {**os.environ, 'PYTHONPATH': str(copy), 'MPLBACKEND': 'agg'}
    return subprocess.run([sys.executable, *argv], cwd=copy, env=env, capture_output=True, timeout=1200).returncode != 0


def noticed_by(copy, notebook, test):
    "The first of the two that fails; None if neither does."
    if fails(copy, 'tools/against_module.py', notebook): return notebook
    if fails(copy, '-m', 'pytest', '-q', '-x', f'tests/{test}'): return f'tests/{test}'


def main():
    stale = out_of_date(ROOT/'wepadim')
    if stale: sys.exit('\n'.join([*stale, 'bring the list in tools/mutate.py up to date']))
    unseen, start = 0, time.time()
    chosen = {int(n) for n in sys.argv[1:]} or set(range(1, len(BREAKS) + 1))
    with tempfile.TemporaryDirectory() as d:
        copy = Path(d)/'wepadim'
        skip = shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints')
        for name in ('nbs', 'wepadim', 'tests', 'tools'): shutil.copytree(ROOT/name, copy/name, ignore=skip)
        shutil.copy(ROOT/'settings.ini', copy)
        for i, (module, old, new, test) in enumerate(BREAKS, 1):
            path = copy/'wepadim'/f'{module}.py'
            text = path.read_text()
            if i not in chosen: continue
            path.write_text(text.replace(old, new))
            by = noticed_by(copy, notebook_of(text), test)
            path.write_text(text)
            unseen += by is None
            print(f"{i:>2} {module}: {old}  ->  {new}\n   {f'noticed by {by}' if by else 'NOT NOTICED'}", flush=True)
    print(f'{len(chosen) - unseen} of {len(chosen)} breakages noticed, in {time.time() - start:.0f} s')
    if unseen: sys.exit(1)


if __name__ == '__main__': main()
