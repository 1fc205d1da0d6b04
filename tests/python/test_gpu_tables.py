"""The tables of the GPU benchmarks, from numbers that were made up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parents[2] / "bench/gpu/tables.py"


def case(job: str, seconds: float, **what: Any) -> dict[str, Any]:
    """Return a case as the benchmark writes it: a megabyte."""
    data = {"name": job, "job": job, "codec": "raw", "packing": "slotted", "dtype": "bf16", "values": "normal"}
    size = {"row_bytes": 512, "num_rows": 2000, "raw_bytes": 1_000_000, "stored_bytes": 1_000_000}
    times = {"median_s": seconds, "min_s": seconds, "max_s": seconds}
    return {**data, **size, **times, "ratio": 1, "transfer_ratio": 1, **what}


def raw_read(seconds: float, **changed: Any) -> dict[str, Any]:
    """Return a gather of raw rows that differs from the usual one in what is named."""
    usual = {"fetch": "copies", "depth": 8, "max_sms": 16, "order": "random", "pages": "cuda", "shift_bytes": 0}
    return case("gather_raw", seconds, **{**usual, "batch": 1000, "bytes_in_flight_per_sm": 64_000, **changed})


def tables(tmp_path: Path, document: dict[str, Any]) -> str:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(document))
    return subprocess.run([sys.executable, TABLES, path], capture_output=True, text=True, check=True).stdout


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    assert tables(tmp_path, {"skipped": "no GPU"}) == "GPU benchmarks were skipped: no GPU\n"


def test_raw_reads_are_compared_where_they_differ_in_one_thing(tmp_path: Path) -> None:
    device = {"name": "a GPU", "num_sms": 132, "pcie_speed": None, "pcie_width": None, "cuda_of_build": "13.0"}
    cases = [
        case("copy_to_device", 1e-5),
        raw_read(4e-5),
        raw_read(2e-5, fetch="bulk_copies"),
        raw_read(5e-5, pages="huge"),
        raw_read(1e-5, pages="huge", fetch="bulk_copies"),
        raw_read(1e-5, order="sorted", fetch="loads"),
        case("gather_raw", 1, skipped="this GPU has none") | {"median_s": None},
    ]
    del cases[-1]["median_s"]
    printed = tables(
        tmp_path,
        {
            "date": "2026-01-01T00:00:00Z",
            "commit": "abc",
            "device": {**device, "driver": "a driver"},
            "cases": cases,
            "not_measured": ["another"],
        },
    )
    lines = printed.splitlines()
    # Of the copies half the time, and of huge pages a fifth.
    assert "| fetch | copies | bulk_copies | 3.50 | 2.00 | 5.00 | 2 |" in lines
    assert "| pages | cuda | huge | 1.40 | 0.80 | 2.00 | 2 |" in lines
    assert not any(line.startswith(("| order", "| fetch | copies | loads")) for line in lines), "nothing beside it"
    assert "| bulk_copies | 8 | 16 | 512 | random | huge | 0 | 64 | 100.0 | 1.00 | 0% |" in lines
    assert "- this GPU has none: 1 cases, the first gather_raw" in lines
    assert "- the time was up: 1 cases, the first another" in lines
