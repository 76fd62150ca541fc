#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: compares the CPU with CUDA token by token, and the speed with PyTorch's.
# Needs onnxruntime-gpu, numpy and a PyTorch with CUDA, nothing else and no network; takes some ten minutes.
# Writes bench/results/cuda.json and bench/results/cuda.md; the exit status is 1 if the two do not agree.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
usable='import sys, torch, onnxruntime; sys.exit(not torch.cuda.is_available())'
python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
for candidate in .venv/bin/python python3 python; do
    if "$candidate" -c "$usable" 2>/dev/null; then
        python=$candidate
        break
    fi
done
status=0
if "$python" -c 'import pytest, pytest_asyncio, platformdirs' 2>/dev/null; then
    "$python" -m pytest -q -p no:cacheprovider -m cuda tests/runtime/test_cuda.py || status=$?
fi
"$python" -m bench.cuda || status=$?
exit "$status"
