"""Writes admission.txt: golden data for protocols/admission.md, made without any of the project's code.

Needs PyNaCl for Ed25519. Run it from this folder: python3 admission.py > admission.txt
"""
import hashlib
import struct

from nacl.signing import SigningKey


def blake(data):
    return hashlib.blake2b(data, digest_size=32).digest()


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value) if value else b""


def data(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value if value else b""


SWARM = blake(b"a swarm")


def key(byte):
    return SigningKey(bytes([byte]) * 32)


def public(signer):
    return bytes(signer.verify_key)


def signed(kind, body, signer):
    statement = b"atoll swarm 1 " + kind + b"\0" + SWARM + b"\0" + body
    return data(1, public(signer)) + data(2, body) + data(3, signer.sign(statement).signature)


def summary(keys):
    words = [0] * 16
    for k in keys:
        words[k[0] >> 4] ^= int.from_bytes(k[8:16], "big")
    return b"".join(struct.pack(">Q", word) for word in words)


founder, delegate, holder, peer, member = (key(n) for n in (1, 2, 3, 4, 5))

delegation = data(1, public(delegate)) + number(2, 1_800_100_000) + number(3, 20)
capability = data(1, public(holder)) + number(3, 1_800_000_600) + number(4, 2)
bound = data(1, public(peer)) + number(2, 1) + number(3, 1_800_000_600) + number(4, 1)
claim = data(1, blake(capability)) + data(2, public(peer))
welcome = data(1, blake(capability)) + data(2, public(peer)) + number(3, 1_800_000_000)
revocation = data(1, blake(capability)[:8])
ban = data(2, public(peer))
voucher = (
    data(1, signed(b"capability", capability, delegate))
    + data(2, signed(b"delegation", delegation, founder))
    + data(3, signed(b"claim", claim, holder))
    + data(4, signed(b"welcome", welcome, founder))
)
voucher_key = blake(struct.pack(">Q", 1_800_000_000) + public(peer) + blake(capability))
revocation_key = blake(public(delegate) + revocation)

for name, value in [
    ("swarm", SWARM),
    ("delegation", signed(b"delegation", delegation, founder)),
    ("capability", signed(b"capability", capability, delegate)),
    ("capability.serial", blake(capability)[:8]),
    ("capability.bound", signed(b"capability", bound, founder)),
    ("claim", signed(b"claim", claim, holder)),
    ("welcome", signed(b"welcome", welcome, founder)),
    ("revocation.serial", signed(b"revocation", revocation, delegate)),
    ("revocation.peer", signed(b"revocation", ban, founder)),
    ("voucher", voucher),
    ("presentation", number(1, 1) + data(2, voucher)),
    ("summary", summary([voucher_key, revocation_key])),
]:
    print(f"{name} = {value.hex()}")
