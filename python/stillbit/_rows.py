"""`Rows`: what all tables of rows have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import _index, _kinds
from ._arguments import count
from ._kinds import Kind, Shape
from .errors import InvalidArgumentError

Array = Any  # numpy.ndarray or torch.Tensor
Index = Any  # int, list of int, or an array of integers


class Rows:
    """A tensor whose rows are expanded from something else: of the last ``row_dims`` dimensions each.

    Parameters
    ----------
    handle : stillbit._core.Tensor or stillbit._core.TieredTable
        What has the rows.
    like : str
        ``"numpy"`` or ``"torch"``: what results are.
    """

    __slots__ = ("_dtype_name", "_dtypes", "_handle", "_kind", "_row_bytes", "_row_dims", "_shape")

    def __init__(self, handle: Any, like: str) -> None:
        self._handle = handle
        self._kind = _kinds.kind_named(like)
        self._shape: Shape = tuple(handle.shape)
        self._row_dims: int = handle.row_dims
        self._row_bytes: int = handle.row_bytes
        self._dtype_name: str = handle.dtype
        self._dtypes: dict[str, Any] = {}  # of each kind, once it is known

    @property
    def shape(self) -> Shape:
        """Of the tensor that was compressed."""
        return self._shape

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self._shape)

    @property
    def dtype(self) -> Any:
        """Of results, as a numpy or torch dtype. Without ml_dtypes, numpy has unsigned integers for bf16 and fp8."""
        return self._dtype_of(self._kind)

    @property
    def dtype_name(self) -> str:
        """As in safetensors files: ``"BF16"``, ``"F32"``."""
        return self._dtype_name

    @property
    def like(self) -> str:
        """``"numpy"`` or ``"torch"``: what results are."""
        return self._kind.name

    @property
    def row_dims(self) -> int:
        """How many of the last dimensions make a row."""
        return self._row_dims

    @property
    def row_shape(self) -> Shape:
        """The last ``row_dims`` dimensions."""
        return self._shape[len(self._shape) - self._row_dims :]

    @property
    def num_rows(self) -> int:
        """The product of the other dimensions."""
        return math.prod(self._shape[: len(self._shape) - self._row_dims])

    @property
    def raw_nbytes(self) -> int:
        """Bytes of the tensor that was compressed."""
        return int(self._handle.raw_bytes)

    def __len__(self) -> int:
        if not self._shape:
            raise TypeError("a tensor without dimensions has no length")
        return self._shape[0]

    def gather(self, index: Index, out: Array | None = None, *, num_threads: int = 0, like: str | None = None) -> Array:
        """Expand rows.

        Parameters
        ----------
        index : int, list of int, numpy.ndarray or torch.Tensor
            Row numbers below ``num_rows``, of any shape, in any order, repeated or not. int32 and int64 are not copied.
        out : numpy.ndarray or torch.Tensor, optional
            Where to write: C-contiguous, of the tensor's dtype and the result's shape.
        num_threads : int
            0 for all processors; few rows never start a thread.
        like : str, optional
            ``"numpy"`` or ``"torch"``: what the result is.

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
        index_kind = _kinds.kind_of(index)
        if index_kind is None:
            index, index_kind = _index.as_array(index), _kinds.NUMPY
        index = index_kind.index(index)
        picked = tuple(index.shape)
        out, out_kind, num_bytes = self._output(picked, out, like)
        self._handle.gather(
            index_kind.address(index),
            math.prod(picked),
            index_kind.index_bytes(index),
            out_kind.address(out),
            num_bytes,
            count(num_threads, "num_threads"),
        )
        return out

    def __getitem__(self, key: Any) -> Array:
        """Expand what numpy would pick along the first dimension.

        Parameters
        ----------
        key : int, slice, list, numpy.ndarray or torch.Tensor
            Integers, negative ones from the end; or a mask, one-dimensional.

        Raises
        ------
        OutOfRangeError
            If an integer is out of range.
        InvalidArgumentError
            If the key is something else, or the first dimension is part of a row.
        """
        return self._pick(key, None)

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
        outer = self._shape[: len(self._shape) - self._row_dims]
        out, out_kind, num_bytes = self._output(outer, out, like)
        self._handle.decompress(out_kind.address(out), num_bytes, count(num_threads, "num_threads"))
        return out

    def numpy(self) -> Array:
        """Expand the whole tensor into a numpy array."""
        return self.decompress(like="numpy")

    def torch(self) -> Array:
        """Expand the whole tensor into a torch tensor."""
        return self.decompress(like="torch")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Expand the whole tensor for numpy."""
        if copy is False:
            raise InvalidArgumentError("a compressed tensor is no array without a copy")
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def _dtype_of(self, kind: Kind) -> Any:
        dtype = self._dtypes.get(kind.name)
        if dtype is None:
            dtype = self._dtypes[kind.name] = kind.dtype(self._dtype_name)
        return dtype

    def _pick(self, key: Any, like: str | None) -> Array:
        outer = self._shape[: len(self._shape) - self._row_dims]
        if not outer:
            raise InvalidArgumentError(
                f"a tensor of shape {self._shape} is one row of {self._row_dims} dimensions, and rows are not read in "
                f"parts: compress it with row_dims={max(self._row_dims - 1, 0)}"
            )
        if isinstance(key, int) and not isinstance(key, bool) and len(outer) == 1:  # the usual way, made short
            return self.gather(_index.place(key, outer[0]), like=like)
        places, leading = _index.positions(key, outer[0])
        rows = self.gather(_index.rows_at(places, outer), like=like)
        return rows.reshape(leading + self._shape[1:])

    def _output(self, leading: Shape, out: Array | None, like: str | None) -> tuple[Array, Kind, int]:
        """Return where to write rows of shape ``leading + row_shape``, its kind and its bytes."""
        shape = leading + self._shape[len(self._shape) - self._row_dims :]
        num_bytes = math.prod(leading) * self._row_bytes
        if out is None:
            kind = self._kind if like is None else _kinds.kind_named(like)
            return kind.empty(shape, self._dtype_of(kind)), kind, num_bytes
        kind = _kinds.array_kind(out, "out")
        kind.check_out(out, shape, self._dtype_of(kind), self._dtype_name)
        kind.written(out)
        return out, kind, num_bytes

    def _input(self, rows: Array, shape: Sequence[int | None]) -> tuple[Kind, Array]:
        """Return rows to store, in C order. None in `shape` stands for any size."""
        kind = _kinds.array_kind(rows, "rows")
        if not kind.is_dtype(rows, self._dtype_name):
            raise InvalidArgumentError(f"rows have dtype {rows.dtype}, the tensor has {self._dtype_of(kind)}")
        fits = len(rows.shape) == len(shape) and all(b is None or a == b for a, b in zip(rows.shape, shape))
        if not fits:
            wanted = ", ".join("n" if size is None else str(size) for size in shape)
            raise InvalidArgumentError(f"rows have shape {tuple(rows.shape)}, not ({wanted})")
        return kind, kind.readable(rows, "rows")
