"""Simulates policies for the fast tier on Zipf's distribution, at rest and shifting: how many lookups find their row.

    python bench/tier_policies.py

What was simulated, and chosen, before `TieredTable` was written: its policy ("tinylfu"), S3-FIFO (Yang et al., SOSP
2023), W-TinyLFU with a window of 1 % (Einziger, Friedman and Manes, 2017) and the rows with the largest counts in the
first eighth. Counts are exact, up to 15, and halved after ten lookups a slot. The second number is how many of 100
lookups put a row into the cache.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict, deque

import numpy as np

ROWS, LOOKUPS = 20_000, 300_000
COUNTED_FROM = LOOKUPS // 8


def trace(skew: float, shifts: bool) -> list[int]:
    """Return row numbers; where they shift, 100 other rows are the most popular after every 20,000 lookups."""
    rng = np.random.default_rng(0)
    weights = np.arange(1, ROWS + 1) ** -skew
    ranks = rng.choice(ROWS, LOOKUPS, p=weights / weights.sum())
    if shifts:
        ranks = ranks + 100 * (np.arange(LOOKUPS) // 20_000)
    rows: list[int] = rng.permutation(ROWS)[ranks % ROWS].tolist()
    return rows


class Counts:
    """Counts of rows, halved from time to time."""

    def __init__(self, slots: int) -> None:
        self.of: Counter[int] = Counter()
        self.noted, self.period = 0, 10 * slots

    def add(self, row: int) -> None:
        """Count a lookup."""
        self.of[row] = min(self.of[row] + 1, 15)
        self.noted += 1
        if self.noted >= self.period:
            self.of = Counter({row: count // 2 for row, count in self.of.items() if count > 1})
            self.noted //= 2


class Sampled:
    """The table's own: the least counted of five gives way, to a row that leads by `lead`."""

    def __init__(self, slots: int, lead: int = 2, sampled: int = 5) -> None:
        self.counts, self.lead, self.sampled, self.slots = Counts(slots), lead, sampled, slots
        self.rows: list[int] = []
        self.held: dict[int, int] = {}
        self.draw = random.Random(1).randrange

    def look_up(self, row: int) -> tuple[bool, bool]:
        """Return whether the row is there, and whether it was put there."""
        self.counts.add(row)
        if row in self.held:
            return True, False
        if len(self.rows) < self.slots:
            self.held[row] = len(self.rows)
            self.rows.append(row)
            return False, True
        of = self.counts.of
        place = min((self.draw(self.slots) for _ in range(self.sampled)), key=lambda at: of[self.rows[at]])
        if of[row] < of[self.rows[place]] + self.lead:
            return False, False
        del self.held[self.rows[place]]
        self.rows[place], self.held[row] = row, place
        return False, True


class S3Fifo:
    """A small queue of a tenth, a main queue, and a ghost queue of row numbers."""

    def __init__(self, slots: int) -> None:
        self.small_slots, self.main_slots = max(1, slots // 10), slots - max(1, slots // 10)
        self.small: deque[int] = deque()
        self.main: deque[int] = deque()
        self.ghost: OrderedDict[int, None] = OrderedDict()
        self.uses: dict[int, int] = {}

    def look_up(self, row: int) -> tuple[bool, bool]:
        """As above."""
        if row in self.uses:
            self.uses[row] = min(self.uses[row] + 1, 3)
            return True, False
        self.uses[row] = 0
        if row in self.ghost:
            del self.ghost[row]
            self._to_main(row)
        else:
            while len(self.small) >= self.small_slots:
                self._leave_small(self.small.popleft())
            self.small.append(row)
        return False, True

    def _leave_small(self, row: int) -> None:
        if self.uses[row] > 1:
            self.uses[row] = 0
            self._to_main(row)
            return
        del self.uses[row]
        self.ghost[row] = None
        if len(self.ghost) > self.main_slots:
            self.ghost.popitem(last=False)

    def _to_main(self, row: int) -> None:
        while len(self.main) >= self.main_slots:
            oldest = self.main.popleft()
            if self.uses[oldest] == 0:
                del self.uses[oldest]
            else:
                self.uses[oldest] -= 1
                self.main.append(oldest)
        self.main.append(row)


class WindowTinyLfu:
    """A window of 1 % by recency; what leaves it competes with the oldest of a segmented main part."""

    def __init__(self, slots: int) -> None:
        self.counts = Counts(slots)
        self.window_slots = max(1, slots // 100)
        self.main_slots = slots - self.window_slots
        self.window: OrderedDict[int, None] = OrderedDict()
        self.probation: OrderedDict[int, None] = OrderedDict()
        self.protected: OrderedDict[int, None] = OrderedDict()

    def look_up(self, row: int) -> tuple[bool, bool]:
        """As above."""
        self.counts.add(row)
        if row in self.window or row in self.protected:
            (self.window if row in self.window else self.protected).move_to_end(row)
            return True, False
        if row in self.probation:
            del self.probation[row]
            self.protected[row] = None
            if len(self.protected) > self.main_slots * 8 // 10:
                self.probation[self.protected.popitem(last=False)[0]] = None
            return True, False
        self.window[row] = None
        if len(self.window) > self.window_slots:
            self._leave_window(self.window.popitem(last=False)[0])
        return False, True

    def _leave_window(self, row: int) -> None:
        if len(self.probation) + len(self.protected) >= self.main_slots:
            segment = self.probation or self.protected
            victim = next(iter(segment))
            if self.counts.of[row] <= self.counts.of[victim]:
                return
            del segment[victim]
        self.probation[row] = None


class Static:
    """The rows with the largest counts in the part of the trace that does not count."""

    def __init__(self, slots: int, rows: list[int]) -> None:
        self.held = {row for row, _ in Counter(rows[:COUNTED_FROM]).most_common(slots)}

    def look_up(self, row: int) -> tuple[bool, bool]:
        """As above."""
        return row in self.held, False


def main() -> None:
    """Print a table of all."""
    print("| skew | shifts | slots | static | tinylfu | lead of 1 | of 8 | S3-FIFO | W-TinyLFU |")
    print("|---|---|---|---|---|---|---|---|---|")
    for skew in (0.6, 0.9, 1.2):
        for shifts in (False, True):
            rows = trace(skew, shifts)
            for slots in (ROWS // 100, ROWS // 10):
                policies = [Static(slots, rows), Sampled(slots), Sampled(slots, lead=1), Sampled(slots, sampled=8)]
                cells = []
                for policy in [*policies, S3Fifo(slots), WindowTinyLfu(slots)]:
                    found = [policy.look_up(row) for row in rows][COUNTED_FROM:]
                    hits, fills = (100 * sum(part) / len(found) for part in zip(*found, strict=True))
                    cells.append(f"{hits:.1f} ({fills:.1f})")
                print(f"| {skew} | {'yes' if shifts else 'no'} | {slots} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
