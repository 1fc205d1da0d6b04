"""Tensors in memory on their way to other processes: one copy for all of them, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import multiprocessing, os, sys
from pathlib import Path
import numpy as np
import stillbit as sb

def look(tensor, rows, queue):
    maps = [line for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:stillbit" in line]
    inode = {line.split()[4] for line in maps}
    try:
        tensor.update([0], np.zeros_like(tensor[[0]]))
        changed = True
    except sb.InvalidArgumentError:
        changed = False
    queue.put((len(maps), inode, bool((tensor.gather([5, 0]) == rows).all()), changed))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    x = np.random.default_rng(0).standard_normal((50_000, 64)).astype(np.float32)
    tensor = sb.compress(x)
    queue = context.Queue()
    seen = []
    for _ in range(2):
        workers = [context.Process(target=look, args=(tensor, x[[5, 0]], queue)) for _ in range(2)]
        for worker in workers:
            worker.start()
        seen += [queue.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join(60)
            assert worker.exitcode == 0
        tensor.update([5], x[[6]])  # what is sent next has the change
        x[5] = x[6]
    first, second = {str(s[1]) for s in seen[:2]}, {str(s[1]) for s in seen[2:]}
    assert len(first) == len(second) == 1 and first != second, seen  # both workers of a round map the same memory
    assert all(count == 1 and same and not changed for count, _, same, changed in seen), seen
    del tensor
    queue.close()
    queue.join_thread()
    left = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert not any("stillbit" in name for name in left), left
    print("well")
"""


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memfd")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_are_started_share_one_copy(tmp_path: Path, method: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    shared_memory = Path("/dev/shm")
    before = set(shared_memory.glob("*stillbit*"))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(program), method],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment,
    )
    assert done.returncode == 0 and done.stdout == "well\n", done.stderr
    assert "leaked" not in done.stderr
    left = {path.name for path in tmp_path.iterdir()} - {"program.py"}
    assert not left
    assert set(shared_memory.glob("*stillbit*")) <= before


LOADER = """
import sys
from pathlib import Path
import numpy as np, torch
import stillbit as sb

class Rows(torch.utils.data.Dataset):
    def __init__(self, table):
        self.table = table
    def __len__(self):
        return len(self.table)
    def __getitem__(self, i):
        lines = Path("/proc/self/maps").read_text().splitlines()
        mapped = [line.split()[4] for line in lines if "memfd:stillbit" in line]
        return self.table[i], torch.tensor([int(inode) for inode in mapped[:1]] or [0])

if __name__ == "__main__":
    x = torch.randn(64, 16)
    loader = torch.utils.data.DataLoader(
        Rows(sb.compress(x)), batch_size=8, num_workers=2, multiprocessing_context=sys.argv[1]
    )
    for _ in range(2):
        batches = list(loader)
        assert torch.equal(torch.cat([rows for rows, _ in batches]), x)
        inodes = set(torch.cat([inode for _, inode in batches]).flatten().tolist())
        assert len(inodes) == 1 and (inodes == {0}) == (sys.argv[1] == "fork"), inodes
    print("well")
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_two_workers_of_a_data_loader(tmp_path: Path, method: str) -> None:
    pytest.importorskip("torch")
    program = tmp_path / "program.py"
    program.write_text(LOADER)
    command = [sys.executable, str(program), method]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and done.stdout == "well\n", done.stderr
