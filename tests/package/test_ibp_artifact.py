"""Programs for the published artifact run as they are on `stillbit.ibp`, but for the device."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
import stillbit.ibp as ibp  # noqa: E402

from ibp_tables import bits, is_compressed, partly_equal, same  # noqa: E402

CPU = torch.device("cpu")
NONE = None
SIGNATURES = {
    "print_debug": {"flag": ...},
    "preprocess": {"dataset": ..., "threshold": NONE},
    "preprocess_kmeans": {"dataset": ..., "centroids": ..., "threshold": NONE},
    "get_compress_size": {"dataset": ..., "mask": ..., "bitval": ..., "index_arr": NONE, "compress_total": NONE},
    "get_single_compress_len": {"dataset": ..., "mask": ..., "bitval": ..., "index_arr": NONE},
    "compress_inplace": {"dataset": ..., "mask": ..., "bitval": ..., "index_arr": NONE},
    "compress": {"dataset": ..., "mask": ..., "bitval": ..., "index_arr": NONE},
    "compress_condensed": {"dataset": ..., "mask": ..., "bitval": ..., "index_arr": NONE},
    "decompress_fetch": {
        "comp_dataset": ..., "mask": ..., "bitval": ..., "bitmask": ..., "device": ..., "comp_len": NONE,
        "index_arr": NONE, "nblks": NONE, "nthds": NONE, "imp": NONE, "output_tensor": NONE,
    },
    "read_shared": {"filename": ..., "shape": ..., "dtype": ...},
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_names_order_and_defaults(name: str) -> None:
    parameters = inspect.signature(getattr(ibp, name)).parameters.values()
    positional = {
        parameter.name: ... if parameter.default is parameter.empty else parameter.default
        for parameter in parameters
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
    assert list(positional.items()) == list(SIGNATURES[name].items())
    new = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    assert all(parameter.default is not parameter.empty for parameter in new)


def round_trip(original: torch.Tensor) -> float:
    """Return the ratio that the artifact's own check of compression finds."""
    mask, bitval = ibp.preprocess(original)
    compressed = original.detach().clone()
    sizes = ibp.get_compress_size(compressed, mask, bitval)
    bitmask = ibp.compress_inplace(compressed, mask, bitval)
    decompressed = ibp.decompress_fetch(compressed, mask, bitval, bitmask, CPU)
    assert same(decompressed, original)
    return original.numel() * original.element_size() / int(torch.sum(sizes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_floats(dtype: torch.dtype) -> None:
    table = torch.rand([1200, 128], dtype=torch.float32)
    assert round_trip(table.view(dtype)) > 1.05


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize(("most", "shape", "ratio"), [(2**31 - 1, [100, 100], 1.0), (2**31 // 100, [6, 100], 1.15)])
def test_random_integers(dtype: torch.dtype, most: int, shape: list[int], ratio: float) -> None:
    assert round_trip(torch.randint(most, shape, dtype=torch.int32).view(dtype)) >= ratio


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_views_of_features(dtype: torch.dtype) -> None:
    features = (torch.rand([500, 64], generator=torch.Generator().manual_seed(0)) < 0.1).float()
    assert round_trip(features.view(dtype)) > 3


class Weight:
    """A tensor with what the artifact's integration into an inference framework keeps beside it."""

    def __init__(self, data: torch.Tensor) -> None:
        self.data = data
        self.mask, self.bitval = ibp.preprocess(data.view(torch.int64))
        self.comp_len = ibp.get_single_compress_len(data.view(torch.int64), self.mask, self.bitval)
        self.bitmask = ibp.compress_inplace(data.view(torch.int64), self.mask, self.bitval)

    def copy_to(self, target: torch.Tensor) -> None:
        ibp.decompress_fetch(
            self.data.view(torch.int64), self.mask, self.bitval, self.bitmask, target.device,
            output_tensor=target.view(torch.int64), comp_len=self.comp_len,
        )  # fmt: skip


def test_weights_of_a_model() -> None:
    original = (torch.rand([256, 512]) + 1).bfloat16()
    weight = Weight(original.clone())
    assert 0 < weight.comp_len < 512 // 4
    assert not same(weight.data, original)
    target = torch.zeros_like(original)
    weight.copy_to(target)
    assert same(target, original)


def test_lookups_in_an_embedding_table() -> None:
    table = torch.rand([3000, 128]) + 1
    packed = table.clone().view(torch.int64)
    mask, bitval = ibp.preprocess(packed)
    comp_len = ibp.get_single_compress_len(packed, mask, bitval)
    bitmask = ibp.compress_inplace(packed, mask, bitval)
    for indices in [
        torch.randint(0, 3000, [1024]),
        torch.arange(3000).flip(0),
        torch.tensor([7, 7], dtype=torch.int32),
    ]:
        rows = ibp.decompress_fetch(packed, mask, bitval, bitmask, CPU, comp_len, indices, 108, 512, -1)
        assert same(rows.view(torch.float32), table[indices.long()])
    # A bitmask of zeros says that rows are raw: the artifact's experiments fetch uncompressed tables that way.
    nothing = ibp.decompress_fetch(table, mask.view(torch.int32)[:128].clone(), bitval.view(torch.int32)[:128].clone(),
                                   bitmask.clone().zero_(), CPU, 128, torch.tensor([5]))  # fmt: skip
    assert same(nothing, table[[5]])


def test_one_vector_is_a_row() -> None:
    vector = partly_equal((1, 300), share=1)[0]
    mask, bitval = ibp.preprocess(vector[None])
    assert ibp.get_compress_size(vector, mask, bitval).shape == (1,)
    assert ibp.get_single_compress_len(vector, mask, bitval) == 10  # nothing but participation bits
    packed = vector.clone()
    bitmask = ibp.compress_inplace(packed, mask, bitval)
    assert same(ibp.decompress_fetch(packed, mask, bitval, bitmask, CPU), vector[None])


def test_results_are_what_is_documented() -> None:
    table = partly_equal((70, 50), 2)
    mask, bitval = ibp.preprocess(table.view(torch.bfloat16))
    for part in (mask, bitval):
        assert (part.dtype, part.shape, part.device) == (torch.int16, (50,), CPU)
    sizes = ibp.get_compress_size(table, mask, bitval)
    assert (sizes.dtype, sizes.shape) == (torch.int64, (70,))
    total = torch.tensor([5])
    index = torch.tensor([69, 0, 0])
    assert torch.equal(ibp.get_compress_size(table, mask, bitval, index, total), sizes[index])
    assert total.tolist() == [5 + int(sizes[index].sum())]
    assert ibp.get_single_compress_len(table, mask, bitval) == int(sizes.sum()) * 50 // (70 * 100)
    assert ibp.get_single_compress_len(table, mask, bitval, index) == int(sizes[index].sum()) * 50 // (3 * 100)
    bitmask = ibp.compress_inplace(table.clone(), mask, bitval)
    assert (bitmask.dtype, bitmask.shape) == (torch.int32, (3,))
    assert is_compressed(bitmask, 96) == [*(sizes < 100).tolist(), *[False] * 26]
    condensed, offsets = ibp.compress_condensed(table, mask, bitval)
    assert (condensed.dtype, condensed.dim(), offsets.dtype) == (table.dtype, 1, torch.int64)
    assert torch.equal(offsets, sizes.cumsum(0))
    assert condensed.numel() * 2 == int(sizes.sum())


def test_kmeans() -> None:
    kinds = bits((4, 40), 4, 9)
    table = (kinds.repeat(100, 1) & ~0xFFF | bits((400, 40), 4) & 0xFFF)[torch.randperm(400)].contiguous()
    one = int(ibp.get_compress_size(table, *ibp.preprocess(table)).sum())
    masks, bitvals, clusters = ibp.preprocess_kmeans(table, 8, None)
    assert masks.shape == bitvals.shape == (8, 40) and masks.dtype == torch.int32
    assert (clusters.shape, clusters.dtype) == ((400,), torch.int32)
    sizes = ibp.get_compress_size(table, masks, bitvals, clusters=clusters)
    assert int(sizes.sum()) < one / 2
    packed = table.clone()
    bitmask = ibp.compress_inplace(packed, masks, bitvals, clusters=clusters)
    assert all(is_compressed(bitmask, 400))
    index = torch.tensor([399, 3, 3, 0])
    assert same(ibp.decompress_fetch(packed, masks, bitvals, bitmask, CPU, clusters=clusters), table)
    assert same(
        ibp.decompress_fetch(packed, masks, bitvals, bitmask, CPU, index_arr=index, clusters=clusters), table[index]
    )
    condensed, offsets = ibp.compress(table, masks, bitvals, index, clusters=clusters)
    back = ibp.decompress_condensed(condensed, masks, bitvals, offsets, clusters=clusters[index])
    assert same(back, table[index])
    for again in (ibp.preprocess_kmeans(table, 8), ibp.preprocess_kmeans(table, 8, seed=0)):
        assert all(same(a, b) for a, b in zip(again, (masks, bitvals, clusters), strict=True))


def test_debug_messages(capsys: pytest.CaptureFixture[str]) -> None:
    table = partly_equal((100, 10))
    ibp.preprocess(table)
    assert capsys.readouterr().out == ""
    ibp.print_debug(True)
    try:
        mask, bitval = ibp.preprocess(table)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 7 and "threshold 0.70" in lines[0] and "threshold 1.00" in lines[6]
        assert any(f" {int(ibp.get_compress_size(table, mask, bitval).sum())} of 4000 bytes" in line for line in lines)
        ibp.preprocess_kmeans(table, 2)
        assert "2 clusters, round 1" in capsys.readouterr().out
    finally:
        ibp.print_debug(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_read_shared(dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.arange(60).to(dtype).reshape(3, 20)
    path = tmp_path / "features.bin"
    path.write_bytes(tensor.view(torch.uint8).numpy().tobytes())
    found = ibp.read_shared(str(path), [3, 20], dtype)
    assert found.is_shared() and same(found, tensor)
    path.write_bytes(b"")
    assert ibp.read_shared(path, (0, 20), dtype).shape == (0, 20)
