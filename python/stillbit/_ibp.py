"""Arguments of `stillbit.ibp`, checked and as the library takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import _core, _torch
from .errors import InvalidArgumentError, UnsupportedError

WORD_DTYPES = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def backend(device: torch.device, what: str) -> Any:
    """Return the module whose ``ibp_`` functions work on memory of a device.

    This is where another device comes in: with a module that has the same functions for its addresses.

    Raises
    ------
    UnsupportedError
        If there is none for the device.
    """
    if device.type == "cpu":
        return _core
    raise UnsupportedError(f"{what} is on the device {device}, and stillbit.ibp works on the CPU only in this build")


def _check_tensor(tensor: Any, what: str) -> None:
    if not isinstance(tensor, Tensor):
        raise InvalidArgumentError(f"{what} is a {type(tensor).__name__}, not a torch tensor")
    if tensor.layout is not torch.strided:
        raise InvalidArgumentError(f"{what} has the layout {tensor.layout}, not torch.strided")
    backend(tensor.device, what)
    if not tensor.is_contiguous() or tensor.is_neg() or tensor.is_conj():
        raise InvalidArgumentError(f"{what} is not contiguous in C order, or a conjugated or negated view")


def _check_dims(tensor: Tensor, what: str, dims: tuple[int, ...]) -> None:
    if tensor.dim() not in dims:
        wanted = " or ".join(f"{count}-D" for count in dims)
        raise InvalidArgumentError(f"{what} has the shape {tuple(tensor.shape)}: it must be {wanted}")


def check_written(tensor: Tensor, what: str) -> None:
    """Raise InvalidArgumentError if a tensor is part of a gradient's computation."""
    if tensor.requires_grad:
        raise InvalidArgumentError(f"{what} requires a gradient: give its .data")


def written(tensor: Tensor) -> None:
    """Note that memory of the caller's was written to."""
    if not tensor.is_inference():  # they have no version to count
        _torch.written(tensor)


@dataclass(frozen=True)
class Rows:
    """A data set as rows, what the library takes for it, and where its functions are."""

    num_rows: int
    row_words: int
    word_bytes: int
    native: _core.IbpRows
    core: Any


@dataclass(frozen=True)
class Index:
    """Row numbers, as the library takes them, and the tensor that it must find alive; or none, for all rows."""

    tensor: Tensor | None
    native: tuple[int, int] | None

    def count(self, num_rows: int) -> int:
        """How many rows of that many it stands for."""
        return num_rows if self.native is None else self.native[1]


def rows_of(dataset: Any, what: str, dims: tuple[int, ...] = (1, 2)) -> Rows:
    """Return a matrix, or a vector as a matrix of one row."""
    _check_tensor(dataset, what)
    _check_dims(dataset, what, dims)
    if dataset.element_size() not in WORD_DTYPES:
        raise InvalidArgumentError(f"{what} has the dtype {dataset.dtype}: elements must have 1, 2, 4 or 8 bytes")
    row_words = dataset.shape[-1]
    num_rows = dataset.shape[0] if dataset.dim() == 2 else 1
    native = _core.IbpRows(dataset.data_ptr(), num_rows, row_words, dataset.element_size())
    return Rows(num_rows, row_words, dataset.element_size(), native, backend(dataset.device, what))


def masks_of(mask: Any, bitval: Any, clusters: Any, rows: Rows) -> _core.IbpMasks:
    """Return masks that fit the rows, with the cluster of each row where there are several."""
    num_rows, row_words, word_bytes = rows.num_rows, rows.row_words, rows.word_bytes
    for tensor, what in [(mask, "mask"), (bitval, "bitval")]:
        _check_tensor(tensor, what)
        _check_dims(tensor, what, (1, 2))
        if tensor.element_size() != word_bytes:
            raise InvalidArgumentError(
                f"{what} has the dtype {tensor.dtype}: its elements must have {word_bytes} bytes"
            )
        if tensor.shape[-1] != row_words:
            raise InvalidArgumentError(f"{what} has {tensor.shape[-1]} columns, the rows have {row_words}")
    if mask.shape != bitval.shape:
        raise InvalidArgumentError(f"mask has the shape {tuple(mask.shape)}, bitval has {tuple(bitval.shape)}")
    num_bytes = mask.numel() * word_bytes
    if clusters is None:
        if mask.dim() == 2 and mask.shape[0] != 1:
            raise InvalidArgumentError(f"there are {mask.shape[0]} masks: give clusters, which of them each row has")
        return _core.IbpMasks(mask.data_ptr(), bitval.data_ptr(), num_bytes, 0, 0)
    _check_tensor(clusters, "clusters")
    if clusters.dtype is not torch.int32 or clusters.shape != (num_rows,):
        raise InvalidArgumentError(
            f"clusters has the shape {tuple(clusters.shape)} and dtype {clusters.dtype}: "
            f"it must be ({num_rows},) and torch.int32, a number for each row"
        )
    return _core.IbpMasks(mask.data_ptr(), bitval.data_ptr(), num_bytes, clusters.data_ptr(), num_rows)


def index_of(index_arr: Any) -> Index:
    """Return row numbers; None stands for all rows."""
    if index_arr is None:
        return Index(None, None)
    if not isinstance(index_arr, Tensor):
        raise InvalidArgumentError(f"index_arr is a {type(index_arr).__name__}, not a torch tensor")
    backend(index_arr.device, "index_arr")
    _check_dims(index_arr, "index_arr", (1,))
    index = _torch.index(index_arr).to(torch.int64)
    return Index(index, (index.data_ptr(), index.numel()))


def vector_of(tensor: Any, what: str, dtype: torch.dtype, length: int, unit: str) -> Tensor:
    """Return a tensor of one dimension, of that dtype and length."""
    _check_tensor(tensor, what)
    if tensor.dtype is not dtype or tensor.shape != (length,):
        raise InvalidArgumentError(
            f"{what} has the shape {tuple(tensor.shape)} and dtype {tensor.dtype}: "
            f"it must be ({length},) and {dtype}, {unit}"
        )
    return tensor


def output_of(output_tensor: Any, device: Any, source: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the tensor to expand into: the one that is given, where it fits, or a new one."""
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError):
        raise InvalidArgumentError(f"device is a torch.device or its name, not {device!r}") from None
    backend(device, "the output")
    if output_tensor is None:
        return torch.empty(shape, dtype=source.dtype, device=device)
    _check_tensor(output_tensor, "output_tensor")
    if output_tensor.device.type != device.type:
        raise InvalidArgumentError(f"output_tensor is on the device {output_tensor.device}, not on {device}")
    if output_tensor.dtype != source.dtype or output_tensor.shape != shape:
        raise InvalidArgumentError(
            f"output_tensor has the shape {tuple(output_tensor.shape)} and dtype {output_tensor.dtype}, "
            f"the result has {shape} and {source.dtype}"
        )
    check_written(output_tensor, "output_tensor")
    if _overlap(output_tensor, source):
        raise InvalidArgumentError("output_tensor and the compressed data overlap in memory")
    return output_tensor


def _overlap(a: Tensor, b: Tensor) -> bool:
    begin_a, begin_b = a.data_ptr(), b.data_ptr()
    size_a, size_b = a.numel() * a.element_size(), b.numel() * b.element_size()
    return bool(size_a > 0 and size_b > 0 and begin_a < begin_b + size_b and begin_b < begin_a + size_a)
