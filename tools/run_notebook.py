"Run a notebook with this Python, whatever kernels are installed, and keep it with its outputs: `python tools/run_notebook.py nbs/experiments/benchmark.ipynb results/benchmark/benchmark.ipynb`."
import sys

import nbformat

from wepadim.flags import command
from wepadim.notebooks import execute_notebook
from wepadim.errors import write_atomic


@command
def run_notebook(argv):
    path, out = argv or sys.argv[1:]
    print(write_atomic(out, nbformat.writes(execute_notebook(path, progress=True))))


if __name__ == '__main__': run_notebook()
