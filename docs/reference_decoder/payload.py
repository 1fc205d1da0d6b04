"""Payloads: the header, its sections, and the tensor that they hold."""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import dictionary
import escape
import ibp
import numpy as np
import rans
import raw
import sparse
import window
from bits import ceil_div, require, unpack_fields
from checksums import checksum
from rows import packed_rows, slotted_rows

Tensor = tuple[str, tuple[int, ...], bytes]  # dtype, shape, data

ELEMENT_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8, "F8_E4M3": 1,
    "F8_E5M2": 1, "F8_E8M0": 1, "F16": 2, "BF16": 2, "F32": 4, "F64": 8, "C64": 8, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
}  # fmt: skip
DTYPES = list(ELEMENT_BYTES)  # a dtype's code is its place
CODECS: dict[str, Any] = {
    "raw": raw, "ibp": ibp, "window": window, "escape": escape, "sparse": sparse, "dictionary": dictionary,
    "rans": rans,
}  # fmt: skip
CODEC_NAMES = list(CODECS)  # likewise
PACKINGS = ["packed", "slotted"]
HEADER_BYTES = 88  # before the shape


class Header(NamedTuple):
    """The fields of a payload's header. ``num_rows`` and ``row_bytes`` are those of stored rows, which may be tiles."""

    dtype: str
    shape: tuple[int, ...]
    codec: str
    packing: str
    index_bits: int
    data_checksum: int
    section_bytes: tuple[int, ...]  # of plan, map, index, rows and overflow
    row_unit: int
    data_bytes: int
    num_rows: int
    row_bytes: int
    num_repeats: int


def parse_header(payload: bytes) -> Header:
    """Read and check the header (sections "Rows", "Payload" and "Tiles")."""
    require(len(payload) >= HEADER_BYTES, "payload", "must have at least 88 bytes")
    magic, payload_checksum = struct.unpack_from("<8sQ", payload, 0)
    require(magic == b"STILLBIT", "magic", "must be STILLBIT")
    version, dtype, codec, packing, rank, row_dims, index_bits = struct.unpack_from("<H6B", payload, 16)
    data_checksum, plan_bytes, index_bytes, rows_bytes, overflow_bytes = struct.unpack_from("<5Q", payload, 24)
    row_unit, tile_bytes, num_repeats = struct.unpack_from("<3Q", payload, 64)
    require(version == 1, "version", "must be 1")
    require(payload_checksum == checksum(payload[16:]), "payload_checksum", "does not match")
    require(dtype < len(DTYPES), "dtype", "is unknown")
    require(codec < len(CODECS), "codec", "is unknown")
    require(packing < len(PACKINGS), "packing", "is unknown")
    has_shape = rank <= 64 and len(payload) >= HEADER_BYTES + 8 * rank
    require(has_shape, "rank", "must be at most 64, with the shape in the payload")
    require(row_dims <= rank, "row_dims", "must be at most the rank")
    require(index_bits <= 48, "index_bits", "must be at most 48")
    shape = struct.unpack_from(f"<{rank}Q", payload, HEADER_BYTES)

    num_rows = math.prod(shape[: rank - row_dims])
    row_bytes = math.prod(shape[rank - row_dims :]) * ELEMENT_BYTES[DTYPES[dtype]]
    data_bytes = num_rows * row_bytes
    element_bytes = ELEMENT_BYTES[DTYPES[dtype]]
    require(math.prod(d for d in shape if d) * element_bytes < 2**62, "shape", "must be below 2^62 bytes")
    is_tiled = tile_bytes != row_bytes
    if is_tiled:
        allowed = PACKINGS[packing] == "packed" and CODEC_NAMES[codec] != "raw"
        require(allowed, "tile_bytes", "must be row_bytes when slotted and with codec raw")
        require(1 <= tile_bytes <= min(data_bytes, 2**20), "tile_bytes", "must be at most the tensor and 2^20")
        require(tile_bytes % element_bytes == 0, "tile_bytes", "must be a multiple of the element's size")
        num_rows, row_bytes = ceil_div(data_bytes, tile_bytes), tile_bytes
    map_bytes = 0
    if num_repeats != 0:
        allowed = PACKINGS[packing] == "packed" and not is_tiled and row_bytes > 0
        require(allowed, "num_repeats", "must be 0 when slotted, with tiles that are not rows and with empty rows")
        require(num_repeats < num_rows, "num_repeats", "must be below num_rows")
        map_bytes = ceil_div(num_rows * map_bits(num_rows - num_repeats), 8)
    if CODEC_NAMES[codec] == "raw":
        require(row_unit == row_bytes, "row_unit", "must be row_bytes with codec raw")
        require(index_bits == 0, "index_bits", "must be 0 with codec raw")
    return Header(
        DTYPES[dtype], shape, CODEC_NAMES[codec], PACKINGS[packing], index_bits, data_checksum,
        (plan_bytes, map_bytes, index_bytes, rows_bytes, overflow_bytes), row_unit, data_bytes,
        num_rows - num_repeats, row_bytes, num_repeats,
    )  # fmt: skip


def split_sections(payload: bytes, header: Header) -> list[bytes]:
    """Return the sections: plan, map, index, rows and overflow."""
    alignment = 128 if header.packing == "slotted" else 16
    sections = []
    position = HEADER_BYTES + 8 * len(header.shape)
    for size in header.section_bytes:
        start = position + -position % alignment
        sections.append(payload[start : start + size])
        position = start + size
    require(len(payload) == position + -position % alignment, "payload", "must have the size that its sections give")
    return sections


def decode_payload(payload: bytes) -> Tensor:
    """Decode one payload.

    Parameters
    ----------
    payload : bytes
        The whole payload, with its header.

    Returns
    -------
    tuple
        The name of the dtype, the shape, and the bytes of the tensor.

    Raises
    ------
    ValueError
        If the payload breaks the format or a checksum does not match.
    """
    header = parse_header(payload)
    plan_bytes, row_map, index, rows, overflow = split_sections(payload, header)
    codec = CODECS[header.codec]
    plan = codec.parse_plan(plan_bytes, header.row_bytes)
    if header.packing == "packed":
        stored_rows = packed_rows(header, index, rows, overflow)
    else:
        stored_rows = slotted_rows(header, index, rows, overflow)
    decoded = [row if is_raw else codec.decode_row(row, plan) for row, is_raw in stored_rows]
    if header.num_repeats:
        decoded = repeat_rows(header, row_map, b"".join(decoded))
    data = b"".join(decoded)[: header.data_bytes]  # the last tile may have room for more than there is
    require(header.data_checksum == checksum(data), "data_checksum", "does not match")
    return header.dtype, header.shape, data


def map_bits(num_stored: int) -> int:
    """Return the width of a field of the map."""
    return (num_stored - 1).bit_length()


def repeat_rows(header: Header, row_map: bytes, stored: bytes) -> list[bytes]:
    """Return each row of the tensor: the stored row that the map names."""
    numbers = unpack_fields(row_map, header.num_rows + header.num_repeats, map_bits(header.num_rows))
    require(np.all(numbers < header.num_rows), "map", "must name stored rows")
    size = header.row_bytes
    return [stored[int(number) * size : (int(number) + 1) * size] for number in numbers]
