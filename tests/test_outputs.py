"Outputs that are committed are those of their code."
import base64, io, sys
from pathlib import Path

import nbformat, numpy as np, pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'tools'))
import outputs


def written(path, *sources, tags=()):
    cells = [new_code_cell(s, id=f'c{i}') for i, s in enumerate(sources)]
    nbformat.write(new_notebook(cells=[new_markdown_cell('# A page', id='title'), *cells]), path)
    return path


def printed(text, name='stdout'): return new_output('stream', name=name, text=text)


def ran(path, *texts):
    "An executed copy, as papermill leaves it."
    nb = nbformat.read(path, 4)
    code = [c for c in nb.cells if c.cell_type == 'code']
    for c, t in zip(code, texts): c.outputs = [printed(t)] if t else []
    injected = new_code_cell('n = 3', id='new', metadata={'tags': ['injected-parameters']})
    nb.cells.insert(2, injected)
    copy = path.with_name('executed.ipynb')
    nbformat.write(nb, copy)
    return copy


def wrong(path): return outputs.unstamped(nbformat.read(path, 4))


def changed(path, i, **fields):
    nb = nbformat.read(path, 4)
    nb.cells[i].update(fields)
    nbformat.write(nb, path)
    return wrong(path)


def test_a_run_is_stamped_and_any_change_named(tmp_path):
    path = written(tmp_path/'a.ipynb', 'n = 1', 'print(n + 1)', '#| hide\nprint("unseen")', '#| eval: false\nraise SystemExit', 'print(n + 1)')
    outputs.finish(outputs.execute(path), path)
    nb = nbformat.read(path, 4)
    assert [bool(c.outputs) for c in nb.cells[1:]] == [False, True, False, False, True]
    assert [c.source for c in nb.cells[4:5]] == ['#| eval: false\nraise SystemExit'] and nb.cells[2].outputs[0].text == '2\n'
    assert [('ran' in c.metadata) for c in nb.cells[1:]] == [False, True, False, False, True] and not wrong(path)
    same, other = path.read_text(), nb.cells[5]
    assert changed(path, 2, source='print(n + 2)') == ['c1 (code or outputs changed since it ran): print(n + 2)']
    path.write_text(same)
    assert changed(path, 2, outputs=[printed('3\n')])[0].startswith('c1 (code or outputs changed')
    path.write_text(same)
    assert changed(path, 2, metadata={})[0].startswith('c1 (outputs of unknown origin)')
    path.write_text(same)
    assert changed(path, 2, outputs=other.outputs, metadata=other.metadata)[0].startswith('c1')   # another cell's, of the same source


def test_the_kernel_is_this_interpreter_in_the_folder_of_the_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv('JUPYTER_PATH', str(tmp_path))   # the user's own kernel of that name is not asked
    (tmp_path/'kernels'/'python3').mkdir(parents=True)
    (tmp_path/'kernels'/'python3'/'kernel.json').write_text('{"argv": ["false"], "display_name": "x", "language": "python"}')
    path = written(tmp_path/'a.ipynb', 'import os, sys, wepadim\nprint(sys.executable, os.getcwd(), wepadim.__file__, sep="\\n")')
    exe, cwd, library = outputs.execute(path).cells[1].outputs[0].text.split()
    assert (exe, cwd, Path(library).parents[1]) == (sys.executable, str(tmp_path), outputs.ROOT)


def test_outputs_are_taken_cell_by_cell(tmp_path):
    path = written(tmp_path/'a.ipynb', 'n = 1', 'print(n)', 'n += 1', 'print(n)')
    outputs.finish(outputs.taken(path, ran(path, '', '3\n', '', '4\n')), path)
    nb = nbformat.read(path, 4)
    assert [c.source for c in nb.cells] == ['# A page', 'n = 1', 'print(n)', 'n += 1', 'print(n)']
    assert [o.text for c in nb.cells[1:] for o in c.outputs] == ['3\n', '4\n'] and not wrong(path)


def test_outputs_of_other_code_are_refused(tmp_path):
    path = written(tmp_path/'a.ipynb', 'n = 1', 'print(n)')
    copy = ran(path, '', '3\n')
    changed(path, 2, source='print(n + 1)')
    with pytest.raises(SystemExit, match=r'other code.*\n  c1: print\(n \+ 1\)'): outputs.taken(path, copy)
    written(path, 'n = 1', 'print(n)', 'n')
    with pytest.raises(SystemExit, match='has 2 code cells, .* 3'): outputs.taken(path, copy)


def test_a_run_that_stopped_is_refused(tmp_path):
    path = written(tmp_path/'a.ipynb', 'n = 1', 'print(n)')
    for how in (dict(outputs=[new_output('error', ename='E', evalue='', traceback=[])]), dict(metadata={'papermill': {'status': 'pending'}})):
        copy = ran(path, '', '3\n')
        changed(copy, 3, **how)
        with pytest.raises(SystemExit, match='did not run to its end'): outputs.taken(path, copy)


def test_alt_texts_may_change(tmp_path):
    path = written(tmp_path/'a.ipynb', '#| fig-alt: "one"\nprint(1)')
    copy = ran(path, '1\n')
    changed(path, 1, source='#| fig-alt: "two"\nprint(1)')
    outputs.finish(outputs.taken(path, copy), path)
    assert changed(path, 1, source='print(1)') == []


def test_folders_of_this_machine_are_not_shown(tmp_path):
    path = written(tmp_path/'a.ipynb', 'print(1)')
    there = f"{outputs.ROOT/'results'/'x'} {Path(np.__file__).parent/'a.py'}"
    outputs.finish(outputs.taken(path, ran(path, there)), path)
    [out] = nbformat.read(path, 4).cells[1].outputs
    assert out.text == f"{Path('results/x')} {Path('.../numpy/a.py')}" and not wrong(path)


def test_bars_and_noise_are_not_kept():
    quiet = lambda text, name='stderr': ''.join(o.text for o in outputs.quiet([printed(text, name)]))
    assert quiet('\rfit:   0%|          | 0/9 [00:00<?, ?image/s]\rfit: 100%|##########| 9/9 [00:01<00:00, 9.00image/s]\n') == ''
    assert quiet('a: 3it [00:00, 9.1it/s]\rwarning: no GPU was found\n') == 'warning: no GPU was found\n'
    assert quiet('/x/tqdm/auto.py:21: TqdmWarning: IProgress not found.\n  from .autonotebook import tqdm\n') == ''
    assert quiet('9%|10%\r\n', 'stdout') == '9%|10%\r\n'
    bar = new_output('display_data', {'application/vnd.jupyter.widget-view+json': {}, 'text/plain': '  0%|          | 0/9 [00:00<?, ?it/s]'})
    slider = new_output('display_data', {'application/vnd.jupyter.widget-view+json': {}, 'text/plain': 'interactive()'})
    assert outputs.quiet([bar, slider]) == [slider]


def test_pictures_lose_no_more_than_the_limit_asks():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    noise.convert('RGBA').save(out := io.BytesIO(), 'png', compress_level=0)
    picture = lambda: new_notebook(cells=[new_code_cell(id='p', outputs=[new_output('display_data', {'image/png': base64.b64encode(out.getvalue()).decode()})])])
    of = lambda nb: Image.open(io.BytesIO(base64.b64decode(nb.cells[0].outputs[0].data['image/png']))).convert('RGB')
    nb = picture()
    before = len(nbformat.writes(nb))
    whole = outputs.fit(nb)
    assert whole < before and of(nb).tobytes() == noise.tobytes()
    some = outputs.fit(nb, whole - 1)
    assert some < whole and 200 < len(of(nb).getcolors()) <= 256
    assert outputs.fit(nb, some - 1) < some and 64 < len(of(nb).getcolors()) <= 128
    outputs.fit(nb, 0)
    assert 64 < len(of(nb).getcolors())   # with fewer, heat maps have steps: a smaller figure is needed


def test_paths_of_temporary_folders_are_not_shown():
    import tempfile
    with tempfile.TemporaryDirectory() as d: shown = {'text/plain': f'results in {d}/results', 'image/png': d}
    assert outputs.placed(shown) == {'text/plain': 'results in results', 'image/png': shown['image/png']}
    assert outputs.placed('/elsewhere/tmp/x') == '/elsewhere/tmp/x'
