#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: compares the CPU with CUDA token by token, and the speed with PyTorch's.
# Needs onnxruntime-gpu, numpy and a PyTorch with CUDA, nothing else and no network; takes about five minutes.
# Writes bench/results/cuda.json and bench/results/cuda.md; the exit status is 1 if the two do not agree.
set -euo pipefail
cd "$(dirname "$0")/.."
python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
if "$python" -c 'import pytest' 2>/dev/null; then
    "$python" -m pytest -q -p no:cacheprovider tests/test_gpu.py
fi
exec "$python" -m bench.cuda
