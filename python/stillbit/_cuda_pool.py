"""Pooled lookups on a GPU: `stillbit.cuda.Table.pool`, and `stillbit.cuda.pool` for several tables at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import _core, _index
from ._arguments import count
from .errors import InvalidArgumentError


def pool(
    tables: Sequence[Any],
    indices: Sequence[Any],
    offsets: Sequence[Any] | None = None,
    mode: str | Sequence[str] = "sum",
    weights: Sequence[Any] | None = None,
    padding_index: Sequence[int | None] | None = None,
    out: Sequence[Any] | None = None,
    *,
    include_last_offset: bool = False,
    max_sms: int = 0,
) -> list[Any]:
    """Expand rows of several tables and pool them, on the current stream, as few launches as there are kinds of tables.

    Tables whose codec, word size and placement are the same share a launch, up to 32 of them. Nothing is allocated
    where `out` is given, nothing waits, and a CUDA graph can capture the call.

    Parameters
    ----------
    tables : sequence of stillbit.cuda.Table
        On one GPU. One may be named several times.
    indices, offsets, weights, padding_index, out : sequence
        For each table what `Table.pool` takes. Left out, all of them are None; a single one may be None.
    mode : str or sequence of str
        For all tables, or for each.
    include_last_offset, max_sms
        As of `Table.pool`.

    Returns
    -------
    list of torch.Tensor
        For each table its bags, as of `Table.pool`.

    Raises
    ------
    InvalidArgumentError
        If the arguments are not as described, or not one for each table.
    UnsupportedError
        If a table's dtype is not f16, bf16, f32 or f64.
    """
    num_tables = len(tables)
    each = {
        "indices": indices,
        "offsets": offsets,
        "mode": [mode] * num_tables if isinstance(mode, str) else mode,
        "weights": weights,
        "padding_index": padding_index,
        "out": out,
    }
    columns: list[Sequence[Any]] = []
    for what, given in each.items():
        if given is not None and len(given) != num_tables:
            raise InvalidArgumentError(f"{what} has {len(given)} entries for {num_tables} tables")
        columns.append([None] * num_tables if given is None else given)
    requests = [
        Request(table, index, starts, word, factors, padding, result, include_last_offset)
        for table, index, starts, word, factors, padding, result in zip(tables, *columns)
    ]
    run(requests, max_sms)
    return [request.out for request in requests]


class Request:
    """Arguments of one table, checked, kept alive, and handed to the library."""

    __slots__ = ("_kept", "lookup", "out", "stream_of")

    def __init__(
        self,
        table: Any,
        index: Any,
        offsets: Any,
        mode: str,
        weights: Any,
        padding_index: int | None,
        out: Any,
        include_last_offset: bool,
    ) -> None:
        torch = table._torch
        integers = (torch.int32, torch.int64)
        index = table._integers(index, "the index", integers)
        if index.dim() == 2:
            if offsets is not None:
                raise InvalidArgumentError("an index of two dimensions has a bag in each row, and takes no offsets")
            offsets = torch.arange(index.shape[0], device=index.device) * index.shape[1]
            include_last_offset = False
        elif index.dim() != 1:
            raise InvalidArgumentError(f"the index has shape {tuple(index.shape)}, not one or two dimensions")
        elif offsets is None:
            raise InvalidArgumentError("an index of one dimension needs offsets: where each bag begins")
        offsets = table._integers(offsets, "the offsets", integers)
        if offsets.dim() != 1:
            raise InvalidArgumentError(f"the offsets have shape {tuple(offsets.shape)}, not one dimension")
        if include_last_offset and len(offsets) == 0:
            raise InvalidArgumentError("offsets with include_last_offset are empty")
        if not isinstance(mode, str):
            raise InvalidArgumentError(f"mode is a word, not {mode!r}")
        if weights is not None:
            weights = _weights(table, weights, index)
        if padding_index is not None:
            padding_index = _index.place(_index.integer(padding_index), table._handle.num_rows)
        self.out, stride = _output(table, len(offsets) - bool(include_last_offset), out)
        self._kept = (index, offsets, weights)
        self.stream_of = table._stream
        self.lookup = _core.CudaLookup(
            table._handle,
            index.data_ptr(),
            index.numel(),
            index.element_size(),
            offsets.data_ptr(),
            len(offsets),
            offsets.element_size(),
            bool(include_last_offset),
            mode,
            0 if weights is None else weights.data_ptr(),
            padding_index,
            self.out.data_ptr(),
            stride,
        )


def run(requests: Sequence[Request], max_sms: int = 0) -> None:
    """Put what requests ask for on the current stream."""
    if requests:
        lookups = [request.lookup for request in requests]
        _core.cuda_pool(lookups, requests[0].stream_of(), count(max_sms, "max_sms"))


def _weights(table: Any, weights: Any, index: Any) -> Any:
    if not isinstance(weights, table._torch.Tensor) or weights.dtype != table.dtype:
        raise InvalidArgumentError(f"weights are not a torch.Tensor of {table.dtype}")
    if weights.device != table.device and not weights.is_pinned():
        raise InvalidArgumentError(f"weights are on the device {weights.device}, the table on {table.device}")
    if weights.shape != index.shape:
        raise InvalidArgumentError(f"weights have shape {tuple(weights.shape)}, the index has {tuple(index.shape)}")
    return weights.detach().contiguous()


def _output(table: Any, num_bags: int, out: Any) -> tuple[Any, int]:
    """Return where to write, and the bytes from one bag to the next; of `out` only rows need to be contiguous."""
    shape = (num_bags, *table._row_shape)
    row_nbytes = math.prod(table._row_shape) * table.dtype.itemsize
    if num_bags < 2 or row_nbytes == 0 or not isinstance(out, table._torch.Tensor) or tuple(out.shape) != shape:
        return table._output(out, shape), row_nbytes
    table._output(out[:1], (1, *table._row_shape))
    stride = out.stride(0) * out.element_size()
    if stride < row_nbytes:
        raise InvalidArgumentError(f"rows of out lie {stride} bytes apart, and have {row_nbytes}")
    return out, stride
