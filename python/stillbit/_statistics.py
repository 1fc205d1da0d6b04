"""`BitStatistics`: how often each bit of a row is 1, counted in parts."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from . import _core, _kinds
from ._arguments import count, dtype_named
from ._kinds import Shape
from .errors import InvalidArgumentError

Array = Any  # numpy.ndarray or torch.Tensor


class BitStatistics:
    """How often each bit of a row is 1, over many rows.

    The counts of parts add up to those of the whole: chunk after chunk (`add`), or counted apart, in threads, processes
    or on other machines, and merged (`merge`, ``+``, ``sum``). Can be pickled.

    Parameters
    ----------
    row_dims : int
        How many of the last dimensions make a row.

    Examples
    --------
    >>> import numpy as np, stillbit as sb
    >>> a, b = np.arange(6, dtype=np.uint8).reshape(2, 3), np.zeros((4, 3), np.uint8)
    >>> statistics = sb.BitStatistics().add(a).add(b)
    >>> statistics.num_rows, statistics.ones.shape, statistics.ones[0, :2].tolist()
    (6, (3, 8), [1, 1])
    """

    __slots__ = ("_counts", "_dtype_name", "_row_dims", "_row_shape")

    def __init__(self, row_dims: int = 1) -> None:
        self._row_dims = count(row_dims, "row_dims")
        self._counts: _core.BitStatistics | None = None  # until the first rows say what a row is
        self._dtype_name: str | None = None
        self._row_shape: Shape | None = None

    @property
    def row_dims(self) -> int:
        """How many of the last dimensions make a row."""
        return self._row_dims

    @property
    def row_shape(self) -> Shape | None:
        """Of one row; None before there is any."""
        return self._row_shape

    @property
    def dtype_name(self) -> str | None:
        """Of the rows, as in safetensors files: ``"BF16"``; None before there is any."""
        return self._dtype_name

    @property
    def num_rows(self) -> int:
        """How many rows were counted."""
        if self._counts is None:
            return 0
        return self._counts.num_rows * self._counts.row_bytes // self._row_bytes()

    @property
    def ones(self) -> Array:
        """In how many rows each bit is 1.

        Returns
        -------
        numpy.ndarray
            uint64, of shape ``row_shape + (bits of an element,)``, bit 0 the least significant. Rows of more than
            65,536 bytes are counted eight bytes at a time (one element, where eight do not divide them): then of shape
            ``(elements in these, bits of an element)``, and of as many such parts as the rows have.
        """
        if self._counts is None or self._row_shape is None or self._dtype_name is None:
            raise InvalidArgumentError("no rows were added yet")
        width = _core.dtype_width(self._dtype_name)
        ones = np.empty(8 * self._counts.row_bytes, np.uint64)
        self._counts.read_ones(_core.address_of(ones))
        is_whole = self._counts.row_bytes == self._row_bytes()
        return ones.reshape((*(self._row_shape if is_whole else (self._counts.row_bytes // width,)), 8 * width))

    def add(self, rows: Array, *, as_dtype: Any = None) -> BitStatistics:
        """Count rows, and return this object.

        Parameters
        ----------
        rows : numpy.ndarray or torch.Tensor
            Any number of rows of one dtype and shape. Rows on a GPU are counted there, where the build has its code.
        as_dtype : str or dtype, optional
            As in `compress`.

        Raises
        ------
        InvalidArgumentError
            If the rows are not like those before.
        """
        kind = _kinds.array_kind(rows, "rows")
        is_on_gpu = kind.is_on_gpu(rows)
        rows = rows.detach().contiguous() if is_on_gpu else kind.readable(rows, "rows")
        name = kind.dtype_name(rows) if as_dtype is None else dtype_named(as_dtype)
        if _core.dtype_width(name) != rows.itemsize:
            raise InvalidArgumentError(f"as_dtype {name} has {_core.dtype_width(name)} bytes, rows have {rows.dtype}")
        shape = tuple(rows.shape)
        if len(shape) < self._row_dims:
            raise InvalidArgumentError(f"rows of shape {shape} have fewer dimensions than row_dims, {self._row_dims}")
        counts = self._of_rows(name, shape[len(shape) - self._row_dims :])
        if is_on_gpu:
            stream = sys.modules["torch"].cuda.current_stream(rows.device).cuda_stream
            num_rows = rows.nbytes // counts.row_bytes
            counts.merge(_core.cuda_count(kind.address(rows), num_rows, counts.row_bytes, stream))
        else:
            counts.add(kind.address(rows), rows.nbytes)
        return self

    def merge(self, other: BitStatistics) -> BitStatistics:
        """Add what another object counted, and return this one.

        Raises
        ------
        InvalidArgumentError
            If it counted other rows.
        """
        if not isinstance(other, BitStatistics):
            raise InvalidArgumentError(f"other is a {type(other).__name__}, not BitStatistics")
        if other._row_dims != self._row_dims:
            raise InvalidArgumentError(f"row_dims {other._row_dims} and {self._row_dims} make different rows")
        if other._counts is not None and other._dtype_name is not None and other._row_shape is not None:
            self._of_rows(other._dtype_name, other._row_shape).merge(other._counts)
        return self

    def __add__(self, other: BitStatistics) -> BitStatistics:
        if not isinstance(other, BitStatistics):
            return NotImplemented
        return BitStatistics(self._row_dims).merge(self).merge(other)

    def __radd__(self, other: Any) -> BitStatistics:  # sum() starts with 0
        return BitStatistics(self._row_dims).merge(self) if other == 0 else NotImplemented

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BitStatistics) and _state_is_equal(self.__getstate__(), other.__getstate__())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"BitStatistics(num_rows={self.num_rows}, row_shape={self._row_shape}, dtype={self._dtype_name})"

    def __getstate__(self) -> tuple[Any, ...]:
        counted = None
        if self._counts is not None:
            ones = np.empty(8 * self._counts.row_bytes, np.uint64)
            self._counts.read_ones(_core.address_of(ones))
            counted = (self._counts.num_rows, ones)
        return self._row_dims, self._dtype_name, self._row_shape, counted

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._row_dims, self._dtype_name, self._row_shape, counted = state
        self._counts = None
        if counted is not None:
            num_rows, ones = counted
            ones = np.ascontiguousarray(ones, np.uint64)
            self._counts = _core.BitStatistics.from_ones(num_rows, _core.address_of(ones), ones.size)

    def _row_bytes(self) -> int:
        assert self._dtype_name is not None and self._row_shape is not None
        return _core.dtype_width(self._dtype_name) * math.prod(self._row_shape)

    def _of_rows(self, dtype_name: str, row_shape: Shape) -> _core.BitStatistics:
        """Return the counts, of rows like these; raise InvalidArgumentError if they are of others."""
        if self._counts is None:
            row_bytes = _core.dtype_width(dtype_name) * math.prod(row_shape)
            self._counts = _core.BitStatistics(_core.counted_row_bytes(dtype_name, row_bytes))
            self._dtype_name, self._row_shape = dtype_name, row_shape
        if (self._dtype_name, self._row_shape) != (dtype_name, row_shape):
            raise InvalidArgumentError(
                f"the statistics are of {self._dtype_name} rows of shape {self._row_shape}, "
                f"not of {dtype_name} rows of shape {row_shape}"
            )
        return self._counts


def _state_is_equal(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    if a[:3] != b[:3] or (a[3] is None) != (b[3] is None):
        return False
    return a[3] is None or (a[3][0] == b[3][0] and bool(np.array_equal(a[3][1], b[3][1])))


def from_core(counts: _core.BitStatistics, dtype_name: str, row_shape: Shape) -> BitStatistics:
    """Return statistics that the library has counted."""
    statistics = BitStatistics(len(row_shape))
    statistics._counts, statistics._dtype_name, statistics._row_shape = counts, dtype_name, row_shape
    return statistics
