#!/usr/bin/env bash
# Installs mergekit from PyPI into a virtual environment in build/interop, once, and prints its Python's path.
#
# usage: testnets/peers/install_mergekit.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv="$root/build/interop/mergekit"

if [ ! -e "$venv/complete" ]; then
    echo "installing mergekit into $venv (some minutes)" >&2
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    python3 -m venv "$venv" || { echo "python3 with venv is needed: apt-get install python3-venv" >&2; exit 1; }
    "$here/install_torch.sh" "$venv" >&2
    "$venv/bin/pip" --quiet --disable-pip-version-check install mergekit >&2
    touch "$venv/complete"
fi
echo "$venv/bin/python"
