"Draw nbs/images/method.svg, the method in one picture, readable on light and on dark pages. `make readme`."
from pathlib import Path

import numpy as np

STYLE = '''<style>
text { font: 14px system-ui, sans-serif; fill: #24292f } .small { font-size: 11.5px; fill: #57606a } .line { stroke: #57606a; stroke-width: 1.5; fill: none } .box { stroke: #57606a; fill: #f6f8fa }
.page { fill: #ffffff } .blue { fill: #0072B2 } .orange { fill: #D55E00 } .bluely { stroke: #0072B2; fill: none } .orangely { stroke: #D55E00; fill: none }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9da7b3 } .line { stroke: #9da7b3 } .box { stroke: #9da7b3; fill: #21262d }
.page { fill: #0d1117 } .blue { fill: #56B4E9 } .bluely { stroke: #56B4E9 } .orange { fill: #E69F00 } .orangely { stroke: #E69F00 } }
</style>'''   # a ground of its own: a site has a dark theme of its own, which a picture cannot see
BLUE, ORANGE = 'blue', 'orange'


def text(x, y, s, cls=''): return f'<text x="{x}" y="{y}" text-anchor="middle"{f" class={chr(34)}{cls}{chr(34)}" if cls else ""}>{s}</text>'
def rect(x, y, w, h, fill=None, opacity=1.): return f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" ' + (f'class="{fill}" fill-opacity="{opacity:.2f}"/>' if fill else 'class="box"/>')
def arrow(x): return f'<path class="line" d="M{x} 110h24m-7 -5l7 5l-7 5"/>'


def cells(x, y, side, values, colour):
    "A grid of cells, the stronger the fuller."
    n = len(values)
    return ''.join(rect(x + j*side/n, y + i*side/n, side/n - .6, side/n - .6, colour, v) for i, row in enumerate(values) for j, v in enumerate(row) if v > .02)


def crack(n, wide=.05):
    "A diagonal crack on n x n cells, 0 to 1."
    y, x = np.mgrid[:n, :n]/(n - 1)
    return np.exp(-((x + .6*y - .84)/(wide + .35/n))**2)*((y > .1) & (y < .95))


def picture():
    out, col = [], [70, 222, 374, 526, 678, 830]
    out += [rect(col[0] - 45, 65, 90, 90), f'<path d="M{col[0] + 22} 80L{col[0] + 5} 108L{col[0] + 12} 114L{col[0] - 18} 146" class="{ORANGE}ly" stroke-width="2.5"/>']
    for k, n in enumerate((16, 8, 4)): out += [rect(col[1] - 50 + 14*k, 62 + 14*k, 72, 72), cells(col[1] - 50 + 14*k, 62 + 14*k, 72, crack(n), BLUE)]
    for (i, j), (name, kind) in zip(((0, 0), (0, 1), (1, 0), (1, 1)), (('LL', 1.), ('HL', .7), ('LH', .4), ('HH', .25))):
        out += [rect(col[2] - 46 + 47*j, 64 + 47*i, 45, 45), cells(col[2] - 46 + 47*j, 64 + 47*i, 45, kind*crack(6), BLUE), text(col[2] - 33 + 47*j, 79 + 47*i, name, 'small')]
    out += [rect(col[3] - 45, 65, 90, 90), cells(col[3] - 45, 65, 90, crack(8), BLUE), f'<path class="line" d="M{col[3] + 12} 98l14 -44"/>', text(col[3] + 26, 48, 'C numbers a cell', 'small')]
    bell = ' '.join(f'{col[4] - 44 + 88*t:.1f},{150 - 74*np.exp(-((t - .4)/.15)**2):.1f}' for t in np.linspace(0, 1, 45))
    out += [rect(col[4] - 45, 65, 90, 90), f'<polyline points="{bell}" class="{BLUE}ly" stroke-width="2"/>', f'<path d="M{col[4] + 33} 148v-26" class="{ORANGE}ly" stroke-width="2.5"/>', f'<circle cx="{col[4] + 33}" cy="118" r="4" class="{ORANGE}"/>']
    out += [rect(col[5] - 45, 65, 90, 90), cells(col[5] - 45, 65, 90, crack(24, .12), ORANGE)]
    titles = ('image', 'feature maps', 'wavelet sub-bands', 'one grid', 'a Gaussian a cell', 'anomaly map')
    notes = (('of a part',), ('of a frozen', 'ImageNet network'), ('kept: some or all',), ('all taps and bands', 'side by side'), ('from good parts; how far', 'away is this one?'), ('enlarged, smoothed;', 'its maximum is the score'))
    for x, t, ns in zip(col, titles, notes): out += [text(x, 30, t)] + [text(x, 176 + 15*i, n, 'small') for i, n in enumerate(ns)]
    out += [arrow(x + 64) for x in col[:-1]]
    alt = 'An image goes through a frozen network; its feature maps are split into wavelet sub-bands, brought to one grid, compared with a Gaussian of good parts at each cell, and enlarged to an anomaly map'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 205" role="img" aria-label="{alt}">{STYLE}<rect class="page" width="920" height="205" rx="8"/>{"".join(out)}</svg>\n'


if __name__ == '__main__':
    path = Path(__file__).resolve().parents[1]/'nbs'/'images'/'method.svg'
    path.write_text(picture())
    print(f'{path}: {path.stat().st_size/1000:.0f} kB')
