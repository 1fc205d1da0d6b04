"""What all parts of the decoder share: rejecting input, and reading bit streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint8]  # one element per bit, 0 or 1
Words = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]


def require(condition: bool | np.bool_, field: str, rule: str) -> None:
    """Reject the input where ``condition`` does not hold, naming the field."""
    if not condition:
        raise ValueError(f"{field}: {rule}")


def ceil_div(dividend: int, divisor: int) -> int:
    """Return the quotient, rounded up."""
    return -(-dividend // divisor)


def low_bits(count: int) -> np.uint64:
    """Return the word whose ``count`` low bits are ones: what to mask with for modulo 2^count."""
    return np.uint64(2**count - 1)


def unpack_bits(data: bytes) -> Bits:
    """Return the bit stream in ``data``; every byte is filled from its least significant bit."""
    return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")


def as_words(bits: npt.NDArray[Any]) -> Words:
    """Return the number in each row of a matrix of bits, whose first column is the least significant bit."""
    words: Words = bits.astype(np.uint64) @ (np.uint64(1) << np.arange(bits.shape[1], dtype=np.uint64))
    return words


def fields_at(stream: Bits, starts: Integers, widths: Integers) -> Words:
    """Return the fields that start at the given bits of a stream and have the given widths."""
    place = np.arange(widths.max(initial=0))
    inside = place < widths[:, np.newaxis]
    positions = np.where(inside, starts[:, np.newaxis] + place, 0)
    return as_words(np.where(inside, stream[positions], 0) if positions.size else inside)


def unpack_fields(data: bytes, count: int, width: int) -> Words:
    """Return the first ``count`` fields of ``width`` bits each."""
    return as_words(unpack_bits(data)[: count * width].reshape(count, width))


def word_type(view_bytes: int) -> np.dtype[np.uint64]:
    """Return the type of a little-endian word."""
    return np.dtype(f"<u{view_bytes}")


def check_view(view_bytes: int, row_bytes: int, most: int) -> int:
    """Check the bytes of a word and of a row; return the number of columns."""
    require(1 <= row_bytes <= most, "row_bytes", f"must be from 1 to {most} with this codec")
    require(view_bytes in (1, 2, 4, 8) and row_bytes % view_bytes == 0, "view_bytes", "must divide row_bytes")
    return row_bytes // view_bytes
