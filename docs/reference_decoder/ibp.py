"""Codec ``ibp``; see ``src/codecs/ibp/spec.md``."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from bits import Bits, ceil_div, check_view, require, unpack_bits, unpack_fields


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
    columns = check_view(view_bytes, row_bytes, 2**20)
    require(1 <= num_entries <= 65536, "num_entries", "must be from 1 to 65536")
    require(entry_bits == (num_entries - 1).bit_length(), "entry_bits", "must be the bits of num_entries - 1")
    require(reserved == 0, "reserved", "must be 0")
    entries_end = 8 + 3 * view_bytes * num_entries
    require(len(plan) == entries_end + ceil_div(columns * entry_bits, 8), "plan_bytes", "must be the size of the plan")
    value, mask, constant = unpack_bits(plan[8:entries_end]).reshape(num_entries, 3, 8 * view_bytes).swapaxes(0, 1)
    require(not np.any(constant & ~mask), "constant", "must be a subset of mask")
    require(not np.any(value & ~mask), "value", "must be a subset of mask")
    entry = unpack_fields(plan[entries_end:], columns, entry_bits)
    require(np.all(entry < num_entries), "column_entries", "must be below num_entries")
    free, patch = mask[entry] == 0, (mask & ~constant)[entry] == 1
    checked = np.asarray(patch.any(axis=1))
    num_checked, num_free = int(np.count_nonzero(checked)), int(np.count_nonzero(free))
    require(ceil_div(num_checked + num_free, 8) < row_bytes, "plan", "must make rows smaller than row_bytes")
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
