# syntax=docker/dockerfile:1
# CPU:  docker build -t wepadim .
# CUDA: docker build -t wepadim:cuda --build-arg BASE=pytorch/pytorch:2.7.1-cuda12.6-cudnn9-runtime .
# The base decides the device: a plain Python gets torch from the package index, a PyTorch image brings its own.
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    TORCH_HOME=/work/results/.torch MPLCONFIGDIR=/tmp/matplotlib

# Nothing in the container needs to be root; results that it writes belong to this user's number.
ARG UID=1000
RUN useradd --uid ${UID} --non-unique --create-home wepadim && install --directory --owner wepadim /work /work/data /work/results /opt/wepadim
USER ${UID}
ENV PATH=/opt/wepadim/bin:${PATH}
WORKDIR /work

# Dependencies first: this layer is used again until settings.ini or setup.py changes. An environment that sees
# the base's packages keeps the PyTorch of a CUDA image.
COPY --chown=wepadim settings.ini setup.py README.md ./
RUN python3 -m venv --system-site-packages /opt/wepadim \
 && python3 -c "import configparser, shlex; c = configparser.ConfigParser(delimiters=['=']); c.read('settings.ini'); print('\n'.join(r for k in ('requirements', 'demo_requirements', 'cluster_requirements', 'openvino_requirements') for r in shlex.split(c['DEFAULT'][k])))" > /tmp/requirements.txt \
 && pip install --requirement /tmp/requirements.txt

COPY --chown=wepadim . .
RUN pip install --no-deps --editable .

VOLUME ["/work/data", "/work/results"]
CMD ["wepadim_demo"]
