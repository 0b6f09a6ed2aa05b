"""Talks to an Atoll node with py-libp2p, an implementation that shares no code with it.

    python py_libp2p_ping.py dial /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW...     connect, identify, ping
    python py_libp2p_ping.py listen                                          print an address, serve until stdin ends

Prints one line of JSON per result on stdout; the exit code is 0 only if everything worked.
"""

import json
import logging
import sys
import time

import multiaddr
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.host.ping import PingService
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import parse_identify_response
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.utils.varint import read_length_prefixed_protobuf

PINGS = 5
DEADLINE_SECONDS = 30


def make_host(listen_addrs=None):
    """A host that speaks Noise and yamux alone: no plaintext, no mplex."""
    key_pair = create_new_key_pair()
    noise = NoiseTransport(
        libp2p_keypair=key_pair, noise_privkey=create_noise_key_pair().private_key
    )
    return new_host(
        key_pair=key_pair, muxer_opt={YAMUX: Yamux}, sec_opt={NOISE: noise}, listen_addrs=listen_addrs
    )


def report(**fields):
    print(json.dumps(fields), flush=True)


async def dial(text):
    address = multiaddr.Multiaddr(text)
    info = info_from_p2p_addr(address)
    host = make_host()
    async with host.run(listen_addrs=[]):
        with trio.fail_after(DEADLINE_SECONDS):
            await host.connect(info)
            stream = await host.new_stream(info.peer_id, [IDENTIFY])
            raw = await read_length_prefixed_protobuf(stream, True)
            await stream.close()
            answer = parse_identify_response(raw)
            report(
                what="identify",
                agent=answer.agent_version,
                protocol=answer.protocol_version,
                protocols=sorted(answer.protocols),
                listen=[str(multiaddr.Multiaddr(a)) for a in answer.listen_addrs],
                observed=str(multiaddr.Multiaddr(answer.observed_addr)),
            )
            assert "/ipfs/ping/1.0.0" in answer.protocols, answer.protocols
            times = await PingService(host).ping(info.peer_id, ping_amt=PINGS)
            report(what="ping", count=len(times), microseconds=times)
            assert len(times) == PINGS


async def listen():
    host = make_host()
    async with host.run(listen_addrs=[multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        address = host.get_addrs()[0]
        report(what="listening", address=str(address))
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


def main():
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    match sys.argv[1:]:
        case ["dial", text]:
            trio.run(dial, text)
        case ["listen"]:
            trio.run(listen)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
