"""Makes the golden files: small compressed files whose decoding must never change, and files that must be refused.

Run it by hand when the format gets a new version or codec, look at what it made, and commit that. Its argument is
the command, as in ``python tests/golden/make_golden.py build/release/src/cli/stillbit``. Files that are there are kept:
they pin the decoder, and a better encoder must not replace them. Every file that it makes is checked to show what it is
there for.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "docs" / "reference_decoder"))

import container  # noqa: E402
import payload as payloads  # noqa: E402
import rows as packings  # noqa: E402
import sparse  # noqa: E402
from bits import ceil_div, unpack_bits  # noqa: E402

Payload = bytearray
Change = Callable[[Payload], None]


class Case(NamedTuple):
    """An array, the codec that it is compressed with, and what its header and plan then have to show."""

    array: np.ndarray
    codec: str = "auto"
    shows: Callable[[Any, Any], bool] = lambda header, plan: True
    dtype: str | None = None


def bf16(array: np.ndarray) -> np.ndarray:
    """Return the high halves of f32 numbers."""
    return (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def ibp_cases(rng: np.random.Generator) -> Iterator[tuple[str, Case]]:
    """Every view and tile of codec ``ibp``, and raw rows among its rows."""

    def normals(*shape: int) -> np.ndarray:
        return (0.02 * rng.standard_normal(shape)).astype(np.float32)

    outliers = np.full((24, 64), 0x3F80, np.uint16) + rng.integers(0, 16, (24, 64), dtype=np.uint16)
    outliers[7] = rng.integers(0, 65536, 64, dtype=np.uint16)
    outliers[11, 3] = 0xFFFF
    yield "f32_weights", Case(normals(24, 40), "ibp")
    yield "f32_bag_of_words", Case((rng.random((16, 80)) < 0.04).astype(np.float32), "ibp")
    yield "bf16_with_a_random_row", Case(outliers, "ibp", dtype="BF16")
    yield "f32_short_rows", Case(normals(130, 10), "ibp")
    yield "u8_one_entry", Case(rng.integers(0, 8, (20, 100), dtype=np.uint8), "ibp")
    ranges = [(0, 16), (0x4000, 0x4100), (0, 65536)]
    yield "u16_three_entries", Case(
        np.concatenate([rng.integers(*limits, (24, 11), dtype=np.uint16) for limits in ranges], axis=1), "ibp",
        lambda header, plan: len({bits.tobytes() for bits in plan.free}) == 3,
    )  # fmt: skip
    yield "f64_of_f32", Case(rng.standard_normal((20, 16)).astype(np.float32).astype(np.float64), "ibp")
    yield "f32_long_row", Case(rng.integers(0, 2, (1, 16500)).astype(np.float32), "ibp")


def window_cases(rng: np.random.Generator) -> Iterator[tuple[str, Case]]:
    """Bases of the table and of the columns, with and without signs, dropped bits and exceptions."""
    scales = np.exp2(rng.integers(-30, 30, 30))
    yield "window_bf16", Case(
        bf16(0.02 * rng.standard_normal((20, 75))), "window",
        lambda header, plan: plan.is_signed and len(set(plan.bases)) == 1, "BF16",
    )  # fmt: skip
    yield "window_f32_columns", Case(
        (scales * rng.standard_normal((40, 30))).astype(np.float32), "window",
        lambda header, plan: plan.is_signed and len(set(plan.bases)) > 1,
    )  # fmt: skip
    yield (
        "window_u8",
        Case(rng.integers(100, 110, (30, 41), dtype=np.uint8), "window", lambda header, plan: plan.view_bytes == 1),
    )
    yield "window_i64_columns", Case(
        rng.integers(0, 2**20, (60, 12)) + 10**9 * np.arange(12), "window",
        lambda header, plan: plan.view_bytes == 8 and len(set(plan.bases)) > 1,
    )  # fmt: skip
    yield "window_f64_dropped", Case(
        rng.standard_normal((20, 30)).astype(np.float32).astype(np.float64), "window",
        lambda header, plan: plan.dropped_bits == 29,
    )  # fmt: skip
    yield (
        "window_no_fields",
        Case(np.full((20, 40), 77, np.uint16), "window", lambda header, plan: plan.field_bits == 0),
    )


def escape_cases(rng: np.random.Generator) -> Iterator[tuple[str, Case]]:
    """Words of every width, shifts of rows and of columns; rows of whole blocks of 64 codes and of parts of one."""

    def normals(*shape: int) -> np.ndarray:
        return 0.02 * rng.standard_normal(shape)

    def scales(*shape: int) -> np.ndarray:
        return np.exp2(rng.integers(-30, 30, shape))

    yield "escape_bf16", Case(bf16(normals(20, 75)), "escape", lambda header, plan: len(plan.tables) == 3, "BF16")
    yield "escape_bf16_blocks", Case(bf16(normals(8, 256)), "escape", dtype="BF16")
    yield "escape_f32", Case(normals(8, 131).astype(np.float32), "escape", lambda header, plan: plan.view_bytes == 4)
    yield "escape_f16", Case(normals(20, 70).astype(np.float16), "escape", lambda header, plan: plan.symbol_bits == 5)
    yield "escape_u8", Case(
        np.minimum(rng.geometric(0.08, (20, 150)), 255).astype(np.uint8), "escape",
        lambda header, plan: plan.view_bytes == 1 and plan.sign_bits == 0,
    )  # fmt: skip
    yield "escape_f64", Case(normals(8, 66), "escape", lambda header, plan: plan.view_bytes == 8)
    yield "escape_f32_of_bf16", Case(
        (bf16(normals(12, 70)).astype(np.uint32) << 16).view(np.float32), "escape",
        lambda header, plan: plan.dropped_bits == 16,
    )  # fmt: skip
    yield (
        "escape_bf16_row_shifts",
        Case(bf16(normals(7, 520) * scales(7, 1)), "escape", lambda header, plan: plan.row_shifts == 1, "BF16"),
    )
    yield (
        "escape_bf16_column_shifts",
        Case(bf16(normals(40, 66) * scales(66)), "escape", lambda header, plan: len(set(plan.shifts)) > 1, "BF16"),
    )
    yield (
        "escape_f64_row_shifts",
        Case(normals(8, 66) * scales(8, 1), "escape", lambda header, plan: plan.row_shifts == 1),
    )
    yield (
        "escape_f64_column_shifts",
        Case(normals(24, 24) * scales(24), "escape", lambda header, plan: len(set(plan.shifts)) > 1),
    )


def sparse_cases(rng: np.random.Generator) -> Iterator[tuple[str, Case]]:
    """Columns in upper and low parts and in a bitmap; values of a dictionary and of a window; exceptions."""

    def thinned(array: np.ndarray, share: float) -> np.ndarray:
        return np.where(rng.random(array.shape) < share, array, 0).astype(array.dtype)

    words = rng.choice(np.float32([1, 0.3, -7.7]), (20, 128))
    odd = thinned(words, 0.03)
    for row in (3, 8, 18):
        odd[row, [5, 120]] = rng.standard_normal(2)
    yield "sparse_dictionary", Case(
        thinned(words, 0.03), "sparse",
        lambda header, plan: plan.low_bits > 0 and not plan.is_window and len(plan.values) == 3,
    )  # fmt: skip
    # Of its nine words those that have no code are exceptions.
    yield "sparse_exceptions", Case(odd, "sparse", lambda header, plan: not plan.is_window and len(plan.values) < 9)
    yield "sparse_window", Case(
        thinned(bf16(rng.standard_normal((20, 150))), 0.04), "sparse",
        lambda header, plan: plan.low_bits > 0 and plan.is_window and plan.sign_bits == 1, "BF16",
    )  # fmt: skip
    yield "sparse_bitmap", Case(
        thinned(bf16(rng.standard_normal((30, 90))), 0.4), "sparse",
        lambda header, plan: plan.low_bits == 0 and plan.is_window, "BF16",
    )  # fmt: skip
    yield "sparse_bitmap_dictionary", Case(
        thinned(rng.choice(np.float32([1, 0.3, -7.7]), (20, 64)), 0.3), "sparse",
        lambda header, plan: plan.low_bits == 0 and not plan.is_window,
    )  # fmt: skip
    yield (
        "sparse_u8_one_value",
        Case(thinned(np.ones((30, 150), np.uint8), 0.05), "sparse", lambda header, plan: plan.code_bits == 0),
    )
    yield (
        "sparse_i64",
        Case(thinned(rng.integers(-4, 4, (16, 50)), 0.1), "sparse", lambda h, plan: plan.view_bytes == 8),
    )


def dictionary_cases(rng: np.random.Generator) -> Iterator[tuple[str, Case]]:
    """Dictionaries with and without patches, misses and signs; windows; columns of one value."""
    mixed = [rng.integers(0, most, 200) for most in (2, 3, 30, 70000, 1)]
    rare = rng.choice(rng.integers(0, 2**31, 12), (200, 6), p=[0.4, 0.3] + [0.03] * 10).astype(np.uint32)
    missed = rng.choice(rng.integers(0, 2**31, 3), (200, 6)).astype(np.uint32)
    missed[::50] = rng.integers(0, 2**31, (4, 6))
    yield "dictionary_f32", Case(
        rng.integers(0, 6, (60, 20)).astype(np.float32), "dictionary",
        lambda header, plan: any(plan.column["shift"]) and len(plan.entries) > 1,
    )  # fmt: skip
    yield (
        "dictionary_mixed",
        Case(np.stack(mixed, 1).astype(np.int32), "dictionary", lambda header, plan: 0 in plan.column["code_bits"]),
    )
    yield "dictionary_signs", Case(
        rng.choice(np.float32([-1, 1, -0.5, 0.5, 3, -3]), (100, 9)), "dictionary",
        lambda header, plan: any(plan.column["has_sign"]) and len(plan.entries) > 1,
    )  # fmt: skip
    yield "dictionary_patches", Case(rare, "dictionary", lambda header, plan: any(plan.column["patch_bits"]))
    yield (
        "dictionary_misses",
        Case(missed, "dictionary", lambda header, plan: any(plan.column["has_misses"] * plan.column["num_entries"])),
    )
    yield "dictionary_u16", Case(
        np.minimum(rng.zipf(1.6, (200, 16)), 60000).astype(np.uint16), "dictionary",
        lambda header, plan: any(plan.column["has_misses"]),
    )  # fmt: skip
    yield (
        "dictionary_i64",
        Case(
            np.stack([rng.choice([5, 10**12, 77, -3], 120), rng.integers(0, 2, 120), np.full(120, 9)], 1), "dictionary"
        ),
    )


def other_cases(rng: np.random.Generator) -> Iterator[tuple[str, Case]]:
    """Raw rows, empty tensors, and rows that repeat."""

    def repeats(header: Any, plan: Any) -> bool:
        return header.packing == "slotted" or header.num_repeats > 0

    distinct = rng.standard_normal((13, 24)).astype(np.float32)
    two_raw = np.full((24, 64), 0x3F80, np.uint16) + rng.integers(0, 16, (24, 64), dtype=np.uint16)
    two_raw[[7, 15]] = rng.integers(0, 65536, 64, dtype=np.uint16)
    yield "i64_constant", Case(np.full((10, 8), -7, np.int64))
    yield "f32_equal_rows", Case(np.repeat(distinct[:1], 20, axis=0), shows=repeats)
    yield (
        "u32_random_repeated_rows",
        Case(rng.integers(0, 2**32, (9, 20), dtype=np.uint32)[rng.integers(0, 9, 30)], shows=repeats),
    )
    yield "f32_repeated_rows", Case(distinct[rng.integers(0, 13, 70)], shows=repeats)
    yield "bf16_repeated_rows", Case(bf16(distinct)[rng.integers(0, 13, 70)], "escape", repeats, "BF16")
    yield "bf16_equal_random_rows", Case(two_raw, "ibp", dtype="BF16")
    yield "u32_random", Case(rng.integers(0, 2**32, (8, 8), dtype=np.uint32), "raw")
    yield "bool_scalar", Case(np.array(True))
    yield "f16_no_rows", Case(np.zeros((0, 5), np.float16))
    yield "f32_no_columns", Case(np.zeros((5, 0), np.float32))


def cases() -> dict[str, Case]:
    """Return the valid cases. Each kind has numbers of its own, so that a new case changes none that is there."""
    kinds = [ibp_cases, window_cases, escape_cases, sparse_cases, dictionary_cases, other_cases]
    return {name: case for seed, kind in enumerate(kinds) for name, case in kind(np.random.default_rng(seed))}


def checksum(data: bytes) -> int:
    """Return the format's checksum."""
    pieces = (data[start : start + 2**20] for start in range(0, len(data), 2**20))
    return int(xxhash.xxh3_64_intdigest(b"".join(struct.pack("<Q", xxhash.xxh3_64_intdigest(p)) for p in pieces)))


def section_start(payload: Payload, name: str) -> int:
    """Return where a section of a valid payload starts."""
    header = payloads.parse_header(bytes(payload))
    alignment = 128 if header.packing == "slotted" else 16
    position = payloads.HEADER_BYTES + 8 * len(header.shape)
    for section, size in zip(("plan", "map", "index", "rows", "overflow"), header.section_bytes, strict=True):
        position = ceil_div(position, alignment) * alignment
        if section == name:
            return position
        position += size
    raise ValueError(name)


def set_field(layout: str, offset: int, value: int) -> Change:
    """Return a change of one field of the header."""

    def change(payload: Payload) -> None:
        struct.pack_into("<" + layout, payload, offset, value)

    return change


def in_section(section: str, layout: str, offset: int, *values: int) -> Change:
    """Return a change of fields that follow each other in a section."""

    def change(payload: Payload) -> None:
        struct.pack_into("<" + layout, payload, section_start(payload, section) + offset, *values)

    return change


def in_plan(layout: str, offset: int, *values: int) -> Change:
    """Return a change of fields that follow each other in the plan."""
    return in_section("plan", layout, offset, *values)


def end_of_plan(layout: str, from_end: int, value: int) -> Change:
    """Return a change of one of the last fields of the plan."""

    def change(payload: Payload) -> None:
        (plan_bytes,) = struct.unpack_from("<Q", payload, 32)
        in_plan(layout, plan_bytes - from_end, value)(payload)

    return change


def cut_plan(payload: Payload) -> None:
    """Let the plan end a byte early; the sections behind it stay where they are."""
    (plan_bytes,) = struct.unpack_from("<Q", payload, 32)
    assert plan_bytes % 16 != 1
    struct.pack_into("<Q", payload, 32, plan_bytes - 1)


def last_slot(layout: str, from_end: int, *values: int) -> Change:
    """Return a change of the last fields in the last slot of a slotted payload."""

    def change(payload: Payload) -> None:
        (rows_bytes,) = struct.unpack_from("<Q", payload, 48)
        in_section("rows", layout, rows_bytes - from_end, *values)(payload)

    return change


def cut_row(payload: Payload) -> None:
    """Let the first row that is longer than all of them are at least end there."""
    header = payloads.parse_header(bytes(payload))
    at = 8 * (section_start(payload, "index") + 8)
    bits = unpack_bits(bytes(payload))
    deltas = bits[at : at + 64 * header.index_bits].reshape(64, header.index_bits)
    row = next(row for row in range(header.num_rows - 1) if tuple(deltas[row]) != tuple(deltas[row + 1]))
    deltas[row + 1] = deltas[row]
    payload[:] = np.packbits(bits, bitorder="little").tobytes()


def share_a_tail(payload: Payload) -> None:
    """Let two raw rows that are equal have one tail, in an overflow area that is too small for two of them."""
    header = payloads.parse_header(bytes(payload))
    _, _, _, rows, overflow = payloads.split_sections(bytes(payload), header)
    stride = header.row_unit
    raw_rows = [row for row in range(header.num_rows) if rows[(row + 1) * stride - 1] == 2]
    first, second = ((row + 1) * stride - 13 for row in raw_rows)
    tail_offset, tail_bytes = struct.unpack_from("<QI", rows, first)
    in_section("rows", "Q", second, tail_offset)(payload)
    alignment = 128
    smaller = max(2 * tail_bytes - 1, (ceil_div(len(overflow), alignment) - 1) * alignment + 1)
    assert tail_offset + tail_bytes <= smaller < len(overflow)
    struct.pack_into("<Q", payload, 56, smaller)


def first_row_bits(change: Callable[[np.ndarray, Any], None]) -> Change:
    """Return a change of the bits of the first row, which has no tail, and is handed over with the plan."""

    def change_bits(payload: Payload) -> None:
        header = payloads.parse_header(bytes(payload))
        plan, _, index, rows, _ = payloads.split_sections(bytes(payload), header)
        if header.packing == "slotted":
            start, end = 0, header.row_unit - 1
            assert rows[end] == 0
        else:
            start, end = packings.row_starts(header, index)[:2]
        bits = unpack_bits(rows[start:end]).copy()
        change(bits, payloads.CODECS[header.codec].parse_plan(plan, header.row_bytes))
        at = section_start(payload, "rows") + start
        payload[at : at + end - start] = np.packbits(bits, bitorder="little").tobytes()

    return change_bits


def code_outside(bits: np.ndarray, plan: Any) -> None:
    """Give the first element of a sparse row a code that no value has."""
    _, fields = sparse.places_of_elements(bits, plan)
    bits[fields + plan.low_bits : fields + plan.low_bits + plan.code_bits] = 1


def column_outside(bits: np.ndarray, plan: Any) -> None:
    """Give the last element of a sparse row a bucket and low bits that lie behind the row."""
    _, fields = sparse.places_of_elements(bits, plan)
    num_elements = fields - plan.buckets
    bits[:fields] = np.repeat([0, 1, 0], [plan.buckets - 1, num_elements, 1])
    low = bits[fields:][: num_elements * (plan.low_bits + plan.code_bits)].reshape(num_elements, -1)
    low[:, : plan.low_bits] = 1


def columns_not_ascending(bits: np.ndarray, plan: Any) -> None:
    """Put all elements of a sparse row into its first column."""
    _, fields = sparse.places_of_elements(bits, plan)
    num_elements = fields - plan.buckets
    bits[:fields] = np.repeat([1, 0], [num_elements, plan.buckets])
    bits[fields:][: num_elements * (plan.low_bits + plan.code_bits)] = 0


def no_end(bits: np.ndarray, plan: Any) -> None:
    """Fill a row with ones."""
    bits[:] = 1


# name: (valid file it is made from, change of its payload, words that the message must have)
INVALID: dict[str, tuple[str, Change, str]] = {
    "wrong_magic": ("bf16_with_a_random_row_packed", set_field("B", 0, 0), "STILLBIT"),
    "newer_version": ("bf16_with_a_random_row_packed", set_field("H", 16, 2), "version 2"),
    "unknown_dtype": ("bf16_with_a_random_row_packed", set_field("B", 18, 19), "dtype"),
    "unknown_codec": ("bf16_with_a_random_row_packed", set_field("B", 19, 200), "codec number 200"),
    "unknown_packing": ("bf16_with_a_random_row_packed", set_field("B", 20, 2), "packing"),
    "huge_rank": ("bf16_with_a_random_row_packed", set_field("B", 21, 65), "rank"),
    "row_dims_above_rank": ("bf16_with_a_random_row_packed", set_field("B", 22, 3), "row_dims"),
    "huge_index_bits": ("bf16_with_a_random_row_packed", set_field("B", 23, 49), "index_bits"),
    "other_shape": ("bf16_with_a_random_row_packed", set_field("Q", 88, 23), "manifest and payload differ"),
    "huge_shape": ("bf16_with_a_random_row_packed", set_field("Q", 88, 2**62), "too large"),
    "wrong_data_checksum": ("bf16_with_a_random_row_packed", set_field("Q", 24, 1), "does not have its checksum"),
    "wrong_payload_checksum": ("bf16_with_a_random_row_packed", set_field("Q", 8, 1), "do not have their checksum"),
    "huge_plan": ("bf16_with_a_random_row_packed", set_field("Q", 32, 2**63), "plan_bytes"),
    "tiles_of_part_of_an_element": ("bf16_with_a_random_row_packed", set_field("Q", 72, 127), "tile_bytes"),
    "index_leads_outside": ("bf16_with_a_random_row_packed", in_section("index", "Q", 0, 2**40), "malformed"),
    "index_too_short": ("bf16_with_a_random_row_packed", set_field("Q", 40, 1), "index_bytes"),
    "rows_too_long": ("bf16_with_a_random_row_packed", set_field("Q", 48, 2**20), "rows_bytes"),
    "overflow_packed": ("bf16_with_a_random_row_packed", set_field("Q", 56, 1), "overflow_bytes"),
    "row_unit_above_row": ("bf16_with_a_random_row_packed", set_field("Q", 64, 129), "row_unit"),
    "index_slotted": ("bf16_with_a_random_row_slotted", set_field("B", 23, 1), "index_bits"),
    "stride_too_small": ("bf16_with_a_random_row_slotted", set_field("Q", 64, 15), "row_unit"),
    "unknown_tag": ("bf16_with_a_random_row_slotted", last_slot("B", 1, 3), "row 23 is malformed"),
    "tail_outside": ("bf16_with_a_random_row_slotted", last_slot("IB", 5, 2**31, 1), "malformed"),
    "tails_too_large_in_sum": ("bf16_equal_random_rows_slotted", share_a_tail, "tails"),
    "as_many_repeats_as_rows": ("f32_repeated_rows_packed", set_field("Q", 80, 70), "num_repeats"),
    "repeats_slotted": ("f32_repeated_rows_slotted", set_field("Q", 80, 1), "num_repeats"),
    "repeats_of_tiles": ("f32_short_rows_packed", set_field("Q", 80, 1), "num_repeats"),
    "map_leads_outside": ("f32_repeated_rows_packed", in_section("map", "B", 34, 0xFF), "malformed"),
    # Codec raw.
    "raw_index_bits": ("u32_random_packed", set_field("B", 23, 1), "index_bits"),
    "raw_row_unit": ("u32_random_packed", set_field("Q", 64, 31), "row_unit"),
    "raw_tiles": ("u32_random_packed", set_field("Q", 72, 64), "tile_bytes"),
    # Codec ibp.
    "wrong_view": ("bf16_with_a_random_row_packed", in_plan("B", 0, 3), "view_bytes"),
    "ibp_entry_bits": ("bf16_with_a_random_row_packed", in_plan("B", 1, 17), "entry_bits"),
    "ibp_reserved": ("bf16_with_a_random_row_packed", in_plan("H", 2, 1), "reserved"),
    "too_many_entries": ("bf16_with_a_random_row_packed", in_plan("I", 4, 65537), "num_entries"),
    "ibp_value": ("u8_one_entry_packed", in_plan("BBB", 8, 1, 0, 0), "value"),
    "ibp_constant": ("u8_one_entry_packed", in_plan("BBB", 8, 0, 0, 1), "constant"),
    "ibp_column_entries": ("u16_three_entries_packed", end_of_plan("B", 2, 0xFF), "column_entries"),
    "ibp_plan_cut": ("bf16_with_a_random_row_packed", cut_plan, "plan_bytes"),
    "ibp_cut_row": ("bf16_with_a_random_row_packed", cut_row, "malformed"),
    # Codec window.
    "window_view": ("window_bf16_packed", in_plan("B", 0, 3), "view_bytes"),
    "window_is_signed": ("window_bf16_packed", in_plan("B", 1, 2), "is_signed"),
    "window_dropped_bits": ("window_bf16_packed", in_plan("B", 2, 16), "dropped_bits"),
    "window_field_bits": ("window_bf16_packed", in_plan("B", 3, 16), "field_bits"),
    "window_base_bytes": ("window_bf16_packed", in_plan("B", 4, 4), "base_bytes"),
    "window_base_shift": ("window_bf16_packed", in_plan("B", 5, 16), "base_shift"),
    "window_reserved": ("window_bf16_packed", in_plan("H", 6, 1), "reserved"),
    "window_num_bases": ("window_i64_columns_packed", in_plan("I", 8, 7), "num_bases"),
    "window_bases": ("window_bf16_packed", in_plan("B", 5, 15), "bases"),
    "window_plan_cut": ("window_bf16_packed", cut_plan, "plan_bytes"),
    "window_cut_row": ("window_bf16_packed", cut_row, "malformed"),
    # Codec escape.
    "escape_view": ("escape_bf16_packed", in_plan("B", 0, 16), "view_bytes"),
    "escape_sign_bits": ("escape_bf16_packed", in_plan("B", 1, 2), "sign_bits"),
    "escape_symbol_bits": ("escape_bf16_packed", in_plan("B", 2, 9), "symbol_bits"),
    "escape_dropped_bits": ("escape_bf16_packed", in_plan("B", 3, 8), "dropped_bits"),
    "escape_num_tiers": ("escape_bf16_packed", in_plan("B", 4, 4), "num_tiers"),
    "escape_tier_bits": ("escape_bf16_packed", in_plan("B", 5, 5), "tier_bits"),
    "escape_tier_that_is_not": ("escape_bf16_packed", in_plan("B", 4, 2), "tier_bits"),
    "escape_row_shifts": ("escape_bf16_packed", in_plan("B", 8, 2), "row_shifts"),
    "escape_reserved": ("escape_bf16_packed", in_plan("B", 11, 1), "reserved"),
    "escape_num_column_shifts": ("escape_bf16_packed", in_plan("I", 12, 7), "num_column_shifts"),
    "escape_tables": ("escape_bf16_packed", in_plan("H", 16, 256), "tables"),
    "escape_column_shifts": ("escape_bf16_column_shifts_packed", end_of_plan("H", 2, 256), "column_shifts"),
    "escape_plan_cut": ("escape_bf16_packed", cut_plan, "plan_bytes"),
    "escape_cut_row": ("escape_bf16_packed", cut_row, "malformed"),
    "escape_cut_row_f64": ("escape_f64_packed", cut_row, "malformed"),
    # Codec sparse.
    "sparse_view": ("sparse_dictionary_packed", in_plan("B", 0, 0), "view_bytes"),
    "sparse_low_bits": ("sparse_dictionary_packed", in_plan("B", 1, 10), "low_bits"),
    "sparse_code_bits": ("sparse_dictionary_packed", in_plan("B", 2, 3), "code_bits"),
    "sparse_value_mode": ("sparse_dictionary_packed", in_plan("B", 3, 2), "value_mode"),
    "sparse_sign_bits": ("sparse_dictionary_packed", in_plan("B", 4, 1), "sign_bits"),
    "sparse_zero_bits": ("sparse_dictionary_packed", in_plan("B", 5, 1), "zero_bits"),
    "sparse_reserved": ("sparse_dictionary_packed", in_plan("H", 6, 1), "reserved"),
    "sparse_num_values": ("sparse_dictionary_packed", in_plan("I", 8, 0), "num_values"),
    "sparse_window_values": ("sparse_window_packed", in_plan("I", 8, 2), "num_values"),
    "sparse_window_code_bits": ("sparse_window_packed", in_plan("B", 2, 17), "code_bits"),
    "sparse_base": ("sparse_window_packed", end_of_plan("H", 2, 0xFFFF), "base"),
    "sparse_plan_cut": ("sparse_dictionary_packed", cut_plan, "plan_bytes"),
    "sparse_cut_row": ("sparse_dictionary_packed", cut_row, "malformed"),
    "sparse_code_outside": ("sparse_dictionary_packed", first_row_bits(code_outside), "malformed"),
    "sparse_column_outside": ("sparse_dictionary_slotted", first_row_bits(column_outside), "malformed"),
    "sparse_columns_not_ascending": ("sparse_dictionary_packed", first_row_bits(columns_not_ascending), "malformed"),
    "sparse_no_end": ("sparse_dictionary_packed", first_row_bits(no_end), "malformed"),
    "sparse_bitmap_no_end": ("sparse_bitmap_packed", first_row_bits(no_end), "malformed"),
    # Codec dictionary.
    "dictionary_view": ("dictionary_mixed_packed", in_plan("B", 0, 3), "view_bytes"),
    "dictionary_kind_bits": ("dictionary_mixed_packed", in_plan("B", 1, 17), "kind_bits"),
    "dictionary_reserved": ("dictionary_mixed_packed", in_plan("H", 2, 1), "reserved"),
    "dictionary_num_kinds": ("dictionary_mixed_packed", in_plan("I", 4, 65537), "num_kinds"),
    "dictionary_period_columns": ("dictionary_mixed_packed", in_plan("I", 8, 7), "period_columns"),
    "dictionary_code_bits": ("dictionary_signs_packed", in_plan("B", 12, 17), "code_bits"),
    "dictionary_window_code_bits": ("dictionary_mixed_packed", in_plan("B", 12, 33), "code_bits"),
    "dictionary_flags": ("dictionary_signs_packed", in_plan("B", 13, 4), "flags"),
    "dictionary_shift": ("dictionary_signs_packed", in_plan("B", 14, 31), "shift"),
    "dictionary_number_bits": ("dictionary_signs_packed", in_plan("B", 15, 32), "number_bits"),
    "dictionary_num_entries": ("dictionary_signs_packed", in_plan("H", 16, 9), "num_entries"),
    "dictionary_base": ("dictionary_signs_packed", in_plan("I", 18, 2**31), "base"),
    "dictionary_column_kinds": ("dictionary_mixed_packed", end_of_plan("B", 2, 0xFF), "column_kinds"),
    "dictionary_plan_cut": ("dictionary_mixed_packed", cut_plan, "plan_bytes"),
    "dictionary_cut_row": ("dictionary_patches_packed", cut_row, "malformed"),
    "dictionary_cut_misses": ("dictionary_misses_packed", cut_row, "malformed"),
}


def rewritten(file: bytes, change: Change) -> bytes:
    """Return a file of one payload with the payload changed, and its checksum made right, unless that was changed."""
    (header_bytes,) = struct.unpack_from("<Q", file)
    payload = bytearray(file[8 + header_bytes :])
    change(payload)
    if payload[8:16] == file[8 + header_bytes :][8:16]:
        struct.pack_into("<Q", payload, 8, checksum(bytes(payload[16:])))
    return file[: 8 + header_bytes] + payload


def make_valid(command: str, name: str, case: Case, packing: str) -> list[str]:
    """Compress a case, and look whether it has become what it is there for. Return what is wrong."""
    source, target = HERE / f"{name}.npy", HERE / f"{name}_{packing}.safetensors"
    if target.exists():
        return []
    options = ["--packing", packing, "--codec", case.codec, *(["--as", case.dtype] if case.dtype else [])]
    subprocess.run([command, "compress", source, "-o", target, *options], check=True, stdout=subprocess.DEVNULL)
    (payload,) = container.read_container(target.read_bytes())[1].values()
    header = payloads.parse_header(payload)
    plan = payloads.CODECS[header.codec].parse_plan(payloads.split_sections(payload, header)[0], header.row_bytes)
    if case.codec not in ("auto", header.codec) or not case.shows(header, plan):
        target.unlink()
        return [f"{target.name}: not what it is there for: {header} {plan}"]
    return []


def make_invalid(name: str, base: str, change: Change) -> list[str]:
    """Change a valid file, and look whether the reference decoder refuses it. Return what is wrong."""
    target = HERE / "invalid" / f"{name}.safetensors"
    if target.exists():
        return []
    target.write_bytes(rewritten((HERE / f"{base}.safetensors").read_bytes(), change))
    try:
        container.read_file(target)
    except ValueError as error:
        print(target.name, "|", error)
        return []
    target.unlink()
    return [f"{target.name} is valid"]


def main() -> None:
    """Make what is missing."""
    wrong = []
    for name, case in cases().items():
        if not (HERE / f"{name}.npy").exists():
            np.save(HERE / f"{name}.npy", case.array)
        for packing in payloads.PACKINGS:
            wrong += make_valid(sys.argv[1], name, case, packing)
    if wrong:
        raise SystemExit("\n".join(wrong))
    (HERE / "invalid").mkdir(exist_ok=True)
    for name, (base, change, _) in INVALID.items():
        wrong += make_invalid(name, base, change)
    expected = {f"{name}.safetensors": words for name, (_, _, words) in INVALID.items()}
    (HERE / "invalid" / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
