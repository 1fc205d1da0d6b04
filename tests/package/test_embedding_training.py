"""Tables trained compressed are what torch's sparse embeddings become, to the last bit, step by step."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import stillbit as sb

torch = pytest.importorskip("torch")
import stillbit.torch as sbt  # noqa: E402
from torch import nn  # noqa: E402

from bags import assert_same_bits, random_bags, random_table  # noqa: E402

ROWS, COLUMNS = 300, 16

OPTIMIZERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "SGD": (lambda p: sbt.SparseSGD(p, lr=0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    "SGD up": (lambda p: sbt.SparseSGD(p, lr=0.1, maximize=True), lambda p: torch.optim.SGD(p, lr=0.1, maximize=True)),
    "Adam": (lambda p: sbt.SparseAdam(p, lr=0.01), lambda p: torch.optim.SparseAdam(p, lr=0.01)),
    "Adam up": (
        lambda p: sbt.SparseAdam(p, 0.1, (0.5, 0.9), 1e-4, maximize=True),
        lambda p: torch.optim.SparseAdam(p, 0.1, (0.5, 0.9), 1e-4, maximize=True),
    ),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Steps are short: more threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pair(seed: int = 0, dtype: Any = None, **arguments: Any) -> tuple[Any, Any]:
    """Return torch's module with sparse gradients, and ours on the same rows."""
    table = random_table(seed, ROWS, COLUMNS, dtype)
    reference = nn.EmbeddingBag(ROWS, COLUMNS, sparse=True, _weight=table.clone(), **arguments)
    return reference, sbt.EmbeddingBag(table, trainable=True, **arguments)


def loss_of(module: Any, bags: Any, *, weighted: bool = False) -> Any:
    out = module(*bags) if weighted else module(bags.input, bags.offsets)
    return (out * torch.linspace(-1, 1, COLUMNS, dtype=out.dtype)).square().sum()


@pytest.mark.parametrize(("optimizer", "steps"), [("SGD", 1000), ("Adam", 1000), ("SGD up", 50), ("Adam up", 50)])
def test_a_thousand_steps(optimizer: str, steps: int) -> None:
    """Of three tables, with rows several times in a batch, padding, means, weights."""
    kinds: list[dict[str, Any]] = [
        {"mode": "sum"},
        {"mode": "mean", "padding_idx": 7},
        {"mode": "sum", "padding_idx": 0},
    ]
    pairs = [pair(seed, **kind) for seed, kind in enumerate(kinds)]
    make_ours, make_reference = OPTIMIZERS[optimizer]
    ours = make_ours([module.weight for _, module in pairs])
    reference = make_reference([module.weight for module, _ in pairs])
    for step in range(steps):
        for number, optimizer_of_one in enumerate([reference, ours]):
            optimizer_of_one.zero_grad()
            for seed, modules in enumerate(pairs):
                bags = random_bags(3 * step + seed, ROWS if step % 10 else 8, two=step % 7 == 0)
                loss_of(modules[number], bags, weighted=seed == 2).backward()
            optimizer_of_one.step()
        if step % 50 == 49 or step < 3:
            for wanted, found in pairs:
                assert_same_bits(found.decompress(), wanted.weight)
    for _, found in pairs:
        found.table.verify()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_other_dtypes(dtype: Any, optimizer: str) -> None:
    reference, ours = pair(dtype=dtype, mode="sum")
    for module, make in zip((ours, reference), OPTIMIZERS[optimizer], strict=True):
        optimizer_of_one = make([module.weight])
        for step in range(30):
            optimizer_of_one.zero_grad()
            loss_of(module, random_bags(step, ROWS)).backward()
            optimizer_of_one.step()
    assert_same_bits(ours.decompress(), reference.weight)


def test_maxima() -> None:
    """torch has dense gradients of maxima; ours have the rows of the batch."""
    table = random_table(0, ROWS, COLUMNS)
    reference = nn.EmbeddingBag(ROWS, COLUMNS, mode="max", _weight=table.clone())
    ours = sbt.EmbeddingBag(table, mode="max", trainable=True)
    for module, optimizer in [
        (reference, torch.optim.SGD([reference.weight], lr=0.1)),
        (ours, sbt.SparseSGD([ours.weight], lr=0.1)),
    ]:
        for step in range(50):
            optimizer.zero_grad()
            loss_of(module, random_bags(step, ROWS)).backward()
            optimizer.step()
    assert_same_bits(ours.decompress(), reference.weight)


@pytest.mark.parametrize("padding_idx", [None, 3])
def test_embedding(padding_idx: int | None) -> None:
    table = random_table(0, ROWS, COLUMNS)
    reference = nn.Embedding(ROWS, COLUMNS, padding_idx, sparse=True, _weight=table.clone())
    ours = sbt.Embedding(table, padding_idx=padding_idx, trainable=True)
    for module, optimizer in [
        (reference, torch.optim.SparseAdam([reference.weight])),
        (ours, sbt.SparseAdam([ours.weight])),
    ]:
        for step in range(50):
            optimizer.zero_grad()
            input = random_bags(step, 9 if step % 2 else ROWS).input
            module(input).square().sum().backward()
            optimizer.step()
    assert_same_bits(ours.decompress(), reference.weight)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_table_in_tiers(optimizer: str) -> None:
    reference, _ = pair(mode="mean")
    tiers = sb.TieredTable(reference.weight.detach().clone(), fast_nbytes=8192)
    ours = sbt.EmbeddingBag(tiers, mode="mean", trainable=True)
    for module, make in zip((ours, reference), OPTIMIZERS[optimizer], strict=True):
        optimizer_of_one = make([module.weight])
        for step in range(100):
            optimizer_of_one.zero_grad()
            loss_of(module, random_bags(step, ROWS if step % 3 else 8)).backward()
            optimizer_of_one.step()
    assert tiers.statistics().num_updated > 0
    assert_same_bits(ours.decompress(), reference.weight)


def test_gradients_are_those_of_torch() -> None:
    """The same sparse tensors, also where a table is used twice, or gradients add up over steps."""
    reference, ours = pair(mode="mean", padding_idx=5)
    gradients = []
    for module in [reference, ours]:
        for seed in range(3):
            first, second = random_bags(seed, ROWS), random_bags(seed + 9, ROWS)
            (loss_of(module, first) + loss_of(module, second)).backward()
        gradients.append(module.weight.grad)
    assert (gradients[1].shape, gradients[1].is_coalesced()) == (gradients[0].shape, gradients[0].is_coalesced())
    assert torch.equal(gradients[1]._indices(), gradients[0]._indices())
    assert_same_bits(gradients[1]._values(), gradients[0]._values())


def test_tables_grow_and_are_compacted() -> None:
    """Rows that no longer are like the sample overflow, and what they leave behind is freed."""
    ours = sbt.EmbeddingBag(random_table(0, ROWS, COLUMNS), mode="sum", trainable=True)
    wanted = ours.decompress()
    before, most = ours.nbytes, 0
    optimizer = sbt.SparseSGD([ours.weight], lr=1.0)
    draw = torch.Generator().manual_seed(0)
    for _ in range(60):
        index = torch.randint(ROWS, (64,), generator=draw).unique()
        change = torch.randn(len(index), COLUMNS, generator=draw) * 10.0 ** torch.randint(-30, 30, (COLUMNS,))
        ours.weight.grad = torch.sparse_coo_tensor(index[None], -change, ours.weight.shape, check_invariants=False)
        optimizer.step()
        wanted[index] += change
        most = max(most, ours.nbytes)
    assert_same_bits(ours.decompress(), wanted)
    assert before < most < 4 * ours.table.raw_nbytes  # 60 batches left behind much more
    ours.table.compact()
    assert ours.nbytes <= most
    assert_same_bits(ours.decompress(), wanted)


def test_parameter_stands_for_the_table() -> None:
    _, ours = pair(mode="sum")
    assert isinstance(ours.weight, sbt.TableParameter) and ours.weight.table is ours.table
    assert (ours.weight.shape, ours.weight.dtype) == ((ROWS, COLUMNS), torch.float32)
    assert ours.weight.isnan().all() and ours.weight.untyped_storage().nbytes() == 4
    assert [name for name, _ in nn.Sequential(ours).named_parameters()] == ["0.weight"]
    assert repr(ours.weight).startswith("TableParameter of CompressedTensor(")
    other = sbt.Embedding(ours.table, trainable=True)
    assert other.weight is ours.weight  # of one table
    with torch.no_grad():
        assert not ours(torch.tensor([[1]])).requires_grad
    ours.weight.requires_grad_(False)
    assert not ours(torch.tensor([[1]])).requires_grad


def test_optimisers_of_torch_are_refused() -> None:
    _, ours = pair(mode="sum")
    ours(torch.tensor([[1]])).sum().backward()
    for optimizer in [torch.optim.SGD([ours.weight], lr=0.1), torch.optim.Adam([ours.weight])]:
        with pytest.raises(RuntimeError):
            optimizer.step()


def test_optimizers_as_torch_has_them() -> None:
    _, ours = pair(mode="sum")
    optimizer = sbt.SparseAdam([{"params": [ours.weight], "lr": 0.5}], lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_of(ours, random_bags(0, ROWS))
        loss.backward()
        return loss

    first = optimizer.step(closure)
    schedule.step()
    assert optimizer.step(closure) != first and optimizer.param_groups[0]["lr"] == pytest.approx(0.05)

    copied = copy.deepcopy(ours)
    again = sbt.SparseAdam([copied.weight])
    again.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    for module, own in [(ours, optimizer), (copied, again)]:
        own.zero_grad()
        loss_of(module, random_bags(1, ROWS)).backward()
        own.step()
    assert_same_bits(copied.decompress(), ours.decompress())


def test_a_batch_of_nothing() -> None:
    _, ours = pair(mode="sum", padding_idx=2)
    before = ours.decompress()
    for make, _ in OPTIMIZERS.values():
        optimizer = make([ours.weight])
        ours(torch.tensor([[2, 2]])).sum().backward()
        optimizer.step()
    assert_same_bits(ours.decompress(), before)


@pytest.mark.parametrize("make", [sbt.SparseSGD, sbt.SparseAdam])
def test_what_is_wrong_is_named(make: Any) -> None:
    _, ours = pair(mode="sum")
    with pytest.raises(sb.InvalidArgumentError, match=r"shape \(2, 3\) is no compressed table's"):
        make([nn.Parameter(torch.zeros(2, 3))])
    with pytest.raises(sb.InvalidArgumentError, match="lr is -1"):
        make([ours.weight], lr=-1)
    ours.weight.grad = torch.zeros(ROWS, COLUMNS)
    with pytest.raises(sb.UnsupportedError, match="is not sparse"):
        make([ours.weight]).step()


def test_options_of_adam() -> None:
    _, ours = pair(mode="sum")
    with pytest.raises(sb.InvalidArgumentError, match="betas"):
        sbt.SparseAdam([ours.weight], betas=(0.9, 1.0))
    with pytest.raises(sb.InvalidArgumentError, match="eps"):
        sbt.SparseAdam([ours.weight], eps=-1e-8)


def test_mapped_tables_cannot_be_trained(tmp_path: Any) -> None:
    sb.save_file({"w": sb.compress(random_table(0, ROWS, COLUMNS))}, tmp_path / "t.safetensors")
    with pytest.raises(sb.InvalidArgumentError, match="mapped from a file"):
        sbt.EmbeddingBag.from_file(tmp_path / "t.safetensors", "w", trainable=True)
