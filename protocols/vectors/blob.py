"""Writes blob.txt: golden data for protocols/blob.md, made without any of the project's code.

Run it with any Python 3 from this folder: python3 blob.py > blob.txt. Byte i of every blob is
167 i + (i >> 8) + 31 (i >> 20), modulo 256.
"""
import hashlib
import struct

CHUNK = 1 << 20


def blake(data, **options):
    return hashlib.blake2b(data, digest_size=32, **options).digest()


def tree(blob):
    """The digests of the chunks, and the digest that names the blob."""
    chunks = [blake(blob[i : i + CHUNK]) for i in range(0, max(1, len(blob)), CHUNK)]
    if len(chunks) == 1:
        return chunks, chunks[0]
    return chunks, blake(struct.pack("<Q", len(blob)) + b"".join(chunks), person=b"atoll/blob/1.0.0")


def request(kind, digest, offset, count):
    return struct.pack("<B32sQQ", kind, digest, offset, count)


print("# Made by blob.py: the digests of blobs by size in bytes, and two requests for the last one.")
for size in [0, 1, 3, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5]:
    chunks, digest = tree(bytes((167 * i + (i >> 8) + 31 * (i >> 20)) % 256 for i in range(size)))
    print("%d.chunks = %s" % (size, b"".join(chunks).hex()))
    print("%d.digest = %s" % (size, digest.hex()))
print("request.list = %s" % request(1, digest, 0, 32 * len(chunks)).hex())
print("request.content = %s" % request(0, digest, 3 * CHUNK, 5).hex())
