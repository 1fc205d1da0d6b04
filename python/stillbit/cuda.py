"""Compressed tensors for GPUs: rows are expanded as they cross the link, on the current stream.

>>> import torch, stillbit as sb
>>> table = sb.compress(features).cuda()  # rows stay compressed in pinned host memory
>>> x = table.gather(index)  # index and x on the GPU
"""

from __future__ import annotations

import math
from typing import Any

from . import _core
from ._arguments import count
from ._cuda_pool import Request, pool, run
from ._cuda_tiers import TieredTable
from ._kinds import torch_kind
from .errors import InvalidArgumentError
from .tensor import CompressedTensor

__all__ = ["Table", "TieredTable", "device_count", "is_available", "pool", "why_not_available"]

PLACEMENTS = ("pinned", "in_place", "device")


def device_count() -> int:
    """GPUs that can be used. 0 where there is none, no driver, or a build without CUDA."""
    return _core.cuda_devices()[0]


def is_available() -> bool:
    """Whether there is a GPU that can be used."""
    return device_count() > 0


def why_not_available() -> str:
    """Why there is no GPU that can be used; empty where there is one."""
    return _core.cuda_devices()[1]


class Table:
    """A compressed tensor as it was when the table was made, to be expanded on a GPU.

    Calls put work on the current stream of the GPU and return: nothing is copied back, nothing waits, and a CUDA graph
    can capture a gather into an `out`. An index that is out of range is found by the GPU while it works: `check` raises
    the error, and the rows of such indices are not written.

    Parameters
    ----------
    tensor : CompressedTensor
        Later changes of it do not change the table.
    device : str, int or torch.device
        The GPU: ``"cuda"``, ``"cuda:1"``, 1.
    placement : str
        Where rows lie: ``"pinned"``, in pinned host memory of the table's own; ``"in_place"``, where the tensor has
        them, in memory or in its mapped file, which is pinned; ``"device"``, in the GPU's memory. What cannot be pinned
        goes elsewhere: see `placement` and `note`.
    capacity_rows : int
        Rows that the table has room for, so that `append` can add some; 0: those that there are.
    overflow_nbytes : int
        Room for what of written rows does not fit their slots, besides what there is.
    empty : bool
        Start without rows: the tensor, compressed from a sample, only says how rows are compressed.

    Raises
    ------
    DeviceError
        If there is no such GPU, no driver, or not enough memory.
    MissingPackageError
        If torch is not installed.
    """

    def __init__(
        self,
        tensor: CompressedTensor,
        device: Any = "cuda",
        placement: str = "pinned",
        *,
        capacity_rows: int = 0,
        overflow_nbytes: int = 0,
        empty: bool = False,
    ) -> None:
        if placement not in PLACEMENTS:
            raise InvalidArgumentError(f"placement is one of {', '.join(PLACEMENTS)}, not {placement!r}")
        if placement == "in_place" and tensor.packing == "slotted" and tensor._source is None:
            raise InvalidArgumentError(
                "placement in_place is for tensors that cannot change, packed or mapped from a file: "
                "rows that `update` or `append` move would be read where they were"
            )
        self._kind: Any = torch_kind()
        import torch

        self._handle = _core.CudaTable(
            tensor._handle,
            placement,
            _number(torch, device),
            count(capacity_rows, "capacity_rows"),
            count(overflow_nbytes, "overflow_nbytes"),
            bool(empty),
        )
        self._torch = torch
        self._device = torch.device("cuda", self._handle.device)
        self._shape = (0, *tensor.shape[1:]) if empty else tensor.shape
        self._like = tensor.like
        self._row_shape = tensor.row_shape
        self._dtype = tensor._dtype_of(self._kind)
        self._dtype_name = tensor.dtype_name
        self._codec = tensor.codec

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor, with the rows that were appended."""
        return self._shape

    @property
    def dtype(self) -> Any:
        """Of results: a torch dtype."""
        return self._dtype

    @property
    def codec(self) -> str:
        """Of the tensor."""
        return self._codec

    @property
    def device(self) -> Any:
        """Where results are: a torch.device."""
        return self._device

    @property
    def placement(self) -> str:
        """Where rows lie: ``"pinned"``, ``"in_place"`` or ``"device"``."""
        return self._handle.placement

    @property
    def note(self) -> str:
        """Why rows do not lie where they were asked to; empty if they do."""
        return self._handle.note

    @property
    def pinned_nbytes(self) -> int:
        """Bytes of pinned host memory."""
        return self._handle.pinned_bytes

    @property
    def device_nbytes(self) -> int:
        """Bytes of the GPU's memory that the table keeps."""
        return self._handle.device_bytes

    def __repr__(self) -> str:
        about = f"shape={self._shape}, dtype={self._dtype_name}, device={self._device}, placement={self.placement}"
        return f"Table({about})"

    def gather(self, index: Any, out: Any = None, *, positions: Any = None, max_sms: int = 0) -> Any:
        """Expand rows, on the current stream.

        Parameters
        ----------
        index : torch.Tensor
            Row numbers, int32 or int64, of any shape; on the table's GPU, or in pinned memory.
        out : torch.Tensor, optional
            Where to write: on the GPU, contiguous, of the table's dtype and the result's shape.
        positions : torch.Tensor, optional
            int64, on the GPU, as many as `index` has: the i-th row goes to row ``positions[i]`` of the result, whose
            rows are counted along all dimensions of `index`. Not checked: one that is out of range writes outside.
        max_sms : int
            Streaming multiprocessors that the gather may take; 0: as few as saturate the link.

        Returns
        -------
        torch.Tensor
            Shape ``index.shape + row_shape``: `out` where it is given.

        Raises
        ------
        InvalidArgumentError
            If an argument is not as described. An index that is out of range is found later, by `check`.
        """
        index = self._integers(index, "the index", (self._torch.int32, self._torch.int64))
        if positions is not None:
            positions = self._integers(positions, "positions", (self._torch.int64,))
            if positions.numel() != index.numel():
                raise InvalidArgumentError(f"there are {positions.numel()} positions for {index.numel()} rows")
        out = self._output(out, (*index.shape, *self._row_shape))
        self._handle.gather(
            index.data_ptr(),
            index.numel(),
            index.element_size(),
            out.data_ptr(),
            self._stream(),
            0 if positions is None else positions.data_ptr(),
            count(max_sms, "max_sms"),
        )
        return out

    def pool(
        self,
        index: Any,
        offsets: Any = None,
        mode: str = "sum",
        weights: Any = None,
        padding_index: int | None = None,
        out: Any = None,
        *,
        include_last_offset: bool = False,
        max_sms: int = 0,
    ) -> Any:
        """Expand rows and pool them, on the current stream, without writing rows to the GPU's memory.

        The results are those of `CompressedTensor.pool` on the CPU, to the last bit: rows of a bag are added in the
        order of the index, in f32 (f64 in f64). A bag with a row that is not there, and bags around offsets that
        decrease or go beyond the index, are not written, which `check` reports. `pool` takes several tables.

        Parameters
        ----------
        index : torch.Tensor
            Row numbers, int32 or int64: bag after bag in one dimension, or a bag in each row of two. On the table's
            GPU, or in pinned memory, as `offsets` and `weights`.
        offsets : torch.Tensor, optional
            Where each bag begins in an index of one dimension: int32 or int64.
        mode : str
            ``"sum"``, ``"mean"`` or ``"max"``.
        weights : torch.Tensor, optional
            A factor for each number of the index, of its shape and the table's dtype; for sums.
        padding_index : int, optional
            The row that is left out; negative ones count from the end.
        out : torch.Tensor, optional
            Where to write: on the GPU, of the result's shape and the table's dtype, with contiguous rows.
        include_last_offset : bool
            Whether offsets say where the last bag ends.
        max_sms : int
            As of `gather`.

        Returns
        -------
        torch.Tensor
            Shape ``(bags,) + row_shape``: `out` where it is given; zeros for a bag without rows.

        Raises
        ------
        InvalidArgumentError
            If an argument is not as described.
        UnsupportedError
            If the dtype is not f16, bf16, f32 or f64.
        """
        request = Request(self, index, offsets, mode, weights, padding_index, out, include_last_offset)
        run([request], max_sms)
        return request.out

    def decompress(self, out: Any = None) -> Any:
        """Expand the whole tensor, on the current stream.

        Parameters
        ----------
        out : torch.Tensor, optional
            As in `gather`.

        Returns
        -------
        torch.Tensor
            Shape ``shape``: `out` where it is given.
        """
        out = self._output(out, self._shape)
        if math.prod(self._shape) > 0:
            self._handle.decompress(out.data_ptr(), self._stream())
        return out

    def append(self, rows: Any) -> None:
        """Compress rows on the GPU, behind the last row, on the current stream.

        For slotted tensors of the codecs raw, ibp, window and escape, in a table with room for them. Rows whose tails
        find no room are not written, which `check` reports.

        Parameters
        ----------
        rows : torch.Tensor
            Shape ``(n,) + shape[1:]``, of the table's dtype; on the GPU, or in pinned memory.
        """
        rows = self._rows(rows, (None, *self._shape[1:]))
        self._handle.append(rows.data_ptr(), len(rows), self._stream())
        self._shape = (self._shape[0] + len(rows), *self._shape[1:])

    def update(self, index: Any, rows: Any) -> None:
        """Replace rows on the GPU, on the current stream; of a row that is named twice the last is kept.

        If an index is out of range, which `check` reports, no row is written.

        Parameters
        ----------
        index : torch.Tensor
            int64, of one dimension, on the GPU.
        rows : torch.Tensor
            Shape ``index.shape + row_shape``, of the table's dtype; on the GPU, or in pinned memory.
        """
        index = self._integers(index, "the index", (self._torch.int64,))
        rows = self._rows(rows, (*index.shape, *self._row_shape))
        self._handle.update(index.data_ptr(), rows.data_ptr(), index.numel(), self._stream())

    def tensor(self) -> CompressedTensor:
        """Wait for the current stream, and return the table as it is now, in the host's memory; slotted ones only."""
        return CompressedTensor(self._handle.read(self._stream()), self._like)

    def check(self) -> None:
        """Wait for the current stream, and raise what went wrong since the last check.

        Raises
        ------
        OutOfRangeError
            If an index was out of range; its position is named.
        InvalidArgumentError
            If offsets were wrong, or there was no room for rows.
        CorruptError
            If a row is malformed.
        """
        self._handle.check(self._stream())

    def _stream(self) -> int:
        return self._torch.cuda.current_stream(self._device).cuda_stream  # type: ignore[no-any-return]

    def _integers(self, numbers: Any, what: str, dtypes: tuple[Any, ...]) -> Any:
        if not isinstance(numbers, self._torch.Tensor):
            raise InvalidArgumentError(f"{what} is a {type(numbers).__name__}, not a torch.Tensor")
        if numbers.dtype not in dtypes:
            raise InvalidArgumentError(f"{what} has dtype {numbers.dtype}, not {' or '.join(map(str, dtypes))}")
        if numbers.device != self._device and not numbers.is_pinned():
            raise InvalidArgumentError(f"{what} is on the device {numbers.device}, the table on {self._device}")
        return numbers.contiguous()

    def _rows(self, rows: Any, shape: tuple[int | None, ...]) -> Any:
        if not isinstance(rows, self._torch.Tensor) or rows.dtype != self._dtype:
            raise InvalidArgumentError(f"rows are not a torch.Tensor of {self._dtype}")
        if rows.device != self._device and not rows.is_pinned():
            raise InvalidArgumentError(f"rows are on the device {rows.device}, the table on {self._device}")
        if len(rows.shape) != len(shape) or any(b is not None and a != b for a, b in zip(rows.shape, shape)):
            raise InvalidArgumentError(f"rows have shape {tuple(rows.shape)}, not {shape}")
        return rows.detach().contiguous()

    def _output(self, out: Any, shape: tuple[int, ...]) -> Any:
        if out is None:
            return self._torch.empty(shape, dtype=self._dtype, device=self._device)
        if not isinstance(out, self._torch.Tensor) or out.device != self._device:
            raise InvalidArgumentError(f"out is not a tensor on {self._device}")
        self._kind.check_out_of(out, shape, self._dtype)
        self._kind.written(out)
        return out


def _number(torch: Any, device: Any) -> int:
    """Return a GPU's number; −1 for the current one."""
    try:
        found = torch.device(device) if not isinstance(device, int) else torch.device("cuda", device)
    except (RuntimeError, TypeError) as error:
        raise InvalidArgumentError(f"device {device!r} is none: {error}") from None
    if found.type != "cuda":
        raise InvalidArgumentError(f"device {device!r} is not a GPU")
    return -1 if found.index is None else int(found.index)
