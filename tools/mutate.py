"Break 20 lines of wepadim, one at a time (sign, off by one, wrong axis, wrong band), and see whether the component's notebook or else a test notices. `make mutate`; numbers as arguments choose some."
import os, shutil, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# (module, notebook, what is there, what takes its place, tests to ask if the notebook does not notice)
BREAKS = [
    ('config', '00_config', "os.replace(tmp, path)", "os.rename(tmp, str(path) + '~')", 'test_trust.py'),
    ('images', '01_images', "if deep.white_is_zero: grey = 255 - grey", "if deep.white_is_zero: grey = grey", 'test_accounted.py'),
    ('images', '01_images', "if lossy: return values >= max(top/2,", "if lossy: return values >= min(top/2,", 'test_accounted.py'),
    ('layouts', '01b_layouts', "test = by_name(good[n_train:n_train + n_test])", "test = by_name(good[:n_test])", 'test_commands.py'),
    ('data', '01c_data', "why = cat.left_out.get(p) or why_unused(p, home)", "why = why_unused(p, home)", 'test_accounted.py'),
    ('images', '01_images', "left, top = round((w - size) / 2), round((h - size) / 2)", "left, top = round((w - size) / 2), round((w - size) / 2)", 'test_reference.py'),
    ('synthetic', '01a_synthetic', "(np.abs(x - im).max(2) > 6) & (alpha > .1)", "(np.abs(x - im).max(2) > 6) & (alpha < .1)", 'test_commands.py'),
    ('backbone', '02_backbone', "if s in taps: maps.append(x)", "if s in taps: maps.insert(0, x)", 'test_reference.py'),
    ('wavelet', '03_wavelet', "{(b, j): as_x(down[r, j]) @ x @ as_x(across[c, j]).mT", "{(b, j): as_x(down[c, j]) @ x @ as_x(across[r, j]).mT", 'test_reference.py'),
    ('wavelet', '03_wavelet', "m[at, (at + i - c) % n] += row[i]", "m[at, (at + i - c + 1) % n] += row[i]", 'test_properties.py'),
    ('wavelet', '03_wavelet', "return (2**level - 1)*start - float(", "return (2**level - 1)*start + float(", 'test_properties.py'),
    ('gaussian', '04_gaussian', "((n - 1)*c**2*q/rest)", "(n*c**2*q/rest)", 'test_trust.py'),
    ('gaussian', '04_gaussian', "lam, c = (n - 1)*eps, n/(n - 1)", "lam, c = n*eps, n/(n - 1)", 'test_trust.py'),
    ('window', '04a_window', "torch.minimum(at, d[:, y, x], out=at)", "torch.minimum(at, d[:, x, y], out=at)", 'test_gpu.py'),
    ('window', '04a_window', "gz = yz + zz/(n - 1)", "gz = yz - zz/(n - 1)", 'test_gpu.py'),
    ('spill', '04b_spill', "self.file.seek(self.at + (int(row)*p + start)*each)", "self.file.seek(self.at + (int(row)*p + start)*each + 4)", 'test_memory.py'),
    ('metrics', '05_metrics', "lo, hi = r.above[first:].double()/r.n_good, r.at[first:].double()/r.n_good", "lo, hi = r.above[first:].double()/r.n_good, r.above[first:].double()/r.n_good", 'test_properties.py'),
    ('metrics', '05_metrics', "first = int((r.above > limit*r.n_good).sum())", "first = int((r.above >= limit*r.n_good).sum()) + 1", 'test_properties.py'),
    ('maps', '05a_maps', "return box @ G, G @ box", "return box @ G, box @ G", 'test_reference.py'),
    ('thresholds', '05b_thresholds', "int(np.ceil((len(scores) + 1)*(1 - rate)))", "int(np.ceil((len(scores) + 1)*(1 - 2*rate)))", 'test_trust.py'),
    ('choosing', '05c_choosing', "if v >= max(scores.values()) - tolerance]", "if v >= max(scores.values()) + tolerance]", 'test_trust.py'),
    ('model', '06_model', "(self._U @ d.reshape(len(d), *self.embedding.grid) @ self._V.T)", "(self._U @ d.reshape(len(d), *self.embedding.grid).mT @ self._V.T)", 'test_reference.py'),
    ('search', '07_search', "torch.minimum(at, spread(d.view(1, b - a, k, k, m)), out=at)", "torch.maximum(at, spread(d.view(1, b - a, k, k, m)), out=at)", 'test_phases.py'),
    ('experiment', '09_experiment', "same = old.get('identity') == ident and", "same = old.get('identity') != ident and", 'test_trust.py'),
]


def main():
    unseen, start = [], time.time()
    with tempfile.TemporaryDirectory() as d:
        copy = Path(d)/'wepadim'
        for name in ('nbs', 'wepadim', 'tests', 'tools'): shutil.copytree(ROOT/name, copy/name, ignore=shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints'))
        shutil.copy(ROOT/'settings.ini', copy)
        env = {**os.environ, 'PYTHONPATH': str(copy), 'MPLBACKEND': 'agg'}
        fails = lambda *argv: subprocess.run([sys.executable, *argv], cwd=copy, env=env, capture_output=True, timeout=1200).returncode != 0
        chosen = {int(n) for n in sys.argv[1:]} or set(range(1, len(BREAKS) + 1))
        for i, (module, notebook, old, new, test) in enumerate(BREAKS, 1):
            if i not in chosen: continue
            path = copy/'wepadim'/f'{module}.py'
            text = path.read_text()
            if text.count(old) != 1: sys.exit(f'{module}: {old!r} is there {text.count(old)} times; bring the list in tools/mutate.py up to date')
            path.write_text(text.replace(old, new))
            by = f'{notebook}.ipynb' if fails('tools/against_module.py', f'nbs/{notebook}.ipynb') else f'tests/{test}' if fails('-m', 'pytest', '-q', '-x', f'tests/{test}') else None
            path.write_text(text)
            unseen += [] if by else [new]
            print(f"{i:>2} {module}: {old}  ->  {new}\n   {'noticed by ' + by if by else 'NOT NOTICED'}", flush=True)
    print(f'{len(chosen) - len(unseen)} of {len(chosen)} breakages noticed, in {time.time() - start:.0f} s')
    if unseen: sys.exit(1)


if __name__ == '__main__': main()
