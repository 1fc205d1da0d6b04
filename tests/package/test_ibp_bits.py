"""Every bit comes back, for every width, shape and pattern; rows are those of the published layout."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("hypothesis")
import stillbit.ibp as ibp  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from ibp_tables import WORDS, bits, encoded_row, is_compressed, partly_equal, same  # noqa: E402

DTYPES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex64", "float8_e4m3fn", "float8_e5m2",
]  # fmt: skip


def check(table: torch.Tensor, mask: torch.Tensor, bitval: torch.Tensor) -> None:
    """Sizes, rows in place, condensed rows and what they expand to are what the layout says."""
    wanted = [encoded_row(row, mask, bitval) for row in table]
    row_bytes = table.shape[1] * table.element_size()
    sizes = ibp.get_compress_size(table, mask, bitval)
    assert sizes.tolist() == [len(row) for row in wanted]
    packed = table.clone()
    bitmask = ibp.compress_inplace(packed, mask, bitval)
    assert is_compressed(bitmask, len(table)) == [len(row) < row_bytes for row in wanted]
    assert packed.reshape(-1).view(torch.uint8).numpy().tobytes() == b"".join(
        row.ljust(row_bytes, b"\0") for row in wanted
    )
    condensed, offsets = ibp.compress_condensed(table, mask, bitval)
    assert condensed.view(torch.uint8).numpy().tobytes() == b"".join(wanted)
    assert same(ibp.decompress_fetch(packed, mask, bitval, bitmask, "cpu"), table)
    assert same(ibp.decompress_condensed(condensed, mask, bitval, offsets), table)


@settings(max_examples=150, deadline=None)
@given(
    width=st.sampled_from([1, 2, 4, 8]),
    rows=st.integers(0, 40),
    columns=st.integers(0, 140),
    share=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 1000),
)
def test_any_table(width: int, rows: int, columns: int, share: float, seed: int) -> None:
    table = partly_equal((rows, columns), width, seed, share)
    check(table, *ibp.preprocess(table))
    check(table, bits((columns,), width, seed + 1), bits((columns,), width, seed + 2))  # no value is of its mask
    mask = bits((columns,), width, seed + 3)
    check(table, mask, bits((columns,), width, seed + 2) & mask)


@settings(max_examples=60, deadline=None)
@given(
    width=st.sampled_from([1, 2, 4, 8]),
    rows=st.integers(1, 80),
    columns=st.integers(1, 60),
    data=st.data(),
)
def test_any_index(width: int, rows: int, columns: int, data: st.DataObject) -> None:
    table = partly_equal((rows, columns), width, rows)
    mask, bitval = ibp.preprocess(table)
    index = torch.tensor(data.draw(st.lists(st.integers(0, rows - 1), max_size=100)), dtype=torch.int64)
    sizes = ibp.get_compress_size(table, mask, bitval)
    assert torch.equal(ibp.get_compress_size(table, mask, bitval, index), sizes[index])
    packed = table.clone()
    bitmask = ibp.compress_inplace(packed, mask, bitval, index)
    chosen = torch.zeros(rows, dtype=torch.bool)
    chosen[index] = True
    shrinking = sizes < columns * width
    assert is_compressed(bitmask, rows) == (chosen & shrinking).tolist()
    assert same(packed[~chosen], table[~chosen])
    assert same(ibp.decompress_fetch(packed, mask, bitval, bitmask, "cpu"), table)
    assert same(ibp.decompress_fetch(packed, mask, bitval, bitmask, "cpu", index_arr=index), table[index])
    condensed, offsets = ibp.compress_condensed(table, mask, bitval, index)
    assert same(ibp.decompress_condensed(condensed, mask, bitval, offsets), table[index])
    places = torch.arange(len(index)).flip(0)
    assert same(ibp.decompress_condensed(condensed, mask, bitval, offsets, "cpu", places), table[index.flip(0)])


@settings(max_examples=40, deadline=None)
@given(
    width=st.sampled_from([1, 2, 4, 8]),
    rows=st.integers(0, 60),
    columns=st.integers(0, 40),
    centroids=st.integers(1, 9),
    threshold=st.sampled_from([None, 0.8, 1.0]),
)
def test_any_clusters(width: int, rows: int, columns: int, centroids: int, threshold: float | None) -> None:
    table = partly_equal((rows, columns), width, rows)
    mask, bitval, clusters = ibp.preprocess_kmeans(table, centroids, threshold)
    packed = table.clone()
    bitmask = ibp.compress_inplace(packed, mask, bitval, clusters=clusters)
    for row, cluster in enumerate(clusters.tolist()):
        stored = encoded_row(table[row], mask[cluster], bitval[cluster])
        assert packed[row].view(torch.uint8).numpy().tobytes() == stored.ljust(columns * width, b"\0")
    assert same(ibp.decompress_fetch(packed, mask, bitval, bitmask, "cpu", clusters=clusters), table)


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype(name: str) -> None:
    if not hasattr(torch, name):
        pytest.skip(f"this torch has no {name}")
    dtype = getattr(torch, name)
    width = torch.empty(0, dtype=dtype).element_size()
    words = partly_equal((50, 33), width)
    table = (words & 1).bool() if name == "bool" else words.view(dtype)
    packed = table.clone()
    mask, bitval = ibp.preprocess(packed)
    assert mask.dtype == WORDS[width]
    bitmask = ibp.compress_inplace(packed, mask, bitval)
    out = torch.empty_like(table)
    assert ibp.decompress_fetch(packed, mask, bitval, bitmask, "cpu", output_tensor=out) is out
    assert same(out, table)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_every_pattern_of_16_bits(name: str) -> None:
    table = torch.arange(-(2**15), 2**15).to(torch.int16).view(getattr(torch, name)).reshape(-1, 128)
    for threshold in [None, 0.5, 0.7]:
        check(table[::8].contiguous(), *ibp.preprocess(table, threshold))


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_threshold_1_has_the_bits_that_never_change(width: int) -> None:
    table = bits((1000, 20), width)
    fixed, value = bits((1, 20), width, 1), bits((1, 20), width, 2)
    table = (table & ~fixed) | (value & fixed)
    mask, bitval = ibp.preprocess(table, 1.0)
    assert same(mask, fixed[0]) and same(bitval, (value & fixed)[0])
    table[17] ^= fixed[0]  # a row of a thousand differs
    assert not ibp.preprocess(table, threshold=1.0)[0].any()
    assert same(ibp.preprocess(table, 0.99)[0], fixed[0])


def test_special_floats() -> None:
    values = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-45, -1e-45, 1.0]
    table = torch.tensor(values).repeat(64, 4)
    table.view(torch.int32)[:, 4] = 0x7FC00001 + torch.arange(64, dtype=torch.int32)  # payloads
    check(table, *ibp.preprocess(table))


def test_large_table_on_all_threads() -> None:
    table = (torch.rand([40_000, 101], generator=torch.Generator().manual_seed(0)) + 1).half()
    mask, bitval = ibp.preprocess(table)
    packed = table.clone()
    bitmask = ibp.compress_inplace(packed, mask, bitval)
    assert is_compressed(bitmask, 40_000).count(True) == 40_000
    assert same(ibp.decompress_fetch(packed, mask, bitval, bitmask, "cpu"), table)
    index = torch.randperm(40_000)
    assert same(ibp.decompress_fetch(packed, mask, bitval, bitmask, "cpu", index_arr=index), table[index])
