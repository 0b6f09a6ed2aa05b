#!/usr/bin/env bash
# Atoll against go-libp2p: the daemon p2pd that the PyPI package hivemind carries.
#
#   testnets/peers/go_libp2p.sh ATOLL        everything that go_libp2p.py checks
#   testnets/peers/go_libp2p.sh              what one stream between two daemons carries (go_throughput.py)
#
# The daemon goes to build/interop/go (ignored by git); ATOLL_INTEROP_DIR names another folder.
set -euo pipefail
atoll=${1:+$(realpath "$1")}
cd "$(dirname "$0")/../.."
folder=${ATOLL_INTEROP_DIR:-build/interop}/go
version=1.1.12
daemon=$folder/hivemind/hivemind_cli/p2pd

if [ ! -x "$daemon" ]; then
    echo "fetching hivemind $version for its p2pd into $folder" >&2
    mkdir -p "$folder"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: -d "$folder" "hivemind==$version"
    python3 -m zipfile -e "$folder"/hivemind-*.whl "$folder"
    chmod +x "$daemon"
fi

if [ -n "$atoll" ]; then
    exec python3 testnets/peers/go_libp2p.py "$atoll" "$daemon"
fi
exec python3 testnets/peers/go_throughput.py "$daemon"
