"""Atoll against go-libp2p: the daemon p2pd that the PyPI package hivemind carries.

    python go_libp2p.py ATOLL P2PD

Connects both ways, identify, ping, gossip of 1 KiB and 900 KiB both ways, 100 streams at once both ways, and look-ups of
a peer in the hash table both ways. Everything is on 127.0.0.1. Exit code 0: all of it worked.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

from net_processes import DEADLINE_SECONDS, Listener, digest, messages, report, run, write

ECHO = "/echo/1.0.0"
TABLE = "/ipfs/kad/1.0.0"
TOPIC = "reef"
STREAMS = 100


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """A protobuf field: varint of an int, else length-delimited."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    """All fields of a protobuf message, as a dictionary of lists."""
    found, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            value = number()
        else:
            length = number()
            value = data[at:at + length]
            at += length
        found.setdefault(tag >> 3, []).append(value)
    return found


BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def from_base58(text):
    value = 0
    for letter in text:
        value = value * 58 + BASE58.index(letter)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + value.to_bytes((value.bit_length() + 7) // 8, "big")


def to_base58(data):
    value, text = int.from_bytes(data, "big"), ""
    while value:
        value, rest = divmod(value, 58)
        text = BASE58[rest] + text
    return "1" * (len(data) - len(data.lstrip(bytes(1)))) + text


def tcp_address(text):
    """The bytes of /ip4/A/tcp/P."""
    _, ip4, host, tcp, port = text.split("/")[:5]
    assert ip4 == "ip4" and tcp == "tcp", text
    return bytes([4]) + socket.inet_aton(host) + bytes([6]) + int(port).to_bytes(2, "big")


class Daemon:
    """A running p2pd, driven by its control socket."""

    def __init__(self, p2pd, folder, name):
        self.folder = folder
        self.path = os.path.join(folder, name + ".control")
        self.process = subprocess.Popen(
            [p2pd, "-listen", "/unix" + self.path, "-hostAddrs", "/ip4/127.0.0.1/tcp/0", "-tls=false", "-quic=false",
             "-pubsub", "-dhtServer", "-relay=false", "-relayService=false", "-relayDiscovery=false", "-q"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not os.path.exists(self.path):
            assert time.monotonic() < deadline and self.process.poll() is None, "p2pd did not start"
            time.sleep(0.02)
        identity = fields(self.ask(field(1, 0))[4][0])
        self.id = identity[1][0]
        self.peer_id = to_base58(self.id)
        address = next(a for a in identity[2] if a[:5] == bytes([4, 127, 0, 0, 1]))
        self.address = f"/ip4/127.0.0.1/tcp/{int.from_bytes(address[6:8], 'big')}/p2p/{self.peer_id}"

    def open(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(DEADLINE_SECONDS)
        connection.connect(self.path)
        return connection

    def send(self, connection, request):
        connection.sendall(varint(len(request)) + request)

    def receive(self, connection):
        length = shift = 0
        while True:
            byte = exactly(connection, 1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        return exactly(connection, length)

    def ask(self, request):
        """One request on its own connection; the answer's fields."""
        with self.open() as connection:
            self.send(connection, request)
            return self.checked(self.receive(connection))

    @staticmethod
    def checked(answer):
        answer = fields(answer)
        if answer[1][0] != 0:
            raise SystemExit(f"p2pd answers: {fields(answer[2][0])[1][0].decode()}")
        return answer

    def connect(self, address):
        peer = address.rsplit("/", 1)[1]
        body = field(1, from_base58(peer)) + field(2, tcp_address(address))
        self.ask(field(1, 1) + field(2, body))

    def open_stream(self, peer_id, protocol):
        """A connection that is the stream from here on."""
        connection = self.open()
        body = field(1, from_base58(peer_id)) + field(2, protocol)
        self.send(connection, field(1, 2) + field(3, body))
        self.checked(self.receive(connection))
        return connection

    def serve_echo(self):
        """Echoes what comes on streams of ECHO, each on a thread."""
        path = os.path.join(self.folder, "echo.handler")
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen(256)
        # /unix is protocol 400; its value is the path with its length.
        address = varint(400) + varint(len(path)) + path.encode()
        body = field(1, address) + field(2, ECHO) + field(3, 0)
        self.ask(field(1, 3) + field(4, body))

        def echo(connection):
            with connection:
                self.receive(connection)  # Whose stream it is.
                while data := connection.recv(65536):
                    connection.sendall(data)

        def accept():
            while True:
                connection, _ = server.accept()
                threading.Thread(target=echo, args=[connection], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def subscribe(self, topic):
        connection = self.open()
        self.send(connection, field(1, 8) + field(8, field(1, 3) + field(2, topic)))
        self.checked(self.receive(connection))
        return connection

    def publish(self, topic, data):
        self.ask(field(1, 8) + field(8, field(1, 2) + field(2, topic) + field(3, data)))

    def topic_peers(self, topic):
        answer = self.ask(field(1, 8) + field(8, field(1, 1) + field(2, topic)))
        return [to_base58(peer) for peer in fields(answer[7][0]).get(2, [])] if 7 in answer else []

    def find_peer(self, peer_id):
        """Addresses that the table gives for a peer."""
        answer = self.ask(field(1, 4) + field(5, field(1, 0) + field(2, from_base58(peer_id)) + field(7, 20)))
        peer = fields(fields(answer[5][0])[2][0])
        assert to_base58(peer[1][0]) == peer_id
        return peer.get(2, [])

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def exactly(connection, count):
    data = bytearray()
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise SystemExit("p2pd closed the connection")
        data += part
    return bytes(data)


def until(condition, what):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not in time: {what}")
        time.sleep(0.05)


def gossip(listener, daemon, folder):
    """Messages of both sizes, both ways."""
    subscription = daemon.subscribe(TOPIC)
    until(lambda: listener.peer_id in daemon.topic_peers(TOPIC), "the daemon knows that Atoll follows the topic")
    for data in messages():
        daemon.publish(TOPIC, data)
        event = listener.wait("message", blake2b=digest(data))
        assert event["author"] == daemon.peer_id and event["bytes"] == len(data)
    # The daemon hears its own messages too; Atoll's come after them.
    authors = []
    for data in messages():
        listener.publish(TOPIC, write(folder, "message", data))
        while True:
            message = fields(daemon.receive(subscription))
            authors.append(to_base58(message[1][0]))
            if authors[-1] == listener.peer_id:
                assert message[2][0] == data, "a message arrived changed"
                break
    subscription.close()


def streams(daemon, peer_id):
    """Streams that are all open before the first of them ends."""
    connections = [daemon.open_stream(peer_id, ECHO) for _ in range(STREAMS)]
    for index, connection in enumerate(connections):
        connection.sendall(varint(1024) + bytes([index]) * 1024)
    for index, connection in enumerate(connections):
        assert exactly(connection, 1026) == varint(1024) + bytes([index]) * 1024
    for connection in connections:
        connection.close()


def main(atoll, p2pd):
    with tempfile.TemporaryDirectory() as folder:
        # Atoll dials the daemon.
        first = Daemon(p2pd, folder, "first")
        first.serve_echo()
        dialed = run(atoll, "net", "dial", first.address, "--echo", str(STREAMS), "--json")
        assert dialed["peer_id"] == first.peer_id and dialed["echoes"] == STREAMS
        assert len(dialed["ping_milliseconds"]) == 3
        report(f"Atoll dials {dialed['agent']}: identify, ping {dialed['ping_milliseconds'][-1]:.2f} ms, "
               f"{STREAMS} streams at once")
        one = Listener(atoll, folder, "one", "--topic", TOPIC, "--dht", TABLE, "--bootstrap", first.address)
        one.wait("identified", peer_id=first.peer_id)
        gossip(one, first, folder)
        report("gossip over the connection that Atoll dialed: 1 KiB and 900 KiB, both ways")

        # The daemon dials Atoll.
        second = Daemon(p2pd, folder, "second")
        second.connect(one.address)
        assert one.wait("connected", peer_id=second.peer_id)["outbound"] is False
        one.wait("identified", peer_id=second.peer_id)
        ping = second.open_stream(one.peer_id, "/ipfs/ping/1.0.0")
        payload = os.urandom(32)
        began = time.monotonic()
        ping.sendall(payload)
        assert exactly(ping, 32) == payload
        report(f"the daemon dials Atoll: identify, ping {1000 * (time.monotonic() - began):.2f} ms")
        ping.close()
        streams(second, one.peer_id)
        report(f"the daemon opens {STREAMS} streams at once")
        gossip(one, second, folder)
        report("gossip over the connection that the daemon dialed: 1 KiB and 900 KiB, both ways")

        # Look-ups: Atoll asks the first daemon for another Atoll node; the second daemon asks Atoll for it.
        other = Listener(atoll, folder, "other", "--dht", TABLE, "--bootstrap", first.address)
        other.wait("identified", peer_id=first.peer_id)

        def found():
            try:
                return one.find(other.peer_id)["addresses"]
            except SystemExit:
                return None

        until(found, "Atoll finds the other node by way of the daemon")
        report(f"Atoll finds a peer in the daemon's table: {found()[0]}")
        addresses = second.find_peer(other.peer_id)
        assert tcp_address(other.address) in addresses, addresses
        report("the daemon finds a peer in Atoll's table")
        for running in (one, other, first, second):
            running.stop()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(os.path.realpath(sys.argv[1]), os.path.realpath(sys.argv[2]))
