"""Bags of rows that the tests look up, as random as can be: empty ones, one row, rows many times, padding."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")


class RandomBags(NamedTuple):
    """What an embedding bag is called with."""

    input: Any
    offsets: Any
    weights: Any


def random_bags(
    seed: int, num_rows: int, dtype: Any = None, *, index: Any = None, last: bool = False, two: bool = False
) -> RandomBags:
    """Return bags of a table with so many rows; `dtype` is that of weights, `index` that of row numbers."""
    draw = torch.Generator().manual_seed(seed)

    def integers(high: int, *shape: int) -> Any:
        return torch.randint(high, shape, generator=draw)

    few = integers(num_rows, 4)  # drawn often, so that bags have rows twice

    def rows(*shape: int) -> Any:
        drawn = torch.where(integers(2, *shape).bool(), few[integers(4, *shape)], integers(num_rows, *shape))
        return drawn.to(index or torch.int64)

    if two:
        shape = (int(integers(6)), 1 + int(integers(7)))
        return RandomBags(rows(*shape), None, torch.randn(*shape, generator=draw).to(dtype or torch.float32))
    sizes = integers(9, 1 + int(integers(20)))
    sizes[integers(2, len(sizes)).bool()] //= 4  # many of none and of one
    ends = sizes.cumsum(0)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), ends if last else ends[:-1]]).to(index or torch.int64)
    input = rows(int(ends[-1]))
    return RandomBags(input, offsets, torch.randn(len(input), generator=draw).to(dtype or torch.float32))


def random_table(seed: int, num_rows: int, num_columns: int, dtype: Any = None) -> Any:
    """Return a matrix of normally distributed values."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(num_rows, num_columns, generator=draw).to(dtype or torch.float32)


def assert_same_bits(found: Any, wanted: Any) -> None:
    """Compare two tensors to the last bit, the sign of zero and NaNs included."""
    assert (found.dtype, tuple(found.shape)) == (wanted.dtype, tuple(wanted.shape))
    found, wanted = (each.detach().contiguous().view(torch.uint8) for each in (found, wanted))
    assert torch.equal(found, wanted)
