"""Tables in tiers: what they give, what they refuse, and how they meet threads, processes and files."""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stillbit as sb

ROWS, COLUMNS = 2000, 64
ROW_BYTES = 4 * COLUMNS
WEIGHTS = np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype(np.float32)
SKEWED = np.minimum(np.random.default_rng(1).zipf(1.3, 5000) - 1, ROWS - 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    sb.save_file({"w": sb.compress(WEIGHTS, packing="packed")}, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def tables(path: Path, **options: Any) -> list[sb.TieredTable]:
    """Return a table from each thing that one can be made of."""
    return [
        sb.TieredTable(WEIGHTS, **options),
        sb.TieredTable(sb.compress(WEIGHTS), **options),
        sb.TieredTable(sb.compress(WEIGHTS, packing="packed"), **options),
        sb.TieredTable(sb.load_file(path)["w"], **options),
        sb.TieredTable(path, "w", **options),
    ]


@pytest.mark.parametrize("fast_nbytes", [0, 20_000, 10_000_000])
@pytest.mark.parametrize("warm_nbytes", [None, 1_000_000])
def test_rows_are_those_of_the_array(path: Path, fast_nbytes: int, warm_nbytes: int | None) -> None:
    for table in tables(path, fast_nbytes=fast_nbytes, warm_nbytes=warm_nbytes):
        for index in np.split(SKEWED, 10):
            assert np.array_equal(table.gather(index), WEIGHTS[index])
            assert np.array_equal(table.gather(index.astype(np.int32), num_threads=2), WEIGHTS[index])
        assert np.array_equal(table[5:9], WEIGHTS[5:9])
        assert np.array_equal(table.numpy(), WEIGHTS)
        statistics = table.statistics()
        assert statistics.num_lookups == 2 * len(SKEWED) + 4
        assert (statistics.hit_rate > 0.3) == (fast_nbytes > 0)
        assert statistics.fast.nbytes <= fast_nbytes
        assert table.nbytes <= fast_nbytes + (warm_nbytes or 1_000_000)
        assert (table.shape, table.row_shape, table.num_rows) == ((ROWS, COLUMNS), (COLUMNS,), ROWS)
        assert (table.dtype, table.raw_nbytes) == (np.float32, WEIGHTS.nbytes)


def test_updates_reach_every_tier(path: Path) -> None:
    for table in tables(path, fast_nbytes=20_000, warm_nbytes=1_000_000):
        table.gather(SKEWED)
        rows = np.random.default_rng(2).integers(0, 2**32, (40, COLUMNS), np.uint32).view(np.float32)
        index = SKEWED[:40]
        table.update(index, rows)
        changed = WEIGHTS.copy()
        changed[index] = rows  # numpy keeps the last of a row that is named twice, too
        for _ in range(3):
            assert table.gather(SKEWED).tobytes() == changed[SKEWED].tobytes()
        assert table.numpy().tobytes() == changed.tobytes()
        assert table.statistics().num_updated == 40


def test_a_copy_is_not_changed_with_its_source() -> None:
    source = sb.compress(WEIGHTS)
    table = sb.TieredTable(source, fast_nbytes=0)
    source.update([0], WEIGHTS[1:2])
    assert np.array_equal(table.gather(0), WEIGHTS[0])


def test_an_update_without_room_changes_nothing(path: Path) -> None:
    table = sb.TieredTable(path, "w", fast_nbytes=50_000, warm_nbytes=20_000)
    table.gather(SKEWED)
    with pytest.raises(sb.InvalidArgumentError, match="budget of 20000 bytes.*nothing was updated"):
        table.update(np.arange(500), WEIGHTS[:500] + 1)
    assert np.array_equal(table.numpy(), WEIGHTS)
    table.update([3], WEIGHTS[4:5])
    assert np.array_equal(table.gather(3), WEIGHTS[4])
    assert table.statistics().num_updated_held == 1
    for refusing in (sb.TieredTable(path, "w", fast_nbytes=50_000), sb.TieredTable(path, "w", fast_nbytes=0)):
        with pytest.raises(sb.InvalidArgumentError, match="budget of 0 and no room for a row|budget of 0 bytes"):
            refusing.update([3], WEIGHTS[4:5])


def test_prefetched_rows_are_found_in_the_fast_tier(path: Path) -> None:
    for background in (False, True):
        with sb.TieredTable(path, "w", fast_nbytes=400_000) as table:
            index = np.arange(100)
            assert table.prefetch(index, background=background) == 100
            table.wait_for_prefetches()
            assert np.array_equal(table.gather(index), WEIGHTS[index])
            statistics = table.statistics()
            assert (statistics.num_prefetched, statistics.num_prefetch_hits) == (100, 100)
            assert statistics.hit_rate == 1
            assert table.prefetch(np.arange(ROWS), background=False) < ROWS  # no more than have room
    assert sb.TieredTable(path, "w", fast_nbytes=0).prefetch(index) == 0


def test_static_placement(path: Path) -> None:
    table = sb.TieredTable(path, "w", fast_nbytes=30_000, policy="static")
    counts = np.bincount(SKEWED, minlength=ROWS)
    table.gather(SKEWED)
    assert table.statistics().hit_rate == 0
    table.place(counts)
    table.reset_statistics()
    held = table.statistics().fast.num_rows
    best = np.argsort(-counts, kind="stable")[:held]
    assert np.array_equal(table.gather(best), WEIGHTS[best])
    assert table.statistics().hit_rate == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fast_nbytes": 100}, "fast tier's budget of 100 bytes is too small: one row takes"),
        (
            {"fast_nbytes": 0, "warm_nbytes": 1000},
            "warm tier's budget of 1000 bytes is too small: the compressed tensor",
        ),
        ({"fast_nbytes": -1}, "fast_nbytes is a number of bytes, not -1"),
        ({"fast_nbytes": "2 GB"}, "fast_nbytes is a number of bytes"),
        ({"fast_nbytes": 0, "warm_nbytes": 1.5}, "warm_nbytes is a number of bytes"),
        ({"fast_nbytes": 0, "policy": "lru"}, "the policy is 'tinylfu' or 'static'"),
        ({"fast_nbytes": 0, "prefetch_share": 0.9}, "prefetch_share"),
        ({"fast_nbytes": 0, "name": "w"}, "a name is for a tensor in a file"),
        ({"fast_nbytes": 0, "codec": "zip"}, "codec"),
    ],
)
def test_arguments_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(sb.InvalidArgumentError, match=message):
        sb.TieredTable(WEIGHTS, **arguments)


def test_sources_that_are_refused(path: Path) -> None:
    with pytest.raises(sb.InvalidArgumentError, match='no tensor "x"'):
        sb.TieredTable(path, "x", fast_nbytes=0)
    with pytest.raises(sb.InvalidArgumentError, match="name of the tensor"):
        sb.TieredTable(path, fast_nbytes=0)
    with pytest.raises(sb.IoError, match="absent"):
        sb.TieredTable(path.with_name("absent"), "w", fast_nbytes=0)
    with pytest.raises(sb.InvalidArgumentError, match="warm tier's budget of 100 bytes is too small: room for one row"):
        sb.TieredTable(path, "w", fast_nbytes=0, warm_nbytes=100)
    with pytest.raises(sb.InvalidArgumentError, match="a list, not a numpy array"):
        sb.TieredTable([1, 2], fast_nbytes=0)
    with pytest.raises(sb.InvalidArgumentError, match="row_dims: options of compress"):
        sb.TieredTable(path, "w", fast_nbytes=0, row_dims=1)


def test_calls_that_are_refused(path: Path) -> None:
    for table in tables(path, fast_nbytes=20_000, warm_nbytes=1_000_000):
        out = np.zeros((2, COLUMNS), np.float32)
        for index in ([0, ROWS], [-1, 0]):
            with pytest.raises(sb.OutOfRangeError):
                table.gather(index, out)
            with pytest.raises(sb.OutOfRangeError):
                table.prefetch(index)
            with pytest.raises(sb.OutOfRangeError):
                table.update(index, WEIGHTS[:2])
        assert not out.any()
        with pytest.raises(sb.InvalidArgumentError, match="dtype float64"):
            table.gather([0], np.zeros((1, COLUMNS)))
        with pytest.raises(sb.InvalidArgumentError, match="shape"):
            table.gather([0], np.zeros((2, COLUMNS), np.float32))
        with pytest.raises(sb.InvalidArgumentError, match="not integers"):
            table.gather([0.5])
        with pytest.raises(sb.InvalidArgumentError, match="shape"):
            table.update([0, 1], WEIGHTS[:1])
        with pytest.raises(sb.InvalidArgumentError, match="dtype"):
            table.update([0], WEIGHTS[:1].astype(np.float64))
        with pytest.raises(sb.InvalidArgumentError, match="counts"):
            table.place(np.ones(ROWS))
        with pytest.raises(sb.InvalidArgumentError, match="3 counts"):
            table.place([1, 2, 3])
        with pytest.raises(sb.UnsupportedError, match="not pickled"):
            pickle.dumps(table)
        assert np.array_equal(table.numpy(), WEIGHTS)


def test_closed(path: Path) -> None:
    for table in tables(path, fast_nbytes=20_000, warm_nbytes=1_000_000):
        table.prefetch(SKEWED)
        with table:
            table.gather(SKEWED)
        table.close()
        for call in (
            lambda t: t.gather(0),
            lambda t: t.update([0], WEIGHTS[:1]),
            lambda t: t.prefetch(0),
            lambda t: t.numpy(),
            lambda t: t.place(SKEWED[:ROWS]),
        ):
            with pytest.raises(sb.InvalidArgumentError, match="the table is closed"):
                call(table)
        assert table.nbytes == 0


def test_a_file_that_changes_underneath(path: Path) -> None:
    table = sb.TieredTable(path, "w", fast_nbytes=100_000)
    table.gather(SKEWED[:100])
    data = path.read_bytes()
    os.truncate(path, len(data) // 2)
    with pytest.raises(sb.IoError, match=f"had {len(data)} bytes when it was mapped, and has {len(data) // 2}"):
        table.gather(np.arange(ROWS))
    path.write_bytes(data)
    os.utime(path, ns=(0, 0))
    with pytest.raises(sb.IoError, match="written to since it was mapped"):
        table.gather(np.arange(ROWS))
    # A new file in its place is another file.
    table = sb.TieredTable(path, "w", fast_nbytes=100_000)
    other = path.with_name("other")
    other.write_bytes(b"something else")
    other.replace(path)
    assert np.array_equal(table.numpy(), WEIGHTS)


def test_readers_see_rows_whole(path: Path) -> None:
    """A writer gives rows one value each; a row of two values would be one that was seen half-way."""
    for table in tables(path, fast_nbytes=40_000, warm_nbytes=2_000_000):
        table.update(np.arange(ROWS), np.zeros((ROWS, COLUMNS), np.float32))
        stop = threading.Event()
        seen: list[bool] = []

        def read(table: sb.TieredTable = table, stop: threading.Event = stop, seen: list[bool] = seen) -> None:
            while not stop.is_set():
                rows = table.gather(SKEWED[:1000])
                seen.append(bool((rows == rows[:, :1]).all()))

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for value in range(30):
            table.update(SKEWED[:200], np.full((200, COLUMNS), value, np.float32))
        stop.set()
        for reader in readers:
            reader.join()
        assert seen
        assert all(seen)
        assert (table.gather(SKEWED[:200]) == 29).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_the_table(path: Path) -> None:
    """Forks while other threads look up and prefetch rows, which hold and wait for the table's locks."""
    table = sb.TieredTable(path, "w", fast_nbytes=100_000, warm_nbytes=400_000)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            table.gather(SKEWED)
            table.prefetch(np.arange(100))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    outcomes = []
    for row in range(10):
        child = os.fork()
        if child == 0:
            good = np.array_equal(table.gather(SKEWED), WEIGHTS[SKEWED])
            table.update([row], WEIGHTS[-1:])
            good = good and np.array_equal(table.gather(row), WEIGHTS[-1])
            table.prefetch(np.arange(500, 600))
            table.wait_for_prefetches()
            table.close()
            os._exit(0 if good else 1)
        outcomes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    for reader in readers:
        reader.join()
    assert outcomes == [0] * 10
    assert np.array_equal(table.gather(np.arange(ROWS)), WEIGHTS)  # what children wrote is theirs


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    weights = torch.from_numpy(WEIGHTS).bfloat16()
    table = sb.TieredTable(weights, fast_nbytes=20_000)
    index = torch.from_numpy(SKEWED)
    assert torch.equal(table.gather(index), weights[index])
    out = torch.empty(len(index), COLUMNS, dtype=torch.bfloat16)
    assert table.gather(index, out) is out
    assert torch.equal(out, weights[index])
    table.update(index[:2], weights[:2])
    assert torch.equal(table.torch()[index[1]], weights[1])
