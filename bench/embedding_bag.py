"""Pooled lookups beside torch's ``nn.EmbeddingBag`` in memory, in one run: ``python bench/embedding_bag.py``.

Prints a Markdown table. Tables are bf16, of normally distributed weights, and larger than the caches; rows are drawn
with a skew (Zipf: the k-th most frequent row is drawn in proportion to k^-skew; 0 is uniform), and frequent ones lie
anywhere in the table. Results are compared bit by bit before they count, and the calls of a round take turns, so that
what the machine does meanwhile meets both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import stillbit as sb
import torch


def seconds(calls: list[Callable[[int], object]], num_inputs: int, num_rounds: int, num_threads: int) -> list[float]:
    """Return the median time that each function takes for one of the inputs, each of which it is called with.

    Of one thread it is the time that its processor worked for it, which other programs disturb less.
    """
    clock = time.thread_time if num_threads == 1 else time.perf_counter
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(num_rounds):
        for call, taken in zip(calls, times, strict=True):
            # torch's threads keep their processors busy for some milliseconds behind their last work.
            time.sleep(0.05 if num_threads > 1 else 0)
            call(num_inputs - 1)
            begin = clock()
            for number in range(num_inputs):
                call(number)
            taken.append((clock() - begin) / num_inputs)
    return [median(taken) for taken in times]


class Rows:
    """Row numbers with a skew."""

    def __init__(self, num_rows: int, skew: float, generator: torch.Generator) -> None:
        self.skew = skew
        self._generator = generator
        self._num_rows = num_rows
        weights = torch.arange(1, num_rows + 1, dtype=torch.float64) ** -skew
        self._cumulated = torch.cumsum(weights, 0)
        self._row_of_rank = torch.randperm(num_rows, generator=generator)

    def draw(self, count: int) -> torch.Tensor:
        """Return so many of them."""
        points = torch.rand(count, generator=self._generator, dtype=torch.float64) * self._cumulated[-1]
        ranks = torch.searchsorted(self._cumulated, points).clamp_(max=self._num_rows - 1)
        return self._row_of_rank[ranks]


def bf16_weights(num_rows: int, num_columns: int, generator: torch.Generator) -> torch.Tensor:
    """Return a table, made in pieces: in f32 it would be twice as large."""
    table = torch.empty(num_rows, num_columns, dtype=torch.bfloat16)
    for piece in table.split(1 << 16):
        piece.copy_(torch.randn(piece.shape, generator=generator).mul_(0.02))
    return table


def measure(raw: torch.Tensor, table: sb.CompressedTensor, rows: Rows, batch: int, bag: int, options: Any) -> None:
    """Print a line of the table for each number of threads."""
    module = torch.nn.EmbeddingBag.from_pretrained(raw, mode=options.mode)
    # So many batches that one is out of the caches when its turn comes again.
    num_inputs = max(1, options.lookups // (batch * bag))
    indices = [rows.draw(batch * bag) for _ in range(num_inputs)]
    offsets = torch.arange(batch) * bag
    for index in indices[:2]:
        ours, theirs = table.pool(index, offsets, options.mode), module(index, offsets)
        assert torch.equal(ours.view(torch.int16), theirs.view(torch.int16))
    for num_threads in options.threads:
        torch.set_num_threads(num_threads)
        ours, theirs = seconds(
            [
                lambda i, threads=num_threads: table.pool(indices[i], offsets, options.mode, num_threads=threads),
                lambda i: module(indices[i], offsets),
            ],
            num_inputs,
            options.rounds,
            num_threads,
        )
        count = batch * bag / 1e6
        print(
            f"| {raw.shape[1]} | {table.codec} | {table.nbytes / table.raw_nbytes:.3f} | {rows.skew} | {batch} × {bag} "
            f"| {num_threads} | {count / ours:.1f} | {count / theirs:.1f} | {theirs / ours:.2f} |",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=512, help="of a raw table")
    parser.add_argument("--columns", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--batches", type=int, nargs="+", default=[1024, 8192, 65536])
    parser.add_argument("--bags", type=int, nargs="+", default=[1, 20, 80], help="rows in a bag")
    parser.add_argument("--skews", type=float, nargs="+", default=[0.0, 0.6, 1.2])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lookups", type=int, default=1 << 20, help="of all calls of a round, if one has not more")
    parser.add_argument("--mode", default="sum")
    parser.add_argument("--objective", default="speed")
    parser.add_argument("--codec")
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    print("| columns | codec | memory | skew | batch × rows in a bag | threads | M lookups/s | torch | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for num_columns in options.columns:
        num_rows = (options.megabytes << 20) // (2 * num_columns)
        raw = bf16_weights(num_rows, num_columns, generator)
        table = sb.compress(raw, objective=options.objective, codec=options.codec)
        for skew in options.skews:
            rows = Rows(num_rows, skew, generator)
            for batch in options.batches:
                for bag in options.bags:
                    measure(raw, table, rows, batch, bag, options)


if __name__ == "__main__":
    main()
