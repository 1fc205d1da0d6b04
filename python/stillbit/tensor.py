"""`CompressedTensor`."""

from __future__ import annotations

import itertools
import math
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from . import _core, _index, _kinds, _pickling, _pool
from ._arguments import count
from ._rows import Array, Index, Rows

# Tables by number, for operators that can be handed numbers only.
tables: WeakValueDictionary[int, CompressedTensor] = WeakValueDictionary()
_next_number = itertools.count()


class CompressedTensor(Rows):
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

    __slots__ = ("__weakref__", "_changes", "_cuda_tables", "_image", "_number", "_source")
    _handle: _core.Tensor

    def __init__(self, handle: _core.Tensor, like: str, source: tuple[str, str] | None = None) -> None:
        super().__init__(handle, like)
        self._source = source
        self._image: _pickling.Image | None = None  # for processes that this one starts
        self._changes = 0
        self._cuda_tables: dict[Any, Any] = {}  # of each GPU, once rows were gathered there
        self._number = next(_next_number)
        tables[self._number] = self

    @property
    def nbytes(self) -> int:
        """Bytes of all that is stored."""
        return self._handle.stored_bytes

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
        kind = _kinds.kind_of(index)
        if kind is not None and kind.is_on_gpu(index):
            return self._cuda_table(index.device).gather(index, out)
        return super().gather(index, out, num_threads=num_threads, like=like)

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
