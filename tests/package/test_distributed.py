"""Shards of two ranks on this machine: bit-exact together, and all fail when one does."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import stillbit as sb

from tables import assert_same, normal, run_python

pytest.importorskip("torch")

PRELUDE = """
import atexit, os, sys, time
import numpy as np, torch, torch.distributed as dist
import stillbit as sb, stillbit.distributed as sbd
from datetime import timedelta
rank, size, folder = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), sys.argv[1]
dist.init_process_group("gloo", timeout=timedelta(seconds=60))
atexit.register(dist.destroy_process_group)  # gloo's threads must not outlive it
index = os.path.join(folder, "t.safetensors.index.json")
features = np.load(os.path.join(folder, "features.npy"), mmap_mode="r")
bounds = [0, 700, len(features)] if size == 2 else [0, len(features)]
mine = features[bounds[rank] : bounds[rank + 1]]
"""


def run_ranks(folder: Path, program: str, num_ranks: int = 2) -> list[subprocess.CompletedProcess[str]]:
    """Run a program on so many ranks; return what each has printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = folder / "program.py"
    script.write_text(PRELUDE + program)
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                "PATH": "/usr/bin:/bin",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "GLOO_SOCKET_IFNAME": "lo",
                "RANK": str(rank),
                "WORLD_SIZE": str(num_ranks),
            },
        )
        for rank in range(num_ranks)
    ]
    done = []
    for process in ranks:
        try:
            out, err = process.communicate(timeout=180)
        finally:
            process.kill()
        done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    script.unlink()
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "features.npy", normal((2000, 48)))
    return tmp_path


@pytest.mark.parametrize("num_ranks", [1, 2])
@pytest.mark.parametrize("packing", ["packed", "slotted"])
def test_shards_are_the_tensor(folder: Path, num_ranks: int, packing: str) -> None:
    program = f"""
plans = sbd.compress_to_shards(
    {{
        "features": mine,
        "half": lambda: [torch.from_numpy(np.array(mine)).half()],
        "first": mine[: 5 if rank == 0 else 0],
    }},
    index, {{"by": "me"}}, packing={packing!r})
print(plans["features"].to_json())
"""
    done = run_ranks(folder, program, num_ranks)
    assert all(rank.returncode == 0 for rank in done), done
    assert len({rank.stdout for rank in done}) == 1  # all ranks have the same plan
    shards = [f"t-{i + 1:05}-of-{num_ranks:05}.safetensors" for i in range(num_ranks)]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*shards, "features.npy", "t.safetensors.index.json"]
    )

    path = folder / "t.safetensors.index.json"
    features = normal((2000, 48))
    for mmap in [True, False]:
        loaded = sb.load_file(path, mmap=mmap)
        assert list(loaded) == ["features", "half", "first"]
        expanded = sb.load_arrays(path)
        assert set(expanded) == set(loaded)
        assert all(np.array_equal(expanded[name], tensor.numpy()) for name, tensor in loaded.items())
        table = loaded["features"]
        assert isinstance(table, sb.ShardedTensor) and len(table.parts) == num_ranks
        assert (table.shape, table.num_rows, len(table)) == ((2000, 48), 2000, 2000)
        assert_same(table.numpy(), features)
        assert_same(loaded["half"].numpy(), features.astype(np.float16))
        assert_same(loaded["first"].numpy(), features[:5])
        index = np.array([[1999, 0, 699], [700, 3, 3]])
        assert_same(table.gather(index), features[index])
        assert_same(table[-3:], features[-3:])
        assert_same(table[[5, -5]], features[[5, -5]])
        out = np.empty((2, 48), np.float32)
        assert table.gather(np.array([701, 1], np.int32), out) is out
        assert_same(out, features[[701, 1]])
        assert_same(table.gather([]), features[:0])
        for bad in [-1, 2000]:
            with pytest.raises(sb.OutOfRangeError, match=str(bad)):
                table.gather([0, bad])
        table.verify()
        assert all(part.packing == packing for part in table.parts)
    torch_rows = sb.load_file(path, like="torch")["features"].gather([1999, 0])
    assert_same(torch_rows.numpy(), features[[1999, 0]])

    sb.verify_file(path)  # the index, as any other file
    info = sb.inspect_file(path)
    assert info.metadata == {"by": "me"} and len(info.tensors) == 3 * num_ranks
    document = json.loads(path.read_text())
    assert document["metadata"]["total_size"] == info.stored_bytes
    assert set(document["weight_map"].values()) == set(shards)


def test_an_index_that_says_other_things_is_refused(folder: Path) -> None:
    done = run_ranks(folder, 'sbd.compress_to_shards({"x": mine}, index)')
    assert all(rank.returncode == 0 for rank in done), done
    path = folder / "t.safetensors.index.json"
    text = path.read_text()
    for old, new in [
        ('"x[0:700]",', '"x[0:700]", "x[0:700]",'),
        ('"x[0:700]",', ""),
        ('"x[0:700]",\n', '"y",\n'),
        ('"version": 1', '"version": 2'),
        ('"parts": {', '"parts": 3, "other": {'),
        ("x[0:700].stillbit", "z.stillbit"),
        ("t-00002-of", "t-00003-of"),
    ]:
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(sb.Error, match=r"t\.safetensors\.index\.json|t-00003"):
            sb.load_file(path)
    path.write_text(text)
    (folder / "t-00001-of-00002.safetensors").unlink()
    with pytest.raises(sb.IoError, match="t-00001"):
        sb.load_file(path)


def test_statistics_add_up(folder: Path) -> None:
    program = """
total = sbd.reduce_statistics(sb.BitStatistics().add(mine))
assert total == sb.BitStatistics().add(features)
wide = np.arange(3 * 20_000, dtype=np.int64).reshape(3, -1)
assert sbd.reduce_statistics(sb.BitStatistics().add(wide[rank : rank + 1])) == sb.BitStatistics().add(wide[:2])
assert sbd.reduce_statistics(sb.BitStatistics() if rank else sb.BitStatistics().add(mine)).num_rows == 700
try:
    sbd.reduce_statistics(sb.BitStatistics().add(mine[:, : 3 + rank]))
except sb.InvalidArgumentError as error:
    print(error)
"""
    for rank in run_ranks(folder, program):
        assert rank.returncode == 0, rank.stderr
        assert "different rows" in rank.stdout


FAILURES = {
    "source": "lambda: broken() if rank == 1 else [mine]",
    "dtype": "mine if rank == 0 else mine.astype(np.float64)",
    "shape": "mine if rank == 0 else mine[:, :7]",
    "iterator": "mine if rank == 0 else iter([mine])",
    "second pass": "lambda: second() if rank == 1 else [mine]",
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_of_one_is_one_of_all(folder: Path, case: str) -> None:
    program = f"""
calls = []
def broken():
    yield mine[:100]
    raise RuntimeError("it broke")
def second():
    calls.append(1)
    return [mine] if len(calls) == 1 else [mine * 2]
try:
    sbd.compress_to_shards({{"x": {FAILURES[case]}}}, index)
except Exception as error:
    print(type(error).__name__, error)
    sys.exit(7)
"""
    start = time.perf_counter()
    done = run_ranks(folder, program)
    assert [rank.returncode for rank in done] == [7, 7], done
    assert time.perf_counter() - start < 60
    assert [path.name for path in folder.iterdir()] == ["features.npy"]
    if case in ("source", "iterator", "second pass"):
        assert "rank 1" in done[0].stdout


def test_a_rank_that_dies_or_does_not_come(folder: Path) -> None:
    program = """
if rank == 1:
    time.sleep(20)
    os._exit(9)
start = time.perf_counter()
try:
    sbd.compress_to_shards({"x": mine}, index, timeout=3)
except sb.Error as error:
    print(type(error).__name__, error, time.perf_counter() - start < 15, flush=True)
    os._exit(7)
"""
    done = run_ranks(folder, program)
    assert [rank.returncode for rank in done] == [7, 9], done
    assert "did not meet" in done[0].stdout and done[0].stdout.strip().endswith("True")
    assert [path.name for path in folder.iterdir()] == ["features.npy"]


def test_a_shard_that_cannot_be_written(folder: Path) -> None:
    (folder / "t-00002-of-00002.safetensors").mkdir()
    (folder / "t.safetensors.index.json").write_text("of another set")
    program = """
try:
    sbd.compress_to_shards({"x": mine}, index)
except sb.Error as error:
    print(type(error).__name__, error)
    sys.exit(7)
"""
    done = run_ranks(folder, program)
    assert [rank.returncode for rank in done] == [7, 7], done
    assert "IoError" in done[1].stdout and "t-00002" in done[0].stdout
    assert not (folder / "t-00001-of-00002.safetensors").exists()
    assert (folder / "t.safetensors.index.json").read_text() == "of another set"  # it failed before that


def test_without_a_group() -> None:
    program = """
import stillbit as sb, stillbit.distributed as sbd
try:
    sbd.compress_to_shards({}, "x.safetensors.index.json")
except sb.InvalidArgumentError as error:
    print(error)
"""
    assert "init_process_group" in run_python(program)
