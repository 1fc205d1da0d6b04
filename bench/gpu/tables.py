"""Markdown of what ``stillbit_gpu_bench --json=FILE`` wrote: ``python bench/gpu/tables.py FILE [--json SUMMARY]``.

First the goals, each with what was measured, then tables. All times are medians over the repetitions; GB/s are of raw
bytes unless something else is said, and ratios are to what ran beside on the same rows in the same run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

NONE = "–"
Case = dict[str, Any]

# Multiprocessors that the library takes by itself over a link, and rows from which goals hold.
LINK_SMS = 16
MIN_ROW_BYTES = 256
MIN_BATCH = 16384

# Of reads of raw rows: what is changed one at a time, and what it is otherwise.
RAW_READS = {
    "fetch": "copies",
    "depth": 8,
    "max_sms": LINK_SMS,
    "row_bytes": 512,
    "order": "random",
    "pages": "cuda",
    "shift_bytes": 0,
}


def rate(case: Case) -> float:
    """Raw bytes per second."""
    return float(case["raw_bytes"] / case["median_s"])


def traffic(case: Case) -> float:
    """Bytes read and written per second, in the GPU's memory."""
    return float((case["raw_bytes"] + case["stored_bytes"]) / case["median_s"])


def spread(case: Case) -> float:
    """The slowest repetition less the fastest, over the median."""
    return float((case["max_s"] - case["min_s"]) / case["median_s"])


def data_of(case: Case) -> tuple[Any, ...]:
    return tuple(case[key] for key in ("dtype", "values", "row_bytes", "num_rows"))


def gather_of(case: Case) -> tuple[Any, ...]:
    return (*data_of(case), case["batch"], case["order"], case["max_sms"])


def data_text(case: Case) -> str:
    return f"{case['dtype']} {case['values']}, rows of {case['row_bytes']} B"


@dataclass
class Goal:
    """A goal, and the case that is furthest from it."""

    name: str
    goal: float
    unit: str
    num_cases: int = 0
    worst: float | None = None
    worst_case: str = ""
    best: float | None = None

    def take(self, value: float, case: Case) -> None:
        self.num_cases += 1
        if self.worst is None or value < self.worst:
            self.worst, self.worst_case = value, case["name"]
        self.best = value if self.best is None else max(self.best, value)

    def row(self) -> list[str]:
        if self.worst is None or self.best is None:
            return [self.name, f"≥ {self.goal:g}{self.unit}", "not measured", NONE, NONE, "0"]
        verdict = "yes" if self.worst >= self.goal else "**no**"
        worst, best = f"{self.worst:.2f}{self.unit}", f"{self.best:.2f}{self.unit}"
        return [
            self.name,
            f"≥ {self.goal:g}{self.unit}",
            verdict,
            f"{worst} ({self.worst_case})",
            best,
            f"{self.num_cases}",
        ]


class Results:
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.cases: list[Case] = [case for case in document["cases"] if "median_s" in case]

    def of(self, *jobs: str) -> list[Case]:
        return [case for case in self.cases if case["job"] in jobs]

    def beside(
        self, case: Case, job: str, same: Callable[[Case], tuple[Any, ...]], codec: str | None = None
    ) -> Case | None:
        """What ran on the same data."""
        for other in self.of(job):
            if (codec is None or other["codec"] == codec) and same(other) == same(case):
                return other
        return None

    def fastest(self, job: str) -> float | None:
        """Of a copy: the fastest on any data."""
        return max((rate(case) for case in self.of(job)), default=None)

    def goals(self) -> list[Goal]:
        gather = Goal("gather from pinned memory, of transfer ratio × raw gather", 0.95, "")
        raw = Goal("raw gather from pinned memory, of copy engine", 0.9, "")
        pipeline = Goal("decompress from pinned memory, of ratio × copy engine", 0.95, "")
        bound = Goal("decompress in GPU memory, of a copy's bytes per second", 0.8, "")
        bulk = Goal("the same, bf16 escape and window, TB/s of raw bytes (goal for an H100)", 1.4, "")
        million = Goal("the same, a million elements, GB/s", 300, "")
        compress = Goal("compress in GPU memory, of a copy's bytes per second", 0.4, "")
        to_host = Goal("compress to pinned memory, stored bytes per second, of copy engine", 0.9, "")
        for case in self.of("gather_pinned"):
            self.judge_gather(case, gather, raw)
        engine = self.fastest("copy_to_device")
        for case in self.of("decompress_pinned"):
            if engine:
                pipeline.take(rate(case) / (case["ratio"] * engine), case)
        copy = max((traffic(case) for case in self.of("copy_on_device")), default=None)
        for case in self.of("decompress_device", "compress_device"):
            if case["raw_bytes"] < 1 << 24 and case["job"] == "decompress_device":
                million.take(rate(case) / 1e9, case)
                continue
            if copy:
                (bound if case["job"] == "decompress_device" else compress).take(traffic(case) / copy, case)
            if case["job"] == "decompress_device" and case["dtype"] == "bf16" and case["codec"] in ("escape", "window"):
                bulk.take(rate(case) / 1e12, case)
        if copy_to_host := self.fastest("copy_to_host"):
            for case in self.of("compress_pinned"):
                to_host.take(case["stored_bytes"] / case["median_s"] / copy_to_host, case)
        return [gather, raw, pipeline, bound, bulk, million, compress, to_host]

    def judge_gather(self, case: Case, gather: Goal, raw: Goal) -> None:
        if case["row_bytes"] < MIN_ROW_BYTES or case["batch"] < MIN_BATCH or case["max_sms"] not in (0, LINK_SMS):
            return
        if case["codec"] == "raw":
            engine = self.fastest("copy_to_device")
            if engine:
                raw.take(rate(case) / engine, case)
            return
        beside = self.beside(case, "gather_pinned", gather_of, "raw")
        if beside:
            gather.take(rate(case) / (case["transfer_ratio"] * rate(beside)), case)

    def copies(self) -> list[list[str]]:
        rows = [["copy", "MiB", "GB/s", "read and written, GB/s", "spread"]]
        for case in self.of("copy_to_device", "copy_to_host", "copy_on_device"):
            both = f"{traffic(case) / 1e9:.0f}" if case["job"] == "copy_on_device" else NONE
            rows.append(
                [case["job"], f"{case['raw_bytes'] >> 20}", f"{rate(case) / 1e9:.1f}", both, f"{spread(case):.0%}"]
            )
        return rows

    def bulk(self) -> list[list[str]]:
        head = ["job", "data", "MiB", "codec", "packing", "ratio", "GB/s", "× (ratio × copy engine the same way)"]
        rows = [[*head, "bytes per second × copy's", "× kernel that only reads and writes", "spread"]]
        copy = max((traffic(case) for case in self.of("copy_on_device")), default=None)
        for case in self.of("decompress_device", "decompress_pinned", "compress_device", "compress_pinned"):
            is_pinned = case["job"] in ("decompress_pinned", "compress_pinned")
            engine = self.fastest("copy_to_device" if case["job"] == "decompress_pinned" else "copy_to_host")
            bound = self.beside(case, "read_and_write", lambda c: (*data_of(c), c["codec"], c["packing"]))
            rows.append(
                [
                    case["job"],
                    data_text(case),
                    f"{case['raw_bytes'] >> 20}",
                    case["codec"],
                    case["packing"],
                    f"{case['ratio']:.3f}",
                    f"{rate(case) / 1e9:.1f}",
                    f"{rate(case) / (case['ratio'] * engine):.2f}" if is_pinned and engine else NONE,
                    f"{traffic(case) / copy:.2f}" if not is_pinned and copy else NONE,
                    f"{rate(case) / rate(bound):.2f}" if not is_pinned and bound else NONE,
                    f"{spread(case):.0%}",
                ]
            )
        return rows

    def gathers(self, job: str) -> list[list[str]]:
        head = ["data", "rows", "order", "SMs", "codec", "transfer ratio", "GB/s", "raw gather, GB/s"]
        rows = [[*head, "× raw gather", "× (transfer ratio × raw gather)", "CPU and copy, GB/s", "spread"]]
        for case in self.of(job):
            if case["codec"] == "raw":
                continue
            raw = self.beside(case, job, gather_of, "raw")
            by_cpu = self.beside(case, "gather_by_cpu", gather_of, case["codec"])
            rows.append(
                [
                    data_text(case),
                    f"{case['batch']}",
                    case["order"],
                    f"{case['max_sms'] or 'default'}",
                    case["codec"],
                    f"{case['transfer_ratio']:.3f}",
                    f"{rate(case) / 1e9:.1f}",
                    f"{rate(raw) / 1e9:.1f}" if raw else NONE,
                    f"{rate(case) / rate(raw):.2f}" if raw else NONE,
                    f"{rate(case) / rate(raw) / case['transfer_ratio']:.2f}" if raw else NONE,
                    f"{rate(by_cpu) / 1e9:.1f}" if by_cpu else NONE,
                    f"{spread(case):.0%}",
                ]
            )
        return rows

    def raw_reads(self) -> list[list[str]]:
        rows = [[*RAW_READS, "KB requested by a multiprocessor", "GB/s", "× copy engine", "spread"]]
        engine = self.fastest("copy_to_device")
        for case in self.of("gather_raw"):
            rows.append(
                [
                    *(str(case[key]) for key in RAW_READS),
                    f"{case['bytes_in_flight_per_sm'] / 1e3:.0f}",
                    f"{rate(case) / 1e9:.1f}",
                    f"{rate(case) / engine:.2f}" if engine else NONE,
                    f"{spread(case):.0%}",
                ]
            )
        return rows

    def limits_of_raw_reads(self) -> list[list[str]]:
        """Return what changing one thing does: pairs of cases that differ in nothing else, by what they differ in."""
        rows = [["what", "from", "to", "rate, to ÷ from: median", "least", "most", "pairs"]]
        rates = {tuple(case[key] for key in RAW_READS): rate(case) for case in self.of("gather_raw")}
        for place, (key, usual) in enumerate(RAW_READS.items()):
            changes: dict[Any, list[float]] = {}
            for of, measured in rates.items():
                as_usual = rates.get((*of[:place], usual, *of[place + 1 :]))
                if of[place] != usual and as_usual:
                    changes.setdefault(of[place], []).append(measured / as_usual)
            rows += [
                [key, f"{usual}", f"{to}", f"{median(by):.2f}", f"{min(by):.2f}", f"{max(by):.2f}", f"{len(by)}"]
                for to, by in changes.items()
            ]
        return rows

    def left_out(self) -> list[str]:
        reasons: dict[str, list[str]] = {}
        for case in self.document["cases"]:
            if why := case.get("skipped") or case.get("error"):
                kind = "ERROR: " if "error" in case else ""
                reasons.setdefault(f"{kind}{why}", []).append(case["name"])
        lines = [f"- {why}: {len(names)} cases, the first {names[0]}" for why, names in reasons.items()]
        if names := self.document["not_measured"]:
            lines.append(f"- the time was up: {len(names)} cases, the first {names[0]}")
        return lines


def print_table(title: str, rows: Iterable[list[str]]) -> None:
    head, *body = rows
    if not body:
        return
    print(f"\n### {title}\n")
    for row in (head, ["---"] * len(head), *body):
        print("| " + " | ".join(row) + " |")


def main() -> None:
    """Print all tables of a file."""
    document = json.loads(Path(sys.argv[1]).read_text())
    if "skipped" in document:
        print(f"GPU benchmarks were skipped: {document['skipped']}")
        return
    results = Results(document)
    device = document["device"]
    link = f"PCIe {device['pcie_speed'] or 'of unknown speed'} x{device['pcie_width'] or '?'}"
    print(
        f"{document['date'][:10]}, commit {document['commit']}, {device['name']} ({device['num_sms']} multiprocessors),"
    )
    print(f"{link}, CUDA {device['cuda_of_build']}, driver: {device['driver']}.")
    goals = results.goals()
    head = ["what", "goal", "reached by all", "furthest from it", "best", "cases"]
    print_table("Goals", [head, *(goal.row() for goal in goals)])
    print_table("Copies", results.copies())
    print_table("Decompress and compress", results.bulk())
    print_table("What limits reading raw rows over the link", results.limits_of_raw_reads())
    print_table("Reading raw rows over the link", results.raw_reads())
    print_table("Gather from pinned memory", results.gathers("gather_pinned"))
    print_table("Gather from GPU memory", results.gathers("gather_device"))
    if lines := results.left_out():
        print("\nNot measured:\n")
        print("\n".join(lines))
    if len(sys.argv) == 4 and sys.argv[2] == "--json":
        Path(sys.argv[3]).write_text(json.dumps([asdict(goal) for goal in goals], indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
