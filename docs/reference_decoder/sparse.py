"""Codec ``sparse``; see ``src/codecs/sparse/spec.md``."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from bits import Bits, Integers, Words, as_words, ceil_div, check_view, require, unpack_bits, word_type
from bits import low_bits as low_ones


class Plan(NamedTuple):
    """The plan. ``values`` has the words of a dictionary, or the base of a window."""

    view_bytes: int
    columns: int
    low_bits: int
    code_bits: int
    is_window: bool
    sign_bits: int
    zero_bits: int
    background: int
    values: Words

    @property
    def word_bits(self) -> int:
        """Bits of a word."""
        return 8 * self.view_bytes

    @property
    def column_bits(self) -> int:
        """Bits that number the columns."""
        return (self.columns - 1).bit_length()

    @property
    def buckets(self) -> int:
        """Groups of 2^low_bits columns."""
        return ceil_div(self.columns, 2**self.low_bits)


def parse_plan(plan: bytes, row_bytes: int) -> Plan:
    """Read and check the plan."""
    require(len(plan) >= 12, "plan_bytes", "must be at least 12")
    view_bytes, low_bits, code_bits, value_mode, sign_bits, zero_bits = plan[:6]
    reserved, num_values = struct.unpack_from("<HI", plan, 6)
    columns = check_view(view_bytes, row_bytes, 2**20)
    word_bits = 8 * view_bytes
    require(low_bits <= (columns - 1).bit_length(), "low_bits", "must be at most column_bits")
    require(value_mode <= 1, "value_mode", "must be 0 or 1")
    require(reserved == 0, "reserved", "must be 0")
    if value_mode == 0:
        require(1 <= num_values <= 65536, "num_values", "must be from 1 to 65536")
        require(sign_bits == 0, "sign_bits", "must be 0 with a dictionary")
        require(zero_bits == 0, "zero_bits", "must be 0 with a dictionary")
        require(code_bits == (num_values - 1).bit_length(), "code_bits", "must be the bits of num_values - 1")
    else:
        require(num_values == 1, "num_values", "must be 1 with a window")
        require(sign_bits <= 1, "sign_bits", "must be 0 or 1")
        require(sign_bits + zero_bits < word_bits, "zero_bits", "must leave a bit of the word")
        require(sign_bits <= code_bits <= word_bits - zero_bits, "code_bits", "must be that of a window")
    require(len(plan) == 12 + view_bytes * (1 + num_values), "plan_bytes", "must be the size of the plan")
    background, *values = (int(word) for word in np.frombuffer(plan, word_type(view_bytes), offset=12))
    if value_mode == 1:
        require(values[0] < 2 ** (word_bits - sign_bits - zero_bits), "base", "must be that of a window")
    parsed = Plan(
        view_bytes, columns, low_bits, code_bits, value_mode == 1, sign_bits, zero_bits, background,
        np.array(values, np.uint64),
    )  # fmt: skip
    smallest = ceil_div((columns if low_bits == 0 else parsed.buckets) + 1, 8)
    require(smallest < row_bytes, "plan", "must make rows smaller than row_bytes")
    return parsed


def places_of_elements(stream: Bits, plan: Plan) -> tuple[Integers, int]:
    """Return the column of each element, or of its bucket's first column, and where the fields start."""
    if plan.low_bits == 0:
        require(len(stream) >= plan.columns, "row", "must hold its bitmap")
        return np.flatnonzero(stream[: plan.columns]), plan.columns
    zeros = np.flatnonzero(stream == 0)
    require(len(zeros) >= plan.buckets, "row", "must hold its upper parts")
    end = int(zeros[plan.buckets - 1]) + 1
    ones = np.flatnonzero(stream[:end])
    return (ones - np.arange(len(ones))) << plan.low_bits, end


def word_of_code(codes: Words, plan: Plan) -> Words:
    """Return the words that codes stand for."""
    if not plan.is_window:
        require(np.all(codes < len(plan.values)), "row", "a code must be below num_values")
        return plan.values[codes]
    magnitude_bits = plan.word_bits - plan.sign_bits - plan.zero_bits
    sign = codes & low_ones(plan.sign_bits)
    magnitude = ((codes >> np.uint64(plan.sign_bits)) + plan.values[0]) & low_ones(magnitude_bits)
    words: Words = sign << np.uint64(plan.word_bits - 1) | magnitude << np.uint64(plan.zero_bits)
    return words


def decode_row(row: bytes, plan: Plan) -> bytes:
    """Decode one row, which may be followed by bytes without meaning."""
    stream = unpack_bits(row)
    places, position = places_of_elements(stream, plan)
    field_bits = plan.low_bits + plan.code_bits
    fields = stream[position : position + len(places) * field_bits]
    position += len(places) * field_bits
    require(position < len(stream), "row", "must hold its fields and its end")
    fields = fields.reshape(len(places), field_bits)
    element_columns = places + as_words(fields[:, : plan.low_bits]).astype(np.int64)
    require(np.all(element_columns < plan.columns), "row", "columns of elements must be below columns")
    require(np.all(np.diff(element_columns) > 0), "row", "columns of elements must ascend")
    words = np.full(plan.columns, plan.background, np.uint64)
    words[element_columns] = word_of_code(as_words(fields[:, plan.low_bits :]), plan)

    last_column = -1
    while stream[position]:
        word_at = position + 1 + plan.column_bits
        end = word_at + plan.word_bits
        require(end < len(stream), "row", "must hold its exceptions and its end")
        column = int(as_words(stream[np.newaxis, position + 1 : word_at])[0])
        require(last_column < column < plan.columns, "row", "columns of exceptions must ascend, and be below columns")
        words[column] = as_words(stream[np.newaxis, word_at:end])[0]
        last_column, position = column, end
    return words.astype(word_type(plan.view_bytes)).tobytes()
