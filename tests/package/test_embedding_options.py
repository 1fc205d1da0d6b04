"""How modules' tables are stored, and what modules say to arguments of any kind, beside torch's."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import stillbit as sb

torch = pytest.importorskip("torch")
import stillbit.torch as sbt  # noqa: E402
from torch import nn  # noqa: E402

from bags import assert_same_bits, random_table  # noqa: E402

ROWS = 2000


def stored(table: Any) -> tuple[Any, ...]:
    """Return how a table is stored."""
    return table.codec, table.packing, table.nbytes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_tables_of_16_bit_floats_are_stored_to_be_looked_up(dtype: Any) -> None:
    weight = random_table(0, ROWS, 64, dtype)
    fast, small = sb.compress(weight, objective="speed"), sb.compress(weight)
    assert stored(fast) != stored(small) and fast.nbytes <= 1.08 * small.nbytes
    model = nn.ModuleDict({"bag": nn.EmbeddingBag(ROWS, 64, _weight=weight), "rows": nn.Embedding(ROWS, 64)})
    sbt.compress_embeddings(model)
    loaded = sbt.EmbeddingBag(torch.ones(ROWS, 64, dtype=dtype))
    loaded.load_state_dict({"weight": weight})
    modules = [sbt.EmbeddingBag(weight), sbt.Embedding(weight), model["bag"], loaded]
    assert [stored(each.table) for each in modules] == [stored(fast)] * 4
    assert stored(model["rows"].table)[0] == sb.compress(model["rows"].decompress()).codec  # of f32, as always


def test_options_that_say_how_are_followed() -> None:
    weight = random_table(0, ROWS, 64, torch.bfloat16)
    for options in [
        {"objective": "storage"},
        {"objective": "transfer"},
        {"packing": "packed"},
        {"codec": "ibp"},
        {"plan": sb.plan(weight)},
    ]:
        assert stored(sbt.EmbeddingBag(weight, **options).table) == stored(sb.compress(weight, **options))


def test_speed_has_its_price() -> None:
    """Few values: the codec that is looked up fast would take a quarter more than the smallest."""
    weight = (torch.randint(-3, 4, (20_000, 64), generator=torch.Generator().manual_seed(0)) * 0.1).bfloat16()
    fast, small = sb.compress(weight, objective="speed"), sb.compress(weight)
    assert fast.nbytes > 1.08 * small.nbytes
    assert stored(sbt.EmbeddingBag(weight).table) == stored(small)


def test_bits_that_stand_for_floats() -> None:
    weight = random_table(0, ROWS, 64, torch.bfloat16)
    bits = weight.view(torch.int16).numpy().view(np.uint16)
    table = sbt.EmbeddingBag(bits, as_dtype="BF16")
    assert stored(table.table) == stored(sb.compress(weight, objective="speed"))
    assert_same_bits(table.decompress(), weight)


@pytest.mark.parametrize("shape", [(0, 8), (1, 8), (3, 1)])
def test_tables_of_hardly_anything(shape: tuple[int, int]) -> None:
    weight = torch.ones(shape).bfloat16()
    assert_same_bits(sbt.EmbeddingBag(weight).decompress(), weight)


def call(module: Any, *arguments: Any) -> Any:
    """Return the result, or the error."""
    try:
        return module(*arguments)
    except (ValueError, RuntimeError, IndexError, NotImplementedError) as error:
        return error


def some_arguments(draw: random.Random, num_rows: int, dtype: Any) -> tuple[Any, Any, Any]:
    """Return arguments of a lookup, most of which are well. torch does not survive all that are not."""
    wide, count = draw.choice([torch.int32, torch.int64]), draw.randrange(20)
    input = torch.tensor([draw.randrange(num_rows) for _ in range(count)], dtype=wide)
    ends = sorted(draw.randrange(count + 1) for _ in range(draw.randrange(6)))
    offsets = torch.tensor([0, *ends, count], dtype=draw.choice([torch.int32, torch.int64]))
    kind = draw.choice(
        ["well"] * 6 + ["row", "negative", "first", "beyond", "2d", "3d", "none", "both", "float", "flat"]
    )
    if kind in ("row", "negative") and count > 0:
        input[draw.randrange(count)] = num_rows if kind == "row" else -1
    if kind == "first":
        offsets = offsets + 1
    if kind == "beyond":
        offsets[-1] = count + 1
    if kind in ("2d", "both"):
        input = input[: count // 2 * 2].view(-1, 2)
    if kind == "3d":
        input = input[: count // 4 * 4].view(-1, 2, 2)
    if kind in ("2d", "none"):
        offsets = None
    if kind == "float":
        input = input.float()
    if kind == "flat":
        offsets = offsets.view(1, -1)
    weights = None
    if draw.random() < 0.3:
        weights = torch.randn(input.shape).to(draw.choice([dtype, dtype, dtype, torch.int32]))
        weights = weights[:-1] if draw.random() < 0.2 and len(weights) > 1 else weights
    return input, offsets, weights


@pytest.mark.parametrize("seed", range(4))
def test_arguments_of_any_kind(seed: int) -> None:
    """What torch does, we do; what it refuses, we refuse."""
    draw = random.Random(seed)
    dtype = [torch.bfloat16, torch.float16, torch.float32, torch.float64][seed]
    num_refused = 0
    for _ in range(150):
        columns, mode = draw.choice([1, 3, 31, 64, 65]), draw.choice(["sum", "mean", "max"])
        weight = random_table(draw.randrange(100), 50, columns, dtype)
        kwargs: dict[str, Any] = {
            "mode": mode,
            "padding_idx": draw.choice([None, 0, 7, -1, -50]),
            "include_last_offset": draw.random() < 0.3,
        }
        arguments = some_arguments(draw, 50, dtype)
        wanted = call(nn.EmbeddingBag(50, columns, _weight=weight.clone(), **kwargs), *arguments)
        found = call(sbt.EmbeddingBag(weight, **kwargs), *arguments)
        if isinstance(wanted, Exception):
            num_refused += 1
            assert isinstance(found, sb.Error), (kwargs, arguments, wanted)
        else:
            assert_same_bits(found, wanted)
    assert 20 < num_refused < 130
