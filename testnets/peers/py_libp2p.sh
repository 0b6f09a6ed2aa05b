#!/usr/bin/env bash
# Proves that py-libp2p (PyPI `libp2p`) and Atoll understand each other: TCP, multistream-select, Noise, yamux, identify, ping.
#
#   testnets/peers/py_libp2p.sh                  both directions against a host of the test suite
#   testnets/peers/py_libp2p.sh ATOLL net        gossip, streams and the hash table, both ways (py_libp2p_net.py)
#   testnets/peers/py_libp2p.sh MULTIADDR        py-libp2p dials a running node, such as /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW…
#
# Python packages go to build/interop/venv (ignored by git); ATOLL_INTEROP_DIR names another folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${ATOLL_INTEROP_DIR:-build/interop}
python=$folder/venv/bin/python
version=0.8.1

if ! "$python" -c "import importlib.metadata as m; assert m.version('libp2p') == '$version'" 2>/dev/null; then
    echo "installing py-libp2p $version into $folder/venv (about a minute)" >&2
    python3 -m venv "$folder/venv" || { echo "python3 with venv is needed: apt-get install python3-venv" >&2; exit 1; }
    "$python" -m pip install --quiet --disable-pip-version-check "libp2p==$version"
fi

if [ "${2:-}" = net ]; then
    exec "$python" testnets/peers/py_libp2p_net.py "$1"
fi
if [ $# -gt 0 ]; then
    exec "$python" testnets/peers/py_libp2p_ping.py dial "$1"
fi
ATOLL_PY_LIBP2P=$(realpath -s "$python") exec swift test --filter PyLibp2pTests
