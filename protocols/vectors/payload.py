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


def bits32(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


def packed(codes, bits):
    """Codes without gaps, the earlier one in the lower bits; zeros up to the end of the last byte."""
    number = sum(code << (bits * i) for i, code in enumerate(codes))
    return number.to_bytes((len(codes) * bits + 7) // 8, "little")


def unpacked(data, count, bits):
    number = int.from_bytes(data, "little")
    return [number >> (bits * i) & (2**bits - 1) for i in range(count)]


def half_encode(values):
    return struct.pack("<%de" % len(values), *values)


def half_decode(data):
    return list(struct.unpack("<%de" % (len(data) // 2), data))


def uniform_encode(values, bits):
    headers, codes, top = b"", b"", 2**bits - 1
    for start in range(0, len(values), 256):
        block = values[start : start + 256]
        low, high = min(block) + 0.0, max(block)
        span = f32(high - low)
        step = f32(span / top) if span >= 2.0**-100 else 0.0
        if f32(low + f32(top * step)) > 2.0**100:
            step = struct.unpack("<f", struct.pack("<I", bits32(step) - 1))[0]
        headers += struct.pack("<ff", low, step)
        inverse = f32(1 / step) if step else 0.0
        row = [round(f32(f32(x - low) * inverse)) for x in block]
        codes += packed(row + [0] * (256 - len(row)), bits)
    return headers + codes


def uniform_decode(data, count, bits):
    blocks = (count + 255) // 256
    values = []
    for i in range(count):
        low, step = struct.unpack_from("<ff", data, 8 * (i // 256))
        start = 8 * blocks + i // 256 * 32 * bits
        code = unpacked(data[start : start + 32 * bits], 256, bits)[i % 256]
        values.append(f32(low + f32(code * step)))
    return values


def lane_sum(values, lanes):
    """A float64 sum in lanes by index, folded in lane order."""
    sums = [0.0] * lanes
    for i, x in enumerate(values):
        sums[i % lanes] += x
    total = 0.0
    for x in sums:
        total += x
    return total


def statistical_encode(values, bits):
    """Bins of six sigma; whoever chooses other bins writes the same format."""
    tables, codes, count = b"", [], 2**bits
    for start in range(0, len(values), 4096):
        row = values[start : start + 4096]
        mean = f32(lane_sum(row, 16) / len(row))
        centred = [f32(x - mean) for x in row]
        sigma = (lane_sum([y * y for y in centred], 16) / len(row)) ** 0.5
        width = f32(6 * sigma / count)
        inverse = f32(1 / width) if width >= 2.0**-100 else 0.0
        mine = [round(min(max(f32(y * inverse), -count / 2), count / 2 - 1)) + count // 2 for y in centred]
        codes += mine
        for code in range(count):
            # Four lanes by index, folded in lane order.
            under = [[y for i, y in enumerate(centred) if mine[i] == code and i % 4 == lane] for lane in range(4)]
            total, number = 0.0, sum(map(len, under))
            for lane in under:
                part = 0.0
                for y in lane:
                    part += y
                total += part
            tables += struct.pack("<f", f32(mean + total / number) if number else 0.0)
    return tables + packed(codes, bits)


def statistical_decode(data, count, bits):
    size = 4 * 2**bits
    rows = (count + 4095) // 4096
    codes = unpacked(data[size * rows :], count, bits)
    return [struct.unpack_from("<f", data, size * (i // 4096) + 4 * codes[i])[0] for i in range(count)]


def topk_lengths(count, kept):
    lengths = [min(4096, count - start) for start in range(0, count, 4096)]
    return [(n, (kept * n + 4095) // 4096) for n in lengths]


def topk_encode(values, kept):
    indices, chosen = [], []
    start = 0
    for n, k in topk_lengths(len(values), kept):
        order = sorted(range(n), key=lambda i: (-abs(values[start + i]), i))
        indices += sorted(order[:k])
        chosen += [values[start + i] for i in sorted(order[:k])]
        start += n

    def above(bound):
        eights = len(chosen) // 8 * 8
        total = lane_sum([abs(x) if abs(x) >= bound else 0.0 for x in chosen[:eights]], 8)
        for x in chosen[eights:]:
            total += abs(x) if abs(x) >= bound else 0.0
        return total, sum(abs(x) >= bound for x in chosen)

    total, count = above(0.0)
    has_zero = any(x == 0 for x in chosen)
    small, large, before = 0.0, total / count, -1
    bound = f32(large)
    for _ in range(6):
        part, number = above(bound)
        if number == before:
            break
        before = number
        if number:
            large = part / number
        rest = count - number
        small = 0.0 if has_zero else (total - part) / rest if rest else large
        bound = f32((small + large) / 2)
    small, large = f32(max(0.0, small)), f32(large)
    small = min(small, large)
    bound = f32(f32(0.5 * small) + f32(0.5 * large))
    codes = []
    for x in chosen:
        is_large = abs(x) > bound
        codes.append(is_large + 2 * (x < 0 and (is_large or small > 0)))
    return struct.pack("<ff", small, large) + packed(indices, 12) + packed(codes, 2)


def topk_decode(data, count, kept):
    magnitudes = struct.unpack_from("<ff", data)
    lengths = topk_lengths(count, kept)
    total = sum(k for _, k in lengths)
    size = (3 * total + 1) // 2
    indices = unpacked(data[8 : 8 + size], total, 12)
    codes = unpacked(data[8 + size :], total, 2)
    values, place, start = [0.0] * count, 0, 0
    for n, k in lengths:
        for _ in range(k):
            value = magnitudes[codes[place] & 1]
            values[start + indices[place]] = -value if codes[place] & 2 else value
            place += 1
        start += n
    return values


def low_rank_bytes(scales, lefts, rights):
    return pack(scales) + half_encode(sum(lefts, [])) + half_encode(sum(rights, []))


def low_rank_decode(data, count, columns, rank):
    rows = (count + columns - 1) // columns
    rank = min(rank, rows, columns)
    scales = struct.unpack_from("<%df" % rank, data)
    halves = half_decode(data[4 * rank :])
    values = []
    for i in range(count):
        total = 0.0
        for r in range(rank):
            left = halves[r * rows + i // columns]
            right = f32(halves[rank * rows + r * columns + i % columns] * scales[r])
            total = f32(total + f32(left * right))
        values.append(total)
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

# The other codec families: values, bytes and what the bytes decode to, where that is not plain from the page.
values = [0.0, -0.0, 65504.0, -65504.0, 2.0**-24, 2.0**-25, 3 * 2.0**-25, -(2.0**-14), 2.0**-14 - 2.0**-25]
values += [1 + 2.0**-11, 1 + 3 * 2.0**-11, f32(0.1), -f32(1 / 3)] + samples(20, 20, f32(0.25))
show("float16.values", pack(values))
show("float16.bytes", half_encode(values))
show("float16.decoded", pack(half_decode(half_encode(values))))
values = samples(21, 300, f32(0.25)) + [f32(0.125)] * 256 + samples(22, 51, f32(2.0))
values = values[:256] + values[300:556] + values[256:300] + values[556:]
show("uniform.values", pack(values))
for bits in (1, 2, 3, 4, 8):
    data = uniform_encode(values, bits)
    show("uniform.%d.bytes" % bits, data)
    show("uniform.%d.decoded" % bits, blake(pack(uniform_decode(data, len(values), bits))))
edge = [2.0**100, 0.0, -(2.0**99)]
show("uniform.edge.values", pack(edge))
show("uniform.edge.bytes", uniform_encode(edge, 8))
# 4096 values and a few more, which the test draws itself.
values = samples(23, 4096 + 13, f32(0.25))
show("statistical.2.bytes", statistical_encode(values, 2))
show("statistical.2.decoded", blake(pack(statistical_decode(statistical_encode(values, 2), len(values), 2))))
show("statistical.4.bytes", statistical_encode(values, 4))
show("statistical.4.decoded", blake(pack(statistical_decode(statistical_encode(values, 4), len(values), 4))))
for kept in (2, 64, 514):
    data = topk_encode(values, kept)
    show("topk.%d.bytes" % kept, data)
    show("topk.%d.decoded" % kept, blake(pack(topk_decode(data, len(values), kept))))
sparse = [0.0] * 300
sparse[7], sparse[100], sparse[299] = -1.5, 0.25, -0.25
show("topk.sparse.values", pack(sparse))
show("topk.sparse.bytes", topk_encode(sparse, 64))
# Low rank decodes only: any factors are a message. 7 rows of 9 columns, of which 60 values exist.
lefts = [samples(30 + r, 7, 1.0) for r in range(3)]
rights = [samples(40 + r, 9, 1.0) for r in range(3)]
data = low_rank_bytes([f32(0.7), 3.0, f32(1e-3)], lefts, rights)
show("lowrank.bytes", data)
show("lowrank.decoded", pack(low_rank_decode(data, 60, 9, 3)))
# Two tiles with two codecs: the header's other form.
body = half_encode(cut(deltas[0], 0)) + pack(cut(deltas[0], 1))
head = b"atollpl1" + struct.pack("<BBHI", 1, 0xFF, 0, 3) + base
head += struct.pack("<3I", 2, 0, 1) + struct.pack("<BBHBBH", 2, 0, 0, 0, 0, 0)
show("contribution.mixed", b"\0" + head + body)
