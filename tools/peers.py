"anomalib's PaDiM and PatchCore beside WE-PaDiM on one category: same weights, pictures and measures. `make peers`."
import hashlib, importlib.util, io, os, subprocess, sys, tempfile, time, warnings
from importlib.metadata import version
from pathlib import Path

import matplotlib
matplotlib.use('agg')
import matplotlib.pyplot as plt, numpy as np, pandas as pd, torch
from joblib import cpu_count
from matplotlib.ticker import FuncFormatter
from PIL import Image

import wepadim
from wepadim.backbone import IMAGENET, Backbone, find_weights, parameters
from wepadim.choosing import hold_out
from wepadim.flags import Parser, command
from wepadim.config import RunSettings, preset
from wepadim.errors import InputError, check_choice, load_if_same, read_json, say, write_atomic, write_json
from wepadim.data import batches, categories, category, detect_layout, elpv_root, fingerprint, limit, with_range
from wepadim.provenance import peak_rss, provenance
from wepadim.truth import pixel_truth
from wepadim.runs import run_lock
from wepadim.images import load_image
from wepadim.metrics import image_metrics, pixel_metrics
from wepadim.model import WEPaDiM
from wepadim.plots import figure
from wepadim.thresholds import good_quantile

ROOT = Path(__file__).resolve().parents[1]
BACKBONE, LAYERS, BATCH, RATE, CORESET = 'resnet18', ('layer1', 'layer2', 'layer3'), 16, .01, .1
VIEW = dict(input='whole', image_size=256)   # what every method sees
MEASURE = 1   # raised when something else is measured, so that no older result is used again
TITLES = {'recommended': 'WE-PaDiM recommended', 'recommended-own-view': 'WE-PaDiM recommended, own view',
          'published': 'WE-PaDiM published', 'published-own-view': 'WE-PaDiM published, own view',
          'padim': 'anomalib PaDiM', 'patchcore': 'anomalib PatchCore'}
HELD_OUT = 'patchcore-threshold'   # no method of its own: what PatchCore's threshold comes from
CHANGES = {'as they are': '', 'turned': 'up to 10 degrees', 'shifted': 'up to 5%', 'brightness': 'times 0.8 to 1.2'}
ROBUST = ('recommended', 'published', 'patchcore')
COLOURS = dict(zip(TITLES, ('#0072B2', '#56B4E9', '#D55E00', '#E69F00', '#009E73', '#000000')))
MARKERS = dict(zip(TITLES, 'oDsP^v'))


# --- what is compared

def methods()->dict:
    "{method: its settings}; a preset whose own view is another one comes with that view as well."
    found = {}
    for name in ('recommended', 'published'):
        own, shared = preset(name, BACKBONE), preset(name, BACKBONE, **VIEW)
        found[name] = shared
        if own != shared: found[f'{name}-own-view'] = own
    shared = preset('recommended', BACKBONE, **VIEW)   # of it, anomalib's models take the view and the seed
    return {**found, 'padim': shared, 'patchcore': shared, HELD_OUT: shared}


def of_anomalib(method): return method in ('padim', 'patchcore', HELD_OUT)


def chosen_category(data_path, name, seed):
    "The category that was asked for; the first one below WEPADIM_DATA, or solar cells."
    root = os.environ.get('WEPADIM_DATA')
    if data_path or not root: roots = [Path(data_path or elpv_root())]
    elif Path(root).is_dir(): roots = sorted(p for p in Path(root).iterdir() if p.is_dir())
    else: raise InputError(f'WEPADIM_DATA {root}: no such folder; set it to a folder of data sets')
    where = {}
    for r in roots:
        for n in categories(r, detect_layout(r)): where.setdefault(n, r)
    if not where: raise InputError(f'WEPADIM_DATA {root}: the folder holds no data set; name one with --data_path')
    name = check_choice(name, where, 'category') if name else next(iter(where))
    return category(where[name], name, seed=seed)


# --- the methods, each with fit, predict, n_bytes, threshold, value_range

class Ours:
    "A preset of WE-PaDiM."
    def __init__(self, method, settings, weights):
        self.settings, self.model = settings, WEPaDiM(settings, weights=weights)

    def fit(self, paths): self.model.fit(paths, BATCH)

    def predict(self, images):
        for p in self.model.stream(images, BATCH): yield p.scores, p.maps

    def n_bytes(self):
        with tempfile.TemporaryDirectory() as d:
            return sum(f.stat().st_size for f in self.model.save(Path(d)/'model').iterdir())

    @property
    def threshold(self): return self.model.threshold

    @property
    def value_range(self): return self.model.settings.value_range

    def about(self): return {}   # the settings say it all


class Anomalib:
    "A torch model of anomalib, without its trainer, fed with the pictures that WE-PaDiM decodes."
    threshold = None   # anomalib sets it with labelled defects

    def __init__(self, method, settings, weights):
        warnings.simplefilter('ignore')   # of packages that anomalib imports
        if method != 'padim': check_selection()
        torch.manual_seed(settings.seed)
        np.random.seed(settings.seed)   # PatchCore's random projection draws from it
        self.settings, self.value_range, self.selection = settings, None, None
        self.model = patchcore() if method != 'padim' else padim()
        self.backbone = Backbone(BACKBONE, weights)
        load_weights(self.model, self.backbone)

    def fit(self, paths):
        self.value_range = with_range(self.settings, paths).value_range
        self.check_features(paths[0])
        self.model.train()
        with torch.no_grad():
            for x in self.pictures(paths): self.model(normalised(x))
            self.finish()
        self.model.eval()

    def pictures(self, images):
        for _, x in batches(images, **view_of(self.settings), batch_size=BATCH, value_range=self.value_range): yield x

    @torch.no_grad()
    def predict(self, images):
        for x in self.pictures(images):
            out = self.model(normalised(x))
            yield out.pred_score.flatten().numpy(), out.anomaly_map[:, 0].numpy()

    def finish(self):
        if not hasattr(self.model, 'subsample_embedding'): return self.model.fit()
        with quick_selection() as self.selection: self.model.subsample_embedding(CORESET)

    def n_bytes(self):
        file = io.BytesIO()
        torch.save(self.model.state_dict(), file)
        return file.getbuffer().nbytes

    def about(self): return self.selection.about() if self.selection else {}

    @torch.no_grad()
    def check_features(self, path):
        "Does anomalib's network see what ours does?"
        self.model.train()   # as it is in fit: the network in it must not learn batch statistics
        x = next(self.pictures([path]))
        theirs, ours = self.model.feature_extractor(normalised(x)), dict(zip(self.backbone.layers, self.backbone(x)))
        for layer, there in theirs.items():
            off = float((there - ours[layer]).abs().max()/ours[layer].abs().max())
            if off > 1e-4: raise InputError(f"anomalib's {layer} is not WE-PaDiM's: off by {off:.2g} of its maximum")


def view_of(settings): return dict(input=settings.input, size=settings.image_size)


def normalised(x):
    "A batch of bytes as the network was trained to see them."
    mean, std = (torch.tensor(s)[:, None, None] for s in IMAGENET)
    return (x.float()/255 - mean)/std


def padim():
    from anomalib.models.image.padim.torch_model import PadimModel
    return PadimModel(BACKBONE, list(LAYERS), pre_trained=False)


def patchcore():
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel
    return PatchcoreModel(list(LAYERS[1:]), BACKBONE, pre_trained=False)


def load_weights(model, backbone):
    "Every parameter up to layer3, from the file that WE-PaDiM reads; one more or one less is an error."
    try: model.feature_extractor.feature_extractor.load_state_dict(parameters(BACKBONE, backbone.source), strict=True)
    except RuntimeError as e: raise InputError(f"anomalib's {BACKBONE} does not take these weights: {e}") from None


class quick_selection:
    """anomalib's greedy choice of the memory bank, with distances from a matrix product.

    The same rule, several times as fast on a CPU: as shipped, each of thousands of steps copies all embeddings.
    """
    def __enter__(self):
        from anomalib.models.components.sampling import k_center_greedy
        self.cls, self.shape, self.steps = k_center_greedy.KCenterGreedy, None, 0
        self.shipped = self.cls.update_distances
        self.cls.update_distances = lambda sampler, cluster_center: self.update(sampler, cluster_center)
        return self

    def __exit__(self, *_): self.cls.update_distances = self.shipped

    def update(self, sampler, cluster_center):
        if sampler.min_distances is None:
            self.shape, self.squares = tuple(sampler.features.shape), sampler.features.square().sum(1)
        self.steps += 1
        c = sampler.features[cluster_center].squeeze()
        d = torch.addmv(self.squares, sampler.features, c, alpha=-2).add_(c @ c).clamp_(min=0).sqrt_()[:, None]
        sampler.min_distances = d if sampler.min_distances is None else torch.minimum(sampler.min_distances, d, out=d)

    def about(self):
        "What the selection would take as shipped, from a few of its steps on numbers of the same shape."
        sampler = self.cls(torch.zeros(self.shape[0], 1), CORESET)
        sampler.features, times = torch.rand(self.shape), []
        for i in range(7):
            start = time.perf_counter()
            self.shipped(sampler, i)
            times.append(time.perf_counter() - start)
        as_shipped = float(np.median(times))*self.steps
        return dict(selection_steps=self.steps, selection_seconds_as_shipped=round(as_shipped, 1))


def check_selection():
    "Does the quick choice take the very vectors that the shipped one takes?"
    from anomalib.models.components.sampling.k_center_greedy import KCenterGreedy
    x = torch.rand(1000, 384)
    def taken():
        torch.manual_seed(0); np.random.seed(0)
        return KCenterGreedy(x, CORESET).select_coreset_idxs()
    shipped = taken()
    with quick_selection(): quick = taken()
    if quick != shipped: raise InputError("anomalib's coreset selection has changed: bring quick_selection up to date")


# --- what is measured

def joined(parts):
    "Scores and maps of all batches."
    scores, maps = zip(*parts)
    return np.concatenate(scores), np.concatenate(maps)


def measure(method, settings, cat, weights):
    "Fit, predict and measure one method; what it is worth and what it costs."
    peer = (Anomalib if of_anomalib(method) else Ours)(method, settings, weights)
    train, test, labels = [s.path for s in cat.train], [s.path for s in cat.test], [s.label for s in cat.test]
    clock = lambda: np.array([time.perf_counter(), time.process_time()])   # both: a busy machine shows in their ratio
    before, start = peak_rss(), clock()
    peer.fit(train)
    fitted = clock()
    scores, maps = joined(peer.predict(test))
    done, peak = clock(), peak_rss()   # before the measures, which need memory of their own
    (fit, fit_cpu), (predict, predict_cpu) = (fitted - start).round(2).tolist(), (done - fitted).round(2).tolist()
    metrics = image_metrics(labels, scores) | pixel_metrics(pixel_truth(cat, settings), maps)
    found = dict(fit_seconds=fit, fit_cpu_seconds=fit_cpu, predict_cpu_seconds=predict_cpu,
                 images_per_second=round(len(test)/max(predict, .01), 2), model_bytes=peer.n_bytes(),
                 peak_bytes=peak, peak_bytes_before_fit=before, threshold=peer.threshold)
    changes = {'as they are': scores.tolist()}
    if method in ROBUST: changes |= {how: changed_scores(peer, cat, how) for how, much in CHANGES.items() if much}
    return dict(**metrics, **found, **peer.about(), scores=changes, labels=labels)


def changed_scores(peer, cat, how):
    "Scores of the test images, each of them changed."
    rng, paths = np.random.default_rng(peer.settings.seed), [s.path for s in cat.test]
    images = (changed(load_image(p, peer.value_range), how, rng) for p in paths)
    return np.concatenate([scores for scores, _ in peer.predict(images)]).tolist()


def changed(image, how, rng):
    "A picture that is turned, shifted, or brighter or darker."
    if how == 'turned': return moved(image, rng.uniform(-10, 10), 0, 0)
    if how == 'shifted': return moved(image, 0, *rng.uniform(-.05, .05, 2))
    return (np.asarray(image)*rng.uniform(.8, 1.2)).round().clip(0, 255).astype(np.uint8)


def moved(image, angle, dx, dy):
    "A picture turned by degrees and shifted by parts of its size, its border repeated."
    x = np.asarray(image)
    h, w = x.shape[:2]
    p = int(.2*max(h, w))   # 10 degrees move a corner by 0.13 of the longer side
    wide = Image.fromarray(np.pad(x, [(p, p), (p, p), (0, 0)], mode='edge'))
    return np.asarray(wide.rotate(angle, Image.Resampling.BICUBIC, translate=(dx*w, dy*h)))[p:p + h, p:p + w]


def held_out_threshold(settings, cat, weights):
    "PatchCore's threshold: good images that its memory bank does not hold."
    peer, paths = Anomalib(HELD_OUT, settings, weights), [s.path for s in cat.train]
    held = set(hold_out(len(paths), settings.seed, most=len(paths)))
    peer.fit([p for i, p in enumerate(paths) if i not in held])
    scores, _ = joined(peer.predict([paths[i] for i in sorted(held)]))
    return dict(threshold=good_quantile(scores.astype(np.float64), RATE), held_out=len(held), scores=scores.tolist())


# --- results that are kept

def key_of(method, settings, cat, weights):
    "All that decides a method's result."
    packages = ['wepadim', 'torch', 'torchvision', 'numpy', 'pillow']
    if of_anomalib(method): packages += ['anomalib', 'timm', 'kornia']
    own = {} if of_anomalib(method) else dict(code=code_hash())
    coreset = CORESET if method in ('patchcore', HELD_OUT) else None
    return dict(measure=MEASURE, method=method, settings=settings.model_dump(mode='json'), seed=settings.seed,
                batch=BATCH, coreset=coreset, threads=cpu_count(),
                weights_sha256=sha256(weights), data_fingerprint=fingerprint(cat),
                versions={p: version(p) for p in packages}, **own)


def code_hash():
    "Of the library, whose version says little between releases."
    h = hashlib.sha256()
    for f in sorted(Path(wepadim.__file__).parent.glob('*.py')): h.update(f.read_bytes())
    return h.hexdigest()


def sha256(path): return hashlib.sha256(path.read_bytes()).hexdigest()


def part_file(folder, method): return folder/'methods'/f'{method}.json'


def kept(folder, method, key):
    "The result that is there for this key; None: there is none."
    old = load_if_same(part_file(folder, method), dict(key=key))
    return old['result'] if old else None


def run_one(method, settings, cat, weights, folder):
    "Measure a method in this process, and write what came out."
    torch.set_num_threads(cpu_count())
    run = held_out_threshold if method == HELD_OUT else lambda *a: measure(method, *a)
    result = run(settings, cat, weights)
    key = key_of(method, settings, cat, weights)
    write_json(part_file(folder, method), dict(key=key, result=result, provenance=provenance()))


def quiet():
    "anomalib's progress bars are for terminals."
    return {**os.environ, **({} if sys.stderr.isatty() else {'TQDM_DISABLE': '1'})}


def run_all(cat, weights, folder, argv):
    "Measure each method in a process of its own, so that its peak of memory is its own; what is there is used again."
    found, failed, todo = {}, [], methods()
    for i, (method, settings) in enumerate(todo.items(), 1):
        key, name = key_of(method, settings, cat, weights), TITLES.get(method, 'held-out fit for PatchCore')
        label = f'{i}/{len(todo)} {name}'
        old = kept(folder, method, key)
        say(f"{label}: {'used again' if old else 'running'}")
        start, code = time.perf_counter(), 0
        if not old: code = subprocess.run([sys.executable, __file__, *argv, '--only', method], env=quiet()).returncode
        if code in (2, 130, 143): sys.exit(code)   # the method's own process has said why
        found[method] = old or kept(folder, method, key)
        if code or not found[method]: failed.append(method)
        elif not old: say(f'{label}: done in {time.perf_counter() - start:.0f} s')
    return {m: r for m, r in found.items() if r}, failed


# --- tables

def peer_rows(found):
    "What each method is worth and what it costs."
    columns = ('img_auc', 'pixel_auc', 'aupro', 'fit_seconds', 'fit_cpu_seconds', 'images_per_second')
    settings = methods()
    def row(m, r):
        s = settings[m]
        return dict(method=TITLES[m], view=f'{s.input} {s.image_size}', **{c: r.get(c) for c in columns},
                    model_mib=round(r['model_bytes']/2**20, 1), peak_gib=round(r['peak_bytes']/2**30, 2),
                    reason=r.get('img_reason') or r.get('pixel_reason') or '')
    return [row(m, r) for m, r in found.items() if m != HELD_OUT]


def robust_rows(found):
    "Ranking and false alarms on changed test images, at the threshold that is shipped."
    rows = []
    for m in (m for m in ROBUST if m in found):
        threshold = found.get(HELD_OUT, {}).get('threshold') if m == 'patchcore' else found[m]['threshold']
        for how, scores in found[m]['scores'].items():
            labels = np.array(found[m]['labels'], bool)
            rows.append(dict(method=TITLES[m], change=how, **judged(labels, np.array(scores), threshold)))
    return rows


def judged(labels, scores, threshold):
    rate = lambda x: None if threshold is None or not len(x) else round(float((x >= threshold).mean()), 4)
    good, bad = scores[~labels], scores[labels]
    return dict(img_auc=image_metrics(labels, scores)['img_auc'], false_alarms=rate(good), detected=rate(bad),
                threshold=threshold, good=len(good), defective=len(bad))


def in_percent(rows):
    "For the terminal."
    t = pd.DataFrame(rows)
    for c in ('img_auc', 'pixel_auc', 'aupro', 'false_alarms', 'detected'):
        if c in t: t[c] = ['-' if pd.isna(x) else f'{100*x:.2f}' for x in t[c]]
    if 'threshold' in t: t['threshold'] = ['-' if pd.isna(x) else f'{x:.4g}' for x in t['threshold']]
    return t.to_string(index=False)


def captions(cat, found):
    "What the tables do not say themselves."
    held, n, m = found.get(HELD_OUT, {}), len(cat.train), len(cat.test)
    lines = [f'{cat.name}: {n} training, {m} test images; {BACKBONE}, one weights file; {cpu_count()} threads',
             'every method sees the whole image at 256 x 256, decoded by the same code; "own view": the preset\'s',
             f'fit and images/s are from files, decoding included, at batch {BATCH}; each method in its own process',
             'peak memory is that of the whole process, libraries included, until the last test image is scored',
             "WE-PaDiM's fit includes its thresholds; the models of anomalib have none from good images alone",
             'PaDiM: 100 channels of layer1 to layer3; PatchCore: layer2 and layer3, coreset 10%, 9 neighbours']
    if shipped := found.get('patchcore', {}).get('selection_seconds_as_shipped'):
        lines.append("PatchCore's coreset is chosen by a faster product here, in the same way; "
                     f'as shipped, that alone would take about {shipped:.0f} s and one copy more in memory')
    if held:
        lines.append("PatchCore's threshold: 99% quantile of "
                     f"{held['held_out']} good training images, a fifth, scored by a memory bank without them")
    changes = ', '.join(f'{k} {v}' for k, v in CHANGES.items() if v)
    return lines + [f'changes, drawn for each test image: {changes}']


# --- pictures

def draw_peers(rows, title):
    "Quality against cost, a column each cost."
    costs = {'fit_seconds': 'fit, seconds', 'images_per_second': 'predict, images a second',
             'model_mib': 'saved model, MiB', 'peak_gib': 'peak memory, GiB'}
    worth = {'img_auc': 'image AUROC, %', 'pixel_auc': 'pixel AUROC, %', 'aupro': 'AUPRO, %'}
    worth = {k: v for k, v in worth.items() if any(r[k] is not None for r in rows)}
    fig, axs = figure(max(1, len(worth)), len(costs), (2.9, 2.5))
    for line, (y, ylabel) in zip(axs, worth.items()):
        for ax, (x, xlabel) in zip(line, costs.items()): dots(ax, rows, x, y, xlabel, ylabel)
    handles, labels = axs[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc='outside lower center', ncols=3, frameon=False)
    fig.suptitle(title, fontsize=9)
    return fig


def dots(ax, rows, x, y, xlabel, ylabel):
    names = {t: m for m, t in TITLES.items()}
    for r in (r for r in rows if r[y] is not None):
        m = names[r['method']]
        ax.scatter(r[x], 100*r[y], s=55, c=COLOURS[m], marker=MARKERS[m], label=r['method'], alpha=.85, edgecolors='w')
    ax.set_xscale('log')
    for axis in (ax.xaxis.set_major_formatter, ax.xaxis.set_minor_formatter): axis(FuncFormatter(few_ticks))
    low = min(100*r[y] for r in rows if r[y] is not None)
    room = max(.5, (100 - low)*.1)   # none above 100%, but half a point
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=(low - room, 100 + room))
    ax.grid(alpha=.25)


def few_ticks(v, _):
    "1, 2 and 5 of each power of ten; more would overlap."
    return f'{v:g}' if f'{v:e}'[0] in '125' else ''


def draw_robust(rows, title):
    "Bars for each change, a colour each method."
    panels = {'img_auc': 'image AUROC, %', 'false_alarms': 'false alarms, %', 'detected': 'defects found, %'}
    fig, axs = figure(1, len(panels), (4, 3))
    names, ways = {t: m for m, t in TITLES.items()}, list(CHANGES)
    shown = list(dict.fromkeys(r['method'] for r in rows))
    for ax, (y, label) in zip(axs[0], panels.items()):
        for i, t in enumerate(shown):
            values = {r['change']: r[y] for r in rows if r['method'] == t and r[y] is not None}
            at = [ways.index(c) + (i - (len(shown) - 1)/2)*.27 for c in values]
            bars = ax.bar(at, [100*v for v in values.values()], .25, color=COLOURS[names[t]], label=t)
            ax.bar_label(bars, fmt='%.0f', fontsize=7, padding=1)
        ax.set(xticks=range(len(ways)), xticklabels=ways, title=label, ylim=(0, 108))
    axs[0, 1].axhline(100*RATE, c='k', lw=1, ls=':')
    fig.legend(*axs[0, 0].get_legend_handles_labels(), loc='outside lower center', ncols=3, frameon=False)
    fig.suptitle(title, fontsize=9)
    return fig


def write_picture(fig, path):
    png = io.BytesIO()
    fig.savefig(png, format='png', dpi=110)
    plt.close(fig)
    write_atomic(path, png.getvalue())


# --- the command

def report(cat, weights, folder, found):
    "Tables and pictures of what was measured."
    rows, robust, about = peer_rows(found), robust_rows(found), captions(cat, found)
    for name, table in (('peers', rows), ('robustness', robust)):
        write_atomic(folder/f'{name}.csv', pd.DataFrame(table).to_csv(index=False))
    keys = {m: read_json(part_file(folder, m))['key'] for m in found}
    head = dict(category=cat.name, layout=cat.layout, n_train=len(cat.train), n_test=len(cat.test),
                seed=preset('recommended').seed, weights_sha256=sha256(weights), data_fingerprint=fingerprint(cat),
                anomalib=next((k['versions']['anomalib'] for m, k in keys.items() if of_anomalib(m)), None))
    write_json(folder/'peers.json', dict(**head, about=about, rows=rows, robustness=robust, methods=keys,
                                         threshold_of_patchcore=found.get(HELD_OUT), **provenance()))
    title = f'{cat.name}: {len(cat.train)} training, {len(cat.test)} test images, {BACKBONE}, {cpu_count()} threads'
    write_picture(draw_peers(rows, title), folder/'peers.png')
    if robust: write_picture(draw_robust(robust, f'{title}; dotted: the stated false alarms'), folder/'robustness.png')
    tables = [in_percent(t) for t in (rows, robust) if t]
    print(*tables, '\n'.join(about), f'written to {folder}', sep='\n\n')


def parse(argv):
    p = Parser(prog='peers', description=__doc__, allow_abbrev=False)
    p.add_argument('--data_path', help='root of a data set (default: below WEPADIM_DATA, otherwise solar cells)')
    p.add_argument('--category', help='its name (default: the first)')
    p.add_argument('--weights', help=f'a weights file of {BACKBONE}, or its folder (default: WEPADIM_WEIGHTS)')
    p.add_argument('--limit', nargs='+', metavar='N', help='use only N training and N test images; or N and M (default: all)')
    p.add_argument('--save_path', default=str(ROOT/'results'/'peers'), help='for results (default: results/peers)')
    p.add_argument('--only', metavar='METHOD', help=f"measure one method in this process: {', '.join(methods())}")
    return p.parse_args(argv)


@command
def peers(argv=None):
    "The command."
    args, seed = parse(argv), preset('recommended').seed
    if args.only: check_choice(args.only, methods(), 'method')
    if (not args.only or of_anomalib(args.only)) and importlib.util.find_spec('anomalib') is None:
        raise InputError('anomalib is not installed here: run `make peers`, whose environment has it')
    train, test = RunSettings(limit=args.limit).limit or (None, None)   # which checks the numbers
    cat = limit(chosen_category(args.data_path, args.category, seed), train, test)
    weights = find_weights(BACKBONE, args.weights)
    folder = Path(args.save_path)/''.join(c if c.isalnum() or c in '._-' else '_' for c in cat.name)
    if args.only: return run_one(args.only, methods()[args.only], cat, weights, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with run_lock(folder): found, failed = run_all(cat, weights, folder, sys.argv[1:] if argv is None else argv)
    if set(found) - {HELD_OUT}: report(cat, weights, folder, found)
    if failed: sys.exit(f"peers: failed: {', '.join(failed)}; what is finished is kept: run it again to go on")


if __name__ == '__main__': peers()
