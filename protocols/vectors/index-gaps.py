"""Writes index-gaps.txt: golden data for the form of gaps in protocols/payload.md, made without any of the project's code.

Run it with any Python 3 from this folder: python3 index-gaps.py > index-gaps.txt. A case is bytes with index sections
(offset:count, comma-separated), the gap bytes and the bytes beside the sections.
"""


def pack(indices):
    bits = sum(index << 12 * place for place, index in enumerate(indices))
    return bits.to_bytes((12 * len(indices) + 7) // 8, "little")


def gaps(indices):
    out, last = [], -1
    for index in indices:
        gap = index - last - 1
        out += [255] * (gap // 255) + [gap % 255]
        last = index
    return bytes(out)


def chosen(count, seed):
    """Some indices of a chunk: the ones that come first by a multiplicative hash."""
    order = sorted(range(4096), key=lambda i: ((i + seed) * 2654435761 % (1 << 32), i))
    return sorted(order[:count])


def case(name, lists):
    raw, rest, sections = b"", b"", []
    for place, indices in enumerate(lists):
        between = bytes((17 * place + i) % 256 for i in range(place))
        raw += between
        rest += between
        sections.append("%d:%d" % (len(raw), len(indices)))
        raw += pack(indices)
    tail = b"tail"
    print("%s.raw = %s" % (name, (raw + tail).hex()))
    print("%s.sections = %s" % (name, ",".join(sections)))
    print("%s.gaps = %s" % (name, b"".join(map(gaps, lists)).hex()))
    print("%s.rest = %s" % (name, (rest + tail).hex()))


print("# Made by index-gaps.py: bytes with index sections, their gaps and what stands beside them.")
case("edges", [[0], [4095], [0, 4095], [254, 510], [255, 511, 767], [253, 254, 255, 4095]])
case("sparse", [chosen(64, seed) for seed in range(3)] + [chosen(7, 9), chosen(2, 10)])
case("dense", [list(range(4096)), [i for i in range(4096) if i % 256 == 255]])
