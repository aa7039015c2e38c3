"""Make a data set with masks from the solar cells: painted defects, in the layout of MVTec AD. `tools/painted_cells.py FOLDER`.

The phases of the paper show pixel metrics on it. Numbers about painted defects say nothing about real ones.
"""
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from wepadim.data import category, elpv_root
from wepadim.synthetic import DEFECTS, paint_defect

TRAIN, GOOD, EACH = 120, 40, 5 # images: to learn from, good to test, of each kind of defect
SEED = 1024


def save(picture, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def write_category(name, folder):
    "One kind of cell: good ones as they are, and good ones with a defect."
    cells = [s.path for s in category(elpv_root(), name).train]
    random = np.random.default_rng(SEED)
    pixels = [np.asarray(Image.open(p).convert('RGB')) for p in cells]
    good, held_out = pixels[:TRAIN], pixels[TRAIN:]
    for i, p in enumerate(good): save(p, folder/'train'/'good'/f'{i:03}.png')
    for i, p in enumerate(held_out[:GOOD]): save(p, folder/'test'/'good'/f'{i:03}.png')
    for k, kind in enumerate(DEFECTS):
        for i in range(EACH):
            clean = held_out[GOOD + (k*EACH + i) % (len(held_out) - GOOD)]
            painted, mask = paint_defect(clean, kind, seed=int(random.integers(2**31)))
            save(painted, folder/'test'/kind/f'{i:03}.png')
            save(mask.astype(np.uint8)*255, folder/'ground_truth'/kind/f'{i:03}_mask.png')


if __name__ == '__main__':
    if len(sys.argv) != 2: sys.exit('usage: tools/painted_cells.py FOLDER')
    for name in ('mono', 'poly'): write_category(name, Path(sys.argv[1])/name)
