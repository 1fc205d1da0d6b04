"""`CompressedTensor`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from . import _core, _index, _kinds, _pickling, _pool
from ._arguments import count
from ._kinds import Kind, Shape
from .errors import InvalidArgumentError

# Tables by number, for operators that can be handed numbers only.
tables: WeakValueDictionary[int, CompressedTensor] = WeakValueDictionary()
_next_number = itertools.count()

Array = Any  # numpy.ndarray or torch.Tensor
Index = Any  # int, list of int, or an array of integers


class CompressedTensor:
    """A tensor kept losslessly compressed, row by row.

    Made by `compress` or `load_file`. Rows are the unit of random access: the last ``row_dims`` dimensions make one.
    Results are numpy arrays or torch tensors: what was compressed, unless ``like`` or ``out`` say otherwise. Threads
    may read at the same time; a thread that changes a tensor waits for them.

    Parameters
    ----------
    handle : stillbit._core.Tensor
        The tensor in the library.
    like : str
        ``"numpy"`` or ``"torch"``: what results are.
    source : tuple of str, optional
        Path and name, where the tensor is mapped from a file.
    """

    __slots__ = (
        "__weakref__",
        "_changes",
        "_cuda_tables",
        "_dtype_name",
        "_dtypes",
        "_handle",
        "_image",
        "_kind",
        "_number",
        "_row_bytes",
        "_row_dims",
        "_shape",
        "_source",
    )

    def __init__(self, handle: _core.Tensor, like: str, source: tuple[str, str] | None = None) -> None:
        self._handle = handle
        self._kind = _kinds.kind_named(like)
        self._source = source
        self._image: _pickling.Image | None = None  # for processes that this one starts
        self._changes = 0
        self._shape: Shape = tuple(handle.shape)
        self._row_dims = handle.row_dims
        self._row_bytes = handle.row_bytes
        self._dtype_name = handle.dtype
        self._dtypes: dict[str, Any] = {}  # of each kind, once it is known
        self._cuda_tables: dict[Any, Any] = {}  # of each GPU, once rows were gathered there
        self._number = next(_next_number)
        tables[self._number] = self

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
    def nbytes(self) -> int:
        """Bytes of all that is stored."""
        return self._handle.stored_bytes

    @property
    def raw_nbytes(self) -> int:
        """Bytes of the tensor that was compressed."""
        return self._handle.raw_bytes

    @property
    def codec(self) -> str:
        """How bits are coded: ``"raw"`` where nothing made the tensor smaller."""
        return self._handle.codec

    @property
    def packing(self) -> str:
        """``"slotted"`` or ``"packed"``."""
        return self._handle.packing

    @property
    def ratio(self) -> float:
        """``raw_nbytes / nbytes``."""
        return self._handle.ratio

    @property
    def transfer_ratio(self) -> float:
        """How many fewer 32-byte sectors reading a row touches than reading a raw one. Looks at up to 65,536 rows."""
        return self._handle.transfer_ratio

    @property
    def prices(self) -> dict[str, int]:
        """Bytes that each codec that was considered would take; empty where none was kept."""
        return dict(self._handle.prices)

    def __len__(self) -> int:
        if not self._shape:
            raise TypeError("a tensor without dimensions has no length")
        return self._shape[0]

    def __repr__(self) -> str:
        return (
            f"CompressedTensor(shape={self._shape}, dtype={self._dtype_name}, codec={self.codec}, "
            f"packing={self.packing}, ratio={self.ratio:.2f}, like={self.like})"
        )

    def gather(self, index: Index, out: Array | None = None, *, num_threads: int = 0, like: str | None = None) -> Array:
        """Expand rows.

        Parameters
        ----------
        index : int, list of int, numpy.ndarray or torch.Tensor
            Row numbers below ``num_rows``, of any shape, in any order, repeated or not. int32 and int64 are not copied.
            On a GPU the rows are expanded there, as by the table that `cuda` makes, which the first such call does; one
            that is out of range is then found later, by that table's `check`.
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
        elif index_kind.is_on_gpu(index):
            return self._cuda_table(index.device).gather(index, out)
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

    def pool(
        self,
        index: Index,
        offsets: Index | None = None,
        mode: str = "sum",
        weights: Array | None = None,
        padding_index: int | None = None,
        out: Array | None = None,
        num_threads: int = 0,
        *,
        include_last_offset: bool = False,
        like: str | None = None,
    ) -> Array:
        """Expand the rows of bags and pool them, without writing rows to memory.

        The result is that of torch's ``nn.functional.embedding_bag`` on a CPU, to the last bit.

        Parameters
        ----------
        index : list of int, numpy.ndarray or torch.Tensor
            Row numbers below ``num_rows``: of one dimension, all bags one after the other; or of two, a bag in each
            row. int32 and int64 are not copied.
        offsets : list of int, numpy.ndarray or torch.Tensor, optional
            Where in an index of one dimension each bag begins, in order; the last ends with the index.
        mode : str
            ``"sum"``, ``"mean"`` or ``"max"``.
        weights : numpy.ndarray or torch.Tensor, optional
            A factor for each row number, of the index's shape and the tensor's dtype; sums only.
        padding_index : int, optional
            Rows with this number are left out, and not counted in a mean. Negative ones count from the end.
        out : numpy.ndarray or torch.Tensor, optional
            Where to write: of the tensor's dtype and the result's shape, with rows that are contiguous.
        num_threads : int
            0 for all processors; few rows never start a thread.
        include_last_offset : bool
            One more offset says where the last bag ends.
        like : str, optional
            ``"numpy"`` or ``"torch"``: what the result is.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Shape ``(bags,) + row_shape``: `out` where it is given. A bag without rows is zeros.

        Raises
        ------
        OutOfRangeError
            If a row number is negative or not below ``num_rows``; nothing is written then.
        InvalidArgumentError
            If the arguments are not as described.
        UnsupportedError
            If the tensor's dtype is not f16, bf16, f32 or f64.
        """
        request = _pool.Request(self, index, offsets, mode, weights, padding_index, out, include_last_offset, like)
        _pool.run([request], num_threads)
        return request.out

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

    def decompress(
        self, out: Array | None = None, *, num_threads: int = 0, like: str | None = None, verify: bool = False
    ) -> Array:
        """Expand the whole tensor.

        Parameters
        ----------
        out, num_threads, like
            As in `gather`.
        verify : bool
            Compare the checksum of what was expanded with the one that was taken of the tensor when it was compressed;
            not after `update` or `append`, which make that out of date.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Shape ``shape``: `out` where it is given.

        Raises
        ------
        CorruptError
            If a row is malformed, or the checksum differs; `out` then holds anything.
        """
        outer = self._shape[: len(self._shape) - self._row_dims]
        out, out_kind, num_bytes = self._output(outer, out, like)
        self._handle.decompress(out_kind.address(out), num_bytes, count(num_threads, "num_threads"), bool(verify))
        return out

    def numpy(self) -> Array:
        """Expand the whole tensor into a numpy array."""
        return self.decompress(like="numpy")

    def torch(self) -> Array:
        """Expand the whole tensor into a torch tensor."""
        return self.decompress(like="torch")

    def cuda(self, device: Any = "cuda", placement: str = "pinned") -> Any:
        """Return a `stillbit.cuda.Table` of the tensor as it is now, whose rows a GPU expands.

        Parameters
        ----------
        device, placement
            As of `stillbit.cuda.Table`: rows lie in pinned host memory, unless `placement` says otherwise.
        """
        from .cuda import Table

        return Table(self, device, placement)

    def _cuda_table(self, device: Any) -> Any:
        if device not in self._cuda_tables:
            self._cuda_tables[device] = self.cuda(device)
        return self._cuda_tables[device]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Expand the whole tensor for numpy."""
        if copy is False:
            raise InvalidArgumentError("a compressed tensor is no array without a copy")
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def update(self, index: Index, rows: Array) -> None:
        """Replace rows; of a row that is named twice the last is kept. Slotted tensors in memory only.

        Parameters
        ----------
        index : int, list of int, numpy.ndarray or torch.Tensor
            Row numbers, as in `gather`.
        rows : numpy.ndarray or torch.Tensor
            Shape ``index.shape + row_shape``, of the tensor's dtype.

        Raises
        ------
        OutOfRangeError
            If a row number is negative or not below ``num_rows``.
        InvalidArgumentError
            If the rows do not fit, or the tensor is packed or mapped from a file.
        """
        index = _index.as_array(index)
        index_kind = _kinds.array_kind(index, "the index")
        index = index_kind.index(index)
        wide = index.astype(np.int64, copy=False) if index_kind is _kinds.NUMPY else index.long()
        kind, rows = self._input(rows, tuple(index.shape) + self.row_shape)
        self._cuda_tables.clear()
        self._handle.update(
            index_kind.address(wide),
            math.prod(index.shape),
            kind.address(rows),
            math.prod(index.shape) * self._row_bytes,
        )
        self._changes += 1

    def append(self, rows: Array) -> None:
        """Add rows at the end; the first dimension grows. Slotted tensors in memory only.

        Parameters
        ----------
        rows : numpy.ndarray or torch.Tensor
            Shape ``(n,) + shape[1:]``, of the tensor's dtype.

        Raises
        ------
        InvalidArgumentError
            If the rows do not fit, or the tensor is packed, one row, or mapped from a file.
        """
        kind, rows = self._input(rows, (None, *self._shape[1:]))
        num_bytes = rows.itemsize * math.prod(rows.shape)
        self._cuda_tables.clear()
        self._handle.append(kind.address(rows), num_bytes)
        self._shape = tuple(self._handle.shape)
        self._changes += 1

    def compact(self) -> None:
        """Free what rewritten rows left behind. `update` does so itself when half of it is unused."""
        self._handle.compact()

    def verify(self, *, num_threads: int = 0) -> None:
        """Check the checksums, of what is stored and of what it expands to.

        Raises
        ------
        CorruptError
            If one differs.
        """
        self._handle.verify(count(num_threads, "num_threads"))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _pickling.reduce(self, protocol)

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
