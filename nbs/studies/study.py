"""Which option pays for itself? Variants of a detector, compared on the same images and weights.

The study pages (nbs/explanations, nbs/experiments/baselines.ipynb) hold prose, calls and pictures; what they call is here.
It is no part of the package. A page finds it from wherever it runs:

    import sys
    from wepadim.notebooks import checkout
    sys.path.append(str(checkout()/'nbs'/'studies'))
    from study import compare
"""
import hashlib, json, os, time
from dataclasses import replace
from pathlib import Path

import numpy as np, torch
from PIL import Image

from wepadim import __version__
from wepadim.backbone import pick_device
from wepadim.cache import features
from wepadim.data import categories, category, detect_layout, fingerprint, limit
from wepadim.embedding import random_directions
from wepadim.errors import InputError, load_or_compute, write_atomic
from wepadim.evaluate import mean_metric, percent
from wepadim.truth import pixel_truth
from wepadim.images import load_image
from wepadim.listed import elpv_root
from wepadim.masks import load_mask
from wepadim.passes import embed_all, embedding_of
from wepadim.provenance import provenance, weights_hash
from wepadim.samples import Sample
from wepadim.search import evaluate, fitted_distances, pass_distances
from wepadim.sweep import RANKING_METRICS


# On what

def study_categories(names=(), seed=1024):
    "Every category below WEPADIM_DATA, or the monocrystalline solar cells; only those of `names`, if there are any."
    data = os.environ.get('WEPADIM_DATA')
    if data:
        found = []
        for root in sorted(p for p in Path(data).iterdir() if p.is_dir()):
            layout = detect_layout(root)
            found += [category(root, name, layout, seed) for name in categories(root, layout)]
    else: found = [category(elpv_root(), 'mono', seed=seed)]
    wanted = [c for c in found if not names or c.name in names]
    if wanted: return wanted
    which = f" of {', '.join(names)}" if names else ''
    fix = 'set WEPADIM_DATA to a folder of data sets, or unset it for the solar cells'
    raise InputError(f'no category{which} in {data}: {fix}')


def study_backbone():
    "resnet18 where WEPADIM_DATA is set; for the solar cells EfficientNet-Lite0, whose weights pip installs."
    return 'resnet18' if os.environ.get('WEPADIM_DATA') else 'efficientnet-lite0'


# Parts that do not lie still, made from parts that do

def move(image, angle, dx, dy, resample):
    "An image [h, w] or [h, w, 3], uint8, turned by degrees and shifted by parts of its size; masks are filled with 0, images from their edge."
    x = np.asarray(image)
    h, w = x.shape[:2]
    border = int(.6*max(h, w))
    width = [(border, border), (border, border)] + [(0, 0)]*(x.ndim - 2)
    wide = np.pad(x, width, mode='edge' if x.ndim == 3 else 'constant')
    moved = Image.fromarray(wide).rotate(angle, resample, translate=(dx*w, dy*h))
    return np.asarray(moved)[border:border + h, border:border + w]


def _save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, compress_level=1)


def moved_category(cat, folder, degrees=20, shift=0.08, seed=7):
    "A copy of a category in `folder` with every image, and its mask, turned and shifted at random. Images whose defect left the view are left out."
    folder = Path(folder)/f'{cat.name}_moved_{degrees:g}_{shift:g}_{seed}_{fingerprint(cat)[:8]}'
    finished = (folder/'done').exists()
    rng = np.random.default_rng(seed)

    def copy(sample, part, i):
        angle = rng.uniform(-degrees, degrees)
        dx, dy = rng.uniform(-shift, shift, 2)
        path, mask = folder/part/f'{i:04}.png', folder/f'{part}_masks'/f'{i:04}.png'
        if not finished:
            _save(move(load_image(sample.path), angle, dx, dy, Image.Resampling.BICUBIC), path)
            if sample.masks:
                drawn = load_mask(sample.masks).astype(np.uint8)*255
                _save(move(drawn, angle, dx, dy, Image.Resampling.NEAREST), mask)
        return Sample(path, sample.label, sample.kind, (mask,) if sample.masks else ())

    train = [copy(s, 'train', i) for i, s in enumerate(cat.train)]
    test = [copy(s, 'test', i) for i, s in enumerate(cat.test)]
    write_atomic(folder/'done', '')
    in_view = [s for s in test if not s.masks or load_mask(s.masks).any()]
    return replace(cat, name=f'{cat.name}_moved', root=folder, home=folder, train=train, test=in_view, spare=[])


# Compare

def study_key(cat, variants, run):
    "Everything that decides the rows of a category; `variants` is {label: `Settings`}."
    first, *_ = variants.values()
    return dict(
        variants={label: s.model_dump(mode='json') for label, s in variants.items()},
        data_fingerprint=fingerprint(cat),
        weights_sha256=weights_hash(first.backbone, run.weights),
        wepadim=__version__)


def _rows(path, key, measure):
    "The rows that `measure` returns, from a file if they are there."
    def compute(): return dict(rows=measure(), provenance=provenance())
    return load_or_compute(path, key, compute)['rows']


def _limited(cat, run): return limit(cat, *run.limit) if run.limit else cat


def _metrics(settings, d2, grid, cat, truth):
    "{metric: value} of squared distances [M, P]."
    labels = [s.label for s in cat.test]
    _, metrics, _ = evaluate(settings, d2, grid, labels, truth)
    return {m: metrics[m] for m in RANKING_METRICS}


def _measure(cat, variants, run):
    "A row for each variant. Those that look at the same input share its features, one input at a time: features are large."
    inputs = {}
    for label, s in variants.items(): inputs.setdefault((s.input, s.image_size, s.backbone), []).append(label)
    rows = {}
    for labels in inputs.values():
        first = variants[labels[0]]
        train, test = features(cat, [first], run)
        truth = pixel_truth(cat, first, pick_device(run.gpu_id))
        for label in labels:
            start = time.perf_counter()
            distances, grid = pass_distances([variants[label]], train, test, run.memory_budget)
            [d2] = distances.values()
            seconds = round(time.perf_counter() - start, 2)
            metrics = _metrics(variants[label], d2, grid, cat, truth)
            rows[label] = dict(category=cat.name, variant=label, n_train=len(cat.train), **metrics, seconds=seconds, grid=list(grid))
    return [rows[label] for label in variants]


def compare(cat, variants, run, folder):
    "One row a variant: {category, variant, n_train, img_auc, pixel_auc, aupro, seconds, grid}. Kept in `folder`; `variants` is {label: `Settings`}."
    cat = _limited(cat, run)
    key = study_key(cat, variants, run)
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    return _rows(Path(folder)/f'{cat.name}_{digest}.json', key, lambda: _measure(cat, variants, run))


def averages(rows):
    "One row a variant, in percent: its means over categories."
    table = []
    for variant in dict.fromkeys(r['variant'] for r in rows):
        mine = [r for r in rows if r['variant'] == variant]
        row = {'variant': variant}
        for column, metric in {'image AUROC': 'img_auc', 'pixel AUROC': 'pixel_auc', 'AUPRO': 'aupro'}.items():
            row[column] = percent(mean_metric(mine, metric))
        if 'grid' in mine[0]:
            row['seconds'] = round(sum(r['seconds'] for r in mine), 1)
            row['grid'] = 'x'.join(map(str, mine[0]['grid']))
        table.append(row)
    return table


def side_by_side(rows, metric='img_auc'):
    "One row a category, in percent: a metric of every variant."
    table = {}
    for r in rows:
        row = table.setdefault(r['category'], {'category': r['category']})
        row[r['variant']] = percent(r[metric])
    return list(table.values())


# Ways to fewer numbers

def principal_components(X, d):
    "The d directions of largest variance of X [N, P, C], float32, over all images and positions: [C, d], orthonormal columns."
    x = X.flatten(0, 1)
    mean = x.mean(0, dtype=torch.float64)
    second = sum((few.double() - mean).T @ (few.double() - mean) for few in x.split(1 << 14))
    return torch.linalg.eigh(second)[1].flip(1)[:, :d].float()


def random_channels(c, d, seed):
    "PaDiM's choice of d of c channels, as a matrix [c, d]: columns of the identity."
    kept = np.random.default_rng(seed).permutation(c)[:d]
    return torch.eye(c)[:, np.sort(kept)]


def _measure_reduced(cat, settings, run):
    "A row for each way to keep `n_features` numbers of a vector."
    train, test = features(cat, [settings], run)
    truth = pixel_truth(cat, settings, pick_device(run.gpu_id))
    emb = embedding_of([settings], [m.shape[1:] for m in train], train[0].device)
    x = torch.cat(list(embed_all(emb, train, test).values()), -1)
    n, c, d = len(cat.train), x.shape[-1], settings.n_features
    ways = {
        'random directions': random_directions(c, d, settings.seed),
        'principal components': principal_components(x[:n], d),
        'random channels': random_channels(c, d, settings.seed)}
    rows = []
    for variant, axes in ways.items():
        d2 = fitted_distances(settings, x @ axes.to(x.device), n, emb.grid)
        rows.append(dict(category=cat.name, variant=variant, **_metrics(settings, d2, emb.grid, cat, truth)))
    return rows


def reduced_rows(cat, settings, run, folder):
    "The same detector with its vectors reduced in three ways: {category, variant, img_auc, pixel_auc, aupro}. Kept in `folder`."
    cat = _limited(cat, run)
    file = f'{cat.name}_{settings.backbone}_{settings.n_features}_{len(cat.train)}_reduced.json'
    return _rows(Path(folder)/file, study_key(cat, {'base': settings}, run), lambda: _measure_reduced(cat, settings, run))
