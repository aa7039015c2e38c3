"Run every tutorial from a fresh kernel; each must end without an error, within two minutes. `make tutorials`."
import sys, time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError

from wepadim.cli import own_kernel

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 120 # seconds


def main():
    failed = []
    for path in [ROOT/'nbs'/'get_started.ipynb', *sorted((ROOT/'nbs'/'tutorials').glob('*.ipynb'))]:
        start = time.time()
        try: NotebookClient(nbformat.read(path, 4), timeout=LIMIT, kernel_name='python3', kernel_manager_class=own_kernel(), resources={'metadata': {'path': str(path.parent)}}).execute()
        except (CellExecutionError, CellTimeoutError) as e: failed.append(f'{path.name}: {str(e).strip().splitlines()[-1]}')
        seconds = time.time() - start
        if seconds > LIMIT: failed.append(f'{path.name}: took {seconds:.0f} s')
        print(f'{path.name}: {seconds:.0f} s', flush=True)
    if failed: sys.exit('\n'.join(failed))


if __name__ == '__main__': main()
