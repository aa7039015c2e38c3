"Which lines of wepadim the notebooks and the tests run, in this process and in those that they start; fails below 90 percent. `make coverage`."
import os, subprocess, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEAST = 90


def main():
    out = ROOT/'results'/'coverage'
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as d:
        rc = Path(d)/'rc'
        rc.write_text(f'[run]\nsource_pkgs = wepadim\nparallel = true\ndata_file = {d}/data\npatch =\n  subprocess\n  _exit\nconcurrency = thread,multiprocessing\nsigterm = true\n[report]\nexclude_also =\n    if __name__ == .__main__.:\n')
        cover = [sys.executable, '-m', 'coverage']
        run = lambda *argv: subprocess.run([*cover, *argv], cwd=ROOT, env={**os.environ, 'COVERAGE_RCFILE': str(rc)}).returncode
        failed = [nb.name for nb in sorted((ROOT/'nbs').glob('[0-9]*.ipynb')) if run('run', 'tools/against_module.py', str(nb))]
        failed += ['tests'] if run('run', '-m', 'pytest', '-q', 'tests', *sys.argv[1:]) else []
        run('combine', '-q')
        run('html', '-q', '-d', str(out))
        few = run('report', '--skip-covered', '--show-missing', '--fail-under', str(LEAST))
    if failed: sys.exit(f'failed: {", ".join(failed)}')
    if few: sys.exit(f'less than {LEAST} percent of the lines are run')
    print(f'every line, with those that are not run: {out/"index.html"}')


if __name__ == '__main__': main()
