"""What one encrypted stream between two go-libp2p daemons carries on this machine, for `atoll bench net` to be compared with.

    python go_throughput.py P2PD [SECONDS]

A program sends into the first daemon's control socket, another reads from the second's, so the daemons' rate includes two
hops over Unix sockets. The same two programs over one Unix socket, without daemons, show what a hop costs.
"""

import os
import socket
import sys
import tempfile
import threading
import time

from go_libp2p import Daemon, field, varint

SINK = "/sink/1.0.0"
PIECE = bytes(1 << 20)


def pump(sender, seconds):
    """Sends for some seconds after a warm-up of one; the receiver counts."""
    end = time.monotonic() + seconds + 1
    try:
        while time.monotonic() < end:
            sender.sendall(PIECE)
    finally:
        sender.close()


def drain(receiver, seconds, result):
    """Bytes per second after the first second."""
    buffer = bytearray(1 << 20)
    began = time.monotonic() + 1
    count, last = 0, began
    while read := receiver.recv_into(buffer):
        now = time.monotonic()
        if began <= now <= began + seconds:
            count += read
            last = now
    result.append(count / max(last - began, 1e-9))


def measure(sender, receiver, seconds):
    result = []
    thread = threading.Thread(target=drain, args=[receiver, seconds, result])
    thread.start()
    pump(sender, seconds)
    thread.join(30)
    return result[0] / 1e6


def serve_sink(daemon, folder):
    """The daemon connects here for each stream of SINK; gives a function that waits for the first."""
    path = os.path.join(folder, "sink.handler")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(8)
    address = varint(400) + varint(len(path)) + path.encode()
    daemon.ask(field(1, 3) + field(4, field(1, address) + field(2, SINK) + field(3, 0)))

    def accept():
        connection, _ = server.accept()
        daemon.receive(connection)  # Whose stream it is.
        return connection

    return accept


def main(p2pd, seconds):
    left, right = socket.socketpair(socket.AF_UNIX)
    hop = measure(left, right, seconds)
    print(f"one Unix socket between the two programs: {hop:.0f} MB/s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        first, second = Daemon(p2pd, folder, "first"), Daemon(p2pd, folder, "second")
        try:
            accept = serve_sink(second, folder)
            first.connect(second.address)
            sender = first.open_stream(second.peer_id, SINK)
            sender.sendall(b"x")
            receiver = accept()
            receiver.settimeout(30)
            rate = measure(sender, receiver, seconds)
            print(f"daemon to daemon, with a hop at each end: {rate:.0f} MB/s", flush=True)
            if 1 / rate > 2 / hop:
                print(f"without the hops, were they in sequence: {1 / (1 / rate - 2 / hop):.0f} MB/s at most", flush=True)
        finally:
            first.stop()
            second.stop()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(os.path.realpath(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) == 3 else 5)
