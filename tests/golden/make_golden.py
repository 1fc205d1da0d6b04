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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "docs" / "reference_decoder"))

import container  # noqa: E402
import payload as payloads  # noqa: E402
import rows as packings  # noqa: E402
import sparse  # noqa: E402
from bits import ceil_div, unpack_bits  # noqa: E402
from cases import Case, cases  # noqa: E402

Payload = bytearray
Change = Callable[[Payload], None]


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
            start, end = [*packings.row_starts(header, index), len(rows)][:2]
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


def bad_state(bits: np.ndarray, plan: Any) -> None:
    """Change the highest bit of a state of a rans row: it then ends with another one."""
    bits[31] = 1 - bits[31]


def few_escapes(bits: np.ndarray, plan: Any) -> None:
    """Take the escapes from a rans row that has some."""
    assert any(bits[1024:1040])
    bits[1024:1040] = 0


def many_escapes(bits: np.ndarray, plan: Any) -> None:
    """Let a rans row announce more escapes than it could hold."""
    bits[1024:1040] = 1


def change_count(change: Callable[[int], int]) -> Callable[[np.ndarray, Any], None]:
    """Return a change of the number of escapes that an escape row says it has."""

    def change_bits(bits: np.ndarray, plan: Any) -> None:
        columns = len(plan.shifts)
        planes = ceil_div(columns * plan.fixed_bits, 8) + ceil_div(columns * plan.tier_bits[0], 8)
        at = 8 * (planes + plan.row_shifts * plan.symbol_size)
        field = bits[at : at + plan.count_bits]
        count = change(int.from_bytes(np.packbits(field, bitorder="little").tobytes(), "little"))
        field[:] = [count >> i & 1 for i in range(plan.count_bits)]

    return change_bits


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
    "escape_more_than_it_says": (
        "escape_bf16_packed",
        first_row_bits(change_count(lambda count: count - 1)),
        "malformed",
    ),
    "escape_fewer_than_it_says": (
        "escape_bf16_packed",
        first_row_bits(change_count(lambda count: count + 1)),
        "malformed",
    ),
    "escape_more_than_columns": ("escape_bf16_packed", first_row_bits(change_count(lambda _: -1)), "malformed"),
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
    # Codec rans.
    "rans_view": ("rans_bf16_packed", in_plan("B", 0, 3), "view_bytes"),
    "rans_sign_bits": ("rans_bf16_packed", in_plan("B", 1, 2), "sign_bits"),
    "rans_symbol_bits": ("rans_bf16_packed", in_plan("B", 2, 15), "symbol_bits"),
    "rans_dropped_bits": ("rans_bf16_packed", in_plan("B", 3, 16), "dropped_bits"),
    "rans_scale_bits": ("rans_bf16_packed", in_plan("B", 4, 13), "scale_bits"),
    "rans_other_scale": ("rans_bf16_packed", in_plan("B", 4, 8), "tables"),
    "rans_has_escapes": ("rans_bf16_packed", in_plan("B", 5, 2), "has_escapes"),
    "rans_num_segment_levels": ("rans_bf16_packed", in_plan("B", 6, 17), "num_segment_levels"),
    "rans_num_column_levels": ("rans_bf16_packed", in_plan("B", 7, 0), "num_column_levels"),
    "rans_too_many_tables": ("rans_bf16_row_levels_packed", in_plan("B", 7, 16), "num_column_levels"),
    "rans_num_symbols": ("rans_bf16_packed", in_plan("H", 8, 257), "num_symbols"),
    "rans_num_first": ("rans_bf16_packed", in_plan("H", 10, 256), "num_first"),
    "rans_first_symbol": ("rans_bf16_packed", in_plan("H", 12, 2**14), "first_symbol"),
    "rans_second_symbol": ("rans_bf16_packed", in_plan("H", 14, 2**14), "second_symbol"),
    "rans_segment_columns": ("rans_bf16_row_levels_packed", in_plan("I", 16, 0), "segment_columns"),
    "rans_segment_columns_of_none": ("rans_bf16_packed", in_plan("I", 16, 64), "segment_columns"),
    "rans_period": ("rans_f32_column_levels_packed", in_plan("I", 20, 199), "period"),
    "rans_column_levels": ("rans_f32_column_levels_packed", in_plan("B", 24, 0xFF), "column_levels"),
    "rans_tables": ("rans_bf16_packed", in_plan("I", 24, 2**32 - 1), "tables"),
    "rans_plan_cut": ("rans_bf16_packed", cut_plan, "tables"),
    "rans_bad_state": ("rans_bf16_slotted", first_row_bits(bad_state), "malformed"),
    "rans_few_escapes": ("rans_bf16_escapes_packed", first_row_bits(few_escapes), "malformed"),
    "rans_many_escapes": ("rans_bf16_escapes_packed", first_row_bits(many_escapes), "malformed"),
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
