"Draw nbs/images/front.png: a part with a scratch, and where a detector that saw only good parts finds it. Run it after a change of the detector."
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from wepadim.model import WEPaDiM
from wepadim.plots import BAD, HEAT, figure

SIZE = 384 # pixels a side
HOLES = 6 # bolt holes on the ring
Y, X = np.mgrid[:SIZE, :SIZE]/SIZE - .5


def ring(random, scratch=False):
    "A turned metal ring as a camera sees it: no two are quite alike. [SIZE, SIZE, 3], uint8."
    y, x = (v + random.normal(0, .002) for v in (Y, X))
    radius, angle = np.hypot(y, x), np.arctan2(y, x) + random.normal(0, .01)
    grooves = .04*np.sin(radius*320 + random.uniform(0, 6)) + random.normal(0, .03, radius.shape)
    shine = .12*np.cos(2*angle - .8) + random.normal(0, .01)
    metal = .62 + shine + gaussian_filter(grooves, .7)
    for k in range(HOLES):
        turn = 2*np.pi*k/HOLES
        metal[np.hypot(y - .31*np.sin(turn), x - .31*np.cos(turn)) < .035] = .16
    if scratch:
        along, across = .8*x + .6*y, -.6*x + .8*y + .02*np.sin(30*x)
        depth = np.exp(-((across - .235)/.006)**2)*(abs(along - .06) < .085)
        metal = metal - .3*depth + .14*np.roll(depth, 3, 0)
    part = np.where((radius < .44) & (radius > .17), metal, .1 + .05*gaussian_filter(random.normal(0, 1, radius.shape), 8))
    grey = gaussian_filter(part, .8).clip(0, 1)*255
    return np.stack([grey*c for c in (1, .99, .96)], -1).astype(np.uint8)


def main():
    random = np.random.default_rng(0)
    good, bad = [ring(random) for _ in range(80)], ring(random, scratch=True)
    model = WEPaDiM(backbone='efficientnet-lite0').fit(good)
    new = [ring(random), bad]
    found = model.predict(new)
    print(f'scores: a good one {found.scores[0]:.1f}, the scratched one {found.scores[1]:.1f}; threshold {model.threshold:.1f}')
    if list(found.labels) != [False, True]: raise SystemExit('the detector does not tell them apart: no picture')
    fig, axs = figure(1, 3, (3, 3.2), pictures=True)
    defect = np.asarray(Image.fromarray(found.defects[1]).resize((SIZE, SIZE)))
    axs[0, 0].imshow(new[0])
    axs[0, 1].imshow(new[1])
    axs[0, 1].contour(defect, [.5], colors=BAD, linewidths=2)
    axs[0, 2].imshow(found.maps[1], cmap=HEAT, vmin=model.scale[0], vmax=model.scale[1])
    for ax, title in zip(axs[0], ('a good part', 'a part with a scratch, outlined', 'its heat map')): ax.set_title(title, fontsize=11)
    path = Path(__file__).resolve().parents[1]/'nbs'/'images'/'front.png'
    fig.savefig(path, dpi=100)
    print(f'{path}: {path.stat().st_size/1000:.0f} kB')


if __name__ == '__main__': main()
