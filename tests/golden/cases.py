"""The arrays of the golden files, and what each has to show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np


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
    yield (
        "escape_f16",
        Case(normals(20, 70).reshape(10, 140).astype(np.float16), "escape", lambda header, plan: plan.symbol_bits == 5),
    )
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


def rans_cases(rng: np.random.Generator) -> Iterator[tuple[str, Case]]:
    """Words of every width, with and without signs; levels of rows and of columns; escapes."""

    def normals(*shape: int) -> np.ndarray:
        return 0.02 * rng.standard_normal(shape)

    def scales(*shape: int) -> np.ndarray:
        return np.exp2(rng.integers(-6, 6, shape))

    outliers = bf16(normals(12, 512))
    outliers[rng.integers(0, 12, 12), rng.integers(0, 512, 12)] = rng.integers(0, 65536, 12)
    yield (
        "rans_bf16",
        Case(bf16(normals(8, 512)), "rans", lambda header, plan: plan.sign_bits == 1 and len(plan.tables) == 1, "BF16"),
    )
    yield "rans_f32", Case(normals(6, 300).astype(np.float32), "rans", lambda header, plan: plan.view_bytes == 4)
    yield "rans_f64", Case(normals(6, 150), "rans", lambda header, plan: plan.view_bytes == 8)
    yield "rans_i8", Case(
        np.clip(np.rint(9 * rng.standard_normal((6, 900))), -128, 127).astype(np.int8), "rans",
        lambda header, plan: plan.view_bytes == 1 and plan.sign_bits == 0 and plan.fixed_bits < 4,
    )  # fmt: skip
    yield "rans_f16_zeros", Case(
        np.where(rng.random((8, 512)) < 0.3, 0, normals(8, 512)).astype(np.float16), "rans",
        lambda header, plan: any(np.diff(plan.symbols) > 1),
    )  # fmt: skip
    yield "rans_f32_of_bf16", Case(
        (bf16(normals(8, 300)).astype(np.uint32) << 16).view(np.float32), "rans",
        lambda header, plan: plan.dropped_bits == 16,
    )  # fmt: skip
    yield "rans_bf16_escapes", Case(outliers, "rans", lambda header, plan: plan.has_escapes == 1, "BF16")
    yield "rans_bf16_row_levels", Case(
        bf16(normals(24, 512) * scales(24, 1)), "rans", lambda header, plan: plan.num_segment_levels > 1, "BF16"
    )  # fmt: skip
    yield "rans_f32_column_levels", Case(
        (normals(48, 200) * scales(200)).astype(np.float32), "rans", lambda header, plan: any(plan.column_levels)
    )  # fmt: skip
    yield "rans_u16_one_symbol", Case(
        rng.integers(0x4000, 0x4100, (6, 300), dtype=np.uint16), "rans",
        lambda header, plan: max(plan.tables[0][1]) == 2**plan.scale_bits,
    )  # fmt: skip


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
    kinds = [ibp_cases, window_cases, escape_cases, sparse_cases, dictionary_cases, other_cases, rans_cases]
    return {name: case for seed, kind in enumerate(kinds) for name, case in kind(np.random.default_rng(seed))}
