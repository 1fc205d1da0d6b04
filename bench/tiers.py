"""Measures lookups of tables in tiers, beside the raw table and the compressed one; verifies every row first.

    python bench/tiers.py                                                       # all of batch, row, skew and cache
    python bench/tiers.py --columns 64 --skews 1.2 --caches 0 0.1 --batches 8192

One thread, and its time on the processor rather than the clock's: other programs of the machine count only by the
caches that they take. Every configuration is warmed with its own distribution, then timed on batches that
are new to it.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import stillbit as sb
import torch

BATCHES_IN_TURN = 4
DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


def zipf(rows: int, skew: float, count: int, seed: int) -> torch.Tensor:
    """Return row numbers with Zipf's distribution over rows in random order."""
    sums = np.cumsum(np.arange(1, rows + 1, dtype=np.float64) ** -skew)
    ranks = np.searchsorted(sums, np.random.default_rng(seed).random(count) * sums[-1])
    return torch.from_numpy(np.random.default_rng(1).permutation(rows)[ranks])


def lookups_per_second(
    gathers: list[Callable[[torch.Tensor, torch.Tensor], Any]], batches: Any, out: Any, seconds: float
) -> list[float]:
    """Return how many rows a second each way gathers, the median of its batches.

    The ways take turns, some batches each, so that what the machine does meanwhile meets all of them.
    """
    times: list[list[float]] = [[] for _ in gathers]
    end = time.perf_counter() + len(gathers) * seconds
    for first in itertools.cycle(range(0, len(batches), BATCHES_IN_TURN)):
        for gather, taken in zip(gathers, times, strict=True):
            for index in batches[first : first + BATCHES_IN_TURN]:
                begin = time.thread_time()
                gather(index, out)
                taken.append(time.thread_time() - begin)
        if time.perf_counter() > end:
            return [len(batches[0]) / float(np.median(taken)) for taken in times]
    raise AssertionError("batches never end")


def run(
    raw: torch.Tensor, skew: float, cache: float, batch: int, seconds: float, compressed: sb.CompressedTensor
) -> str:
    """Return a line of the table."""
    rows = len(raw)
    row_bytes = raw.shape[1] * raw.element_size()
    fast = int(rows * cache) * (row_bytes + 26)
    table = sb.TieredTable(compressed, fast_nbytes=fast)
    for index in zipf(rows, skew, max(64 * int(rows * cache), batch), 2).split(65536):
        table.gather(index)  # until it has learned which rows are looked up most
    batches = zipf(rows, skew, batch * max(4, 262_144 // batch), 3).split(batch)
    out = torch.empty(batch, raw.shape[1], dtype=raw.dtype)
    assert torch.equal(table.gather(batches[0], out), raw[batches[0]])
    table.reset_statistics()
    tiered, plain, alone = lookups_per_second(
        [
            lambda i, o: table.gather(i, o, num_threads=1),
            lambda i, o: torch.index_select(raw, 0, i, out=o),
            lambda i, o: compressed.gather(i, o, num_threads=1),
        ],
        batches,
        out,
        seconds,
    )
    name = str(raw.dtype).removeprefix("torch.")
    return (
        f"| {name} × {raw.shape[1]} | {batch} | {skew} | {cache:.0%} | {100 * table.statistics().hit_rate:.1f} "
        f"| {plain / 1e6:.2f} | {alone / 1e6:.2f} | {tiered / 1e6:.2f} | {tiered / alone:.2f} | {tiered / plain:.2f} |"
    )


def main() -> None:
    """Print a table of all configurations."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=256, help="of the raw table")
    parser.add_argument("--seconds", type=float, default=0.2, help="for each measurement")
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=["bf16", "f32"])
    parser.add_argument("--columns", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--skews", type=float, nargs="+", default=[0.0, 0.6, 0.9, 1.2])
    parser.add_argument("--caches", type=float, nargs="+", default=[0.0, 0.01, 0.05, 0.1], help="parts of all rows")
    parser.add_argument("--batches", type=int, nargs="+", default=[1024, 8192, 65536])
    parser.add_argument("--objective", default="storage", help="of the compressed table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| row | batch | skew | fast rows | found, % | raw, M/s | compressed, M/s | tiers, M/s | : compressed | : raw |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    axes = list(itertools.product(options.skews, options.caches, options.batches))
    for dtype, columns in itertools.product((DTYPES[name] for name in options.dtypes), options.columns):
        rows = (options.mib << 20) // (columns * dtype.itemsize)
        raw = (0.05 * torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))).to(dtype)
        compressed = sb.compress(raw, objective=options.objective)
        for skew, cache, batch in axes:
            print(run(raw, skew, cache, batch, options.seconds, compressed), flush=True)


if __name__ == "__main__":
    main()
