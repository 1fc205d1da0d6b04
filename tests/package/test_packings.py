"""Which packing a tensor gets: slots, unless those cost too much, or what was asked for."""

from __future__ import annotations

import numpy as np
import pytest
import stillbit as sb

torch = pytest.importorskip("torch")
sbt = pytest.importorskip("stillbit.torch")


def bags(num_rows: int = 400, columns: int = 1000) -> np.ndarray:
    """Return bags of words of many sizes: rows for which slots cost a quarter more."""
    random = np.random.default_rng(1)
    rows = np.zeros((num_rows, columns), np.float32)
    for row in rows:
        row[random.integers(0, columns, random.integers(1, 40))] = 1
    return rows


def weights() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((400, 256)).astype(np.float32)


def test_slots_unless_they_cost_too_much() -> None:
    x = bags()
    table = sb.compress(x)
    assert (table.codec, table.packing) == ("sparse", "packed")
    assert sb.compress(x, packing="slotted").nbytes > 1.06 * table.nbytes
    assert (table.gather([7, 0, 399]) == x[[7, 0, 399]]).all()
    assert (table.decompress() == x).all()
    assert sb.compress(weights()).packing == "slotted"


@pytest.mark.parametrize("x", [bags(), weights()])
def test_what_is_asked_for(x: np.ndarray) -> None:
    for packing in ["slotted", "packed"]:
        assert sb.compress(x, packing=packing).packing == packing
        assert sb.plan(x, packing=packing).packing == packing
    for open_packing in [None, "auto"]:
        assert sb.compress(x, packing=open_packing).nbytes == sb.compress(x).nbytes
    with pytest.raises(sb.InvalidArgumentError, match="one of auto, packed, slotted"):
        sb.compress(x, packing="dense")


def test_a_plan_says_what_was_chosen() -> None:
    plan = sb.plan(bags())
    assert plan.packing == "packed" and plan.tile_nbytes == 4000
    assert "sparse, packed" in str(plan)
    assert sb.compress(bags(), plan=plan).packing == "packed"


def test_files_are_packed_unless_that_is_left_open(tmp_path: object) -> None:
    path = f"{tmp_path}/tables.safetensors"
    tables = {"bags": bags(), "weights": weights()}
    for packing, expected in [(None, ["packed", "packed"]), ("auto", ["packed", "slotted"])]:
        sb.compress_to_file(tables, path, **({} if packing is None else {"packing": packing}))
        loaded = sb.load_file(path)
        assert [loaded[name].packing for name in tables] == expected
        assert all((loaded[name].decompress() == tables[name]).all() for name in tables)
    with pytest.raises(sb.InvalidArgumentError, match="packed alike"):
        sb.compress_to_file({name: [table] for name, table in tables.items()}, path, packing="auto")


def test_what_changes_needs_slots() -> None:
    x = bags()
    for change in [lambda t: t.update([1], x[:1]), lambda t: t.append(x[:1])]:
        with pytest.raises(sb.InvalidArgumentError, match='packing="slotted"'):
            change(sb.compress(x))
        change(sb.compress(x, packing="slotted"))
    tiers = sb.TieredTable(x, fast_nbytes=100_000)
    tiers.update([1], x[:1])
    assert (tiers.gather([1]) == x[:1]).all()


def test_tables_that_are_trained_have_slots() -> None:
    weight = torch.from_numpy(bags())
    assert sbt.EmbeddingBag(weight, mode="sum").table.packing == "packed"
    trained = sbt.EmbeddingBag(weight, mode="sum", trainable=True)
    assert trained.table.packing == "slotted"
    model = torch.nn.Sequential(torch.nn.EmbeddingBag.from_pretrained(weight, mode="sum", freeze=False))
    sbt.compress_embeddings(model, min_rows=1, trainable=True)
    assert model[0].table.packing == "slotted"
    trained.load_state_dict({"weight": weight})
    assert trained.table.packing == "slotted"
