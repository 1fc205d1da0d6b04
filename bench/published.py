"""`stillbit.ibp` beside codec ``ibp``, as Markdown: ``python bench/published.py [--megabytes N] FILE.npy …``.

Ratios are of the files as they are, speeds of their rows repeated to N MB, on one processor, beside a copy of the same
bytes in the same run. Every round trip is compared bit for bit before it counts.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import stillbit as sb
import stillbit.ibp as ibp
import torch

REPETITIONS = 5
CLUSTERS = 8


def table_of(path: Path) -> torch.Tensor:
    """Return an array as rows; bits of bf16 and fp8 stay integers."""
    array = np.load(path)
    return torch.from_numpy(np.ascontiguousarray(array.reshape(len(array), -1)))


def num_bytes(*tensors: torch.Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.view(torch.uint8), b.view(torch.uint8))


def ratios(table: torch.Tensor) -> list[float]:
    """Return raw over stored bytes: rows alone; with masks and offsets; clustered, with all; codec ibp; auto."""
    raw = num_bytes(table)
    mask, bitval = ibp.preprocess(table)
    condensed, offsets = ibp.compress_condensed(table, mask, bitval)
    assert same(ibp.decompress_condensed(condensed, mask, bitval, offsets), table)
    masks, bitvals, clusters = ibp.preprocess_kmeans(table, CLUSTERS)
    parts, ends = ibp.compress_condensed(table, masks, bitvals, clusters=clusters)
    assert same(ibp.decompress_condensed(parts, masks, bitvals, ends, clusters=clusters), table)
    found = [
        raw / num_bytes(condensed),
        raw / num_bytes(condensed, mask, bitval, offsets),
        raw / num_bytes(parts, masks, bitvals, ends, clusters),
    ]
    for codec in ["ibp", "auto"]:
        compressed = sb.compress(table, codec=codec, packing="packed")
        assert same(compressed.decompress(), table)
        found.append(compressed.ratio)
    return found


def seconds(call: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> float:
    """Return the shortest of several times: a machine that others use too only ever makes them longer."""
    times = []
    for _ in range(REPETITIONS):
        prepare()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def speeds(table: torch.Tensor, megabytes: int) -> list[float]:
    """Return GB/s of raw bytes, in the order of the columns that `main` names."""
    table = table.repeat(max(1, megabytes * 10**6 // num_bytes(table)), 1)
    packed, out = table.clone(), torch.empty_like(table)
    index = torch.randperm(len(table))
    mask, bitval = ibp.preprocess(table)
    bitmask = ibp.compress_inplace(packed, mask, bitval)

    def expand(rows: torch.Tensor | None = None) -> None:
        ibp.decompress_fetch(packed, mask, bitval, bitmask, "cpu", index_arr=rows, output_tensor=out)

    expand()
    assert same(out, table)
    expand(index)
    assert same(out, table[index])
    compressed = sb.compress(table, codec="ibp", packing="slotted")
    assert same(compressed.decompress(), table)
    target = table.clone()
    times = [
        seconds(lambda: out.copy_(table)),
        seconds(lambda: ibp.preprocess(table)),
        seconds(lambda: ibp.compress_inplace(target, mask, bitval), lambda: target.copy_(table)),
        seconds(expand),
        seconds(lambda: torch.index_select(table, 0, index, out=out)),
        seconds(lambda: expand(index)),
        seconds(lambda: sb.compress(table, codec="ibp", packing="slotted")),
        seconds(lambda: compressed.decompress(out)),
        seconds(lambda: compressed.gather(index, out)),
    ]
    return [num_bytes(table) / 1e9 / taken for taken in times]


def show(title: str, columns: list[str], rows: list[tuple[str, list[float]]], digits: int) -> None:
    print(f"\n{title}\n\n| array | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
    for name, values in rows:
        print(f"| {name} | " + " | ".join(f"{value:.{digits}f}" for value in values) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    tables = [(path.stem, table_of(path)) for path in options.files]
    show(
        "Ratios",
        ["rows", "+ masks, offsets", f"{CLUSTERS} clusters, all", "codec `ibp`", "`auto`"],
        [(name, ratios(table)) for name, table in tables],
        3,
    )
    show(
        "GB/s of raw bytes",
        ["copy", "preprocess", "compress_inplace", "decompress_fetch", "raw gather", "gather",
         "`ibp` compress", "`ibp` decompress", "`ibp` gather"],
        [(name, speeds(table, options.megabytes)) for name, table in tables],
        2,
    )  # fmt: skip


if __name__ == "__main__":
    main()
