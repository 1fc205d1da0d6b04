"""Codec ``window``; see ``src/codecs/window/spec.md``."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from bits import Words, ceil_div, check_view, low_bits, require, unpack_fields, word_type


class Plan(NamedTuple):
    """The plan, with a base for each column."""

    view_bytes: int
    is_signed: int
    dropped_bits: int
    value_bits: int
    field_bits: int
    bases: Words
    fields_bytes: int


def parse_plan(plan: bytes, row_bytes: int) -> Plan:
    """Read and check the plan."""
    require(len(plan) >= 12, "plan_bytes", "must be at least 12")
    view_bytes, is_signed, dropped_bits, field_bits, base_bytes, base_shift = plan[:6]
    reserved, num_bases = struct.unpack_from("<HI", plan, 6)
    columns = check_view(view_bytes, row_bytes, 2**20)
    require(is_signed <= 1, "is_signed", "must be 0 or 1")
    require(dropped_bits < 8 * view_bytes, "dropped_bits", "must be below the bits of a word")
    value_bits = 8 * view_bytes - dropped_bits
    most = {1: 7, 2: 15, 4: 30, 8: 57}[view_bytes]
    require(field_bits <= min(value_bits, most), "field_bits", f"must be at most {min(value_bits, most)}")
    require(base_bytes in (1, 2, 4, 8) and base_bytes <= view_bytes, "base_bytes", "must be at most view_bytes")
    require(base_shift < value_bits, "base_shift", "must be below value_bits")
    require(reserved == 0, "reserved", "must be 0")
    require(1 <= num_bases <= columns and columns % num_bases == 0, "num_bases", "must divide the columns")
    require(len(plan) == 12 + base_bytes * num_bases, "plan_bytes", "must be the size of the plan")
    stored = np.frombuffer(plan, word_type(base_bytes), num_bases, 12)
    bases = [int(base) << base_shift for base in stored]
    require(max(bases) < 2**value_bits, "bases", "must be below 2^value_bits")
    fields_bytes = ceil_div(columns * field_bits, 8)
    require(fields_bytes < row_bytes, "plan", "must make rows smaller than row_bytes")
    of_columns = np.tile(np.array(bases, np.uint64), columns // num_bases)
    return Plan(view_bytes, is_signed, dropped_bits, value_bits, field_bits, of_columns, fields_bytes)


def decode_row(row: bytes, plan: Plan) -> bytes:
    """Decode one row, which may be followed by bytes without meaning."""
    require(len(row) >= plan.fields_bytes, "row", "must hold its fields")
    fields = unpack_fields(row, len(plan.bases), plan.field_bits)
    values = (plan.bases + fields) & low_bits(plan.value_bits)
    if plan.is_signed:
        highest = (values & np.uint64(1)) << np.uint64(8 * plan.view_bytes - 1)
        words = values >> np.uint64(1) << np.uint64(plan.dropped_bits) | highest
    else:
        words = values << np.uint64(plan.dropped_bits)
    if plan.field_bits > 0:
        marked = fields == low_bits(plan.field_bits)
        exceptions = row[plan.fields_bytes :][: plan.view_bytes * int(np.count_nonzero(marked))]
        require(len(exceptions) == plan.view_bytes * np.count_nonzero(marked), "row", "must hold its exceptions")
        words[marked] = np.frombuffer(exceptions, word_type(plan.view_bytes))
    return words.astype(word_type(plan.view_bytes)).tobytes()
