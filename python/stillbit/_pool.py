"""Pooled lookups: `CompressedTensor.pool`, and `pool` for several tensors at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core, _index, _kinds
from ._arguments import count
from ._kinds import Kind
from .errors import InvalidArgumentError

Array = Any  # numpy.ndarray or torch.Tensor
Index = Any  # list of int, or an array of integers


def pool(
    tensors: Sequence[Any],
    indices: Sequence[Index],
    offsets: Sequence[Index | None] | None = None,
    mode: str | Sequence[str] = "sum",
    weights: Sequence[Array | None] | None = None,
    padding_index: Sequence[int | None] | None = None,
    out: Sequence[Array] | None = None,
    *,
    include_last_offset: bool = False,
    num_threads: int = 0,
    like: str | None = None,
) -> list[Array]:
    """Expand rows of several tensors and pool them, in one call whose threads are shared by all.

    Parameters
    ----------
    tensors : sequence of CompressedTensor
        One may be named several times.
    indices, offsets, weights, padding_index, out : sequence
        For each tensor what `CompressedTensor.pool` takes. Left out, all of them are None; a single one may be None. Of
        each `out` only the rows need to be contiguous: columns of one wide array are one after the other written by
        ``out=[wide[:, :64], wide[:, 64:]]``.
    mode : str or sequence of str
        For all tensors, or for each.
    include_last_offset, num_threads, like
        As in `CompressedTensor.pool`.

    Returns
    -------
    list of numpy.ndarray or torch.Tensor
        For each tensor its bags, as of `CompressedTensor.pool`.

    Raises
    ------
    OutOfRangeError
        If a row number is negative or not below ``num_rows`` of its tensor; nothing is written then, for any tensor.
    InvalidArgumentError
        If the arguments are not as described, or not one for each tensor.
    UnsupportedError
        If a tensor's dtype is not f16, bf16, f32 or f64.

    Examples
    --------
    >>> import numpy as np, stillbit as sb
    >>> users = sb.compress(np.eye(4, dtype=np.float32))
    >>> items = sb.compress(np.ones((9, 2), dtype=np.float32))
    >>> sb.pool([users, items], [[0, 3], [1, 5, 8]], [[0], [0]])
    [array([[1., 0., 0., 1.]], dtype=float32), array([[3., 3.]], dtype=float32)]
    """
    num_tensors = len(tensors)
    modes = [mode] * num_tensors if isinstance(mode, str) else mode
    each = {
        "indices": indices,
        "offsets": offsets,
        "mode": modes,
        "weights": weights,
        "padding_index": padding_index,
        "out": out,
    }
    columns: list[Sequence[Any]] = []
    for what, given in each.items():
        if given is not None and len(given) != num_tensors:
            raise InvalidArgumentError(f"{what} has {len(given)} entries for {num_tensors} tensors")
        columns.append([None] * num_tensors if given is None else given)
    requests = [
        Request(tensor, index, starts, word, factors, padding, result, include_last_offset, like)
        for tensor, index, starts, word, factors, padding, result in zip(tensors, *columns)
    ]
    run(requests, num_threads)
    return [request.out for request in requests]


class Request:
    """Arguments of one tensor, checked, kept alive, and handed to the library."""

    __slots__ = ("_kept", "lookup", "out")

    def __init__(
        self,
        tensor: Any,
        index: Index,
        offsets: Index | None,
        mode: str,
        weights: Array | None,
        padding_index: int | None,
        out: Array | None,
        include_last_offset: bool,
        like: str | None,
    ) -> None:
        index, index_kind = _integers(index)
        if len(index.shape) == 2:
            if offsets is not None:
                raise InvalidArgumentError("an index of two dimensions has a bag in each row, and takes no offsets")
            num_bags, bag_size = index.shape
            offsets = np.arange(num_bags, dtype=np.int64) * bag_size
            include_last_offset = False
        elif len(index.shape) != 1:
            raise InvalidArgumentError(f"the index has shape {tuple(index.shape)}, not one or two dimensions")
        elif offsets is None:
            raise InvalidArgumentError("an index of one dimension needs offsets: where each bag begins")
        offsets, offset_kind = _integers(offsets)
        if len(offsets.shape) != 1:
            raise InvalidArgumentError(f"the offsets have shape {tuple(offsets.shape)}, not one dimension")
        if include_last_offset and offsets.shape[0] == 0:
            raise InvalidArgumentError("offsets with include_last_offset are empty")
        if not isinstance(mode, str):
            raise InvalidArgumentError(f"mode is a word, not {mode!r}")
        weights_at = None
        if weights is not None:
            weights, weights_at = _weights(tensor, weights, tuple(index.shape))
        if padding_index is not None:
            padding_index = _index.place(_index.integer(padding_index), tensor.num_rows)
        num_bags = offsets.shape[0] - bool(include_last_offset)
        out, out_kind, stride = _output(tensor, num_bags, out, like)
        self.out = out
        self._kept = (index, offsets, weights)
        self.lookup = _core.Lookup(
            tensor._handle,
            index_kind.address(index),
            math.prod(index.shape),
            index_kind.index_bytes(index),
            offset_kind.address(offsets),
            offsets.shape[0],
            offset_kind.index_bytes(offsets),
            bool(include_last_offset),
            mode,
            weights_at,
            0 if weights is None else weights.itemsize * math.prod(weights.shape),
            padding_index,
            out_kind.address(out),
            stride,
        )


def run(requests: Sequence[Request], num_threads: int) -> None:
    """Do what requests ask for, all or nothing."""
    _core.pool([request.lookup for request in requests], count(num_threads, "num_threads"))


def _integers(index: Index) -> tuple[Array, Kind]:
    array = _index.as_array(index)
    kind = _kinds.array_kind(array, "the index")
    return kind.index(array), kind


def _weights(tensor: Any, weights: Array, shape: tuple[int, ...]) -> tuple[Array, int]:
    kind = _kinds.array_kind(weights, "weights")
    if not kind.is_dtype(weights, tensor.dtype_name):
        raise InvalidArgumentError(f"weights have dtype {weights.dtype}, the tensor has {tensor.dtype}")
    if tuple(weights.shape) != shape:
        raise InvalidArgumentError(f"weights have shape {tuple(weights.shape)}, the index has {shape}")
    weights = kind.readable(weights, "weights")
    return weights, kind.address(weights)


def _output(tensor: Any, num_bags: int, out: Array | None, like: str | None) -> tuple[Array, Kind, int]:
    """Return where to write, its kind, and the bytes from one bag to the next."""
    if out is None or len(out.shape) == 0 or tuple(out.shape) != (num_bags, *tensor.row_shape) or num_bags < 2:
        out, kind, _ = tensor._output((num_bags,), out, like)
        return out, kind, tensor._row_bytes
    # Rows are contiguous where the first is; they may lie further apart than they are long.
    _, kind, _ = tensor._output((1,), out[:1], like)
    stride = kind.stride(out)
    if stride < tensor._row_bytes:
        raise InvalidArgumentError(f"rows of out lie {stride} bytes apart, and have {tensor._row_bytes}")
    kind.written(out)
    return out, kind, stride
