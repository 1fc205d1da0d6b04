"""Codec ``escape``; see ``src/codecs/escape/spec.md``."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from bits import Words, as_words, ceil_div, check_view, low_bits, require, unpack_bits, unpack_fields, word_type

SYMBOL_BITS = {1: (1, 7), 2: (2, 8), 4: (4, 8), 8: (8, 12)}  # by view_bytes: from, to
BLOCK_CODES = 64


class Plan(NamedTuple):
    """The plan. ``tables`` has a table for each tier, with a 0 in front for the escape; ``shifts``, one per column."""

    view_bytes: int
    sign_bits: int
    symbol_bits: int
    dropped_bits: int
    tier_bits: list[int]
    row_shifts: int
    tables: list[Words]
    shifts: Words

    @property
    def rest_bits(self) -> int:
        """Bits of a word below the symbol that are stored."""
        return 8 * self.view_bytes - 1 - self.symbol_bits - self.dropped_bits

    @property
    def fixed_bits(self) -> int:
        """Bits of a word that are stored as they are."""
        return self.rest_bits + self.sign_bits

    @property
    def symbol_size(self) -> int:
        """Bytes of a symbol that is written out."""
        return 2 if self.view_bytes == 8 else 1

    @property
    def num_counts(self) -> int:
        """Tiers whose number of codes a row says."""
        return len(self.tier_bits) - 1

    @property
    def count_bits(self) -> int:
        """Bits of each of these numbers."""
        return len(self.shifts).bit_length()


def parse_plan(plan: bytes, row_bytes: int) -> Plan:
    """Read and check the plan."""
    require(len(plan) >= 16, "plan_bytes", "must be at least 16")
    view_bytes, sign_bits, symbol_bits, dropped_bits, num_tiers = plan[:5]
    tier_bits, row_shifts, reserved = list(plan[5:8]), plan[8], plan[9:12]
    (num_column_shifts,) = struct.unpack_from("<I", plan, 12)
    columns = check_view(view_bytes, row_bytes, 2**16)
    require(sign_bits <= 1, "sign_bits", "must be 0 or 1")
    fewest, most = SYMBOL_BITS[view_bytes]
    require(fewest <= symbol_bits <= most, "symbol_bits", f"must be from {fewest} to {most}")
    require(dropped_bits <= 8 * view_bytes - 1 - symbol_bits, "dropped_bits", "must leave the sign and the symbol")
    require(1 <= num_tiers <= 3, "num_tiers", "must be 1, 2 or 3")
    require(all(1 <= bits <= 4 for bits in tier_bits[:num_tiers]), "tier_bits", "must be from 1 to 4")
    require(not any(tier_bits[num_tiers:]), "tier_bits", "must be 0 for tiers that do not exist")
    require(row_shifts <= 1, "row_shifts", "must be 0 or 1")
    require(not any(reserved), "reserved", "must be 0")
    divides = num_column_shifts == 0 or columns % num_column_shifts == 0
    require(divides, "num_column_shifts", "must be 0 or divide the columns")

    sizes = [2**bits - 1 for bits in tier_bits[:num_tiers]]
    require(len(plan) == 16 + 2 * (sum(sizes) + num_column_shifts), "plan_bytes", "must be the size of the plan")
    symbols = np.frombuffer(plan, "<u2", offset=16).astype(np.uint64)
    *tables, column_shifts = np.split(symbols, np.cumsum(sizes))
    require(all(np.all(table < 2**symbol_bits) for table in tables), "tables", "must be below 2^symbol_bits")
    require(np.all(column_shifts < 2**symbol_bits), "column_shifts", "must be below 2^symbol_bits")
    shifts = np.tile(column_shifts, columns // num_column_shifts) if num_column_shifts else np.zeros(columns, np.uint64)
    parsed = Plan(
        view_bytes, sign_bits, symbol_bits, dropped_bits, tier_bits[:num_tiers], row_shifts,
        [np.concatenate(([np.uint64(0)], table)) for table in tables], shifts,
    )  # fmt: skip
    first_bytes = ceil_div(columns * parsed.fixed_bits, 8) + ceil_div(columns * tier_bits[0], 8)
    counts_bytes = ceil_div(parsed.num_counts * parsed.count_bits, 8)
    smallest = first_bytes + row_shifts * parsed.symbol_size + counts_bytes
    require(smallest < row_bytes, "plan", "must make rows smaller than row_bytes")
    return parsed


def unpack_first_codes(plane: bytes, count: int, width: int) -> Words:
    """Return the codes of the first tier: blocks of 64, and what is left over one after the other."""
    num_blocks = count // BLOCK_CODES
    codes = np.zeros((num_blocks, BLOCK_CODES, width), np.uint8)  # the bits of each
    blocks = unpack_bits(plane[: num_blocks * 8 * width]).reshape(num_blocks, 64 * width)
    for low in range(0, width - 1, 2):
        pairs = blocks[:, 64 * low : 64 * (low + 2)].reshape(num_blocks, 16, 4, 2)  # byte i, place j, bit
        codes[:, :, low : low + 2] = pairs.swapaxes(1, 2).reshape(num_blocks, BLOCK_CODES, 2)  # code i + 16 j
    if width % 2 == 1:
        codes[:, :, -1] = blocks[:, -64:]
    rest = unpack_fields(plane[num_blocks * 8 * width :], count % BLOCK_CODES, width)
    return np.concatenate((as_words(codes.reshape(-1, width)), rest))


def decode_row(row: bytes, plan: Plan) -> bytes:
    """Decode one row, which may be followed by bytes without meaning."""
    position = 0

    def take(size: int) -> bytes:
        nonlocal position
        require(position + size <= len(row), "row", "must hold its planes and symbols")
        position += size
        return row[position - size : position]

    columns = len(plan.shifts)
    fixed = unpack_fields(take(ceil_div(columns * plan.fixed_bits, 8)), columns, plan.fixed_bits)
    codes = unpack_first_codes(take(ceil_div(columns * plan.tier_bits[0], 8)), columns, plan.tier_bits[0])
    row_shift = int.from_bytes(take(plan.symbol_size), "little") if plan.row_shifts else 0
    counts = unpack_fields(take(ceil_div(plan.num_counts * plan.count_bits, 8)), plan.num_counts, plan.count_bits)
    symbols = plan.tables[0][codes]
    escaped = np.flatnonzero(codes == 0)  # the columns that have a code in the next tier
    for bits, table, count in zip(plan.tier_bits[1:], plan.tables[1:], counts, strict=True):
        require(len(escaped) == count, "row", "must have as many codes as it says")
        codes = unpack_fields(take(ceil_div(len(escaped) * bits, 8)), len(escaped), bits)
        symbols[escaped] = table[codes]
        escaped = escaped[codes == 0]
    symbols[escaped] = np.frombuffer(take(plan.symbol_size * len(escaped)), word_type(plan.symbol_size))

    symbols = (symbols + np.uint64(row_shift) + plan.shifts) & low_bits(plan.symbol_bits)
    sign = fixed >> np.uint64(plan.rest_bits)  # 0 where there is none
    rest = fixed & low_bits(plan.rest_bits)
    words: Words = (
        sign << np.uint64(8 * plan.view_bytes - 1)
        | symbols << np.uint64(plan.rest_bits + plan.dropped_bits)
        | rest << np.uint64(plan.dropped_bits)
    )
    return words.astype(word_type(plan.view_bytes)).tobytes()
