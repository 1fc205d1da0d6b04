"""Packings: where the stored bytes of each row are."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bits import ceil_div, require, unpack_fields

if TYPE_CHECKING:
    from payload import Header

BLOCK_ROWS = 64
TAIL_BYTES = 13  # tail_offset, tail_bytes and tag at the end of a slot


def packed_rows(header: Header, index: bytes, rows: bytes, overflow: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield every stored row, and whether it is raw."""
    require(header.row_unit <= header.row_bytes, "row_unit", "must be at most the bytes of a row")
    require(not overflow, "overflow_bytes", "must be 0 when packed")
    if header.index_bits == 0:
        require(not index, "index_bytes", "must be 0 where all rows have one size")
        require(len(rows) == header.num_rows * header.row_unit, "rows_bytes", "must be num_rows x row_unit")
        if header.row_unit == header.row_bytes:
            yield rows, True  # all of them at once
            return
        bounds = range(0, len(rows) + 1, header.row_unit) if header.row_unit else [0] * (header.num_rows + 1)
    else:
        least, most = header.num_rows * header.row_unit, header.num_rows * header.row_bytes
        require(least <= len(rows) <= most, "rows_bytes", "must be from num_rows x row_unit to num_rows x row_bytes")
        bounds = [*row_starts(header, index), len(rows)]
    for start, end in itertools.pairwise(bounds):
        require(start <= end <= len(rows), "index", "a row must start no later than it ends, within the section")
        require(end - start <= header.row_bytes, "index", "a row must not be longer than row_bytes")
        yield rows[start:end], end - start == header.row_bytes


def row_starts(header: Header, index: bytes) -> list[int]:
    """Return where each row starts in the rows section."""
    num_blocks = ceil_div(header.num_rows, BLOCK_ROWS)
    entry_bytes = 8 + 8 * header.index_bits
    require(len(index) == num_blocks * entry_bytes, "index_bytes", "must be one entry for each block of rows")
    starts = []
    for entry in range(0, len(index), entry_bytes):
        base = int.from_bytes(index[entry : entry + 8], "little")
        deltas = unpack_fields(index[entry + 8 : entry + entry_bytes], BLOCK_ROWS, header.index_bits)
        starts += [base + j * header.row_unit + int(delta) for j, delta in enumerate(deltas)]
    return starts[: header.num_rows]


def slotted_rows(header: Header, index: bytes, rows: bytes, overflow: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield every stored row (or the slot that it begins), and whether it is raw."""
    stride, row_bytes = header.row_unit, header.row_bytes
    require(header.index_bits == 0, "index_bits", "must be 0 when slotted")
    require(not index, "index_bytes", "must be 0 when slotted")
    require(len(rows) == header.num_rows * stride, "rows_bytes", "must be num_rows x stride")
    if stride == row_bytes:
        require(not overflow, "overflow_bytes", "must be 0 where slots hold whole rows")
        yield rows, True  # all of them at once
        return
    require(16 <= stride < row_bytes, "row_unit", "the stride must be from 16 to row_bytes")
    all_tails = 0
    for slot_start in range(0, len(rows), stride):
        slot = rows[slot_start : slot_start + stride]
        tail_offset, tail_bytes, tag = struct.unpack("<QIB", slot[-TAIL_BYTES:])
        if tag == 0:
            yield slot[:-1], False
            continue
        require(tag in (1, 2), "tag", "must be 0, 1 or 2")
        require(tail_offset + tail_bytes <= len(overflow), "tail", "must lie within the overflow area")
        all_tails += tail_bytes
        require(all_tails <= len(overflow), "tail_bytes", "must not be above overflow_bytes in sum")
        row = slot[:-TAIL_BYTES] + overflow[tail_offset : tail_offset + tail_bytes]
        require(tag == 2 or len(row) < row_bytes, "tail_bytes", "must make an encoded row shorter than row_bytes")
        require(tag == 1 or len(row) == row_bytes, "tail_bytes", "must make a raw row of row_bytes")
        yield row, tag == 2
