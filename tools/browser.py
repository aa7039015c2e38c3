"""Look at the pages of the site as a reader does: pandoc makes them, Chromium measures them on a phone and on a desk.

It stands in for Quarto, which no package registry ships: the same Markdown, the same structure, our styles.css over plain rules like Quarto's.
"""
import base64, http.server, json, os, re, shutil, subprocess, tempfile, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WIDTHS = 400, 1400 # pixels: a phone, a desk
PICTURE = 744 # pixels: a wider picture is shrunk, and its text with it
PATIENCE = 120 # seconds for all pages
CONTRAST = 4.5 # of text that is read (WCAG 2.1, AA)
NAMES = 'chromium', 'chromium-browser', 'google-chrome', 'chrome'
RULES = '''
body { margin: 0; font: 17px/1.5 system-ui, sans-serif; color: #373a3c }
body.quarto-dark { background: #222; color: #fff }
main { max-width: 744px; margin: 0 auto; padding: 0 12px }
p code:not(.sourceCode), li code:not(.sourceCode), td code:not(.sourceCode) { background-color: #f8f9fa }
code { font: .875em monospace }
pre { padding: .4em; font-size: .875em; overflow: auto }
td, th { padding: .25em }
img { max-width: 100% }
'''
PAGE = '<!doctype html><html lang="en"><head><meta charset="utf-8"><style>{}</style><link rel="stylesheet" href="/styles.css"></head><body class="quarto-light"><main>{}</main></body></html>'


def tools():
    "(pandoc, chromium): their paths; None where they are not installed."
    return shutil.which('pandoc'), next(filter(None, map(shutil.which, NAMES)), None)


def options(cell):
    "The `#|` lines at the top of a cell; those further down are code."
    top = re.match(r'(#\|[^\n]*\n?)*', cell.source)[0]
    return dict(re.findall(r'^#\|\s*([\w-]+):\s*"?(.*?)"?\s*$', top, re.M)), cell.source[len(top):]


def fenced(kind, text): return f'``````{kind}\n{text.rstrip()}\n``````\n'


def output_text(output, alt, save):
    "One output as Markdown. `save` writes a picture and returns its name."
    if 'text' in output: return f'::: {{.cell-output}}\n{fenced("", output.text)}:::\n'
    data = output.get('data', {})
    if 'image/png' in data: return f'![]({save(data["image/png"])}){{.img-fluid alt="{alt}"}}\n'
    if 'text/markdown' in data: return f'::: {{.cell-output}}\n\n{"".join(data["text/markdown"])}\n\n:::\n'
    return f'::: {{.cell-output}}\n{fenced("", data.get("text/plain", ""))}:::\n'


def cell_text(cell, save):
    "One cell as Markdown, in the structure that Quarto gives it."
    if cell.cell_type == 'raw': return ''
    if cell.cell_type == 'markdown': return cell.source
    chosen, code = options(cell)
    parts, alt = ['::: {.cell}'], chosen.get('fig-alt', '').replace('"', "'")
    if chosen.get('echo') != 'false' and code.strip():
        shown = fenced('{.python .sourceCode}', code)
        parts.append(f'<details><summary>{chosen.get("code-summary", "Code")}</summary>\n\n{shown}\n</details>' if 'code-fold' in chosen else shown)
    parts += [output_text(o, alt, save) for o in cell.get('outputs', [])]
    return '\n'.join([*parts, ':::'])


def write_page(
    source, # A page that nbdev and tools/pages.py have prepared
    target, # An .html file; pictures are written beside it
    pandoc, # Its path
):
    "The page in HTML."
    import nbformat
    nb = nbformat.read(source, 4)
    target.parent.mkdir(parents=True, exist_ok=True)
    def save(picture):
        name = f'{target.stem}-{len(list(target.parent.glob(target.stem + "-*.png")))}.png'
        (target.parent/name).write_bytes(base64.b64decode(picture))
        return name
    title = re.search(r'^title: (.*)$', nb.cells[0].source, re.M)
    text = f'# {title[1] if title else ""}\n\n' + '\n\n'.join(cell_text(c, save) for c in nb.cells)
    command = [pandoc, '-f', 'markdown-implicit_figures', '-t', 'html5', '--mathml', '--no-highlight', '--wrap=none']
    html = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    target.write_text(PAGE.format(RULES, html), encoding='utf-8')


# Each page is loaded once and measured at every width. What may scroll inside its box: tables and formulas.
MEASURE = '''
const scrolls = 'table, math, span.math'
function light(colour) {
  const part = v => v <= .03928 ? v/12.92 : ((v + .055)/1.055)**2.4
  const [r, g, b] = colour.match(/[\\d.]+/g).map(v => part(v/255))
  return .2126*r + .7152*g + .0722*b
}
function ground(e) {
  const c = getComputedStyle(e).backgroundColor
  return !e.parentElement || !/^rgba.*, 0\\)$/.test(c) ? (/^rgba.*, 0\\)$/.test(c) ? 'rgb(255, 255, 255)' : c) : ground(e.parentElement)
}
function contrast(e) {
  const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x)
  return (a + .05)/(b + .05)
}
function short(e) { return (e.textContent || e.outerHTML).trim().replace(/\\s+/g, ' ').slice(0, 50) }
function layout(doc, width) {
  const found = [], over = doc.documentElement.scrollWidth - width
  if (over > 0) {
    const wide = [...doc.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > width + 1 && !e.parentElement.closest(scrolls))
    found.push(`${over} px wider than a window of ${width}: ${wide.length ? short(wide[wide.length - 1]) : ''}`)
  }
  for (const e of doc.querySelectorAll('main pre, main pre code, main p, main li, main h1, main h2, main h3, main summary')) {
    if (e.closest('details:not([open])') && !e.matches('summary')) continue
    if (!e.closest(scrolls) && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display != 'inline') found.push(`cut off at ${width} px: ${short(e)}`)
  }
  return found
}
function content(doc) {
  const found = []
  for (const e of doc.images) {
    const name = e.getAttribute('src') || ''
    if (!e.alt.trim()) found.push(`a picture without alt text: ${name}`)
    if (e.naturalWidth > PICTURE && !/(^|\\/)images\\//.test(name)) found.push(`${name} has ${e.naturalWidth} pixels; more than ${PICTURE} make its text small`)
  }
  for (const e of doc.querySelectorAll('main p, main li, main td')) {
    const words = e.cloneNode(true)
    for (const code of words.querySelectorAll('code, math')) code.remove()
    if (words.textContent.includes('](')) found.push(`a link that is none: ${short(e)}`)
  }
  if (doc.querySelectorAll('main h1').length > 1) found.push(`two titles: ${short(doc.querySelectorAll('main h1')[1])}`)
  const first = doc.querySelector('main > h1 ~ *')
  if (!first || first.tagName != 'P' || first.textContent.length < 60) found.push(`no introduction; it begins with: ${first ? short(first) : 'nothing'}`)
  for (const theme of ['quarto-light', 'quarto-dark']) {
    doc.body.className = theme
    const faint = [...doc.querySelectorAll('p code, li code, td code, th code, summary code')].filter(e => contrast(e) < LEAST)
    if (faint.length) found.push(`code of contrast ${contrast(faint[0]).toFixed(1)} in ${theme}: ${short(faint[0])}`)
  }
  doc.body.className = 'quarto-light'
  return found
}
async function measure(page) {
  const frame = document.createElement('iframe')
  frame.style = `width: ${Math.max(...WIDTHS)}px; height: 900px; border: 0`
  const loaded = new Promise(done => frame.onload = done)
  frame.src = page
  document.body.append(frame)
  await loaded
  const doc = frame.contentDocument, found = content(doc)
  for (const details of doc.querySelectorAll('details')) details.open = true
  for (const width of WIDTHS) {
    frame.style.width = width + 'px'
    found.push(...layout(doc, width))
  }
  frame.remove()
  return found.map(f => `${page.slice(1)}: ${f}`)
}
async function main() {
  const found = []
  for (const page of PAGES) found.push(...await measure(page))
  await fetch('/found', {method: 'POST', body: JSON.stringify(found)})
}
main()
'''


def harness(pages):
    "The page that measures all others."
    given = f'const PAGES = {json.dumps(pages)}, WIDTHS = {json.dumps(WIDTHS)}, LEAST = {CONTRAST}, PICTURE = {PICTURE}'
    return f'<!doctype html><meta charset="utf-8"><body style="width: 1500px"></body><script>{given}\n{MEASURE}</script>'


def serve(folder):
    "A server of a folder on this machine, and an event with `.found` once the harness has reported."
    reported = threading.Event()
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args): super().__init__(*args, directory=str(folder))
        def log_message(self, *args): 'Says nothing.'
        def do_POST(self):
            reported.found = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
            self.send_response(204)
            self.end_headers()
            reported.set()
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, reported


def browse(folder, pages, chromium):
    "What is wrong with the HTML pages of a folder."
    (folder/'harness.html').write_text(harness(pages), encoding='utf-8')
    server, reported = serve(folder)
    root = ['--no-sandbox'] if hasattr(os, 'geteuid') and os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ['--headless', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', f'--user-data-dir={profile}', '--remote-debugging-port=0', *root]
        address = f'http://127.0.0.1:{server.server_port}/harness.html'
        browser = subprocess.Popen([chromium, *flags, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try: there = reported.wait(PATIENCE)
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
    return reported.found if there else [f'{Path(chromium).name} did not report within {PATIENCE} s']


def faults(
    site, # The folder of pages that nbdev and tools/pages.py have prepared
    pandoc, # Its path
    chromium, # Its path
): # Lines, one a fault
    "Every page at every width."
    sources = sorted(p.relative_to(site) for p in site.rglob('*.ipynb'))
    with tempfile.TemporaryDirectory() as d:
        folder = Path(d)
        shutil.copy(site/'styles.css', folder)
        shutil.copytree(site/'images', folder/'images')
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda s: write_page(site/s, folder/s.with_suffix('.html'), pandoc), sources))
        return browse(folder, [f'/{s.with_suffix(".html")}' for s in sources], chromium)
