"""Embedding and EmbeddingBag: every result is torch's, to the last bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stillbit as sb

torch = pytest.importorskip("torch")
import stillbit.torch as sbt  # noqa: E402
from torch import nn  # noqa: E402

from bags import assert_same_bits, random_bags, random_table  # noqa: E402

ROWS = 97
MODES = ["sum", "mean", "max"]
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


def both(table: Any, **arguments: Any) -> tuple[Any, Any]:
    """Return torch's module and ours."""
    reference = nn.EmbeddingBag(*table.shape, _weight=table.clone(), **arguments)
    return reference, sbt.EmbeddingBag.from_module(reference)


def pooled_by_torch(table: Any, **arguments: Any) -> Any:
    """Return our module on a table that only gathers: what a GPU, and tables of one's own, are looked up by."""
    return sbt.EmbeddingBag(sb.ShardedTensor([sb.compress(table)]), **arguments)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding_idx", [None, 5, -1])
def test_random_bags(dtype: Any, mode: str, padding_idx: int | None) -> None:
    cases = itertools.product([3, 64, 129], [False, True], [torch.int32, torch.int64], [False, True])
    for seed, (columns, last, index, two) in enumerate(cases):
        table = random_table(seed, ROWS, columns, dtype)
        arguments = {"mode": mode, "include_last_offset": last, "padding_idx": padding_idx}
        reference, fused = both(table, **arguments)
        bags = random_bags(seed, ROWS, dtype, index=index, last=last, two=two)
        for ours in [fused, pooled_by_torch(table, **arguments), sbt.EmbeddingBag(table, trainable=True, **arguments)]:
            assert_same_bits(ours(bags.input, bags.offsets), reference(bags.input, bags.offsets))
            if mode == "sum":
                assert_same_bits(ours(*bags), reference(*bags))
        if padding_idx is not None:
            bags.input[::3] = padding_idx % ROWS
            assert_same_bits(fused(bags.input, bags.offsets), reference(bags.input, bags.offsets))


@pytest.mark.parametrize("mode", MODES)
def test_large_batch(mode: str) -> None:
    table = random_table(0, 5000, 64, torch.bfloat16)
    reference, ours = both(table, mode=mode)
    input = torch.randint(5000, (20_000,))
    offsets = torch.arange(0, 20_000, 10)
    assert_same_bits(ours(input, offsets), reference(input, offsets))


@pytest.mark.parametrize("mode", MODES)
def test_values_that_are_no_numbers(mode: str) -> None:
    table = random_table(0, ROWS, 16)
    draw = torch.Generator().manual_seed(1)
    for value in [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-40]:
        table[torch.rand(table.shape, generator=draw) < 0.1] = value
    reference, ours = both(table, mode=mode)
    for seed in range(20):
        input, offsets, _ = random_bags(seed, ROWS)
        found, wanted = ours(input, offsets), reference(input, offsets)
        assert torch.equal(found.isnan(), wanted.isnan())
        assert_same_bits(found.nan_to_num(7), wanted.nan_to_num(7))  # which NaN comes out is the processor's choice


@pytest.mark.parametrize("mode", MODES)
def test_no_bags_and_no_rows(mode: str) -> None:
    none = torch.empty(0, dtype=torch.int64)
    for last in [False, True]:
        reference, ours = both(random_table(0, ROWS, 8), mode=mode, include_last_offset=last)
        for offsets in [torch.tensor([0]), torch.tensor([0, 0, 0])] + ([] if last else [none]):
            assert_same_bits(ours(none, offsets), reference(none, offsets))
        assert_same_bits(ours(none.view(0, 3)), reference(none.view(0, 3)))
        assert ours(none.view(3, 0)).tolist() == [[0.0] * 8] * 3  # torch refuses


def test_what_is_behind_the_last_offset_is_in_no_bag() -> None:
    reference, ours = both(random_table(0, ROWS, 8), mode="sum", include_last_offset=True)
    input, offsets, weights = torch.tensor([1, 2, 3, 4]), torch.tensor([0, 2, 3]), torch.rand(4)
    assert_same_bits(ours(input, offsets), reference(input, offsets))
    assert_same_bits(ours(input, offsets, weights), reference(input, offsets, weights))


def test_nested_input() -> None:
    reference, ours = both(random_table(0, ROWS, 8), mode="sum")
    bags = torch.nested.nested_tensor([torch.tensor([1, 2, 3]), torch.tensor([4])], layout=torch.jagged)
    weights = torch.nested.nested_tensor_from_jagged(torch.rand(4), bags.offsets())
    assert_same_bits(ours(bags), reference(bags))
    assert_same_bits(ours(bags, None, weights), reference(bags, None, weights))
    with pytest.raises(sb.InvalidArgumentError, match="nested"):
        ours(bags, torch.tensor([0]))


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float64", "int8", "int64", "float8_e4m3fn"])
def test_embedding_of_any_dtype(name: str) -> None:
    table = torch.randint(0, 20, (ROWS, 24)).to(getattr(torch, name))
    ours = sbt.Embedding(table)
    for input in [torch.tensor(5), torch.tensor([], dtype=torch.int64), torch.randint(ROWS, (3, 4, 5)).int()]:
        assert_same_bits(ours(input).view(torch.uint8), table.view(torch.uint8)[input])
    assert_same_bits(ours.decompress().view(torch.uint8), table.view(torch.uint8))


def test_embedding_as_torch_has_it() -> None:
    reference = nn.Embedding(ROWS, 16, padding_idx=-2)
    ours = sbt.Embedding.from_module(reference.eval())
    assert (ours.num_embeddings, ours.embedding_dim, ours.padding_idx) == (ROWS, 16, ROWS - 2)
    assert not ours.training and not list(ours.parameters()) and ours.nbytes == ours.table.nbytes
    input = torch.randint(ROWS, (5, 6))
    assert_same_bits(ours(input), reference(input))
    assert not ours(input).requires_grad
    assert repr(ours).startswith(f"Embedding({ROWS}, 16, torch.float32, padding_idx=95, 6208 bytes in ")


@pytest.mark.parametrize("padding_idx", [None, 3])
@pytest.mark.parametrize("last", [False, True])
def test_gradient_of_weights(padding_idx: int | None, last: bool) -> None:
    # A row of 64 bytes lies as torch's does; one of 132 elsewhere in a vector, and products are added in another order.
    for columns, tolerance in [(16, 0.0), (33, 1e-5)]:
        table = random_table(0, ROWS, columns)
        reference, ours = both(table, mode="sum", padding_idx=padding_idx, include_last_offset=last)
        for seed in range(20):
            input, offsets, weights = random_bags(seed, ROWS, last=last)
            gradients = []
            for module in [reference, ours]:
                own = weights.clone().requires_grad_()
                (module(input, offsets, own) * torch.arange(1, columns + 1)).sum().backward()
                gradients.append(own.grad)
            assert torch.allclose(gradients[1], gradients[0], rtol=0, atol=tolerance * columns**2)


def test_what_is_in_no_bag_has_no_gradient() -> None:
    ours = sbt.EmbeddingBag(random_table(0, ROWS, 8), mode="sum", include_last_offset=True)
    weights = torch.ones(4, requires_grad=True)
    ours(torch.tensor([1, 2, 3, 4]), torch.tensor([0, 2]), weights).sum().backward()
    assert weights.grad is not None and weights.grad.ne(0).tolist() == [True, True, False, False]


def test_sources_of_a_table(tmp_path: Path) -> None:
    table = random_table(0, ROWS, 16, torch.bfloat16)
    numbers = table.float().numpy()
    np.save(tmp_path / "t.npy", numbers)
    sb.save_file({"w": sb.compress(table, packing="packed")}, tmp_path / "c.safetensors")
    sources: list[tuple[Any, Any]] = [
        (sbt.EmbeddingBag(table), table),
        (sbt.EmbeddingBag(table, codec="window", packing="packed"), table),
        (sbt.EmbeddingBag(sb.compress(table)), table),
        (sbt.EmbeddingBag(sb.ShardedTensor([sb.compress(table[:50]), sb.compress(table[50:])])), table),
        (sbt.EmbeddingBag(numbers), torch.from_numpy(numbers)),
        (sbt.EmbeddingBag(np.load(tmp_path / "t.npy", mmap_mode="r")), torch.from_numpy(numbers)),
        (sbt.EmbeddingBag.from_file(tmp_path / "t.npy", ""), torch.from_numpy(numbers)),
        (sbt.EmbeddingBag.from_file(tmp_path / "c.safetensors", "w", mode="mean"), table),
    ]
    input = torch.randint(ROWS, (7, 5))
    for ours, weight in sources:
        assert_same_bits(ours(input), nn.functional.embedding_bag(input, weight))
        assert_same_bits(ours.decompress(), weight)


def test_entry_of_an_ordinary_safetensors_file(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    table = random_table(0, ROWS, 16, torch.bfloat16)
    safetensors.save_file({"w": table, "other": table[:3].clone()}, tmp_path / "t.safetensors")
    ours = sbt.Embedding.from_file(tmp_path / "t.safetensors", "w", packing="packed", padding_idx=0)
    assert_same_bits(ours.decompress(), table)
    assert (ours.table.packing, ours.padding_idx) == ("packed", 0)
    with pytest.raises(sb.InvalidArgumentError, match=r"no tensor 'weight', but other, w"):
        sbt.Embedding.from_file(tmp_path / "t.safetensors", "weight")
    with pytest.raises(sb.IoError, match="missing"):
        sbt.Embedding.from_file(tmp_path / "missing.safetensors", "w")


@pytest.mark.parametrize("mode", MODES)
def test_table_in_tiers(mode: str, tmp_path: Path) -> None:
    table = random_table(0, ROWS, 64)
    sb.save_file({"w": sb.compress(table)}, tmp_path / "t.safetensors")
    reference = nn.EmbeddingBag(*table.shape, mode=mode, padding_idx=2, _weight=table)
    for tiers in [
        sb.TieredTable(table, fast_nbytes=8192),
        sb.TieredTable(tmp_path / "t.safetensors", "w", fast_nbytes=8192, warm_nbytes=8192, like="torch"),
    ]:
        ours = sbt.EmbeddingBag(tiers, mode=mode, padding_idx=2)
        for seed in range(30):
            input, offsets, _ = random_bags(seed, ROWS)
            assert_same_bits(ours(input, offsets), reference(input, offsets))
        assert 0 < tiers.statistics().hit_rate < 1
        looked_up = tiers.statistics().num_lookups
        assert_same_bits(ours.decompress(), table)
        assert tiers.statistics().num_lookups == looked_up  # what is frequent is not upset by it


class Dictionary:
    """A table of one's own."""

    dtype_name, shape, nbytes = "F32", (ROWS, 4), 0

    def gather(self, index: Any, out: Any) -> None:
        out.copy_(index[..., None].float() + torch.arange(4))


def test_table_of_one_s_own() -> None:
    ours = sbt.EmbeddingBag(Dictionary(), mode="sum")
    assert ours(torch.tensor([[1, 2]])).tolist() == [[3, 5, 7, 9]]
    assert ours.decompress()[ROWS - 1].tolist() == [96, 97, 98, 99]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: sbt.EmbeddingBag(t[0]), sb.InvalidArgumentError, r"a matrix, and this has shape \(16,\)"),
        (lambda t: sbt.EmbeddingBag(sb.compress(t, row_dims=2)), sb.InvalidArgumentError, "row_dims=2"),
        (lambda t: sbt.EmbeddingBag("t"), sb.InvalidArgumentError, "a str is no table"),
        (lambda t: sbt.EmbeddingBag(sb.compress(t), codec="raw"), sb.InvalidArgumentError, "codec: for tensors"),
        (lambda t: sbt.EmbeddingBag(t, mode="min"), sb.InvalidArgumentError, "'min'"),
        (lambda t: sbt.EmbeddingBag(t, max_norm=1.0), sb.UnsupportedError, "max_norm"),
        (lambda t: sbt.EmbeddingBag(t.to(torch.int8)), sb.UnsupportedError, "torch.int8 cannot be pooled"),
        (lambda t: sbt.Embedding(t, padding_idx=ROWS), sb.OutOfRangeError, "padding_idx is 97"),
        (lambda t: sbt.Embedding(t, padding_idx=-ROWS - 1), sb.OutOfRangeError, "padding_idx is -98"),
        (lambda t: sbt.EmbeddingBag(t, trainable=True, scale_grad_by_freq=True), sb.UnsupportedError, "scale_grad"),
        (lambda t: sbt.EmbeddingBag(t, trainable=True, packing="packed"), sb.InvalidArgumentError, "is packed"),
        (lambda t: sbt.Embedding(t.to(torch.int8), trainable=True), sb.InvalidArgumentError, "I8 has no gradients"),
        (lambda t: sbt.EmbeddingBag(Dictionary(), trainable=True), sb.InvalidArgumentError, "no `update`"),
        (lambda t: sbt.EmbeddingBag.from_module(nn.Linear(2, 2)), sb.InvalidArgumentError, "is a Linear"),
        (lambda t: sbt.Embedding.from_module(nn.Embedding(9, 2, max_norm=1.0)), sb.UnsupportedError, "max_norm"),
    ],
)
def test_modules_that_cannot_be(call: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(random_table(0, ROWS, 16))


ONE, TWO = torch.tensor([1, 2]), torch.tensor([[1, 2]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1, 2],), sb.InvalidArgumentError, "input is a list"),
        ((ONE.short(), ONE), sb.InvalidArgumentError, "input has dtype torch.int16"),
        ((ONE.float(), ONE), sb.InvalidArgumentError, "input has dtype torch.float32"),
        ((ONE.to("meta"), ONE), sb.InvalidArgumentError, "input is on meta, the module on cpu"),
        ((torch.tensor(1), ONE), sb.InvalidArgumentError, "input has 0 dimensions"),
        ((ONE,), sb.InvalidArgumentError, "no offsets"),
        ((TWO, ONE), sb.InvalidArgumentError, "there can be no offsets"),
        ((ONE, TWO), sb.InvalidArgumentError, "offsets has 2 dimensions"),
        ((ONE, ONE.float()), sb.InvalidArgumentError, "offsets has dtype"),
        ((ONE, ONE), sb.InvalidArgumentError, "offset"),
        ((ONE, torch.tensor([0, 2, 1])), sb.InvalidArgumentError, "offset"),
        ((ONE, torch.tensor([0, 3])), sb.InvalidArgumentError, "offset"),
        ((torch.tensor([[ROWS]]),), sb.OutOfRangeError, "97"),
        ((torch.tensor([[-1]]),), sb.OutOfRangeError, "-1"),
        ((TWO, None, torch.rand(2)), sb.InvalidArgumentError, r"per_sample_weights has shape \(2,\), input \(1, 2\)"),
        ((TWO, None, torch.rand(1, 2).double()), sb.InvalidArgumentError, "dtype torch.float64, the table"),
        ((TWO, None, [1.0]), sb.InvalidArgumentError, "per_sample_weights"),
    ],
)
def test_bags_that_cannot_be(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    table = random_table(0, ROWS, 16)
    for ours in [sbt.EmbeddingBag(table, mode="sum"), pooled_by_torch(table, mode="sum")]:
        with pytest.raises(error, match=message):
            ours(*arguments)


def test_more_bags_that_cannot_be() -> None:
    table = random_table(0, ROWS, 16)
    with pytest.raises(sb.UnsupportedError, match="the mode is mean"):
        sbt.EmbeddingBag(table)(TWO, None, torch.rand(1, 2))
    with pytest.raises(sb.InvalidArgumentError, match="offsets"):
        sbt.EmbeddingBag(table, include_last_offset=True)(ONE, ONE[:0])
    for input in [torch.tensor([ROWS]), torch.tensor([-1])]:
        with pytest.raises(IndexError):
            sbt.Embedding(table)(input)
    with pytest.raises(sb.InvalidArgumentError, match="dtype torch.float32"):
        sbt.Embedding(table)(torch.rand(3))
