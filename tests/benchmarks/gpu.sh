#!/usr/bin/env bash
# How long training takes on whatever accelerator TensorFlow sees: tests/benchmarks/gpu.sh [TICKERS …],
# by default of 505 and 5,000 made-up tickers. Where there is an NVIDIA driver, TensorFlow with CUDA is
# put into an environment of its own; else the one of the clone is used.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ -x .venv/bin/uv ] || { python3 -m venv .venv && .venv/bin/pip install -q uv; }
export UV_PROJECT_ENVIRONMENT=.venv
if command -v nvidia-smi >/dev/null && nvidia-smi -L; then
  export UV_PROJECT_ENVIRONMENT=.venv-gpu
  .venv/bin/uv sync -q --frozen --inexact
  if .venv-gpu/bin/python -c 'from importlib.metadata import version; version("tensorflow-cpu")' 2>/dev/null; then
    .venv/bin/uv pip uninstall -q --python .venv-gpu tensorflow-cpu  # both own the same files
    .venv/bin/uv pip install -q --python .venv-gpu 'tensorflow[and-cuda]>=2.20,<2.22'
  fi
else
  echo "no NVIDIA driver here: what follows is of the processor"
  .venv/bin/uv sync -q --frozen --inexact
fi
[ $# -gt 0 ] || set -- 505 5000
export TF_CPP_MIN_LOG_LEVEL=3
exec "$UV_PROJECT_ENVIRONMENT/bin/python" -m tests.benchmarks.gpu "$@"
