"""Sources of rows that are larger than memory: arrays, and what yields them chunk by chunk and can be walked again."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from . import _core, _kinds
from ._kinds import Kind, Shape
from ._plan import named_input
from .errors import InvalidArgumentError

Array = Any  # numpy.ndarray or torch.Tensor
Source = Any  # an array, an iterable of arrays, or a function that returns one

_CHUNK_BYTES = 32 << 20  # of an array that is walked


def mapping_of(array: Array) -> mmap.mmap | None:
    """Return the mapping whose pages hold an array and can be given back: of a numpy memmap that copies nothing."""
    while isinstance(array, np.ndarray):
        mapping = getattr(array, "_mmap", None)
        if isinstance(mapping, mmap.mmap):
            return mapping if getattr(array, "mode", None) in ("r", "r+", "w+") else None
        array = array.base
    return None


def _give_back(mapping: mmap.mmap | None) -> None:
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


class Chunks:
    """A source as chunks of one dtype and shape, for as many walks as there are.

    Parameters
    ----------
    name : str
        Of the tensor, for messages.
    source : array, iterable or callable
        See `stillbit.compress_to_file`.
    as_dtype : str or dtype, optional
        As in `compress`.
    """

    def __init__(self, name: str, source: Source, as_dtype: Any) -> None:
        self.name = name
        self._source = source
        self._as_dtype = as_dtype
        self._like: tuple[str, Shape] | None = None  # dtype name and entry shape, of the first chunk
        if _kinds.kind_of(source) is None and not callable(source):
            if not isinstance(source, Iterable) or isinstance(source, (str, bytes, dict)):
                raise self._error(f"is a {type(source).__name__}, not an array, an iterable of arrays, or a function")
            if iter(source) is source:
                raise self._error(
                    f"is a {type(source).__name__}, which can be walked once, and it has to be walked twice: give a "
                    "list, an object whose __iter__ starts again, or a function that returns an iterator"
                )

    @property
    def num_bytes(self) -> int | None:
        """Of the source, where that is known before it is walked."""
        if _kinds.kind_of(self._source) is None:
            return None
        num_bytes: int = self._source.itemsize * math.prod(self._source.shape)
        return num_bytes

    def _error(self, what: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"the source of {self.name!r} {what}")

    def _arrays(self) -> Iterator[Array]:
        source = self._source
        if _kinds.kind_of(source) is not None:
            yield from self._slices(source)
            return
        chunks = source() if callable(source) else source
        if not isinstance(chunks, Iterable):
            raise self._error(f"returns a {type(chunks).__name__}, not an iterable of arrays")
        yield from [chunks] if _kinds.kind_of(chunks) is not None else chunks

    def _slices(self, array: Array) -> Iterator[Array]:
        if len(array.shape) == 0:
            raise self._error("has no dimensions, and so no rows")
        entry_bytes = max(1, int(array.itemsize) * math.prod(array.shape[1:]))
        step = max(1, _CHUNK_BYTES // entry_bytes)
        mapping = mapping_of(array)
        for begin in range(0, max(1, array.shape[0]), step):
            yield array[begin : begin + step]
            _give_back(mapping)

    def walk(self) -> Iterator[tuple[Kind, Array, str]]:
        """Yield each chunk's kind, the chunk in C order, and the name of its dtype.

        Raises
        ------
        InvalidArgumentError
            If there is no chunk, or one is not like the first.
        """
        number = -1
        for number, chunk in enumerate(self._arrays()):
            what = f"chunk {number} of {self.name!r}"
            kind, array, dtype_name = named_input(chunk, self._as_dtype, what)
            shape = tuple(array.shape)
            if not shape:
                raise InvalidArgumentError(f"{what} has no dimensions, and so no rows")
            if self._like is None:
                self._like = dtype_name, shape[1:]
            if self._like != (dtype_name, shape[1:]):
                raise InvalidArgumentError(
                    f"{what} has {dtype_name} entries of shape {shape[1:]}, the first chunk has {self._like[0]} "
                    f"entries of shape {self._like[1]}"
                )
            yield kind, array, dtype_name
        if number < 0:
            raise self._error("yields no chunk: what its rows are is not known")


def scan(chunks: Chunks, row_dims: int, num_threads: int, counter: _core.Counter | None) -> _core.RowScan:
    """Walk a source for the first time."""
    found: _core.RowScan | None = None
    for kind, array, dtype_name in chunks.walk():
        if found is None:
            found = _core.RowScan(dtype_name, tuple(array.shape[1:]), row_dims, num_threads)
        found.add(kind.address(array), array.nbytes)
        if counter is not None:
            counter.add(array.nbytes)
    assert found is not None  # walk() would have raised
    return found


def write(chunks: Chunks, writer: _core.StreamWriter) -> None:
    """Walk a source once more, and write its rows: twice where the plan did not suit them."""
    is_written = False
    while not is_written:
        writer.begin()
        for kind, array, _ in chunks.walk():
            writer.write(kind.address(array), array.nbytes)
        is_written = writer.end()
