"""A decoder for the Stillbit format, version 1, written from its specification and for reading beside it.

It favours plainness over speed. Its parts have the order of ``docs/format.md`` and of the page of codec ``ibp``,
``src/codecs/ibp/spec.md``. Whatever breaks the format raises a ``ValueError`` that begins with the name of the field.

Usage: ``python docs/reference_decoder.py FILE`` prints one line per tensor of a compressed file.
"""

from __future__ import annotations

import itertools
import json
import math
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import xxhash

Bits = npt.NDArray[np.uint8]  # one element per bit, 0 or 1
Tensor = tuple[str, tuple[int, ...], bytes]  # dtype, shape, data
T = TypeVar("T")

ELEMENT_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8, "F8_E4M3": 1,
    "F8_E5M2": 1, "F8_E8M0": 1, "F16": 2, "BF16": 2, "F32": 4, "F64": 8, "C64": 8, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
}  # fmt: skip
DTYPES = list(ELEMENT_BYTES)  # a dtype's code is its place
CODECS = ["raw", "ibp"]
PACKINGS = ["packed", "slotted"]
BLOCK_ROWS = 64
TAIL_BYTES = 13  # tail_offset, tail_bytes and tag at the end of a slot


def require(condition: bool, field: str, rule: str) -> None:
    """Reject the input where ``condition`` does not hold, naming the field."""
    if not condition:
        raise ValueError(f"{field}: {rule}")


def unpack_bits(data: bytes) -> Bits:
    """Return the bit stream in ``data``; every byte is filled from its least significant bit."""
    return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")


def unpack_fields(data: bytes, count: int, width: int) -> npt.NDArray[np.int64]:
    """Return ``count`` fields of ``width`` bits each, least significant bit first."""
    bits = unpack_bits(data)[: count * width].reshape(count, width).astype(np.int64)
    return bits @ (np.int64(1) << np.arange(width, dtype=np.int64))


# Payload ---------------------------------------------------------------------------------------------------------


class Header(NamedTuple):
    """The fields of a payload's header. ``num_rows`` and ``row_bytes`` are those of tiles from here on."""

    dtype: str
    shape: tuple[int, ...]
    codec: str
    packing: str
    index_bits: int
    data_checksum: int
    section_bytes: tuple[int, int, int, int]
    row_unit: int
    data_bytes: int
    num_rows: int
    row_bytes: int


def parse_header(payload: bytes) -> Header:
    """Read and check the header (sections "Rows", "Payload" and "Tiles")."""
    require(len(payload) >= 80, "payload", "must have at least 80 bytes")
    magic, payload_checksum = struct.unpack_from("<8sQ", payload, 0)
    require(magic == b"STILLBIT", "magic", "must be STILLBIT")
    version, dtype, codec, packing, rank, row_dims, index_bits = struct.unpack_from("<H6B", payload, 16)
    data_checksum, *section_bytes, row_unit, tile_bytes = struct.unpack_from("<7Q", payload, 24)
    require(version == 1, "version", "must be 1")
    require(payload_checksum == checksum(payload[16:]), "payload_checksum", "does not match")
    require(dtype < len(DTYPES), "dtype", "is unknown")
    require(codec < len(CODECS), "codec", "is unknown")
    require(packing < len(PACKINGS), "packing", "is unknown")
    require(rank <= 64 and len(payload) >= 80 + 8 * rank, "rank", "must be at most 64, with the shape in the payload")
    require(row_dims <= rank, "row_dims", "must be at most the rank")
    require(index_bits <= 48, "index_bits", "must be at most 48")
    shape = struct.unpack_from(f"<{rank}Q", payload, 80)

    num_rows = math.prod(shape[: rank - row_dims])
    row_bytes = math.prod(shape[rank - row_dims :]) * ELEMENT_BYTES[DTYPES[dtype]]
    data_bytes = num_rows * row_bytes
    element_bytes = ELEMENT_BYTES[DTYPES[dtype]]
    require(math.prod(d for d in shape if d) * element_bytes < 2**62, "shape", "must be below 2^62 bytes")
    if tile_bytes != row_bytes:
        allowed = PACKINGS[packing] == "packed" and CODECS[codec] != "raw"
        require(allowed, "tile_bytes", "must be row_bytes when slotted and with codec raw")
        require(1 <= tile_bytes <= min(data_bytes, 2**20), "tile_bytes", "must be at most the tensor and 2^20")
        require(tile_bytes % element_bytes == 0, "tile_bytes", "must be a multiple of the element's size")
        num_rows, row_bytes = -(-data_bytes // tile_bytes), tile_bytes
    if CODECS[codec] == "raw":
        require(
            row_unit == row_bytes and index_bits == 0, "row_unit, index_bits", "must be row_bytes and 0 with codec raw"
        )
    return Header(
        DTYPES[dtype], shape, CODECS[codec], PACKINGS[packing], index_bits, data_checksum,
        tuple(section_bytes), row_unit, data_bytes, num_rows, row_bytes,
    )  # fmt: skip


def split_sections(payload: bytes, header: Header) -> list[bytes]:
    """Return the sections: plan, index, rows and overflow."""
    alignment = 128 if header.packing == "slotted" else 16
    sections = []
    position = 80 + 8 * len(header.shape)
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
    plan_bytes, index, rows, overflow = split_sections(payload, header)
    plan = parse_plan(plan_bytes, header.row_bytes) if header.codec == "ibp" else None
    require(plan is not None or not plan_bytes, "plan_bytes", "must be 0 with codec raw")
    if header.packing == "packed":
        stored_rows = packed_rows(header, index, rows, overflow)
    else:
        stored_rows = slotted_rows(header, index, rows, overflow)
    decoded = []
    for row, is_raw in stored_rows:
        if not is_raw:
            if plan is None:
                raise ValueError("row: must be raw with codec raw")
            row = decode_row(row, plan)
        decoded.append(row)
    data = b"".join(decoded)[: header.data_bytes]  # the last tile may have room for more than there is
    require(header.data_checksum == checksum(data), "data_checksum", "does not match")
    return header.dtype, header.shape, data


# Packing 0: packed -----------------------------------------------------------------------------------------------


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
    num_blocks = -(-header.num_rows // BLOCK_ROWS)
    entry_bytes = 8 + 8 * header.index_bits
    require(len(index) == num_blocks * entry_bytes, "index_bytes", "must be one entry for each block of rows")
    starts = []
    for entry in range(0, len(index), entry_bytes):
        base = int.from_bytes(index[entry : entry + 8], "little")
        deltas = unpack_fields(index[entry + 8 : entry + entry_bytes], BLOCK_ROWS, header.index_bits)
        starts += [base + j * header.row_unit + int(delta) for j, delta in enumerate(deltas)]
    return starts[: header.num_rows]


# Packing 1: slotted ----------------------------------------------------------------------------------------------


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


# Checksums -------------------------------------------------------------------------------------------------------


def checksum(data: bytes) -> int:
    """Return the XXH3-64 digest of the joined digests of the pieces of 1 MiB."""
    pieces = (data[start : start + 2**20] for start in range(0, len(data), 2**20))
    return xxhash.xxh3_64_intdigest(b"".join(struct.pack("<Q", xxhash.xxh3_64_intdigest(piece)) for piece in pieces))


# File ------------------------------------------------------------------------------------------------------------


def member(parent: Any, key: str, kind: type[T]) -> T:
    """Return a member of a JSON object, which must have the given type."""
    require(isinstance(parent, dict) and key in parent, key, "is missing")
    require(type(parent[key]) is kind, key, f"must be of type {kind.__name__}")
    value: T = parent[key]
    return value


def string_map(parent: Any, key: str) -> dict[str, str]:
    """Return a member of a JSON object, which must be an object of strings."""
    value = member(parent, key, dict)
    require(all(isinstance(text, str) for text in value.values()), key, "must map strings to strings")
    return value


def parse_json(text: bytes | str, field: str) -> Any:
    """Parse a JSON text, in which no object may have a key twice."""

    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("must not have a key twice")
        return dict(pairs)

    try:
        return json.loads(text if isinstance(text, str) else text.decode(), object_pairs_hook=as_dict)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{field}: {error}") from error


def read_container(file: bytes) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return the metadata and the payloads of a safetensors file: its header's size, its header as JSON, its data."""
    header_bytes = int.from_bytes(file[:8], "little")
    require(8 <= 8 + header_bytes <= len(file), "header size", "must lie within the file")
    header = parse_json(file[8 : 8 + header_bytes], "header")
    metadata = string_map(header, "__metadata__")
    data = file[8 + header_bytes :]
    payloads, spans = {}, []
    for key in header.keys() - {"__metadata__"}:
        entry = member(header, key, dict)
        shape, offsets = member(entry, "shape", list), member(entry, "data_offsets", list)
        require(member(entry, "dtype", str) == "U8", "dtype", "a payload must be stored as U8")
        require(len(offsets) == 2 and all(type(o) is int for o in offsets), "data_offsets", "must be two integers")
        require(shape == [offsets[1] - offsets[0]], "shape", "a payload must have one dimension, its size")
        payloads[key] = data[offsets[0] : offsets[1]]
        spans.append((offsets[0], offsets[1]))
    ends = [0, *(end for _, end in sorted(spans))]
    require([*(start for start, _ in sorted(spans)), len(data)] == ends, "data_offsets", "must cover the data once")
    return metadata, payloads


def read_file(path: str | Path) -> dict[str, Tensor]:
    """Decode every tensor of a compressed file.

    Parameters
    ----------
    path : str or Path
        A compressed ``.safetensors`` file.

    Returns
    -------
    dict
        By name, in the order of the source: the dtype, the shape, and the bytes of the tensor.

    Raises
    ------
    ValueError
        If the file or a payload breaks the format, or if a checksum does not match.
    """
    metadata, payloads = read_container(Path(path).read_bytes())
    text = member(metadata, "stillbit", str)
    digest = f"{xxhash.xxh3_64_intdigest(text.encode()):016x}"
    require(member(metadata, "stillbit.checksum", str) == digest, "stillbit.checksum", "does not match")
    manifest = parse_json(text, "stillbit")
    require(member(manifest, "version", int) == 1, "version", "must be 1")
    source_format = string_map(manifest, "metadata").get("format")
    require(metadata.get("format") == source_format, "format", "must be the manifest's")
    tensors: dict[str, Tensor] = {}
    named = set()
    for entry in member(manifest, "tensors", list):
        name, key = member(entry, "name", str), member(entry, "payload", str)
        require(name not in tensors, "name", f"{name!r} must be unique")
        require(key in payloads, "payload", f"{key!r} is missing")
        header = parse_header(payloads[key])
        for field, value in (("dtype", header.dtype), ("codec", header.codec), ("packing", header.packing)):
            require(member(entry, field, str) == value, field, f"of {name!r} must be what the payload says")
        require(member(entry, "shape", list) == list(header.shape), "shape", f"of {name!r} must be the payload's")
        tensors[name] = decode_payload(payloads[key])
        named.add(key)
    require(named == payloads.keys(), "payload", "every payload must be named by a tensor")
    return tensors


# Codec ibp -------------------------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """The plan: for each column (first axis), the bits of its entry's words, and whether it is checked.

    ``num_checked`` and ``num_free`` are P and F.
    """

    value: Bits
    free: npt.NDArray[np.bool_]
    patch: npt.NDArray[np.bool_]
    checked: npt.NDArray[np.bool_]
    num_checked: int
    num_free: int


def parse_plan(plan: bytes, row_bytes: int) -> Plan:
    """Read and check the plan."""
    require(len(plan) >= 8, "plan_bytes", "must be at least 8")
    view_bytes, entry_bits, reserved, num_entries = struct.unpack_from("<BBHI", plan)
    require(1 <= row_bytes <= 2**20, "row_bytes", "must be from 1 to 2^20 with codec ibp")
    require(view_bytes in (1, 2, 4, 8) and row_bytes % view_bytes == 0, "view_bytes", "must divide row_bytes")
    require(1 <= num_entries <= 65536, "num_entries", "must be from 1 to 65536")
    require(entry_bits == (num_entries - 1).bit_length(), "entry_bits", "must be the bits of num_entries - 1")
    require(reserved == 0, "reserved", "must be 0")
    columns = row_bytes // view_bytes
    entries_end = 8 + 3 * view_bytes * num_entries
    require(len(plan) == entries_end + -(-columns * entry_bits // 8), "plan_bytes", "must be the size of the plan")
    value, mask, constant = unpack_bits(plan[8:entries_end]).reshape(num_entries, 3, 8 * view_bytes).swapaxes(0, 1)
    require(not np.any(constant & ~mask), "constant", "must be a subset of mask")
    require(not np.any(value & ~mask), "value", "must be a subset of mask")
    entry = unpack_fields(plan[entries_end:], columns, entry_bits)
    require(bool(np.all(entry < num_entries)), "column_entries", "must be below num_entries")
    free, patch = mask[entry] == 0, (mask & ~constant)[entry] == 1
    checked = np.asarray(patch.any(axis=1))
    num_checked, num_free = int(np.count_nonzero(checked)), int(np.count_nonzero(free))
    require(-(-(num_checked + num_free) // 8) < row_bytes, "plan", "must make rows smaller than row_bytes")
    return Plan(value[entry], free, patch, checked, num_checked, num_free)


def decode_row(row: bytes, plan: Plan) -> bytes:
    """Decode one row, which may be followed by bytes without meaning."""
    stream = unpack_bits(row)
    patches_start = plan.num_checked + plan.num_free
    require(len(stream) >= patches_start, "row", "must hold its participation bits and free bits")
    deviates = np.zeros(len(plan.checked), np.bool_)
    deviates[plan.checked] = stream[: plan.num_checked] == 0
    patched = plan.patch & deviates[:, np.newaxis]
    patches = stream[patches_start : patches_start + np.count_nonzero(patched)]
    require(len(patches) == np.count_nonzero(patched), "row", "must hold the patches that it announces")
    words = plan.value.copy()
    words[plan.free] = stream[plan.num_checked : patches_start]  # in order: column after column, from the low end
    words[patched] ^= patches
    return np.packbits(words, axis=1, bitorder="little").tobytes()


def main() -> None:
    """Print one line per tensor of the file named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/reference_decoder.py FILE")
    for name, (dtype, shape, _) in read_file(sys.argv[1]).items():
        print(name, dtype, "x".join(map(str, shape)) or "scalar", "checksum ok")


if __name__ == "__main__":
    main()
