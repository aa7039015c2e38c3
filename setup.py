"Package metadata: everything is read from settings.ini, so that nbdev and pip agree."
import shlex
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
ini = ConfigParser(delimiters=['='])
ini.read(here/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']
demo, dev, cluster, onnx, openvino = (
    shlex.split(cfg[f'{extra}_requirements']) for extra in ('demo', 'dev', 'cluster', 'onnx', 'openvino'))

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=(here/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author=cfg['author'],
    author_email=cfg['author_email'],
    url=cfg['git_url'],
    license='MIT',
    keywords=cfg['keywords'],
    classifiers=['Development Status :: 4 - Beta', 'Intended Audience :: Science/Research',
                 'Programming Language :: Python :: 3'],
    python_requires='>=' + cfg['min_python'],
    packages=find_packages(include=['wepadim', 'wepadim.*']),
    package_data={'wepadim': ['page.html']},
    # the demo and the phases are notebooks: an installed package finds them in share/wepadim
    data_files=[('share/wepadim', sorted(str(p.relative_to(here)) for p in (here/'nbs'/'experiments').glob('*.ipynb')))],
    install_requires=shlex.split(cfg['requirements']),
    extras_require={'demo': demo, 'cluster': cluster, 'onnx': onnx, 'openvino': openvino,
                    'dev': demo + dev + cluster + onnx + openvino},
    # by the second, the pages of the site link each name to its page and to its source
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': ['wepadim=wepadim._modidx:d']},
    zip_safe=False,
)
