# CPU or GPU: docker build -t wepadim . && docker run --rm -v "$PWD/data:/work/data" -v "$PWD/results:/work/results" wepadim \
#   wepadim_run --dataset_type visa --data_path data/VisA --models resnet18 --classes candle --gpu_id -1     (GPU: --gpus all, --gpu_id 0)
FROM python:3.12-slim
RUN apt-get update && apt-get install --no-install-recommends -y make git && rm -rf /var/lib/apt/lists/*
WORKDIR /work
COPY . .
RUN make install
ENV PATH="/work/.venv/bin:$PATH"
CMD ["wepadim_demo"]
