"Thousands of damaged image and model files through the loaders: each must load or be an `InputError`, at once, and memory must not grow. `make fuzz`."
import argparse, faulthandler, io, json, os, sys, tempfile, time, warnings
from pathlib import Path

import numpy as np, psutil
from PIL import Image
from tqdm import tqdm

from wepadim.config import InputError
from wepadim.data import image_tensor
from wepadim.masks import load_mask
from wepadim.model import WEPaDiM

FORMATS = {'png': {}, 'jpg': {}, 'bmp': {}, 'tif': dict(compression='tiff_lzw'), 'tiff': {}}


def pictures(rng):
    "One small picture in every format and mode that users have: {name: bytes}."
    a = rng.integers(0, 256, (40, 56, 4)).astype(np.uint8)
    shapes = {'RGB': a[..., :3], 'L': a[..., 0], 'RGBA': a}
    out = {}
    for ext, how in FORMATS.items():
        for mode, x in shapes.items():
            if mode == 'RGBA' and ext == 'jpg': continue
            f = io.BytesIO(); Image.fromarray(x).save(f, {'jpg': 'jpeg', 'tif': 'tiff'}.get(ext, ext), **how); out[f'{mode}.{ext}'] = f.getvalue()
    f = io.BytesIO(); Image.fromarray(a[..., 0].astype(np.float32)).save(f, 'tiff'); out['F.tif'] = f.getvalue()
    f = io.BytesIO(); Image.fromarray(a[..., 0].astype(np.uint16)*255).save(f, 'png'); out['16.png'] = f.getvalue()
    return out


def mutated(data, rng, most=0):
    "Some bytes flipped, cut out, repeated, zeroed, or the end cut off; with `most`, near the start, where headers are."
    b = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        n = max(1, min(len(b), most) if most and rng.random() < .7 else len(b))
        i, k = int(rng.integers(n)), int(rng.integers(1, 9))
        what = rng.integers(6)
        if what == 0: b[i] ^= 1 << int(rng.integers(8))
        elif what == 1: b[i:i + k] = rng.bytes(k)
        elif what == 2: del b[i:i + k]
        elif what == 3: b[i:i] = b[i:i + k]
        elif what == 4: b[i:i + k] = (b'\xff' if rng.random() < .5 else b'\0')*k
        else: del b[i:]
        if not b: break
    return bytes(b)


def one_image(path, rng, sources):
    name = list(sources)[rng.integers(len(sources))]
    path = path.with_suffix(Path(name).suffix)
    path.write_bytes(mutated(sources[name], rng, 64))
    try:
        x = image_tensor(path, 'whole', 32)
        assert x.shape == (3, 32, 32)
    except InputError as e: assert path.name in str(e) and len(str(e).splitlines()) == 1, e
    try: assert load_mask(path).dtype == bool
    except InputError as e: assert path.name in str(e), e
    finally: path.unlink()


def one_model(folder, rng, files, probe, want):
    name = ('model.json', 'model.safetensors')[rng.integers(2)]
    broken = mutated(files[name], rng, 4096)
    (folder/name).write_bytes(broken)
    try: model = WEPaDiM.load(folder)
    except InputError as e: assert 'model' in str(e) and len(str(e).splitlines()) == 1, e
    else:
        same = broken == files[name] or name == 'model.json' and json.loads(broken) == json.loads(files[name])
        assert same and np.array_equal(model.predict(probe).scores, want), f'{name}: a changed file was taken for whole'
    finally: (folder/name).write_bytes(files[name])


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--cases', type=int, default=5000, help='damaged files, four images to one model')
    p.add_argument('--seconds', type=float, default=300, help='stop after so long')
    p.add_argument('--seed', type=int, default=0)
    args = p.parse_args()
    rng, start, rss = np.random.default_rng(args.seed), time.time(), lambda: psutil.Process().memory_info().rss/2**20
    warnings.simplefilter('ignore')   # decoders warn of what they then refuse
    sys.stderr = os.fdopen(os.dup(2), 'w')
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)   # libtiff writes its complaints there itself
    with tempfile.TemporaryDirectory() as d:
        d, sources = Path(d), pictures(rng)
        probe = [np.asarray(Image.open(io.BytesIO(sources['RGB.png'])))]
        model = WEPaDiM(backbone='efficientnet-lite0', image_size=32, grid_size=2, wavelet_level=1).fit([rng.integers(0, 256, (32, 32, 3)).astype(np.uint8) for _ in range(4)])
        want, folder = model.predict(probe).scores, model.save(d/'m')
        files = {f.name: f.read_bytes() for f in folder.iterdir()}
        warm, slowest, done = None, 0., 0
        for i in tqdm(range(args.cases), desc='damaged files', disable=None if sys.stderr.isatty() else True):
            if time.time() - start > args.seconds: break
            faulthandler.dump_traceback_later(20, exit=True, file=sys.stderr)   # a hang ends here, with where it hung
            t = time.time()
            one_model(folder, rng, files, probe, want) if i % 5 == 4 else one_image(d/f'{i}.x', rng, sources)
            slowest, done = max(slowest, time.time() - t), i + 1
            if i == args.cases//5: warm = rss()
        faulthandler.cancel_dump_traceback_later()
    grown = rss() - warm if warm else 0.
    print(f'{done} damaged files in {time.time() - start:.0f} s: no crash; slowest {slowest:.2f} s; memory grew by {grown:.0f} MiB after the first fifth')
    if done < args.cases: sys.exit(f'only {done} of {args.cases} in {args.seconds:.0f} s: allow more --seconds')
    if grown > 100: sys.exit('memory grows')


if __name__ == '__main__': main()
