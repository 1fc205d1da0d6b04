"""Codec ``dictionary``; see ``src/codecs/dictionary/spec.md``."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from bits import (
    Bits,
    Words,
    ceil_div,
    check_view,
    fields_at,
    require,
    unpack_bits,
    unpack_fields,
    word_type,
)


class Kind(NamedTuple):
    """How the words of a column become numbers, and how those are coded."""

    code_bits: int
    has_sign: bool
    has_misses: bool
    shift: int
    number_bits: int
    value_bits: int  # X - shift: those of number + base
    base: int
    entries: Words

    @property
    def num_entries(self) -> int:
        """Entries of the dictionary."""
        return len(self.entries)

    @property
    def is_window(self) -> bool:
        """Whether a code is the number itself."""
        return len(self.entries) == 0

    @property
    def has_marker(self) -> bool:
        """Whether the code of all ones stands for a patch."""
        return self.has_misses or len(self.entries) > 2**self.code_bits

    @property
    def coded(self) -> int:
        """Entries that have a code."""
        return min(len(self.entries), (1 << self.code_bits) - self.has_marker)

    @property
    def patch_bits(self) -> int:
        """Width of a patch code, which the other entries have."""
        rest = len(self.entries) - self.coded
        if not self.has_marker or self.is_window:
            return 0
        return rest.bit_length() if self.has_misses else (rest - 1).bit_length()


class Plan(NamedTuple):
    """The plan. ``column`` has, by name, what a ``Kind`` says, for each column."""

    view_bytes: int
    column: dict[str, Words]
    entries: Words  # of all kinds, one after the other
    fields_bits: int


def parse_kind(data: bytes, view_bytes: int) -> tuple[Kind, int]:
    """Read and check the kind at the start of ``data``; return it and its size."""
    require(len(data) >= 6 + view_bytes, "plan_bytes", "must be the size of the plan")
    code_bits, flags, shift, number_bits, num_entries = struct.unpack_from("<BBBBH", data)
    base = int.from_bytes(data[6 : 6 + view_bytes], "little")
    require(flags <= 3, "flags", "must have no bit but has_sign and has_misses")
    has_sign, has_misses = bool(flags & 1), bool(flags & 2)
    magnitude_bits = 8 * view_bytes - has_sign
    require(shift < magnitude_bits, "shift", "must be below the bits of a magnitude")
    value_bits = magnitude_bits - shift
    require(number_bits <= value_bits, "number_bits", "must be at most the bits that are not shifted out")
    require(num_entries <= 2**number_bits, "num_entries", "must be at most 2^number_bits")
    require(base < 2**value_bits, "base", "must have no more bits than a value")
    if num_entries == 0:
        require(code_bits <= number_bits, "code_bits", "must be at most number_bits")
        require(has_misses == (code_bits < number_bits), "flags", "has_misses must say whether there can be misses")
    else:
        fits = code_bits <= 16 and 2**code_bits <= 2 * num_entries
        require(fits, "code_bits", "must be at most 16, and 2^code_bits at most 2 x num_entries")
    end = 6 + view_bytes + ceil_div(num_entries * number_bits, 8)
    require(len(data) >= end, "plan_bytes", "must be the size of the plan")
    entries = unpack_fields(data[6 + view_bytes : end], num_entries, number_bits)
    return Kind(code_bits, has_sign, has_misses, shift, number_bits, value_bits, base, entries), end


def parse_plan(plan: bytes, row_bytes: int) -> Plan:
    """Read and check the plan."""
    require(len(plan) >= 12, "plan_bytes", "must be at least 12")
    view_bytes, kind_bits, reserved, num_kinds, period_columns = struct.unpack_from("<BBHII", plan)
    columns = check_view(view_bytes, row_bytes, 65536 * view_bytes)
    require(1 <= num_kinds <= 65536, "num_kinds", "must be from 1 to 65536")
    require(kind_bits == (num_kinds - 1).bit_length(), "kind_bits", "must be the bits of num_kinds - 1")
    require(reserved == 0, "reserved", "must be 0")
    require(period_columns > 0 and columns % period_columns == 0, "period_columns", "must divide the columns")
    kinds, position = [], 12
    for _ in range(num_kinds):
        kind, size = parse_kind(plan[position:], view_bytes)
        kinds.append(kind)
        position += size
    require(sum(len(kind.entries) for kind in kinds) <= 2**22, "num_entries", "must be at most 2^22 in sum")
    numbers_bytes = ceil_div(period_columns * kind_bits, 8)
    require(len(plan) == position + numbers_bytes, "plan_bytes", "must be the size of the plan")
    of_period = unpack_fields(plan[position:], period_columns, kind_bits)
    require(np.all(of_period < num_kinds), "column_kinds", "must be below num_kinds")
    column_kinds = np.tile(of_period, columns // period_columns)

    names = [
        "code_bits", "has_sign", "has_misses", "shift", "number_bits", "value_bits", "base",
        "is_window", "has_marker", "coded", "patch_bits", "num_entries",
    ]  # fmt: skip
    column = {name: np.array([getattr(kind, name) for kind in kinds], np.uint64)[column_kinds] for name in names}
    column["first_entry"] = np.cumsum([0] + [kind.num_entries for kind in kinds], dtype=np.uint64)[column_kinds]
    fields_bits = int(np.sum(column["has_sign"] + column["code_bits"]))
    require(ceil_div(fields_bits, 8) < row_bytes, "plan", "must make rows smaller than row_bytes")
    # One more entry, so that there always is one to look at.
    entries = np.concatenate([kind.entries for kind in kinds] + [np.zeros(1, np.uint64)])
    return Plan(view_bytes, column, entries, fields_bits)


def take_fields(stream: Bits, start: int, widths: Words) -> tuple[Words, int]:
    """Return the fields of the given widths that follow each other from bit ``start`` on, and where they end."""
    sizes = widths.astype(np.int64)
    end = start + int(np.sum(sizes))
    require(end <= len(stream), "row", "must hold its fields, and the patches and misses that they announce")
    return fields_at(stream, start + np.cumsum(sizes) - sizes, sizes), end


def all_ones(widths: Words) -> Words:
    """Return the fields of the given widths whose bits are all ones."""
    return (np.uint64(1) << widths) - np.uint64(1)


def decode_row(row: bytes, plan: Plan) -> bytes:
    """Decode one row, which may be followed by bytes without meaning."""
    stream, column = unpack_bits(row), plan.column
    # A sign, of 0 or 1 bits, and a code for each column; then a patch for each marker, and a number for each miss.
    widths = np.stack((column["has_sign"], column["code_bits"]), axis=1)
    fields, position = take_fields(stream, 0, widths.reshape(-1))
    signs, codes = fields.reshape(-1, 2).T
    patched = (column["has_marker"] == 1) & (codes == all_ones(column["code_bits"]))
    patches = np.zeros_like(codes)
    patches[patched], position = take_fields(stream, position, column["patch_bits"][patched])
    missed = patched & (column["has_misses"] == 1) & (patches == all_ones(column["patch_bits"]))

    entry = np.where(patched, column["coded"] + patches, codes)
    has_entry = entry < np.where(patched, column["num_entries"], column["coded"])
    numbers = np.where(has_entry, plan.entries[np.where(has_entry, column["first_entry"] + entry, 0)], np.uint64(0))
    numbers = np.where(column["is_window"] == 1, codes, numbers)
    numbers[missed], position = take_fields(stream, position, column["number_bits"][missed])

    values = (numbers + column["base"]) & np.where(
        column["value_bits"] == 64, ~np.uint64(0), all_ones(column["value_bits"] % np.uint64(64))
    )
    words = values << column["shift"] | signs << np.uint64(8 * plan.view_bytes - 1)
    return words.astype(word_type(plan.view_bytes)).tobytes()
