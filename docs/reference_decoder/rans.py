"""Codec ``rans``; see ``src/codecs/rans/spec.md``."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from bits import Words, ceil_div, check_view, low_bits, require, unpack_bits, unpack_fields, word_type

NUM_STATES = 32
SEED_BYTES = 64


class Plan(NamedTuple):
    """The plan. ``tables`` has for each table the index of each slot, and each index's frequency and first slot."""

    view_bytes: int
    sign_bits: int
    symbol_bits: int
    dropped_bits: int
    scale_bits: int
    has_escapes: int
    num_segment_levels: int
    num_symbols: int
    segment_columns: int
    columns: int
    column_levels: list[int]  # of each column
    symbols: list[int]  # of each index
    tables: list[tuple[list[int], list[int], list[int]]]

    @property
    def fixed_bits(self) -> int:
        """Bits of a word that are stored as they are."""
        return 8 * self.view_bytes - self.symbol_bits - self.dropped_bits

    @property
    def symbol_size(self) -> int:
        """Bytes of a symbol that is written out."""
        return 2 if self.symbol_bits > 8 else 1

    @property
    def num_segments(self) -> int:
        """Segments of a row that have a level."""
        return ceil_div(self.columns, self.segment_columns) if self.segment_columns else 0

    @property
    def level_bits(self) -> int:
        """Width of a segment's level."""
        return (self.num_segment_levels - 1).bit_length()

    @property
    def fixed_bytes(self) -> int:
        """Bytes of all fixed fields of a row."""
        return ceil_div(self.columns * self.fixed_bits, 8)

    @property
    def minimum_row_bytes(self) -> int:
        """Bytes that every encoded row has."""
        levels = ceil_div(self.num_segments * self.level_bits, 8)
        return 4 * NUM_STATES + 2 * self.has_escapes + levels + max(self.fixed_bytes - SEED_BYTES, 0)


def parse_plan(plan: bytes, row_bytes: int) -> Plan:
    """Read and check the plan."""
    require(len(plan) >= 24, "plan_bytes", "must be at least 24")
    view_bytes, sign_bits, symbol_bits, dropped_bits, scale_bits, has_escapes, segment_levels, column_levels = plan[:8]
    num_symbols, num_first, first_symbol, second_symbol = struct.unpack_from("<4H", plan, 8)
    segment_columns, period = struct.unpack_from("<2I", plan, 16)
    columns = check_view(view_bytes, row_bytes, 2**16)
    require(sign_bits <= 1, "sign_bits", "must be 0 or 1")
    most = 8 - sign_bits if view_bytes == 1 else 14
    require(view_bytes <= symbol_bits <= most, "symbol_bits", f"must be from {view_bytes} to {most}")
    require(dropped_bits <= 8 * view_bytes - sign_bits - symbol_bits, "dropped_bits", "must leave sign and symbol")
    require(8 <= scale_bits <= 12, "scale_bits", "must be from 8 to 12")
    require(has_escapes <= 1, "has_escapes", "must be 0 or 1")
    require(1 <= segment_levels <= 16, "num_segment_levels", "must be from 1 to 16")
    num_tables = segment_levels + column_levels - 1
    require(column_levels > 0 and num_tables <= 16, "num_column_levels", "must be above 0, with at most 16 tables")
    require(1 + has_escapes <= num_symbols <= 256, "num_symbols", "must be at most 256, with a symbol at least")
    require(num_first <= num_symbols, "num_first", "must be at most num_symbols")
    require(first_symbol < 2**symbol_bits, "first_symbol", "must be below 2^symbol_bits")
    require(second_symbol < 2**symbol_bits, "second_symbol", "must be below 2^symbol_bits")
    has_segments = segment_levels > 1
    allowed = 1 <= segment_columns <= columns if has_segments else segment_columns == 0
    require(allowed, "segment_columns", "must be 0 with one level, and from 1 to the columns otherwise")
    allowed = period > 0 and columns % period == 0 if column_levels > 1 else period == 0
    require(allowed, "period", "must be 0 with one level, and divide the columns otherwise")

    tables_at = 24 + ceil_div(period, 2)
    require(len(plan) >= tables_at, "plan_bytes", "must hold the levels of the columns")
    levels = [int(level) for level in unpack_fields(plan[24:tables_at], period, 4)]
    require(all(level < column_levels for level in levels), "column_levels", "must be below num_column_levels")
    tables = [
        slots_of(frequencies) for frequencies in read_tables(plan[tables_at:], num_tables, num_symbols, scale_bits)
    ]
    symbols = [
        (first_symbol + j if j < num_first else second_symbol + j - num_first) % 2**symbol_bits
        for j in range(num_symbols)
    ]
    parsed = Plan(
        view_bytes, sign_bits, symbol_bits, dropped_bits, scale_bits, has_escapes, segment_levels, num_symbols,
        segment_columns, columns, levels * (columns // period) if period else [0] * columns, symbols, tables,
    )  # fmt: skip
    require(parsed.minimum_row_bytes < row_bytes, "plan", "must make rows smaller than row_bytes")
    return parsed


def read_tables(stream: bytes, num_tables: int, num_symbols: int, scale_bits: int) -> list[list[int]]:
    """Read the frequencies of all tables, which fill the stream."""
    bits = [int(bit) for bit in unpack_bits(stream)]
    position = 0

    def take(count: int) -> int:
        nonlocal position
        require(position + count <= len(bits), "tables", "must lie within the plan")
        position += count
        return sum(bit << i for i, bit in enumerate(bits[position - count : position]))

    tables = []
    for _ in range(num_tables):
        frequencies: list[int] = []
        length = 0
        for _ in range(num_symbols):
            ones = 0
            while take(1) == 1:
                ones += 1
            length += (ones + 1) // 2 if ones % 2 == 1 else -(ones // 2)
            require(0 <= length <= scale_bits + 1, "tables", "must have frequencies of at most scale_bits + 1 bits")
            frequencies.append(0 if length == 0 else 1 << (length - 1) | take(length - 1))
        require(sum(frequencies) == 2**scale_bits, "tables", "must have the sum 2^scale_bits")
        tables.append(frequencies)
    require(ceil_div(position, 8) == len(stream), "tables", "must end in the plan's last byte")
    return tables


def slots_of(frequencies: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Return the index of each slot, the frequencies, and where each index's slots begin."""
    slots: list[int] = []
    begins = []
    for index, frequency in enumerate(frequencies):
        begins.append(len(slots))
        slots += [index] * frequency
    return slots, frequencies, begins


def decode_row(row: bytes, plan: Plan) -> bytes:
    """Decode one row, which may be followed by bytes without meaning."""
    position = 0

    def take(size: int) -> bytes:
        nonlocal position
        require(position + size <= len(row), "row", "must hold its parts, escapes and stream")
        position += size
        return row[position - size : position]

    states = list(struct.unpack(f"<{NUM_STATES}I", take(4 * NUM_STATES)))
    num_escapes = int.from_bytes(take(2), "little") if plan.has_escapes else 0
    level_bytes = take(ceil_div(plan.num_segments * plan.level_bits, 8))
    levels = [int(level) for level in unpack_fields(level_bytes, plan.num_segments, plan.level_bits)]
    require(all(level < plan.num_segment_levels for level in levels), "levels", "must be below num_segment_levels")
    fixed_bytes = take(max(plan.fixed_bytes - SEED_BYTES, 0))
    escapes = np.frombuffer(take(num_escapes * plan.symbol_size), word_type(plan.symbol_size)).tolist()[::-1]

    mask = 2**plan.scale_bits - 1
    symbols = np.zeros(plan.columns, np.uint64)
    for column in range(plan.columns):
        segment_level = levels[column // plan.segment_columns] if levels else 0
        slots, frequencies, begins = plan.tables[segment_level + plan.column_levels[column]]
        state = states[column % NUM_STATES]
        index = slots[state & mask]
        state = frequencies[index] * (state >> plan.scale_bits) + (state & mask) - begins[index]
        if state < 2**16:
            state = state << 16 | int.from_bytes(take(2), "little")
        states[column % NUM_STATES] = state
        if plan.has_escapes and index == plan.num_symbols - 1:
            require(len(escapes) > 0, "row", "must hold its parts, escapes and stream")
            symbols[column] = escapes.pop()
        else:
            symbols[column] = plan.symbols[index]
    require(all(state >> 16 == 1 for state in states), "states", "must end between 2^16 and 2^17")

    seeds = struct.pack(f"<{NUM_STATES}H", *(state & 0xFFFF for state in states))
    fixed = unpack_fields((fixed_bytes + seeds)[: plan.fixed_bytes], plan.columns, plan.fixed_bits)
    rest_bits = plan.fixed_bits - plan.sign_bits
    sign = fixed >> np.uint64(rest_bits) if plan.sign_bits else np.zeros(plan.columns, np.uint64)
    words: Words = (
        sign << np.uint64(8 * plan.view_bytes - 1)
        | (symbols & low_bits(plan.symbol_bits)) << np.uint64(rest_bits + plan.dropped_bits)
        | (fixed & low_bits(rest_bits)) << np.uint64(plan.dropped_bits)
    )
    return words.astype(word_type(plan.view_bytes)).tobytes()
