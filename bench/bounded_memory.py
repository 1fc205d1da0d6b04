"""Peak memory of compressing a table that is larger than it: bounded_memory.py FOLDER [GIGABYTES]

Makes a table of f32 weights in FOLDER (4 GB unless said otherwise) and one in which every row comes twice, compresses
each in processes of their own, compares what comes back by its checksum, and removes the files. `ru_maxrss` is what the
system says of the process: all resident pages, anonymous and of mapped files, and so the interpreter, numpy and the
library, too. The anonymous part is the most that /proc/self/status has shown, read every 10 ms.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import stillbit as sb

COLUMNS = 256
CHUNK_ROWS = 32768
JOBS = {
    "compress_file(.npy)": lambda raw, out: sb.compress_file(raw, out),
    "compress_to_file(numpy memmap)": lambda raw, out: sb.compress_to_file({"x": np.load(raw, mmap_mode="r")}, out),
    "compress_to_file(rows backwards)": lambda raw, out: sb.compress_to_file({"x": backwards(raw)}, out),
    "compress_to_file(function of chunks)": lambda raw, out: sb.compress_to_file({"x": lambda: chunks(raw)}, out),
    "compress_to_file(chunks), slotted": lambda raw, out: sb.compress_to_file(
        {"x": lambda: chunks(raw)}, out, packing="slotted"
    ),
}


def backwards(raw: Path) -> np.ndarray:
    """Return a mapped array that does not lie in C order."""
    return np.load(raw, mmap_mode="r")[::-1]


def chunks(raw: Path):  # noqa: ANN201
    """Yield chunks that were read, not mapped."""
    with open(raw, "rb") as file:
        header = np.load(raw, mmap_mode="r")
        file.seek(header.offset)
        while (chunk := np.fromfile(file, np.float32, CHUNK_ROWS * COLUMNS)).size > 0:
            yield chunk.reshape(-1, COLUMNS)


def make(path: Path, num_rows: int, *, twice: bool) -> None:
    """Write normally distributed weights; with `twice`, the second half is the first again."""
    table = np.lib.format.open_memmap(path, "w+", np.float32, (num_rows, COLUMNS))
    table.flush()
    del table
    data_offset = np.load(path, mmap_mode="r").offset
    with open(path, "r+b") as file:
        file.seek(data_offset)
        half = num_rows // 2
        for begin in range(0, num_rows, CHUNK_ROWS):
            seed = begin % half if twice else begin
            count = min(CHUNK_ROWS, num_rows - begin)
            rows = np.random.default_rng(seed).standard_normal((count, COLUMNS), np.float32)
            file.write(rows.tobytes())


def anonymous_bytes() -> int:
    """Return what this process has in memory that is no file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def run_job(job: str, raw: Path, out: Path) -> None:
    """Do one job, and print its time and its peaks in MB."""
    most, done = anonymous_bytes(), threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.01):
            most = max(most, anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    info = JOBS[job](raw, out)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{peak / 1e6:.0f} | {most / 1e6:.0f} | {seconds:.1f} | {info.tensors[0].codec} | {info.ratio:.3f}")


def main() -> None:
    """Do all jobs on both tables."""
    if len(sys.argv) == 5 and sys.argv[1] == "--job":
        run_job(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
        return
    folder, gigabytes = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 4.0
    num_rows = int(gigabytes * 1e9) // (4 * COLUMNS) // (2 * CHUNK_ROWS) * 2 * CHUNK_ROWS
    raw, out = folder / "table.npy", folder / "table.safetensors"
    print("| job | ru_maxrss, MB | anonymous, MB | seconds | codec | ratio |\n|---|---|---|---|---|---|")
    for twice in [False, True]:
        make(raw, num_rows, twice=twice)
        for job in JOBS:
            command = [sys.executable, __file__, "--job", job, str(raw), str(out)]
            shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
            print(f"| {job}{', every row twice' if twice else ''} | {shown} |", flush=True)
            # In another process: a child's ru_maxrss starts at what its parent has in memory.
            against = "None" if job.endswith("backwards)") else repr(str(raw))
            verify = f"import stillbit; stillbit.verify_file({str(out)!r}, {against})"
            subprocess.run([sys.executable, "-c", verify], check=True)
            out.unlink()
        raw.unlink()


if __name__ == "__main__":
    main()
