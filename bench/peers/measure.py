"""Ratio, compress, decompress and gather of one table with one compressor, each result compared before it counts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import stillbit as sb

if TYPE_CHECKING:
    from collections.abc import Callable

    from data import Table

# Rows that a gather fetches.
GATHERED = 1000
# Peers have no rows: they are given blocks of so many bytes, in whole rows; a gather expands those that it needs.
BLOCK_BYTES = 64 << 10
# A job is repeated until it has taken so long, and at least REPEATS times, but no longer than MOST_SECONDS; its time is
# the median.
SECONDS = 0.05
REPEATS = 5
MOST_SECONDS = 1.0


@dataclass
class Result:
    """Of all parts of a table; seconds for each job, bytes as they are."""

    raw: int = 0
    stored: int = 0
    whole: int = 0  # stored, where every part is one block
    compress: float = 0
    decompress: float = 0
    gather: float = 0
    gathered: int = 0

    def __iadd__(self, other: Result) -> Result:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    @property
    def ratio(self) -> float:
        """Raw bytes over stored ones, as they are gathered from."""
        return self.raw / self.stored

    @property
    def whole_ratio(self) -> float:
        """The same where nothing has to be gathered: each part compressed in one."""
        return self.raw / self.whole

    @property
    def speeds(self) -> tuple[float, float, float]:
        """Compress, decompress, gather, in bytes of raw rows a second."""
        return self.raw / self.compress, self.raw / self.decompress, self.gathered / self.gather


def seconds(job: Callable[[], object]) -> float:
    """Return the median time of a job."""
    times: list[float] = []
    while (len(times) < REPEATS or sum(times) < SECONDS) and sum(times) < MOST_SECONDS:
        begin = time.perf_counter()
        job()
        times.append(time.perf_counter() - begin)
    return median(times)


def index_of(table: Table) -> np.ndarray:
    """Return the rows to gather, in the order of no memory."""
    return np.random.default_rng(7).integers(0, len(table.rows), GATHERED)


def check(name: str, got: np.ndarray, expected: np.ndarray) -> None:
    """Compare bits."""
    if got.tobytes() != expected.tobytes():
        raise SystemExit(f"{name} did not give back what it was given")


def raw(table: Table) -> Result:
    """Copies: memcpy, and a gather of raw rows by numpy."""
    rows, index = table.rows, index_of(table)
    out, gathered = np.empty_like(rows), np.empty((GATHERED, rows.shape[1]), rows.dtype)
    copy = seconds(lambda: np.copyto(out, rows))
    gather = seconds(lambda: rows.take(index, axis=0, out=gathered, mode="clip"))
    return Result(rows.nbytes, rows.nbytes, rows.nbytes, copy, copy, gather, gathered.nbytes)


def stillbit(table: Table, chosen: dict[str, str]) -> Result:
    """Compress with Stillbit, packed where nothing else is chosen: codec and plan are its own choice."""
    rows, index = table.rows, index_of(table)
    options: dict[str, Any] = {"packing": "packed", "num_threads": 1, **chosen}
    if table.elements in ("BF16", "F8_E4M3"):
        options["as_dtype"] = table.elements
    compressed = sb.compress(rows, **options)
    out, gathered = np.empty_like(rows), np.empty((GATHERED, rows.shape[1]), rows.dtype)
    result = Result(
        raw=rows.nbytes,
        stored=compressed.nbytes,
        whole=compressed.nbytes,
        compress=seconds(lambda: sb.compress(rows, **options)),
        decompress=seconds(lambda: compressed.decompress(out=out, num_threads=1)),
        gather=seconds(lambda: compressed.gather(index, out=gathered, num_threads=1)),
        gathered=gathered.nbytes,
    )
    check("stillbit", out, rows)
    check("stillbit", gathered, rows[index])
    return result


def peer(codec: Any, table: Table) -> Result:
    """Compress in blocks with a peer; of a gather's blocks each is expanded once."""
    rows, index = table.rows, index_of(table)
    step = max(1, BLOCK_BYTES // (rows.shape[1] * rows.itemsize))
    parts = [np.ascontiguousarray(rows[begin : begin + step]) for begin in range(0, len(rows), step)]
    blocks = [codec.compress(part) for part in parts]
    out, gathered = np.empty_like(rows), np.empty((GATHERED, rows.shape[1]), rows.dtype)
    scratch = np.empty((step, rows.shape[1]), rows.dtype)
    order = np.argsort(index, kind="stable")
    starts = np.unique(index[order] // step, return_index=True)

    def decompress() -> None:
        for number, block in enumerate(blocks):
            codec.decompress(block, out[number * step : (number + 1) * step])

    def gather() -> None:
        for number, places in zip(starts[0], np.split(order, starts[1][1:]), strict=True):
            block_rows = scratch[: len(parts[number])]
            codec.decompress(blocks[number], block_rows)
            gathered[places] = block_rows[index[places] - number * step]

    result = Result(
        raw=rows.nbytes,
        stored=sum(map(len, blocks)),
        whole=len(codec.compress(np.ascontiguousarray(rows))),
        compress=seconds(lambda: [codec.compress(part) for part in parts]),
        decompress=seconds(decompress),
        gather=seconds(gather),
        gathered=gathered.nbytes,
    )
    check(codec.name, out, rows)
    check(codec.name, gathered, rows[index])
    return result
