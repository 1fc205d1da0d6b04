"""`ShardedTensor`: a tensor whose rows are in several files."""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import _index, _kinds
from ._arguments import count
from ._kinds import Shape
from ._rows import Array, Index, Rows
from .errors import CorruptError, InvalidArgumentError, OutOfRangeError
from .tensor import CompressedTensor

INDEX_SUFFIX = ".safetensors.index.json"
_VERSION = 1


class Whole(NamedTuple):
    """What parts are together: what `Rows` asks of a tensor in the library."""

    shape: Shape
    row_dims: int
    row_bytes: int
    dtype: str
    raw_bytes: int


class ShardedTensor(Rows):
    """A tensor that is stored in parts along its first dimension; read as one. Made by `load_file` of an index.

    Parameters
    ----------
    parts : sequence of CompressedTensor
        In order: alike but for their first dimension.
    """

    __slots__ = ("_begins", "_parts", "_row_begins")

    def __init__(self, parts: Sequence[CompressedTensor]) -> None:
        if not parts:
            raise InvalidArgumentError("a sharded tensor has a part at least")
        first = parts[0]
        for part in parts:
            if part.ndim == part.row_dims:
                raise InvalidArgumentError(f"a part of shape {part.shape} is one row, and cannot be one of several")
            if (part.shape[1:], part.dtype_name, part.row_dims) != (first.shape[1:], first.dtype_name, first.row_dims):
                raise InvalidArgumentError(f"parts differ: {first!r} and {part!r}")
        self._parts = tuple(parts)
        self._begins = list(itertools.accumulate((len(part) for part in parts), initial=0))
        shape = (self._begins[-1], *first.shape[1:])
        raw_nbytes = sum(part.raw_nbytes for part in parts)
        super().__init__(Whole(shape, first.row_dims, first._row_bytes, first.dtype_name, raw_nbytes), first.like)
        self._row_begins = np.array([0, *itertools.accumulate(part.num_rows for part in parts)], np.int64)

    @property
    def parts(self) -> tuple[CompressedTensor, ...]:
        """What it is made of, in order."""
        return self._parts

    @property
    def nbytes(self) -> int:
        """Bytes of all that is stored."""
        return sum(part.nbytes for part in self._parts)

    @property
    def ratio(self) -> float:
        """``raw_nbytes / nbytes``."""
        return self.raw_nbytes / self.nbytes

    def __repr__(self) -> str:
        return (
            f"ShardedTensor(shape={self.shape}, dtype={self.dtype_name}, parts={len(self._parts)}, "
            f"ratio={self.ratio:.2f}, like={self.like})"
        )

    def gather(self, index: Index, out: Array | None = None, *, num_threads: int = 0, like: str | None = None) -> Array:
        """Expand rows, from whichever parts they are in.

        Parameters
        ----------
        index, out, num_threads, like
            As in `CompressedTensor.gather`.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Shape ``index.shape + row_shape``: `out` where it is given.

        Raises
        ------
        OutOfRangeError
            If a row number is negative or not below ``num_rows``; nothing is written then.
        InvalidArgumentError
            If the index holds no integers, or `out` is not as described.
        """
        index = _index.as_array(index)
        kind = _kinds.array_kind(index, "the index")
        rows = np.asarray(kind.index(index)).astype(np.int64, copy=False)
        for row in (int(rows.min()), int(rows.max())) if rows.size > 0 else ():
            if row < 0 or row >= self.num_rows:
                raise OutOfRangeError(f"index {row} is out of range: the tensor has {self.num_rows} rows")
        out, out_kind, _ = self._output(tuple(rows.shape), out, like)
        flat, places = out.reshape((rows.size, *self.row_shape)), rows.reshape(-1)
        part_of = np.searchsorted(self._row_begins, places, side="right") - 1
        for number in np.unique(part_of):
            here = np.flatnonzero(part_of == number)
            there = places[here] - self._row_begins[number]
            flat[here] = self._parts[number].gather(there, num_threads=num_threads, like=out_kind.name)
        return out

    def decompress(self, out: Array | None = None, *, num_threads: int = 0, like: str | None = None) -> Array:
        """Expand the whole tensor.

        Parameters
        ----------
        out, num_threads, like
            As in `gather`.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Shape ``shape``: `out` where it is given.
        """
        outer = self.shape[: self.ndim - self.row_dims]
        out, _, _ = self._output(outer, out, like)
        for part, begin, end in zip(self._parts, self._begins, self._begins[1:]):
            part.decompress(out[begin:end], num_threads=count(num_threads, "num_threads"))
        return out

    def part_of(self, position: int) -> tuple[int, int]:
        """Return the number of the part that has a position of the first dimension, and its place there.

        Raises
        ------
        OutOfRangeError
            If there is no such position.
        """
        position = _index.place(position, len(self))
        number = bisect.bisect_right(self._begins, position) - 1
        return number, position - self._begins[number]

    def verify(self, *, num_threads: int = 0) -> None:
        """Check the checksums of all parts.

        Raises
        ------
        CorruptError
            If one differs.
        """
        for part in self._parts:
            part.verify(num_threads=num_threads)

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardedTensor, (self._parts,)


def part_name(name: str, begin: int, end: int) -> str:
    """Return what a part of a tensor is called in its shard."""
    return f"{name}[{begin}:{end}]"


def index_text(parts: dict[str, list[str]], weight_map: dict[str, str], total_size: int) -> str:
    """Return an index: the names of each tensor's parts, the shard of each payload, and the bytes of all of them."""
    metadata = {"total_size": total_size, "stillbit": {"version": _VERSION, "parts": parts}}
    return json.dumps({"metadata": metadata, "weight_map": weight_map}, indent=1)


def read_index(path: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return the parts of each tensor that has some, and the shard of each payload; the library has read the index."""
    document = json.loads(path.read_text())
    metadata = document.get("metadata")
    own = metadata.get("stillbit", {}) if isinstance(metadata, dict) else {}
    parts = own.get("parts", {}) if isinstance(own, dict) else None
    is_well = isinstance(parts, dict) and all(
        isinstance(names, list) and names and all(isinstance(name, str) for name in names) for names in parts.values()
    )
    if not is_well or (parts and own.get("version") != _VERSION):
        raise CorruptError(f"{path}: the index does not say which parts its tensors have")
    return parts or {}, document["weight_map"]


def check_parts(path: Path, parts: dict[str, list[str]], lengths: dict[str, int]) -> set[str]:
    """Return the names of all parts, each of which has the rows that its name says; `lengths` are first dimensions."""
    names = list(itertools.chain.from_iterable(parts.values()))
    if len(set(names)) != len(names) or not set(names) <= set(lengths):
        raise CorruptError(f"{path}: the index names parts that are not there, or are another tensor's, too")
    for name, of in parts.items():
        begin = 0
        for part in of:
            end = begin + lengths[part]
            if part != part_name(name, begin, end):
                raise CorruptError(f"{path}: part {part!r} has not the rows that its name says")
            begin = end
    for name in parts:
        if name in set(lengths) - set(names):
            raise CorruptError(f"{path}: tensor {name!r} is there twice, in parts and whole")
    return set(names)


def joined(
    path: Path, tensors: dict[str, CompressedTensor], parts: dict[str, list[str]]
) -> dict[str, CompressedTensor | ShardedTensor]:
    """Return the tensors of an index, those that are in parts as one."""
    result: dict[str, CompressedTensor | ShardedTensor] = {}
    names = check_parts(path, parts, {name: (tensor.shape or (0,))[0] for name, tensor in tensors.items()})
    for name, of in parts.items():
        result[name] = ShardedTensor([tensors[part] for part in of])
    for name in set(tensors) - names:
        result[name] = tensors[name]
    return result
