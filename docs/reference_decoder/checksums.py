"""The format's checksum."""

from __future__ import annotations

import struct

import xxhash


def checksum(data: bytes) -> int:
    """Return the XXH3-64 digest of the joined digests of the pieces of 1 MiB."""
    pieces = (data[start : start + 2**20] for start in range(0, len(data), 2**20))
    return xxhash.xxh3_64_intdigest(b"".join(struct.pack("<Q", xxhash.xxh3_64_intdigest(piece)) for piece in pieces))
