"""Writes payload.txt: golden data for protocols/payload.md, made without any of the project's code.

Run it with any Python 3 from this folder: python3 payload.py > payload.txt. Every float32 operation is done in float64
and rounded once, which equals the float32 operation for + - * (53 >= 2 * 24 + 2 bits).
"""
import hashlib
import struct


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def pack(values):
    return struct.pack("<%df" % len(values), *values)


def blake(data):
    return hashlib.blake2b(data, digest_size=32).digest()


def samples(seed, count, scale):
    """splitmix64; the top 24 bits as a signed integer, cubed in steps so that the tails are long, times scale."""
    out = []
    state = seed
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        z ^= z >> 31
        x = ((z >> 40) - 2**23) / 2**23
        out.append(f32(f32(f32(x * x) * x) * scale))
    return out


LEVELS = [0.0] + [2.0 ** (k - 7) for k in range(1, 8)]
BOUNDS = [2.0**-7] + [1.5 * 2.0 ** (k - 7) for k in range(1, 7)]


def encode(values):
    scales, codes = b"", b""
    for start in range(0, len(values), 256):
        block = values[start : start + 256]
        block = block + [0.0] * (256 - len(block))
        scale = max(abs(x) for x in block)
        if scale < 2.0**-100:
            scale = 0.0
        scales += struct.pack("<f", scale)
        nibbles = []
        for x in block:
            if scale == 0:
                nibbles.append(0)
                continue
            sign = 8 if struct.pack("<f", x)[3] & 0x80 else 0
            nibbles.append(sign + sum(abs(x) >= f32(scale * bound) for bound in BOUNDS))
        codes += bytes(nibbles[i] | nibbles[i + 1] << 4 for i in range(0, 256, 2))
    return scales + codes


def decode(data, count):
    blocks = (count + 255) // 256
    values = []
    for i in range(count):
        scale = struct.unpack_from("<f", data, 4 * (i // 256))[0]
        code = data[4 * blocks + i // 2] >> (4 * (i % 2)) & 15
        value = LEVELS[code & 7] * scale
        values.append(f32(-value if code & 8 else value))
    return values


def coefficients(shares, cap):
    n = len(shares)
    limit = cap * sorted(float(t) / float(s) for t, s in shares)[(n - 1) // 2]
    counted = [int(limit * s) if t > limit * s else t for t, s in shares]
    total = sum(counted)
    product = sum(t * s for t, (_, s) in zip(counted, shares))
    mean = min(float(product) / float(total), cap * sorted(s for _, s in shares)[n // 2])
    plain = [float(t) * mean / (float(s) * float(total)) for t, (_, s) in zip(counted, shares)]
    return [max(1, int(min(c, cap) * 2.0**24 + 0.5)) for c in plain]


def average(members, weights):
    largest = max(abs(x) for values in members for x in values)
    if largest == 0:
        return [0.0] * len(members[0])
    exponent = (struct.unpack("<I", struct.pack("<f", largest))[0] >> 23) - 127 - 44
    quantum = 2.0**exponent
    mean = []
    for i in range(len(members[0])):
        total = 0
        for values, weight in zip(members, weights):
            total += round(values[i] * (weight / (quantum * 2.0**24)))
        mean.append(f32(float(total) * quantum))
    return mean


def step(theta, velocity, delta, rate, momentum):
    v = [f32(f32(momentum * a) + d) for a, d in zip(velocity, delta)]
    t = [f32(a - f32(rate * f32(d + f32(momentum * b)))) for a, d, b in zip(theta, delta, v)]
    return t, v


def chunk(version, theta, velocity):
    return struct.pack("<II", version, len(theta)) + pack(theta) + pack(velocity)


def root(scalars, leaves):
    return blake(b"atoll head 1" + blake(scalars) + b"".join(leaves))


def payload(kind, codec, fragment, base, tiles, body):
    """The form 0 (stored) of a payload; a packer may choose form 1 (zstd) instead."""
    head = b"atollpl1" + struct.pack("<BBHI", kind, codec, 0, fragment) + base
    head += struct.pack("<I%dI" % len(tiles), len(tiles), *tiles)
    return b"\0" + head + body


def show(name, value):
    print(name, "=", value.hex() if isinstance(value, bytes) else value)


rate, momentum, cap = f32(0.7), f32(0.9), 4.0

# One codec block and a part of a second: every code, both kinds of zero, thresholds hit exactly.
values = [0.0, -0.0] + [s * m for m in LEVELS[1:] for s in (1.0, -1.0)] + [f32(b) for b in BOUNDS]
values += samples(1, 260 - len(values), f32(0.25))
show("e3m0.values", pack(values))
show("e3m0.bytes", encode(values))
show("e3m0.decoded", pack(decode(encode(values), len(values))))

shares = [(24000, 30), (16384, 16), (800, 1), (10**9, 1)]
show("coefficients.shares", ",".join("%d:%d" % s for s in shares))
show("coefficients.fixed", ",".join(map(str, coefficients(shares, cap))))

# A fragment of two tensors, 300 and 5 parameters, so two tiles; its genesis head and one round with two members,
# of whom the second's tile 1 is absent.
sizes = [300, 5]
theta = samples(2, sum(sizes), f32(0.5))
zeros = [0.0] * sum(sizes)


def cut(xs, tile):
    return xs[:300] if tile == 0 else xs[300:]


genesis_chunks = [chunk(0, cut(theta, t), cut(zeros, t)) for t in (0, 1)]
base = root(b"genesis", [blake(c) for c in genesis_chunks])
show("head.genesis.chunk0", blake(genesis_chunks[0]))
show("head.genesis.chunk1", genesis_chunks[1])
show("head.genesis.digest", base)
lives = [[f32(a - b) for a, b in zip(theta, samples(seed, 305, f32(0.01)))] for seed in (3, 4)]
deltas = [[f32(a - b) for a, b in zip(theta, live)] for live in lives]
show("contribution.share", "24000:30,16384:16")
sent = []
for name, delta in zip("ab", deltas):
    body = encode(cut(delta, 0))
    sent.append(decode(body, 300))
    show("contribution.%s" % name, payload(1, 1, 3, base, [0], body))
    show("contribution.%s.digest" % name, blake(payload(1, 1, 3, base, [0], body)))
show("contribution.raw32", payload(1, 0, 3, base, [1], pack(cut(deltas[0], 1))))
mean = average(sent, coefficients([(24000, 30), (16384, 16)], cap))
body = encode(mean)
show("result", payload(2, 1, 3, base, [0], body))
t0, v0 = step(cut(theta, 0), cut(zeros, 0), decode(body, 300), rate, momentum)
leaves = [blake(chunk(1, t0, v0)), blake(genesis_chunks[1])]
show("head.next.leaf0", leaves[0])
show("head.next.digest", root(b"after one round", leaves))

# The commit path over more data than any vector register, three rounds, as digests.
count = 256 * 9 + 77
theta = samples(10, count, f32(0.5))
velocity = [0.0] * count
weights = coefficients([(1000 * m + 5, m + 3) for m in range(5)], cap)
for turn in range(3):
    members = [samples(100 * turn + m, count, f32(f32(0.01) * (m + 1))) for m in range(5)]
    coded = [encode(values) for values in members]
    mean = average([decode(data, count) for data in coded], weights)
    data = encode(mean)
    theta, velocity = step(theta, velocity, decode(data, count), rate, momentum)
    show("path.%d.coded" % turn, blake(b"".join(coded)))
    show("path.%d.mean" % turn, blake(pack(mean)))
    show("path.%d.theta" % turn, blake(pack(theta)))
    show("path.%d.velocity" % turn, blake(pack(velocity)))
blended = [f32(f32(0.5 * a) + f32(0.5 * b)) for a, b in zip(theta, velocity)]
show("path.blended", blake(pack(blended)))
