"""`CompressedTensor.pool` and `pool`, against torch's `embedding_bag`."""

from __future__ import annotations

import numpy as np
import pytest
import stillbit as sb

torch = pytest.importorskip("torch")
embedding_bag = torch.nn.functional.embedding_bag

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
PACKINGS = ("slotted", "packed")
MODES = ("sum", "mean", "max")


def assert_same(ours, theirs):
    """Hold two tensors against each other, bit by bit."""
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    width = {2: torch.int16, 4: torch.int32, 8: torch.int64}[ours.element_size()]
    differs = (ours.contiguous().view(width) != theirs.contiguous().view(width)) & ~(ours.isnan() & theirs.isnan())
    assert not differs.any(), f"{ours[differs][:3]} {theirs[differs][:3]}"


def weights_table(dtype, num_rows=500, num_columns=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_rows, num_columns, generator=generator).to(dtype)


def bags(num_rows, num_bags, most, seed=0):
    """Return an index and offsets of bags of 0 to `most` rows."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(0, most + 1, (num_bags,), generator=generator)
    offsets = torch.cumsum(sizes, 0) - sizes
    return torch.randint(0, num_rows, (int(sizes.sum()),), generator=generator), offsets


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("padding", [None, 7])
def test_bags_are_those_of_torch(dtype, mode, packing, padding):
    for num_columns in (1, 7, 16, 64, 100, 513):
        raw = weights_table(dtype, num_columns=num_columns)
        table = sb.compress(raw, packing=packing)
        for most in (1, 3, 40):
            index, offsets = bags(len(raw), 50, most, seed=most)
            index[::5] = 7
            expected = embedding_bag(index, raw, offsets, mode=mode, padding_idx=padding)
            assert_same(table.pool(index, offsets, mode, padding_index=padding), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("padding", [None, 7])
def test_weighted_bags_are_those_of_torch(dtype, padding):
    for num_columns in (1, 16, 100, 300):
        raw = weights_table(dtype, num_columns=num_columns)
        index, offsets = bags(len(raw), 50, 30)
        index[::5] = 7
        weights = torch.randn(len(index), generator=torch.Generator().manual_seed(1)).to(dtype)
        expected = embedding_bag(index, raw, offsets, mode="sum", per_sample_weights=weights, padding_idx=padding)
        found = sb.compress(raw).pool(index, offsets, weights=weights, padding_index=padding)
        assert_same(found, expected)


@pytest.mark.parametrize("codec", ["raw", "ibp", "window", "escape", "sparse", "dictionary", "rans"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_every_codec_gives_the_same_bags(codec, packing):
    raw = (weights_table(torch.bfloat16, num_columns=96) * 4).round() * 0.25  # what every codec makes smaller
    raw[raw.abs() < 0.3] = 0
    index, offsets = bags(len(raw), 64, 20)
    for mode in MODES:
        table = sb.compress(raw, codec=codec, packing=packing)
        assert_same(table.pool(index, offsets, mode), embedding_bag(index, raw, offsets, mode=mode))


@pytest.mark.parametrize("num_columns", [1, 2, 3, 5])
def test_short_rows_that_share_tiles(num_columns):
    raw = weights_table(torch.float32, num_rows=3000, num_columns=num_columns)
    index, offsets = bags(len(raw), 40, 25)
    for packing in PACKINGS:
        table = sb.compress(raw, packing=packing)
        assert_same(table.pool(index, offsets), embedding_bag(index, raw, offsets, mode="sum"))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_zeros_infinities_nans_and_denormals(dtype, mode):
    info = torch.finfo(dtype)
    special = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), info.tiny, -info.tiny, info.max, info.min]
    special += [info.smallest_normal / 3, -info.smallest_normal / 5, 1.0, -1.0, 1 + info.eps, info.max / 2]
    generator = torch.Generator().manual_seed(3)
    raw = torch.tensor(special, dtype=torch.float64)[torch.randint(0, len(special), (300, 40), generator=generator)]
    raw = raw.to(dtype)
    table = sb.compress(raw)
    for padding in (None, 4):
        index, offsets = bags(len(raw), 200, 4)
        expected = embedding_bag(index, raw, offsets, mode=mode, padding_idx=padding)
        assert_same(table.pool(index, offsets, mode, padding_index=padding), expected)


def test_a_maximum_keeps_the_bits_of_what_it_is():
    signalling = torch.tensor([0x7F81, 0x7FC1, -0x0001, 0x3F80, -0x8000, 0x0000], dtype=torch.int16)
    raw = signalling.view(torch.bfloat16).repeat_interleave(8).reshape(6, 8)
    for pair in ([0, 3], [3, 0], [4, 5], [5, 4], [1, 1], [2, 4]):
        index = torch.tensor([pair])
        found = sb.compress(raw).pool(index, mode="max")
        assert torch.equal(found.view(torch.int16), embedding_bag(index, raw, mode="max").view(torch.int16))


def test_sums_that_lie_halfway_are_rounded_as_torch_rounds_them():
    # 1 + 2^-8 lies between two neighbours of bf16. Without padding torch rounds it up, with padding to the even one.
    raw = torch.tensor([[1.0], [2.0**-8], [5.0]], dtype=torch.bfloat16)
    table = sb.compress(raw)
    for padding, sign in ((None, 1), (2, 1), (None, -1), (2, -1)):
        index = torch.tensor([[0, 1]])
        weights = torch.full((1, 2), float(sign), dtype=torch.bfloat16)
        expected = embedding_bag(index, raw, mode="sum", per_sample_weights=weights, padding_idx=padding)
        assert_same(table.pool(index, weights=weights, padding_index=padding), expected)
    assert table.pool([[0, 1]]).item() != table.pool([[0, 1]], padding_index=2).item()


@pytest.mark.parametrize("mode", MODES)
def test_sums_are_near_those_of_f64(mode):
    raw = weights_table(torch.bfloat16, num_columns=32)
    index, offsets = bags(len(raw), 100, 80)
    exact = embedding_bag(index, raw.double(), offsets, mode=mode)
    largest = embedding_bag(index, raw.double().abs(), offsets, mode="sum" if mode == "sum" else mode)
    # Two roundings to 8 bits, and one to 24 bits for each row.
    assert (
        (sb.compress(raw).pool(index, offsets, mode).double() - exact).abs() <= largest * (2**-7 + 80 * 2**-24)
    ).all()


def test_bags_without_rows_are_zeros():
    raw = weights_table(torch.float32)
    offsets = [0, 0, 2, 2, 2]
    for mode in MODES:
        found = sb.compress(raw).pool([3, 4], offsets, mode)
        assert_same(found, embedding_bag(torch.tensor([3, 4]), raw, torch.tensor(offsets), mode=mode))
        assert_same(sb.compress(raw).pool([], [], mode), torch.empty(0, 64))
        assert_same(sb.compress(raw).pool([5, 5], [0], mode, padding_index=5), torch.zeros(1, 64))


@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64, torch.int16])
@pytest.mark.parametrize("offset_dtype", [torch.int32, torch.int64])
def test_integers_of_any_width(index_dtype, offset_dtype):
    raw = weights_table(torch.float32)
    index, offsets = bags(len(raw), 30, 9)
    expected = embedding_bag(index, raw, offsets, mode="sum")
    table = sb.compress(raw)
    found = table.pool(index.to(index_dtype), offsets.to(offset_dtype))
    assert_same(found, expected)
    assert_same(table.pool(index.tolist(), offsets.tolist()), expected)
    with_last = torch.cat([offsets, torch.tensor([len(index)])]).to(offset_dtype)
    assert_same(table.pool(index.to(index_dtype), with_last, include_last_offset=True), expected)


def test_an_index_of_two_dimensions_has_a_bag_in_each_row():
    raw = weights_table(torch.bfloat16)
    index = torch.randint(0, len(raw), (20, 11), generator=torch.Generator().manual_seed(0))
    weights = torch.randn(20, 11).to(torch.bfloat16)
    table = sb.compress(raw)
    assert_same(table.pool(index, mode="mean"), embedding_bag(index, raw, mode="mean"))
    expected = embedding_bag(index, raw, mode="sum", per_sample_weights=weights)
    assert_same(table.pool(index, weights=weights), expected)
    assert_same(table.pool(index[:, :0]), torch.zeros(20, 64, dtype=torch.bfloat16))


def test_rows_of_several_dimensions():
    raw = weights_table(torch.float32, num_columns=24).reshape(500, 4, 6)
    index, offsets = bags(500, 12, 5)
    found = sb.compress(raw, row_dims=2).pool(index, offsets, "mean")
    assert_same(found.reshape(12, 24), embedding_bag(index, raw.reshape(500, 24), offsets, mode="mean"))


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same(num_threads):
    raw = weights_table(torch.bfloat16, num_rows=4000, num_columns=128)
    index, offsets = bags(len(raw), 3000, 30)
    found = sb.compress(raw).pool(index, offsets, num_threads=num_threads)
    assert_same(found, embedding_bag(index, raw, offsets, mode="sum"))


def test_numpy_in_and_out():
    raw = weights_table(torch.float32)
    index, offsets = bags(len(raw), 12, 5)
    expected = embedding_bag(index, raw, offsets, mode="sum").numpy()
    table = sb.compress(raw.numpy())
    found = table.pool(index.numpy(), offsets.numpy())
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, expected)
    out = np.empty((12, 64), dtype=np.float32)
    assert table.pool(index, offsets, out=out) is out
    np.testing.assert_array_equal(out, expected)
    wide = np.full((12, 100), 5, dtype=np.float32)
    table.pool(index, offsets, out=wide[:, 10:74])
    np.testing.assert_array_equal(wide[:, 10:74], expected)
    assert (wide[:, :10] == 5).all()
    assert (wide[:, 74:] == 5).all()
    assert_same(table.pool(index, offsets, like="torch"), torch.from_numpy(expected))


def test_mapped_files_pool_too(tmp_path):
    raw = weights_table(torch.bfloat16)
    sb.save_file({"users": sb.compress(raw)}, tmp_path / "tables.safetensors")
    index, offsets = bags(len(raw), 12, 5)
    found = sb.load_file(tmp_path / "tables.safetensors")["users"].pool(index, offsets, like="torch")
    assert_same(found, embedding_bag(index, raw, offsets, mode="sum"))


def test_several_tables_at_once():
    raws = [
        weights_table(torch.bfloat16, num_columns=64, seed=1),
        weights_table(torch.float32, num_columns=16, seed=2),
        weights_table(torch.bfloat16, num_columns=128, seed=3),
    ]
    given = [bags(500, 40, most, seed=most) for most in (1, 20, 5)]
    modes = ["sum", "max", "mean"]
    tables = [sb.compress(raw) for raw in raws]
    indices, offsets = [index for index, _ in given], [offset for _, offset in given]
    expected = [
        embedding_bag(index, raw, offset, mode=mode, padding_idx=3)
        for index, raw, offset, mode in zip(indices, raws, offsets, modes, strict=True)
    ]
    for num_threads in (1, 2):
        found = sb.pool(tables, indices, offsets, modes, padding_index=[3, 3, 3], num_threads=num_threads)
        for ours, theirs in zip(found, expected, strict=True):
            assert_same(ours, theirs)
    wide = torch.zeros(40, 64 + 128 + 7, dtype=torch.bfloat16)
    out = [wide[:, :64], torch.empty(40, 16), wide[:, 71:]]
    sb.pool(tables, indices, offsets, modes, padding_index=[3, 3, 3], out=out)
    for ours, theirs in zip(out, expected, strict=True):
        assert_same(ours, theirs)
    assert not wide[:, 64:71].any()
    assert sb.pool([], []) == []


def test_one_table_several_times():
    raw = weights_table(torch.float32)
    table = sb.compress(raw)
    found = sb.pool([table, table], [[1, 2], [3]], [[0], [0]])
    assert_same(found[0], raw[1:2] + raw[2:3])
    assert_same(found[1], raw[3:4])


def test_nothing_is_written_when_a_row_is_out_of_range():
    table = sb.compress(weights_table(torch.float32))
    out = torch.full((2, 64), 9.0)
    for wrong in (500, -1, 2**40):
        with pytest.raises(sb.OutOfRangeError, match=f"index {wrong} at position 2 .* 500 rows"):
            table.pool([0, 1, wrong], [0, 2], out=out)
        with pytest.raises(sb.OutOfRangeError, match=f"table 1: index {wrong}"):
            sb.pool([table, table], [[0], [wrong]], [[0], [0]], out=[out[:1], out[1:]])
    assert (out == 9).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(index=[1, 2]), "needs offsets"),
        (dict(index=[[1, 2]], offsets=[0]), "takes no offsets"),
        (dict(index=[[[1]]], offsets=[0]), "one or two dimensions"),
        (dict(index=[1, 2], offsets=[[0]]), "one dimension"),
        (dict(index=[1, 2], offsets=[0, 2, 1]), "offset 1 at position 2"),
        (dict(index=[1, 2], offsets=[0, 3]), "offset 3 at position 1"),
        (dict(index=[1, 2], offsets=[-1]), "offset -1 at position 0"),
        (dict(index=[1, 2], offsets=[], include_last_offset=True), "are empty"),
        (dict(index=[1.5], offsets=[0]), "not integers"),
        (dict(index=[1, 2], offsets=[0.0]), "not integers"),
        (dict(index=[1, 2], offsets=[0], mode="product"), 'not "product"'),
        (dict(index=[1, 2], offsets=[0], mode=3), "mode is a word"),
        (dict(index=[1, 2], offsets=[0], mode="mean", weights=np.ones(2, np.float32)), "in sums only"),
        (dict(index=[1, 2], offsets=[0], weights=np.ones(2)), "weights have dtype"),
        (dict(index=[1, 2], offsets=[0], weights=np.ones(3, np.float32)), "weights have shape"),
        (dict(index=[1, 2], offsets=[0], weights=[1.0, 2.0]), "weights is a list"),
        (dict(index=[1, 2], offsets=[0], padding_index=500), "out of range"),
        (dict(index=[1, 2], offsets=[0], padding_index=1.5), "an index is an integer"),
        (dict(index=[1, 2], offsets=[0], out=np.empty((2, 64), np.float32)), "out has shape"),
        (dict(index=[1, 2], offsets=[0], out=np.empty((1, 64))), "out has dtype"),
        (dict(index=[1, 2], offsets=[0, 1], out=np.empty((2, 128), np.float32)[:, ::2]), "contiguous"),
        (dict(index=[1, 2], offsets=[0, 1], out=np.empty((64, 2), np.float32).T), "contiguous"),
        (dict(index=[1, 2], offsets=[0, 1], out=np.empty((2, 64), np.float32)[::-1]), "bytes apart"),
        (dict(index=[1, 2], offsets=[0, 1], out=torch.empty(1, 64).expand(2, 64)), "bytes apart"),
        (dict(index=[1, 2], offsets=[0], num_threads=-1), "num_threads"),
    ],
)
def test_arguments_that_do_not_fit(arguments, message):
    table = sb.compress(np.ones((500, 64), np.float32))
    with pytest.raises((sb.InvalidArgumentError, sb.OutOfRangeError), match=message):
        table.pool(**arguments)


def test_one_of_each_for_each_table():
    table = sb.compress(np.ones((5, 4), np.float32))
    with pytest.raises(sb.InvalidArgumentError, match="offsets has 1 entries for 2 tensors"):
        sb.pool([table, table], [[1], [2]], [[0]])


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.bool_, np.complex64])
def test_dtypes_that_are_not_pooled(dtype):
    table = sb.compress(np.ones((5, 4), dtype))
    with pytest.raises(sb.UnsupportedError, match="can be pooled, not"):
        table.pool([1], [0])


@pytest.mark.parametrize("codec", ["escape", "window"])
def test_damaged_rows_are_reported(codec, tmp_path):
    path = tmp_path / "table.safetensors"
    raw = weights_table(torch.bfloat16)
    sb.save_file({"t": sb.compress(raw, codec=codec, packing="slotted")}, path)
    data = bytearray(path.read_bytes())
    for i in range(2000, len(data)):
        data[i] = 0xFF
    path.write_bytes(data)
    with pytest.raises(sb.CorruptError, match="malformed"):
        sb.load_file(path)["t"].pool(np.arange(500), [0])
