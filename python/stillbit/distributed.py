"""Tensors that are spread over processes and machines, compressed with torch.distributed.

Each rank has a part of the rows. Ranks count and sample their own; the counts are added up and the samples put
together, so that all ranks follow one plan; and each writes its rows to a file of its own, a shard. The shards and
their index are a sharded safetensors set, as large models come in; `stillbit.load_file` opens the index.

>>> # on every rank, after torch.distributed.init_process_group("gloo")
>>> import stillbit.distributed as sbd
>>> sbd.compress_to_shards({"features": my_rows}, "features.safetensors.index.json")  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from . import _chunks, _core
from ._arguments import count, notes, words
from ._plan import Plan
from ._progress import counting
from ._sharded import INDEX_SUFFIX, index_text, part_name
from ._statistics import BitStatistics, from_core
from .errors import Error, InvalidArgumentError, UnsupportedError

__all__ = ["compress_to_shards", "reduce_statistics"]

PathLike = Any  # str or os.PathLike
Group = Any  # torch.distributed.ProcessGroup
T = TypeVar("T")

_SAMPLE_BYTES = 8 << 20  # of all ranks together
_RUN_BYTES = 64 << 10


class _Ranks:
    """The ranks of a group, which meet after each step: all go on, or all raise."""

    def __init__(self, group: Group | None, timeout: float | None) -> None:
        if not dist.is_available() or not dist.is_initialized():
            raise InvalidArgumentError("torch.distributed is not initialized: call init_process_group first")
        if dist.get_backend(group) != "gloo":
            raise UnsupportedError(
                f"the group's backend is {dist.get_backend(group)}, and what ranks tell each other is in the CPU's "
                'memory: give group=torch.distributed.new_group(backend="gloo")'
            )
        self.group = group
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)
        if self.rank < 0:
            raise InvalidArgumentError("this process is not in the group")
        self.timeout = timeout
        self._seconds = None if timeout is None else timedelta(seconds=timeout)

    def each(self, step: Callable[[], T]) -> list[T]:
        """Run a step on every rank, and return what it returned on each.

        What it raises on a rank is raised there; on the others an `Error` that says so.
        """
        value, error = None, None
        try:
            value = step()
        except BaseException as raised:  # an interrupt, too: the others wait
            error = raised
        said = None if error is None else f"{type(error).__name__}: {error}"
        try:
            # A rank that does not come is found out by this, and named.
            dist.monitored_barrier(self.group, timeout=self._seconds)
            all_said: list[Any] = [None] * self.size
            dist.all_gather_object(all_said, (said, value), group=self.group)
        except (RuntimeError, ValueError) as failed:
            raise error or Error(f"the ranks did not meet: {failed}") from failed
        if error is not None:
            raise error
        failures = [f"rank {rank}: {said}" for rank, (said, _) in enumerate(all_said) if said is not None]
        if failures:
            raise Error("another rank failed: " + "; ".join(failures))
        return [value for _, value in all_said]

    def sum(self, ones: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the sum of an array of uint64 over all ranks."""
        total = torch.from_numpy(ones.astype(np.int64))
        dist.all_reduce(total, group=self.group)
        summed: np.ndarray[Any, Any] = total.numpy().astype(np.uint64)
        return summed


def reduce_statistics(
    statistics: BitStatistics, *, group: Group | None = None, timeout: float | None = None
) -> BitStatistics:
    """Add up the statistics of all ranks, and return the sum on each of them.

    Parameters
    ----------
    statistics : BitStatistics
        Of this rank's rows. A rank without any gives empty ones.
    group : torch.distributed.ProcessGroup, optional
        Of backend gloo.
    timeout : float, optional
        Seconds to wait for the other ranks; without one the group's own.

    Raises
    ------
    InvalidArgumentError
        If ranks count different rows.
    Error
        If another rank fails, or does not come.
    """
    ranks = _Ranks(group, timeout)
    others = ranks.each(lambda: (statistics.row_dims, statistics.dtype_name, statistics.row_shape, statistics.num_rows))
    kinds = {(dtype, shape) for _, dtype, shape, _ in others if dtype is not None and shape is not None}
    if len(kinds) > 1 or len({dims for dims, *_ in others}) > 1:
        raise InvalidArgumentError(f"the ranks have different rows (row_dims, dtype, shape, rows): {others}")
    if not kinds:
        return BitStatistics(statistics.row_dims)
    ((dtype_name, row_shape),) = kinds
    own = BitStatistics(statistics.row_dims)
    own._of_rows(dtype_name, row_shape)
    own.merge(statistics)
    ones = ranks.sum(np.ascontiguousarray(own.ones).reshape(-1))
    counts = own._of_rows(dtype_name, row_shape)
    parts = own._row_bytes() // counts.row_bytes  # of a row that is too long to be counted as one
    num_rows = sum(num_rows for *_, num_rows in others)
    return from_core(
        _core.BitStatistics.from_ones(num_rows * parts, _core.address_of(ones), ones.size), dtype_name, row_shape
    )


def compress_to_shards(
    sources: Mapping[str, _chunks.Source],
    path: PathLike,
    metadata: Mapping[str, str] | None = None,
    *,
    codec: str | None = None,
    packing: str = "packed",
    objective: str = "storage",
    row_dims: int = 1,
    num_threads: int = 0,
    as_dtype: Any = None,
    group: Group | None = None,
    timeout: float | None = None,
    progress: bool = False,
) -> dict[str, Plan]:
    """Compress tensors whose rows are spread over the ranks of a group: all of them call this, with the same arguments.

    Parameters
    ----------
    sources : mapping of str to source
        This rank's part of each tensor, as `stillbit.compress_to_file` takes it; the parts follow each other along the
        first dimension in the order of ranks. A part may have no rows, but must say their dtype and shape.
    path : str or os.PathLike
        Of the index: ``NAME.safetensors.index.json``. Each rank writes a shard beside it, the first of two
        ``NAME-00001-of-00002.safetensors``. On machines without a common file system, bring the shards together: an
        index needs them beside it.
    metadata, codec, packing, objective, row_dims, num_threads, as_dtype, progress
        As in `stillbit.compress_to_file`.
    group : torch.distributed.ProcessGroup, optional
        Of backend gloo; without one the default group.
    timeout : float, optional
        Seconds that ranks wait for each other after each pass over their rows; without one the group's own, 30 minutes
        unless it was made with another.

    Returns
    -------
    dict of str to Plan
        What all ranks followed.

    Raises
    ------
    Error
        On every rank, if one fails or does not come. No index is written then, and no shard either, unless a rank fails
        while the shards are given their names: an index that was there before is gone in that case.
    InvalidArgumentError, UnsupportedError, MismatchError, IoError
        As `stillbit.compress_to_file`, on the rank where it happens.
    """
    ranks = _Ranks(group, timeout)
    index = Path(path)
    plans: dict[str, Plan] = {}

    def check() -> tuple[list[str], tuple[Any, ...]]:
        words(codec=codec or "auto", packing=packing, objective=objective)
        count(num_threads, "num_threads")
        if packing == "auto":
            raise InvalidArgumentError('shards are packed alike: say packing="packed" or "slotted"')
        if not index.name.endswith(INDEX_SUFFIX):
            raise InvalidArgumentError(f"{index}: the name of an index ends in {INDEX_SUFFIX}")
        if not all(isinstance(name, str) for name in sources):
            raise InvalidArgumentError(f"a tensor's name is a str: {list(sources)}")
        return list(sources), (str(index), codec, packing, objective, count(row_dims, "row_dims"), notes(metadata))

    agreed = ranks.each(check)
    if any(other != agreed[0] for other in agreed):
        raise InvalidArgumentError(f"the ranks were called with different arguments: {agreed}")

    shard = index.with_name(f"{index.name[: -len(INDEX_SUFFIX)]}-{ranks.rank + 1:05}-of-{ranks.size:05}.safetensors")
    chunks: dict[str, _chunks.Chunks] = {}
    ranks.each(lambda: chunks.update((name, _chunks.Chunks(name, sources[name], as_dtype)) for name in sources))
    sizes = [each.num_bytes for each in chunks.values()]
    total = None if None in sizes else 2 * sum(filter(None, sizes))
    parts: dict[str, list[str]] = {}
    with contextlib.ExitStack() as stack:
        counter = stack.enter_context(counting(progress, total, f"compressing shard {ranks.rank + 1}"))
        writer = _core.StreamWriter(shard, notes(metadata), num_threads, counter)
        stack.callback(writer.close)
        options = (codec, packing, objective, row_dims, num_threads)
        for name, each in chunks.items():
            plans[name], parts[name] = _declare(ranks, writer, each, options, counter)

        def write() -> None:
            for each in chunks.values():
                _chunks.write(each, writer)

        ranks.each(write)
        _commit(ranks, writer, shard, index, parts)
    return plans


def _declare(
    ranks: _Ranks,
    writer: _core.StreamWriter,
    chunks: _chunks.Chunks,
    options: tuple[str | None, str, str, int, int],
    counter: _core.Counter | None,
) -> tuple[Plan, list[str]]:
    """Walk this rank's part of a tensor for the first time; return its plan and the names of all parts."""
    codec, packing, objective, row_dims, num_threads = options
    scan: list[_core.RowScan] = []

    def look() -> tuple[str, list[int], int]:
        scan.append(_chunks.scan(chunks, row_dims, num_threads, counter))
        return scan[0].dtype, list(scan[0].shape), scan[0].num_rows

    seen = ranks.each(look)
    dtype_name, shape, _ = seen[0]
    if any((other[0], other[1][1:]) != (dtype_name, shape[1:]) for other in seen):
        raise InvalidArgumentError(f"the ranks have different rows of {chunks.name!r} (dtype, shape, rows): {seen}")
    row_shape = tuple(shape[len(shape) - row_dims :])
    num_rows = sum(other[2] for other in seen)
    statistics = reduce_statistics(
        from_core(scan[0].statistics, dtype_name, row_shape), group=ranks.group, timeout=ranks.timeout
    )
    samples = ranks.each(lambda: _share_of_sample(scan[0], num_rows))

    def make_plan() -> str | None:
        if ranks.rank > 0:
            return None
        rows = np.frombuffer(b"".join(samples), np.uint8)
        num_sampled = rows.size // statistics._row_bytes()
        core = _core.plan(
            _core.address_of(rows),
            dtype_name,
            (num_sampled, *row_shape),
            codec,
            packing,
            objective,
            row_dims,
            num_threads,
            num_rows,
            statistics._of_rows(dtype_name, row_shape),
        )
        return core.to_json()

    plan = Plan.from_json(str(ranks.each(make_plan)[0]))
    ends = np.cumsum([0, *(other[1][0] for other in seen)]).tolist()
    names = [part_name(chunks.name, begin, end) for begin, end in zip(ends, ends[1:])]
    ranks.each(lambda: writer.declare(names[ranks.rank], scan[0], plan._core))
    return plan, names


def _share_of_sample(scan: _core.RowScan, num_rows: int) -> bytes:
    """Return whole rows, as many as this rank has a share of all rows, spread over its own."""
    sample = np.frombuffer(scan.sample(), np.uint8)
    if scan.num_rows == 0 or sample.size == 0:
        return b""
    row_bytes = _row_bytes(scan)
    wanted = max(1, int(_SAMPLE_BYTES * (scan.num_rows / num_rows)) // row_bytes)
    rows = sample.reshape(-1, row_bytes)
    if len(rows) <= wanted:
        return sample.tobytes()
    per_run = max(1, min(wanted, _RUN_BYTES // row_bytes))
    starts = np.linspace(0, len(rows) - per_run, max(1, wanted // per_run)).astype(np.int64)
    return np.concatenate([rows[start : start + per_run] for start in starts]).tobytes()


def _row_bytes(scan: _core.RowScan) -> int:
    length, *entry = scan.shape
    return _core.dtype_width(scan.dtype) * length * int(np.prod(entry, dtype=np.int64)) // scan.num_rows


def _commit(ranks: _Ranks, writer: _core.StreamWriter, shard: Path, index: Path, parts: dict[str, list[str]]) -> None:
    """Give all shards their names, and then the index."""

    def forget_index() -> None:  # of another set, which shards with the same names are about to replace
        if ranks.rank == 0:
            index.unlink(missing_ok=True)

    ranks.each(forget_index)
    is_named = False

    def name_shard() -> int:
        nonlocal is_named
        writer.commit()
        is_named = True
        return _core.inspect_file(shard).stored_bytes

    def write_index(stored: list[int]) -> None:
        if ranks.rank > 0:
            return
        shards = [
            shard.with_name(shard.name.replace("-00001-of-", f"-{rank + 1:05}-of-")).name for rank in range(ranks.size)
        ]
        weight_map = {f"{part}.stillbit": shards[rank] for names in parts.values() for rank, part in enumerate(names)}
        _write_text(index, index_text(parts, weight_map, sum(stored)))

    try:
        stored = ranks.each(name_shard)
        ranks.each(lambda: write_index(stored))
    except BaseException:
        if is_named:
            shard.unlink(missing_ok=True)
        raise


def _write_text(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # noqa: PTH101
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise
