#!/usr/bin/env bash
# Installs torch and numpy from PyPI into a virtual environment, by choice the CPU wheel.
#
# usage: testnets/peers/install_torch.sh VENV
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 VENV" >&2; exit 64; }
pip="$1/bin/pip --quiet --disable-pip-version-check"

# The plain wheel pulls gigabytes of CUDA; take a +cpu one where pip's own sources have it.
# pip has no command that lists versions of every source, but names them all when it finds none.
cpu=$({ $pip install --no-deps 'torch==0' 2>&1 || true; } | grep -oE '[0-9]+(\.[0-9]+)+\+cpu' | sort -V | tail -1)
if [ -n "$cpu" ]; then
    $pip install "torch==$cpu" numpy
else
    echo "pip finds no +cpu wheel of torch; the plain one takes several gigabytes" >&2
    $pip install torch numpy
fi
