"""Pooled lookups on a GPU: arguments and wiring on one that is played, and the results where there is one."""

from __future__ import annotations

from typing import Any

import pytest
import stillbit as sb
import stillbit.cuda

torch = pytest.importorskip("torch")
sbt = pytest.importorskip("stillbit.torch")

from bags import assert_same_bits, random_bags, random_table  # noqa: E402
from played_gpu import PlayedCore, played_core, played_table  # noqa: E402

core = played_core
needs_gpu = pytest.mark.skipif(not stillbit.cuda.is_available(), reason=stillbit.cuda.why_not_available())

ROWS = 300


def table_of(dtype: Any = torch.bfloat16, columns: int = 24, seed: int = 1) -> Any:
    return sb.compress(random_table(seed, ROWS, columns, dtype))


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("last", [False, True])
def test_arguments_reach_the_gpu(core: PlayedCore, mode: str, index: Any, last: bool) -> None:
    tensor = table_of()
    bags = random_bags(1, ROWS, torch.bfloat16, index=index, last=last)
    weights = bags.weights if mode == "sum" else None
    for padding in (None, 2, -1):
        arguments = (bags.input, bags.offsets, mode, weights, padding)
        found = played_table(tensor).pool(*arguments, include_last_offset=last)
        assert_same_bits(found, tensor.pool(*arguments, include_last_offset=last, like="torch"))


def test_an_index_of_two_dimensions_has_a_bag_in_each_row(core: PlayedCore) -> None:
    tensor, bags = table_of(), random_bags(2, ROWS, torch.bfloat16, two=True)
    found = played_table(tensor).pool(bags.input, weights=bags.weights)
    assert_same_bits(found, tensor.pool(bags.input, weights=bags.weights, like="torch"))


def test_several_tables_write_columns_of_one_result(core: PlayedCore) -> None:
    tensors = [table_of(columns=16, seed=seed) for seed in range(3)]
    indices = [torch.randint(ROWS, (20,)) for _ in tensors]
    offsets = [torch.arange(0, 20, 4)] * 3
    wide = torch.zeros(5, 48, dtype=torch.bfloat16)
    found = stillbit.cuda.pool(
        [played_table(each) for each in tensors], indices, offsets, ["sum", "mean", "max"], out=wide.split(16, dim=1)
    )
    wanted = sb.pool(tensors, indices, offsets, ["sum", "mean", "max"], like="torch")
    assert_same_bits(wide, torch.cat(wanted, dim=1))
    assert_same_bits(found[1], wanted[1])
    assert core.launches == [3]


def test_wrong_arguments_are_named(core: PlayedCore) -> None:
    table = played_table(table_of())
    index, offsets = torch.zeros(4, dtype=torch.int64), torch.tensor([0, 2])
    for message, call in {
        "needs offsets": lambda: table.pool(index),
        "takes no offsets": lambda: table.pool(index.view(2, 2), offsets),
        "not one or two dimensions": lambda: table.pool(index.view(1, 2, 2)),
        "the index is a list": lambda: table.pool([0, 1], offsets),
        "the offsets has dtype": lambda: table.pool(index, offsets.float()),
        "weights are not a torch.Tensor of": lambda: table.pool(index, offsets, weights=torch.ones(4)),
        "weights have shape": lambda: table.pool(index, offsets, weights=torch.ones(3, dtype=torch.bfloat16)),
        "offsets with include_last_offset are empty": lambda: table.pool(index, offsets[:0], include_last_offset=True),
        "mode is": lambda: table.pool(index, offsets, "median"),
        "out is not a tensor on": lambda: table.pool(index, offsets, out=[0]),
        "indices has 1 entries for 2 tables": lambda: stillbit.cuda.pool([table, table], [index]),
    }.items():
        with pytest.raises(sb.InvalidArgumentError, match=message):
            call()
    with pytest.raises(sb.OutOfRangeError):
        table.pool(index, offsets, padding_index=ROWS)
    assert core.launches == []


def on_played_gpu(bag: Any) -> Any:
    bag._gpu = played_table(bag.table)
    return bag


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_a_bag_is_pooled_by_the_gpu(core: PlayedCore, mode: str) -> None:
    tensor, bags = table_of(torch.float32), random_bags(3, ROWS, last=True)
    weights = bags.weights if mode == "sum" else None
    arguments: dict[str, Any] = {"mode": mode, "padding_idx": 2, "include_last_offset": True}
    wanted = sbt.EmbeddingBag(tensor, **arguments)(bags.input, bags.offsets, weights)
    assert core.launches == []
    found = on_played_gpu(sbt.EmbeddingBag(tensor, **arguments))(bags.input, bags.offsets, weights)
    assert_same_bits(found, wanted)
    assert core.launches == [1]


def test_weights_of_a_bag_on_a_gpu_have_a_gradient(core: PlayedCore, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor, bags = table_of(torch.float32), random_bags(3, ROWS)
    gradients = []
    for bag in (sbt.EmbeddingBag(tensor, mode="sum"), on_played_gpu(sbt.EmbeddingBag(tensor, mode="sum"))):
        if bag._gpu is not None:
            monkeypatch.setattr(bag._gpu, "gather", lambda index: tensor.gather(index, like="torch"), raising=False)
        weights = bags.weights.clone().requires_grad_()
        bag(bags.input, bags.offsets, weights).square().sum().backward()
        gradients.append(weights.grad)
    assert_same_bits(gradients[1], gradients[0])
    assert core.launches == [1]


def test_a_collection_is_looked_up_in_one_call(core: PlayedCore) -> None:
    tensors = {name: table_of(columns=columns) for name, columns in [("a", 8), ("b", 16), ("c", 24)]}
    features = {name: (torch.randint(ROWS, (40,)), torch.arange(0, 40, 4)) for name in tensors}
    cpu = sbt.EmbeddingBagCollection({name: sbt.EmbeddingBag(each, mode="sum") for name, each in tensors.items()})
    gpu = sbt.EmbeddingBagCollection(
        {name: on_played_gpu(sbt.EmbeddingBag(each, mode="sum")) for name, each in tensors.items()}
    )
    wanted = cpu(features)
    for name, found in gpu(features).items():
        assert_same_bits(found, wanted[name])
    assert_same_bits(gpu.concatenated(features), cpu.concatenated(features))
    assert core.launches == [3, 3]
    gpu.embedding_bags["b"].device = torch.device("meta")  # on another device: one after the other
    with pytest.raises(sb.InvalidArgumentError, match="the module on meta"):
        gpu(features)


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("packing", ["slotted", "packed"])
def test_results_are_those_of_the_cpu(dtype: Any, packing: str) -> None:
    tensor = sb.compress(random_table(1, 5000, 72, dtype), packing=packing)
    table = tensor.cuda()
    bags = random_bags(5, 5000, dtype, last=True)
    for mode, weights in [("sum", None), ("sum", bags.weights), ("mean", None), ("max", None)]:
        for padding in (None, 2):
            found = table.pool(
                bags.input.cuda(),
                bags.offsets.cuda(),
                mode,
                None if weights is None else weights.cuda(),
                padding,
                include_last_offset=True,
            )
            table.check()
            arguments = (bags.input, bags.offsets, mode, weights, padding)
            assert_same_bits(found.cpu(), tensor.pool(*arguments, include_last_offset=True, like="torch"))


@needs_gpu
def test_a_collection_on_a_gpu_is_the_one_on_the_cpu() -> None:
    tensors = {name: table_of(columns=columns) for name, columns in [("a", 8), ("b", 16), ("c", 24)]}
    features = {name: (torch.randint(ROWS, (40,)), torch.arange(0, 40, 4)) for name in tensors}
    bags = sbt.EmbeddingBagCollection({name: sbt.EmbeddingBag(each, mode="mean") for name, each in tensors.items()})
    wanted = bags.concatenated(features)
    on_gpu = {name: tuple(each.cuda() for each in feature) for name, feature in features.items()}
    assert_same_bits(bags.cuda().concatenated(on_gpu).cpu(), wanted)


@needs_gpu
def test_a_graph_replays_a_lookup() -> None:
    tensor = table_of()
    table = tensor.cuda()
    index, offsets = torch.randint(ROWS, (64,), device="cuda"), torch.arange(0, 64, 4, device="cuda")
    out = table.pool(index, offsets)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        table.pool(index, offsets, out=out)
    index.copy_(torch.randint(ROWS, (64,)))
    graph.replay()
    table.check()
    assert_same_bits(out.cpu(), tensor.pool(index.cpu(), offsets.cpu(), like="torch"))
