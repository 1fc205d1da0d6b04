"""Whole models: embeddings that are swapped, collections, torchrec's collection."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import stillbit as sb

torch = pytest.importorskip("torch")
import stillbit.torch as sbt  # noqa: E402
from torch import nn  # noqa: E402

from bags import assert_same_bits, random_bags, random_table  # noqa: E402

ROWS = 1200


class Recommender(nn.Module):  # type: ignore[misc]
    """A small DLRM, with tables in a list, a dictionary, shared and alone."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = nn.ModuleList([nn.EmbeddingBag(ROWS, 8, mode="sum"), nn.EmbeddingBag(20, 8, mode="sum")])
        self.by_name = nn.ModuleDict({"user": nn.EmbeddingBag(ROWS, 8, include_last_offset=True, padding_idx=0)})
        self.item = nn.Embedding(ROWS, 8, padding_idx=3)
        self.same_weight = nn.Embedding(ROWS, 8)
        self.same_weight.weight = self.item.weight
        self.same_module = self.item
        self.top = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1))

    def forward(self, input: Any) -> Any:
        offsets = torch.arange(0, len(input) + 1, 2)
        few = (input % 20)[: len(input) // 2].view(-1, 1)
        pooled = self.lists[0](input, offsets[:-1]) + self.lists[1](few) + self.by_name["user"](input, offsets)
        rows = self.item(input[::2]) + self.same_weight(input[1::2]) + self.same_module(input[::2])
        return self.top(pooled + rows)


INPUT = torch.randint(ROWS, (64,), generator=torch.Generator().manual_seed(0))


def test_swap_of_a_model() -> None:
    model = Recommender().eval()
    wanted = model(INPUT)
    swaps = sbt.compress_embeddings(model, packing="packed")
    assert [each.names for each in swaps.swapped] == [
        ("lists.0",),
        ("by_name.user",),
        ("item", "same_module", "same_weight"),
    ]
    assert swaps.left_alone == {"lists.1": "it has fewer than 1000 rows"}
    assert swaps.raw_nbytes == 3 * ROWS * 8 * 4 > swaps.nbytes == sum(each.nbytes for each in swaps.swapped)
    assert model.item is model.same_module and model.item.table is model.same_weight.table
    assert model.item.padding_idx == 3 and model.same_weight.padding_idx is None
    assert all(each.table.packing == "packed" for each in [model.item, model.lists[0], model.by_name["user"]])
    assert not model.lists[0].training and isinstance(model.lists[0], sbt.EmbeddingBag)
    assert {name for name, _ in model.named_parameters()} == {
        "lists.1.weight", "top.0.weight", "top.0.bias", "top.2.weight", "top.2.bias",
    }  # fmt: skip
    assert_same_bits(model(INPUT), wanted)
    said = str(swaps)
    assert "item, same_module, same_weight: 38400 bytes in " in said and "lists.1: left alone, it has fewer" in said
    again = sbt.compress_embeddings(model, min_rows=1)
    assert not again.swapped and list(again.left_alone) == ["lists.1"]


def test_swap_for_training() -> None:
    model = Recommender()
    reference = copy.deepcopy(model)
    for module in reference.modules():
        # Dense gradients add what duplicates have in another order than sparse ones: what is not swapped stays dense.
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.num_embeddings == ROWS:
            module.sparse = True
    sbt.compress_embeddings(model, trainable=True)
    tables = [each for each in model.parameters() if isinstance(each, sbt.TableParameter)]
    assert len(tables) == 3
    names = {name for name, each in model.named_parameters() if isinstance(each, sbt.TableParameter)}
    of_reference = dict(reference.named_parameters())
    for each, own, dense in [
        (model, sbt.SparseAdam(tables), [p for p in model.parameters() if not isinstance(p, sbt.TableParameter)]),
        (
            reference,
            torch.optim.SparseAdam([of_reference[name] for name in names]),
            [p for name, p in of_reference.items() if name not in names],
        ),
    ]:
        sgd = torch.optim.SGD(dense, lr=0.1)
        for step in range(20):
            each.zero_grad()
            own.zero_grad()
            each((INPUT * (step + 1)) % ROWS).square().sum().backward()
            own.step()
            sgd.step()
    for name in ["lists.0", "by_name.user", "item", "same_weight"]:
        assert_same_bits(model.get_submodule(name).decompress(), reference.get_submodule(name).weight)
    assert_same_bits(model(INPUT), reference(INPUT))


class Own(nn.Embedding):  # type: ignore[misc]
    """An embedding that does something else."""


def test_what_is_left_alone() -> None:
    model = nn.ModuleDict({
        "tied": nn.Embedding(ROWS, 8),
        "output": nn.Linear(8, ROWS, bias=False),
        "same_memory": nn.Embedding(ROWS, 8),
        "other_output": nn.Linear(8, ROWS, bias=False),
        "own": Own(ROWS, 8),
        "norm": nn.Embedding(ROWS, 8, max_norm=1.0),
        "of_norm": nn.Embedding(ROWS, 8),
        "hooked": nn.Embedding(ROWS, 8),
        "meta": nn.Embedding(ROWS, 8, device="meta"),
        "noise": nn.Embedding(ROWS, 8, _weight=torch.randint(-(2**31), 2**31, (ROWS, 8)).int().view(torch.float32)),
        "scaled": nn.Embedding(ROWS, 8, scale_grad_by_freq=True),
    })  # fmt: skip
    model["output"].weight = model["tied"].weight
    model["other_output"].weight.data = model["same_memory"].weight.data
    model["of_norm"].weight = model["norm"].weight
    model["hooked"].register_forward_hook(lambda module, input, output: output * 2)
    wanted = {
        "tied": "its weight is also output.weight",
        "same_memory": "its weight is also other_output.weight",
        "own": "it is a Own, a class of its own",
        "norm": "it has max_norm, by which rows are rewritten as they are looked up",
        "of_norm": "it has max_norm, by which rows are rewritten as they are looked up",
        "hooked": "it has hooks",
        "meta": "its weight is on meta",
        "noise": "it would not become smaller",
        "scaled": "it has scale_grad_by_freq, which sparse gradients do not",
    }
    before = dict(model.items())
    swaps = sbt.compress_embeddings(model, trainable=True)
    assert swaps.left_alone == wanted and not swaps.swapped
    assert dict(model.items()) == before
    assert [each.names for each in sbt.compress_embeddings(model).swapped] == [("scaled",)]
    with pytest.raises(sb.InvalidArgumentError, match="use from_module"):
        sbt.compress_embeddings(nn.Embedding(ROWS, 8))


def collection() -> tuple[dict[str, Any], Any]:
    """Return torch's bags by name, and a collection of ours; `again` has the table of `user`."""
    kinds: dict[str, dict[str, Any]] = {
        "user": {"mode": "sum", "include_last_offset": True},
        "item": {"mode": "mean", "padding_idx": 3},
        "word": {"mode": "max"},
    }
    references = {
        name: nn.EmbeddingBag(ROWS, columns, _weight=random_table(columns, ROWS, columns), **kind)
        for columns, (name, kind) in zip([16, 33, 8], kinds.items(), strict=True)
    }
    bags = {name: sbt.EmbeddingBag.from_module(each, packing="packed") for name, each in references.items()}
    return {**references, "again": references["user"]}, sbt.EmbeddingBagCollection({**bags, "again": bags["user"]})


def features_of(seed: int) -> dict[str, Any]:
    batches = [random_bags(seed + i, ROWS, last=i in (0, 3)) for i in range(4)]
    user, item, word, again = ((each.input, each.offsets, each.weights) for each in batches)
    return {"user": user, "item": item[:2], "word": word[:2], "again": again[:2]}


def test_collection() -> None:
    references, ours = collection()
    for seed in range(20):
        features = features_of(seed)
        found = ours(features)
        assert list(found) == ["user", "item", "word", "again"]
        for name, reference in references.items():
            assert_same_bits(found[name], reference(*features[name]))
    two = {name: torch.randint(ROWS, (5, 4)) for name in references}
    wanted = [reference(two[name]) for name, reference in references.items()]
    assert_same_bits(ours.concatenated(two), torch.cat(wanted, dim=1))
    assert_same_bits(copy.deepcopy(ours).concatenated(two), torch.cat(wanted, dim=1))


def test_collection_of_bags_that_are_looked_up_apart() -> None:
    references, ours = collection()
    ours.embedding_bags["item"] = sbt.EmbeddingBag.from_module(references["item"], trainable=True)
    features = features_of(0)
    weights = features["user"][2].requires_grad_()
    found = ours(features)
    for name, reference in references.items():
        assert_same_bits(found[name], reference(*features[name]))
    (found["item"].sum() + found["user"].sum()).backward()
    assert ours.embedding_bags["item"].weight.grad.is_sparse and weights.grad.ne(0).any()
    two = {name: torch.randint(ROWS, (5, 4)) for name in references}
    wanted = [reference(two[name]) for name, reference in references.items()]
    assert_same_bits(ours.concatenated(two), torch.cat(wanted, dim=1))


def test_compiled_collection() -> None:
    references, ours = collection()
    two = {name: torch.randint(ROWS, (5, 4)) for name in references}
    compiled = torch.compile(ours.concatenated, fullgraph=True, backend="aot_eager")
    wanted = [reference(two[name]) for name, reference in references.items()]
    assert_same_bits(compiled(two), torch.cat(wanted, dim=1))


def test_collections_that_cannot_be() -> None:
    _, ours = collection()
    features = features_of(0)
    wrong: list[tuple[Any, str]] = [
        ({**features, "other": ONE}, "the same names: other"),
        ({name: features[name] for name in ["user", "item", "word"]}, "the same names: again"),
        ({**features, "word": ()}, "0 parts"),
        ({**features, "word": ONE.float()}, "dtype torch.float32"),
    ]
    for each, message in wrong:
        with pytest.raises(sb.InvalidArgumentError, match=message):
            ours(each)
    with pytest.raises(sb.OutOfRangeError, match=str(ROWS)):
        ours({**features, "word": torch.tensor([[ROWS]])})
    with pytest.raises(sb.InvalidArgumentError, match="as many bags each"):
        ours.concatenated({**features, "word": ONE.view(1, -1).expand(99, 2)})
    halves = sbt.EmbeddingBag(torch.ones(9, 2).half())
    with pytest.raises(sb.InvalidArgumentError, match="one dtype"):
        sbt.EmbeddingBagCollection({"a": halves, "b": sbt.EmbeddingBag(torch.ones(9, 2))}).concatenated(
            {"a": ONE.view(1, 2), "b": ONE.view(1, 2)}
        )
    with pytest.raises(sb.InvalidArgumentError, match="a bag at least"):
        sbt.EmbeddingBagCollection({})
    with pytest.raises(sb.InvalidArgumentError, match="'a'.*is a Linear"):
        sbt.EmbeddingBagCollection({"a": nn.Linear(2, 2)})


ONE = torch.tensor([1, 2])


class CalledAsByTorchrec(nn.Module):  # type: ignore[misc]
    """Calls bags with the arguments of torchrec's collection (1.9), which its own test needs to be installed for."""

    def __init__(self, bags: dict[str, Any]) -> None:
        super().__init__()
        self.embedding_bags = nn.ModuleDict(bags)

    def forward(self, values: Any, offsets: Any, weights: Any) -> Any:
        found = [
            bag(input=values, offsets=offsets, per_sample_weights=weights).float()
            for bag in self.embedding_bags.values()
        ]
        return torch.cat(found, dim=1)


@pytest.mark.parametrize("weighted", [False, True])
def test_arguments_of_torchrec(weighted: bool) -> None:
    bags = {name: nn.EmbeddingBag(ROWS, 8, mode="sum", include_last_offset=True) for name in "ab"}
    model = CalledAsByTorchrec(bags)
    input, offsets, weights = random_bags(0, ROWS, last=True)
    wanted = model(input, offsets, weights if weighted else None)
    assert len(sbt.compress_embeddings(model).swapped) == 2
    assert_same_bits(model(input, offsets, weights if weighted else None), wanted)


@pytest.mark.parametrize("weighted", [False, True])
def test_collection_of_torchrec(weighted: bool) -> None:
    try:
        from torchrec.modules.embedding_configs import EmbeddingBagConfig, PoolingType
        from torchrec.modules.embedding_modules import EmbeddingBagCollection
        from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
    except (ImportError, OSError) as error:  # OSError: its compiled part is for another torch
        pytest.skip(f"torchrec cannot be imported: {error}")

    pooling = [PoolingType.SUM, PoolingType.SUM if weighted else PoolingType.MEAN]
    configs = [
        EmbeddingBagConfig(name=f"t{i}", embedding_dim=8 + 8 * i, num_embeddings=ROWS, feature_names=names, pooling=how)
        for i, (names, how) in enumerate(zip([["f", "g"], ["h"]], pooling, strict=True))
    ]
    collection = EmbeddingBagCollection(tables=configs, is_weighted=weighted)
    lengths = torch.tensor([2, 0, 1, 3, 1, 0, 0, 4, 2])
    features = KeyedJaggedTensor(
        keys=["f", "g", "h"],
        values=torch.randint(ROWS, (13,)),
        lengths=lengths,
        weights=torch.rand(13) if weighted else None,
    )
    wanted = collection(features)
    collection.embedding_bags["t0"] = sbt.EmbeddingBag.from_module(collection.embedding_bags["t0"])
    found = collection(features)
    assert found.keys() == wanted.keys()
    assert_same_bits(found.values(), wanted.values())
    assert [each.names for each in sbt.compress_embeddings(collection).swapped] == [("embedding_bags.t1",)]
    assert_same_bits(collection(features).values(), wanted.values())
