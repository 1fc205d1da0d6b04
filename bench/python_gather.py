"""Row gathers from Python beside those of torch and numpy, in one run: ``python bench/python_gather.py``.

Prints a Markdown table. Every gather writes into memory that is there, of rows drawn at random; results are compared
first, and the calls of a round take turns, so that what the machine does meanwhile meets all of them. Each is called
twice in its turn, and timed the second time: for some milliseconds after ``index_select`` on several threads, those of
torch keep their processors busy while they wait for more to do, and whoever comes next pays for it (``--once``).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import stillbit as sb
import torch


def seconds(calls: dict[str, Callable[[], object]], num_rounds: int, twice: bool) -> dict[str, float]:
    """Return the median time of each call, after a round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(num_rounds + 1):
        for name, call in calls.items():
            if twice:
                call()
            begin = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begin)
    return {name: median(each[1:]) for name, each in times.items()}


def measure(raw: torch.Tensor, index: torch.Tensor, num_threads: int, options: argparse.Namespace) -> str:
    """Return one line of the table."""
    torch.set_num_threads(num_threads)
    table = sb.compress(raw, objective=options.objective, num_threads=num_threads)
    out = torch.empty(len(index), raw.shape[1], dtype=raw.dtype)
    # numpy has no bf16: integers of the same width move as fast.
    bits = raw.view(torch.int16 if raw.itemsize == 2 else torch.int32).numpy()
    bits_out, rows = np.empty((len(index), raw.shape[1]), bits.dtype), index.numpy()
    table.gather(index, out)
    assert torch.equal(out.view(torch.uint8), raw[index].view(torch.uint8))

    # mode="clip" keeps numpy from copying through a buffer; all rows exist.
    calls: dict[str, Callable[[], object]] = {
        "gather": lambda: table.gather(index, out, num_threads=num_threads),
        "index_select": lambda: torch.index_select(raw, 0, index, out=out),
    }
    if num_threads == 1:
        calls["take"] = lambda: np.take(bits, rows, 0, out=bits_out, mode="clip")
    took = seconds(calls, options.rounds, not options.once)
    speeds = {name: out.nbytes / each / 1e9 for name, each in took.items()}
    take = f"{speeds['gather'] / speeds['take']:.2f} ({speeds['take']:.2f})" if "take" in speeds else "–"
    name = str(raw.dtype).replace("torch.", "")
    beside = f"{speeds['gather'] / speeds['index_select']:.2f} ({speeds['index_select']:.2f})"
    return (
        f"| {name} | {table.codec} | {table.ratio:.2f} | {num_threads} | {speeds['gather']:.2f} | {beside} | {take} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=256)
    parser.add_argument("--gathered", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--objective", default="storage")
    parser.add_argument("--once", action="store_true", help="time each call right behind another's")
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(options.rows, (options.gathered,), generator=generator)
    print("| dtype | codec | ratio | threads | gather, GB/s | × index_select (GB/s) | × take (GB/s) |")
    print("|---|---|---|---|---|---|---|")
    for dtype in [torch.bfloat16, torch.float32]:
        raw = torch.randn(options.rows, options.columns, generator=generator).mul_(0.02).to(dtype)
        for num_threads in options.threads:
            print(measure(raw, index, num_threads, options), flush=True)


if __name__ == "__main__":
    main()
