"""In which order units are called, as far as the past says."""

from __future__ import annotations

from collections.abc import Iterator

from ._layout import Unit


class Order:
    """Expects after two units what came after them the last time; after one, where the pair is new.

    Before anything was called, units are expected in the order that modules are listed in.
    """

    def __init__(self, units: list[Unit]) -> None:
        self._after: dict[Unit, Unit] = dict(zip(units, units[1:] + units[:1]))
        self._after_two: dict[tuple[Unit, Unit], Unit] = {}
        self._last: Unit | None = None
        self._before_last: Unit | None = None

    def note(self, unit: Unit) -> None:
        """A unit is called."""
        if self._last is not None:
            self._after[self._last] = unit
            if self._before_last is not None:
                self._after_two[self._before_last, self._last] = unit
        self._before_last, self._last = self._last, unit

    def expected(self, count: int) -> Iterator[Unit]:
        """Yield the next `count` different units, nearest first."""
        before, last = self._before_last, self._last
        seen = {last}
        for _ in range(4 * count):  # one that is called often may come between
            if last is None or len(seen) > count:
                return
            following = None if before is None else self._after_two.get((before, last))
            before, last = last, following or self._after.get(last)
            if last is not None and last not in seen:
                seen.add(last)
                yield last
