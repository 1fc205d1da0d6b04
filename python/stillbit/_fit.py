"""Plans for tensors that come one after the other: learnt on the first one, and again when one does not fit."""

from __future__ import annotations

from typing import Any

from ._compress import compress
from ._plan import Plan, plan
from .tensor import CompressedTensor

# Least part of the ratio that a plan promised for it to fit still. Chunks of one text differ by 1 to 2 %.
FITS = 0.95


class Fit:
    """A plan that is kept as long as it fits.

    Parameters
    ----------
    codec : str or None
        As of `compress`.
    objective : str
        As of `compress`.
    row_dims : int
        How many of the last dimensions make a row.
    """

    def __init__(self, codec: str | None, objective: str, row_dims: int) -> None:
        self._codec, self._objective, self._row_dims = codec, objective, row_dims
        self.plan: Plan | None = None
        self.expected = 1.0  # ratio of what it was made for
        self.num_learnt = 0

    def learn(self, rows: Any) -> CompressedTensor:
        """Make a plan for some rows, and return them compressed."""
        self.plan = plan(rows, codec=self._codec, packing="packed", objective=self._objective, row_dims=self._row_dims)
        self.num_learnt += 1
        table = compress(rows, plan=self.plan)
        self.expected = table.ratio
        return table

    def follow(self, rows: Any) -> CompressedTensor:
        """Return rows compressed by the plan that there is."""
        return compress(rows, plan=self.plan)

    def fits(self, table: CompressedTensor) -> bool:
        """Say whether rows came out as small as the plan let expect."""
        return table.ratio >= FITS * self.expected

    def compress(self, rows: Any) -> CompressedTensor:
        """Return rows compressed, by a new plan where that makes them smaller."""
        if self.plan is None:
            return self.learn(rows)
        table = self.follow(rows)
        if self.fits(table):
            return table
        return min(table, self.learn(rows), key=lambda each: each.nbytes)
