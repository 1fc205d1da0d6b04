"""Markdown tables of what ``stillbit_bench --json=FILE`` wrote: ``python bench/tables.py FILE``.

Every cell is a ratio to memcpy or to a raw gather that ran beside, with as many threads, and in parentheses the GB/s
of raw bytes. All are medians over the repetitions.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

WIDTHS = {"u8": 1, "i8": 1, "bool": 1, "f16": 2, "bf16": 2, "u16": 2, "i16": 2, "f64": 8, "i64": 8, "u64": 8, "c64": 8}
NONE = "–"
BULK = {"compress": "compress", "compress_anew": "into new memory", "decompress": "decompress"}


@dataclass(frozen=True)
class Tensor:
    dtype: str
    columns: int
    values: str
    size: str

    @property
    def row_bytes(self) -> int:
        width = 1 if self.dtype.startswith("f8") else WIDTHS.get(self.dtype, 4)
        return self.columns * width

    def __str__(self) -> str:
        return f"{self.dtype} {self.values.replace('_', ' ')}, {self.columns} columns"


@dataclass
class Result:
    """Of one benchmark, over its repetitions."""

    speeds: list[float] = field(default_factory=list)
    ratio: float | None = None
    skipped: str | None = None

    @property
    def gb_per_s(self) -> float:
        return median(self.speeds) / 1e9


# The name of a codec or reference, and what it did to which tensor with how many threads.
Key = tuple[str, str, Tensor, int]


def key_of(name: str) -> Key:
    """Take a benchmark's name apart. A reference counts as the codec that it ran beside."""
    operation, *rest = name.split("/")
    axes = dict(part.split(":", 1) for part in rest if ":" in part)
    tensor = Tensor(axes["dtype"], int(axes["columns"]), axes["values"], axes["size"])
    codec = axes.get("codec") or axes["beside"]
    return operation, codec, tensor, int(axes["threads"])


def read_results(runs: Iterable[dict[str, Any]]) -> dict[Key, Result]:
    """Collect the repetitions, or the median where that is all there is."""
    results: dict[Key, Result] = {}
    for run in runs:
        if run["run_type"] == "aggregate" and run["aggregate_name"] != "median":
            continue
        key = key_of(run["run_name"])
        result = results.setdefault(key, Result())
        if run.get("error_occurred"):
            result.skipped = run["error_message"]
        elif run["run_type"] == "aggregate":
            result.speeds = [run["bytes_per_second"]]
        else:
            result.speeds.append(run["bytes_per_second"])
        result.ratio = run.get("ratio", result.ratio)
    return results


class Tables:
    def __init__(self, results: dict[Key, Result]) -> None:
        self.results = results
        self.tensors = list(dict.fromkeys(tensor for _, _, tensor, _ in results))

    def measured(self, key: Key) -> Result | None:
        result = self.results.get(key)
        return result if result and result.speeds else None

    def codecs(self, tensor: Tensor, operations: tuple[str, ...]) -> list[str]:
        """Those that were measured on a tensor."""
        keys = [key for key in self.results if key[0] in operations and key[2] == tensor and self.measured(key)]
        return list(dict.fromkeys(codec for _, codec, _, _ in keys))

    def threads(self, size: str) -> list[int]:
        return sorted({threads for _, _, tensor, threads in self.results if tensor.size == size})

    def cell(self, operation: str, reference: str, codec: str, tensor: Tensor, threads: int) -> str:
        """Return a ratio, and the GB/s unless the column before it has them."""
        ours = self.measured((operation, codec, tensor, threads))
        other = self.measured((reference, codec, tensor, threads))
        if not ours or not other:
            return NONE
        ratio = f"{ours.gb_per_s / other.gb_per_s:.2f}"
        return ratio if reference == "take" else f"{ratio} ({ours.gb_per_s:.1f})"

    def ratio(self, operations: tuple[str, ...], codec: str, tensor: Tensor) -> str:
        for key, result in self.results.items():
            if key[0] in operations and key[1:3] == (codec, tensor) and result.ratio is not None:
                return f"{result.ratio:.3f}"
        return NONE

    def reference(self, operation: str, tensor: Tensor, codec: str) -> str:
        result = self.measured((operation, codec, tensor, 1))
        return f"{result.gb_per_s:.1f}" if result else NONE

    def bulk(self, size: str) -> list[list[str]]:
        threads = self.threads(size)
        head = ["tensor", "codec", "ratio"]
        head += [f"{what}, {count_of(n)}" for n in threads for what in BULK.values()]
        rows = [[*head, "memcpy, GB/s"]]
        for tensor in self.tensors:
            if tensor.size != size:
                continue
            for codec in self.codecs(tensor, tuple(BULK)):
                cells = [self.cell(what, "memcpy", codec, tensor, n) for n in threads for what in BULK]
                ratio = self.ratio(tuple(BULK), codec, tensor)
                rows.append([str(tensor), codec, ratio, *cells, self.reference("memcpy", tensor, codec)])
        return rows

    def gathers(self, size: str) -> list[list[str]]:
        threads = self.threads(size)
        head = ["tensor", "row", "codec", "ratio"]
        head += [f"{to}, {count_of(n)}" for n in threads for to in ("× raw gather", "× take")]
        rows = [[*head, "raw gather, GB/s", "take, GB/s"]]
        for tensor in sorted(self.tensors, key=lambda tensor: (tensor.dtype, tensor.values, tensor.row_bytes)):
            if tensor.size != size:
                continue
            for codec in self.codecs(tensor, ("gather",)):
                cells = [self.cell("gather", to, codec, tensor, n) for n in threads for to in ("raw_gather", "take")]
                references = [self.reference(what, tensor, codec) for what in ("raw_gather", "take")]
                ratio = self.ratio(("gather",), codec, tensor)
                rows.append([str(tensor), f"{tensor.row_bytes} B", codec, ratio, *cells, *references])
        return rows

    def skipped(self) -> list[str]:
        operations: dict[str, list[str]] = {}
        for (operation, codec, tensor, _), result in self.results.items():
            if result.skipped:
                what = operations.setdefault(f"{codec}, {tensor}, {tensor.size}: {result.skipped}", [])
                what += [operation] if operation not in what else []
        return [f"- {reason} ({', '.join(what)})" for reason, what in operations.items()]


def count_of(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def print_table(title: str, rows: list[list[str]]) -> None:
    if len(rows) == 1:
        return
    head, *body = rows
    print(f"\n### {title}\n")
    for row in (head, ["---"] * len(head), *body):
        print("| " + " | ".join(row) + " |")


def main() -> None:
    """Print all tables of a file."""
    document = json.loads(Path(sys.argv[1]).read_text())
    context = document["context"]
    tables = Tables(read_results(document["benchmarks"]))
    dram = int(context["dram_bytes"]) >> 20
    print(f"{context['date'][:10]}, {context['num_cpus']} processors, instruction set {context['instruction_set']}.")
    print("Ratios to memcpy or to a raw gather beside, with as many threads; in parentheses GB/s of raw bytes.")
    for size, title in (("dram", f"{dram} MiB, past all caches"), ("cache", "64 KiB, in cache")):
        print_table(f"Compress and decompress, packed, {title}", tables.bulk(size))
        print_table(f"Gather of random rows, slotted, {title}", tables.gathers(size))
    if skipped := tables.skipped():
        print("\nNot measured:\n")
        print("\n".join(skipped))


if __name__ == "__main__":
    main()
