"""`gather`, as an operator of torch."""

from __future__ import annotations

import torch
from torch import Tensor

from .._kinds import torch_kind
from ..errors import InvalidArgumentError
from ..tensor import CompressedTensor, tables


def gather(table: CompressedTensor, index: Tensor, out: Tensor | None = None) -> Tensor:
    """Expand rows of a table; a compiled program has one operator for it, without a graph break.

    The operator knows the table by a number that means something in this process only.

    Parameters
    ----------
    table : CompressedTensor
        Must stay alive as long as compiled programs use it.
    index : torch.Tensor
        Row numbers, of any shape; on the CPU.
    out : torch.Tensor, optional
        Where to write: contiguous, of the table's dtype and the result's shape, not requiring a gradient.

    Returns
    -------
    torch.Tensor
        Shape ``index.shape + row_shape``: `out` where it is given.

    Raises
    ------
    OutOfRangeError, InvalidArgumentError, UnsupportedError
        As `CompressedTensor.gather`.
    """
    if out is None:
        return torch.ops.stillbit.gather(table._number, index)
    if out.requires_grad:
        raise InvalidArgumentError("out requires a gradient, and a gather is not differentiable")
    torch.ops.stillbit.gather_out(table._number, index, out)
    return out


def _table(number: int) -> CompressedTensor:
    table = tables.get(int(number))
    if table is None:
        raise InvalidArgumentError(f"table {number} is gone: keep it alive while compiled programs use it")
    return table


@torch.library.custom_op("stillbit::gather", mutates_args=())
def _gather(table: int, index: Tensor) -> Tensor:
    return _table(table).gather(index, like="torch")


@_gather.register_fake
def _(table: int, index: Tensor) -> Tensor:
    source = _table(table)
    return index.new_empty((*index.shape, *source.row_shape), dtype=source._dtype_of(torch_kind()))


@torch.library.custom_op("stillbit::gather_out", mutates_args=("out",))
def _gather_out(table: int, index: Tensor, out: Tensor) -> None:
    _table(table).gather(index, out)


@_gather_out.register_fake
def _(table: int, index: Tensor, out: Tensor) -> None:
    """Nothing that shapes depend on."""
