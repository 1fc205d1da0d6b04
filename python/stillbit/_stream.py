"""`compress_to_file`: arrays and streams of rows, to a file, in bounded memory."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import _chunks, _core, _kinds
from ._arguments import count, notes, words
from ._plan import Plan, core_plan, named_input
from ._progress import COMPRESS_PASSES, counting
from .errors import InvalidArgumentError

PathLike = Any  # str or os.PathLike


def compress_to_file(
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
    plan: Plan | None = None,
    progress: bool = False,
) -> _core.FileInfo:
    """Compress arrays, or rows that come in chunks, to a file, in memory that does not grow with them.

    Parameters
    ----------
    sources : mapping of str to source
        Each is a numpy array or torch tensor, in memory or mapped (`numpy.load` with ``mmap_mode="r"``,
        `numpy.memmap`); or an iterable of them that can be walked twice, or a function that returns an iterable: chunks
        along the first dimension, of one dtype, of any length. A list of arrays will do; an iterator will not.
    path : str or os.PathLike
        Written whole or not at all.
    metadata : mapping of str to str, optional
        Notes to keep in the file.
    codec, packing, objective, row_dims, num_threads, as_dtype, plan, progress
        As in `compress`, for every tensor; files are packed unless asked otherwise. Of several tensors in chunks,
        ``packing`` is not ``"auto"``: all are packed alike.

    Returns
    -------
    FileInfo
        Of the file.

    Raises
    ------
    InvalidArgumentError
        If an argument is not as described, or chunks differ in dtype or shape.
    MismatchError
        If the second walk yields other rows than the first.
    UnsupportedError, IoError
        As in `compress` and `save_file`.

    Notes
    -----
    Arrays that lie in C order are compressed where they lie, as `compress_file` does, and pages of mapped ones are
    given back as they are done. All else is walked twice: for statistics and a sample, from which the plan is made, and
    to encode the rows, straight to their place in the file. (Where the sample misled so far that the rows are smaller
    as they are, a third time.) In memory there are the chunk, up to 16 MiB of rows that wait for the next one, and the
    sample, up to 8 MiB. Rows that repeat are not looked for in chunks, and equal tensors not stored once.
    """
    words(codec=codec or "auto", packing=packing, objective=objective)
    core = core_plan(plan, "packed", codec, packing, objective, row_dims)
    options = codec, packing, objective, count(row_dims, "row_dims"), count(num_threads, "num_threads")
    for name in sources:
        if not isinstance(name, str):
            raise InvalidArgumentError(f"a tensor's name is a str, not {name!r}")
    if all(_lies_in_order(source) for source in sources.values()):
        arrays = []
        keep = []
        for name, source in sources.items():
            kind, array, dtype_name = named_input(source, as_dtype, f"sources[{name!r}]")
            keep.append(array)
            is_mapped = _chunks.mapping_of(array) is not None
            arrays.append((name, kind.address(array), dtype_name, tuple(array.shape), is_mapped))
        total = COMPRESS_PASSES * sum(array.nbytes for array in keep)
        with counting(progress, total, "compressing") as counter:
            return _core.compress_to_file(arrays, Path(path), notes(metadata), *options, counter, core)
    chunks = [_chunks.Chunks(name, source, as_dtype) for name, source in sources.items()]
    sizes = [each.num_bytes for each in chunks]
    with counting(progress, None if None in sizes else 2 * sum(filter(None, sizes)), "compressing") as counter:
        _compress_chunks(chunks, Path(path), notes(metadata), options, core, counter)
    return _core.inspect_file(Path(path))


def _lies_in_order(source: Any) -> bool:
    """Say whether a source is an array that can be read where it lies; others are copied in part after part."""
    kind = _kinds.kind_of(source)
    if kind is None:
        return False
    contiguous = source.flags.carray if kind is _kinds.NUMPY else source.is_contiguous()
    read_only = kind is _kinds.NUMPY and source.flags.c_contiguous and source.flags.aligned
    return bool(contiguous or read_only) or len(source.shape) == 0


def _compress_chunks(
    chunks: list[_chunks.Chunks],
    path: Path,
    metadata: dict[str, str],
    options: tuple[str | None, str, str, int, int],
    plan: _core.Plan | None,
    counter: _core.Counter | None,
) -> None:
    codec, packing, objective, row_dims, num_threads = options
    if plan is not None:
        row_dims = len(plan.row_shape)
    elif packing == "auto" and len(chunks) > 1:
        raise InvalidArgumentError('tensors that come in chunks are packed alike: say packing="packed" or "slotted"')
    writer = _core.StreamWriter(path, metadata, num_threads, counter)
    with contextlib.closing(writer):
        for each in chunks:
            scanned = _chunks.scan(each, row_dims, num_threads, counter)
            writer.declare(each.name, scanned, plan or scanned.plan(codec, packing, objective, num_threads))
        for each in chunks:
            _chunks.write(each, writer)
        writer.commit()
