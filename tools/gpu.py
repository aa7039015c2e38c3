"""How fast is it on a GPU? The network alone, decoding alone, fit, predict and phase 1; and does it find what the CPU finds?

    python tools/gpu.py DATA CATEGORY results/gpu.json        (weights of resnet18 in WEPADIM_WEIGHTS)

The page nbs/experiments/benchmark.ipynb shows the figures.
"""
import argparse, statistics, time
from pathlib import Path

import numpy as np, torch
from joblib import cpu_count

from wepadim.backbone import Backbone, pick_device
from wepadim.config import preset
from wepadim.data import batches, category, detect_layout
from wepadim.errors import write_json
from wepadim.model import WEPaDiM
from wepadim.passes import extract
from wepadim.provenance import Stopwatch, provenance_record
from wepadim.search import search
from wepadim.spaces import GRIDS, expand
from wepadim.truth import load_masks

REPEATS = 5
BATCH = 32


def wait():
    if torch.cuda.is_available(): torch.cuda.synchronize()


def clock(f):
    wait()
    start = time.perf_counter()
    result = f()
    wait()
    return time.perf_counter() - start, result


def median(f): return statistics.median(clock(f)[0] for _ in range(REPEATS))


def each(stream):
    for _ in stream: continue


def network_alone(net, x):
    "Images per second of a batch that lies on the device already."
    for _ in range(10): net(x)
    seconds = median(lambda: each(net(x) for _ in range(20)))
    return 20*len(x)/seconds


def predict(model, images, batch=BATCH):
    "Images per second, from what is given to the heat map in memory."
    each(model.stream(images[:batch], batch))
    return len(images)/median(lambda: each(model.stream(images, batch)))


def detector(gpu, precision, cat, pictures):
    "Figures of `recommended`, and its scores of the test images."
    train = [s.path for s in cat.train]
    test = [s.path for s in cat.test]
    model = WEPaDiM(gpu_id=gpu, precision='bfloat16' if precision == 'bfloat16' else 'float32')
    torch.backends.cudnn.allow_tf32 = precision == 'TF32'   # `gpu_id` turns it off
    x = torch.tensor(np.stack(pictures[:BATCH])).permute(0, 3, 1, 2).to(model.device)
    first, _ = clock(lambda: model.fit(train))
    figures = dict(
        network_per_s=network_alone(model.backbone, x),
        first_fit_s=first,
        fit_s=median(lambda: model.fit(train)),
        predict_from_files_per_s=predict(model, train + test),
        predict_from_arrays_per_s=predict(model, pictures),
        predict_one_ms=1000/predict(model, pictures[:64], 1))
    return figures, model.predict(test).scores


def phase1(gpu, precision, cat, runs):
    "Figures of the search of 216 configurations, and their metrics."
    settings = preset('published', 'resnet18')
    net = Backbone('resnet18', device=pick_device(gpu), precision=precision)
    configs = expand(settings, GRIDS['reduced'])
    labels = [s.label for s in cat.test]
    parts = [[s.path for s in part] for part in (cat.train, cat.test)]
    for _ in range(runs):   # what is loaded once does not disturb the second
        watch = Stopwatch()
        start = time.perf_counter()
        with watch('masks'): masks = load_masks(cat, settings)
        with watch('features'): maps = [extract(net, part, settings) for part in parts]
        found, _ = search(configs, *maps, labels, masks, watch=watch)
        seconds = time.perf_counter() - start
    metrics = np.array([[m['img_auc'], m['pixel_auc'], m['aupro']] for _, m, _ in found])
    stages = {name: v['seconds'] for name, v in watch.summary().items()}
    return dict(seconds=seconds, stages=stages), metrics


def on_the_cpu(cat):
    "Scores of `recommended`, and the metrics of 216 configurations, in float32."
    model = WEPaDiM().fit([s.path for s in cat.train])
    scores = model.predict([s.path for s in cat.test]).scores
    figures, metrics = phase1(-1, 'float32', cat, 1)
    print('CPU', figures, flush=True)
    return scores, metrics


def apart(scores, of_cpu): return float(np.abs(scores/of_cpu - 1).max())


def measure(gpu, cat):
    "Everything on one GPU."
    s = preset('recommended', 'resnet18')
    paths = [x.path for x in cat.train + cat.test]
    decoded = batches(paths, s.input, s.image_size, BATCH)
    pictures = [p.permute(1, 2, 0).numpy().copy() for _, x in decoded for p in x]
    decoding = median(lambda: each(batches(paths, s.input, s.image_size, BATCH)))
    figures = dict(decoding_per_s=len(paths)/decoding)
    cpu_scores, cpu_metrics = on_the_cpu(cat)
    for precision in ('float32', 'TF32', 'bfloat16'):
        figures[precision], scores = detector(gpu, precision, cat, pictures)
        figures[precision]['scores_apart'] = apart(scores, cpu_scores)
        print(precision, figures[precision], flush=True)
    for precision in ('float32', 'bfloat16'):
        found, metrics = phase1(gpu, precision, cat, 2)
        points = 100*np.abs(metrics - cpu_metrics).max(0)
        figures[precision]['phase1'] = found | dict(metrics_apart=points.tolist())
        print(precision, figures[precision]['phase1'], flush=True)
    figures['peak_gib'] = torch.cuda.max_memory_allocated()/2**30
    return figures


def main():
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument('data', type=Path)
    ask.add_argument('category')
    ask.add_argument('out', type=Path)
    ask.add_argument('--gpu_id', type=int, default=0)
    args = ask.parse_args()
    if not torch.cuda.is_available(): ask.error('no GPU was found')
    torch.cuda.set_device(args.gpu_id)
    cat = category(args.data, args.category, detect_layout(args.data))
    figures = measure(args.gpu_id, cat)
    about = provenance_record(preset('recommended', 'resnet18'))
    write_json(args.out, dict(data=str(cat), cores=cpu_count(), figures=figures, **about))


if __name__ == '__main__': main()
