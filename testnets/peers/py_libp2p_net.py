"""Atoll's gossip, streams and hash table against py-libp2p, which shares no code with it.

    python py_libp2p_net.py ATOLL

Both dial; gossip of 1 KiB and 900 KiB both ways; 100 streams at once both ways; look-ups of a peer both ways. Everything
is on 127.0.0.1. Exit code 0: all of it worked.
"""

import logging
import os
import sys
import tempfile

import multiaddr
import trio
from libp2p.custom_types import TProtocol
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service

from net_processes import DEADLINE_SECONDS, Listener, digest, messages, report, run, write
from py_libp2p_ping import make_host

ECHO = TProtocol("/echo/1.0.0")
TABLE = "/ipfs/kad/1.0.0"
TOPIC = "reef"
STREAMS = 100
GOSSIP = [TProtocol("/meshsub/1.2.0"), TProtocol("/meshsub/1.1.0"), TProtocol("/meshsub/1.0.0")]


async def echo(stream):
    """Echoes what comes until the other side has ended its direction."""
    try:
        while data := await stream.read(65536):
            await stream.write(data)
        await stream.close()
    except StreamError:
        pass  # What a handler lets through takes the whole connection down.


class Node:
    """A py-libp2p host with gossip and a hash table, for as long as `running` lasts."""

    def __init__(self):
        self.host = make_host()
        router = GossipSub(GOSSIP, degree=6, degree_low=4, degree_high=12, heartbeat_interval=1)
        self.pubsub = Pubsub(self.host, router)
        self.router = router
        self.host.set_stream_handler(ECHO, echo)

    async def run(self, task_status):
        async with self.host.run(listen_addrs=[multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]):
            async with background_trio_service(self.pubsub), background_trio_service(self.router):
                await self.pubsub.wait_until_ready()
                self.table = KadDHT(self.host, DHTMode.SERVER)
                async with background_trio_service(self.table):
                    self.address = str(self.host.get_addrs()[0])
                    self.peer_id = str(self.host.get_id())
                    task_status.started()
                    await trio.sleep_forever()


async def until(condition, what):
    with trio.move_on_after(DEADLINE_SECONDS):
        while not await condition():
            await trio.sleep(0.05)
        return
    raise SystemExit(f"not in time: {what}")


async def gossip(node, listener, folder):
    """Messages of both sizes, both ways."""
    subscription = await node.pubsub.subscribe(TOPIC)
    peer = ID.from_base58(listener.peer_id)

    async def meshed():
        # Without a mesh py-libp2p sends what it publishes to nobody, and gossips about it to others only.
        return peer in node.pubsub.router.mesh.get(TOPIC, set())

    await until(meshed, "py-libp2p has Atoll in the topic's mesh")
    for data in messages():
        await node.pubsub.publish(TOPIC, data)
        event = await trio.to_thread.run_sync(lambda: listener.wait("message", blake2b=digest(data)))
        assert event["author"] == node.peer_id and event["bytes"] == len(data)
    for data in messages():
        await trio.to_thread.run_sync(listener.publish, TOPIC, write(folder, "message", data))
        while True:
            with trio.fail_after(DEADLINE_SECONDS):
                message = await subscription.get()
            if ID(message.from_id) == peer:
                assert message.data == data, "a message arrived changed"
                break
    await node.pubsub.unsubscribe(TOPIC)


async def streams(node, peer):
    """Streams that are all open before the first of them ends."""
    opened = [await node.host.new_stream(peer, [ECHO]) for _ in range(STREAMS)]
    length = b"\x80\x08"  # 1024 as a varint.
    for index, stream in enumerate(opened):
        await stream.write(length + bytes([index]) * 1024)
    for index, stream in enumerate(opened):
        data = b""
        while len(data) < 1026:
            part = await stream.read(1026 - len(data))
            assert part, "an echo ended early"
            data += part
        assert data == length + bytes([index]) * 1024
        await stream.close()


async def check(atoll, folder):
    async with trio.open_nursery() as nursery:
        first, second = Node(), Node()
        await nursery.start(first.run)
        await nursery.start(second.run)
        inside = trio.to_thread.run_sync

        dialed = await inside(lambda: run(atoll, "net", "dial", first.address, "--echo", str(STREAMS), "--json"))
        assert dialed["peer_id"] == first.peer_id and dialed["echoes"] == STREAMS
        report(f"Atoll dials {dialed['agent']}: identify, ping {dialed['ping_milliseconds'][-1]:.2f} ms, "
               f"{STREAMS} streams at once")

        one = await inside(
            lambda: Listener(atoll, folder, "one", "--topic", TOPIC, "--dht", TABLE, "--bootstrap", first.address))
        await inside(lambda: one.wait("identified", peer_id=first.peer_id))
        await gossip(first, one, folder)
        report("gossip over the connection that Atoll dialed: 1 KiB and 900 KiB, both ways")

        await second.host.connect(info_from_p2p_addr(multiaddr.Multiaddr(one.address)))
        assert (await inside(lambda: one.wait("connected", peer_id=second.peer_id)))["outbound"] is False
        await streams(second, ID.from_base58(one.peer_id))
        report(f"py-libp2p dials Atoll and opens {STREAMS} streams at once")
        await gossip(second, one, folder)
        report("gossip over the connection that py-libp2p dialed: 1 KiB and 900 KiB, both ways")

        other = await inside(lambda: Listener(atoll, folder, "other", "--dht", TABLE, "--bootstrap", first.address))
        await inside(lambda: other.wait("identified", peer_id=first.peer_id))
        await first.table.add_peer(ID.from_base58(other.peer_id))

        async def found():
            try:
                return (await inside(one.find, other.peer_id))["addresses"]
            except SystemExit:
                return None

        await until(found, "Atoll finds the other node by way of py-libp2p")
        report(f"Atoll finds a peer in py-libp2p's table: {(await found())[0]}")
        await second.table.add_peer(ID.from_base58(one.peer_id))
        info = await second.table.find_peer(ID.from_base58(other.peer_id))
        assert info is not None and other.address.rsplit("/p2p/", 1)[0] in {str(a) for a in info.addrs}, info
        report("py-libp2p finds a peer in Atoll's table")
        for running in (one, other):
            await inside(running.stop)
        nursery.cancel_scope.cancel()


def main(atoll):
    # It calls the end of a stream of requests an error.
    logging.basicConfig(level=logging.CRITICAL, stream=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        trio.run(check, os.path.realpath(atoll), folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
