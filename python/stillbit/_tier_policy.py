"""Which rows of a table a fast tier holds, decided a batch at a time: TinyLFU on exact counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LOOKUPS_PER_SLOT = 10  # counts are halved after so many
LEAD = 2  # by which a newcomer's count must exceed that of the row whose place it takes

Numbers = NDArray[np.int64]


class Moves(NamedTuple):
    """Rows that go into slots, and rows that leave theirs."""

    rows: Numbers
    slots: Numbers
    evicted: Numbers


class TierPolicy:
    """Counts of rows, and the rows in each slot.

    TinyLFU (Einziger, Friedman and Manes, 2017) as `stillbit.TieredTable` has it, with two differences that a batch
    affords: counts are exact, and the least counted rows of all slots give way rather than the least of five.

    Parameters
    ----------
    num_rows, num_slots : int
        Of the table, and of the tier.
    max_moves : int
        Rows that one batch may move.
    """

    def __init__(self, num_rows: int, num_slots: int, max_moves: int) -> None:
        self.max_moves = max_moves
        self.row_in = np.full(num_slots, -1, np.int64)
        self.num_lookups = self.num_hits = 0
        self._counts = np.zeros(num_rows, np.uint32)
        self._is_held = np.zeros(num_rows, np.bool_)
        self._num_noted = 0

    def moves(self, index: Numbers) -> Moves:
        """Count a batch of lookups, and say what moves. Numbers that are no row are left out."""
        index = index[(index >= 0) & (index < len(self._counts))]
        rows, times = np.unique(index, return_counts=True)
        self.num_lookups += len(index)
        self.num_hits += int(times[self._is_held[rows]].sum())
        self._counts[rows] += times.astype(np.uint32)
        self._num_noted += len(index)
        if self._num_noted >= LOOKUPS_PER_SLOT * len(self.row_in):
            self._counts >>= 1
            self._num_noted = 0
        return self._moved(self._most(rows[~self._is_held[rows]], self.max_moves), LEAD)

    def place(self, counts: NDArray[np.uint64]) -> Moves:
        """Begin anew with the rows that have the largest counts, but for those whose count is 0."""
        self._counts[:] = np.minimum(counts, np.iinfo(np.uint32).max)
        self._is_held[:] = False
        evicted = self.row_in[self.row_in >= 0]
        self.row_in[:] = -1
        found = self._moved(self._most(np.flatnonzero(counts), len(self.row_in)), LEAD)
        return Moves(found.rows, found.slots, evicted)

    def _most(self, rows: Numbers, number: int) -> Numbers:
        """Return the rows that were looked up most, in that order."""
        return rows[np.argsort(-self._counts[rows].astype(np.int64), kind="stable")[:number]]

    def _moved(self, rows: Numbers, lead: int) -> Moves:
        """Put rows, the most counted first, into free slots, and then into those of rows that they lead."""
        free = np.flatnonzero(self.row_in < 0)[: len(rows)]
        slots = free
        left = rows[len(free) :]
        if len(left) > 0:
            taken = np.flatnonzero(self.row_in >= 0)
            held = self._counts[self.row_in[taken]].astype(np.int64)
            weakest = np.argsort(held, kind="stable")[: len(left)]
            left = left[: len(weakest)]
            leads = self._counts[left].astype(np.int64) >= held[weakest] + lead
            number = len(leads) if leads.all() else int(np.argmin(leads))  # counts fall, those held rise
            slots = np.concatenate([free, taken[weakest[:number]]])
        rows = rows[: len(slots)]
        evicted = self.row_in[slots]
        evicted = evicted[evicted >= 0]
        self._is_held[evicted] = False
        self._is_held[rows] = True
        self.row_in[slots] = rows
        return Moves(rows, slots, evicted)
