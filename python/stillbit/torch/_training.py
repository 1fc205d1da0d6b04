"""Tables in autograd: a parameter that stands for one, and the rows of a batch as what gradients are taken of."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidArgumentError
from ..tensor import CompressedTensor
from ._arguments import Bags
from ._pooling import once, pooled
from ._tables import Table, torch_dtype


class TableParameter(nn.Parameter):
    """Stands for a compressed table where autograd, optimisers and users expect the parameter of an embedding.

    It has the table's shape and dtype, and takes no memory: its elements are NaN, and cannot be written. Its ``grad``
    is the sparse gradient that `torch.nn.EmbeddingBag` with ``sparse=True`` has. `SparseSGD` and `SparseAdam` change
    the table by it; an optimiser of torch's fails. Made by `of`: one for each table, however many modules share it.

    Attributes
    ----------
    table : Table
        What it stands for.
    """

    table: Any

    @staticmethod
    def of(table: Table, requires_grad: bool = True) -> TableParameter:
        """Return the parameter of a table that can be updated.

        Raises
        ------
        InvalidArgumentError
            If the table's rows cannot be updated, or have no gradients.
        """
        known = _parameters.get(table)
        parameter = None if known is None else known()
        if parameter is None:
            check_updatable(table)
            nan = torch.full((1, 1), float("nan"), dtype=torch_dtype(table))
            parameter = TableParameter(nan.expand(table.shape), requires_grad)
            parameter.replace(table)
        return parameter

    def replace(self, table: Table) -> None:
        """Stand for another table, of the same shape and dtype."""
        self.table = table
        _parameters[table] = weakref.ref(self)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"TableParameter of {self.table!r}"

    def __deepcopy__(self, memo: dict[int, Any]) -> TableParameter:
        if id(self) not in memo:
            memo[id(self)] = TableParameter.of(copy.deepcopy(self.table, memo), self.requires_grad)
        return memo[id(self)]  # type: ignore[no-any-return]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return TableParameter.of, (self.table, self.requires_grad)


_parameters: weakref.WeakKeyDictionary[Any, weakref.ref[TableParameter]] = weakref.WeakKeyDictionary()


def check_updatable(table: Table) -> None:
    """Raise InvalidArgumentError unless a table can be trained."""
    if not torch_dtype(table).is_floating_point:
        raise InvalidArgumentError(f"a table of {table.dtype_name} has no gradients")
    if isinstance(table, CompressedTensor):
        if table.packing != "slotted" or table._source is not None:
            where = "mapped from a file" if table._source is not None else "packed"
            message = f'the table is {where}, so that no row can change: compress a tensor with packing="slotted"'
            raise InvalidArgumentError(message)
    elif not hasattr(table, "update"):
        raise InvalidArgumentError(f"a {type(table).__name__} has no `update`, so that no row can change")


class TableRows(torch.autograd.Function):
    """Rows of a table, whose gradient becomes a sparse one of the table's parameter."""

    @staticmethod
    def forward(ctx: Any, parameter: TableParameter, index: Tensor) -> Tensor:
        """Return rows; `index` has no number twice."""
        ctx.save_for_backward(index)
        ctx.shape = parameter.shape
        rows = torch.empty((len(index), parameter.shape[1]), dtype=parameter.dtype)
        parameter.table.gather(index, rows)
        return rows

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Name the rows of the gradient as the table does, and leave their order as it is."""
        (index,) = ctx.saved_tensors
        if not gradient.is_sparse:
            gradient = gradient.to_sparse(1)
        numbers = index[gradient._indices()]
        return torch.sparse_coo_tensor(numbers, gradient._values(), ctx.shape, check_invariants=False), None


# Compiled programs are interrupted for these: gradients that are sparse are not for them.
@torch.compiler.disable
def trained_rows(parameter: TableParameter, input: Tensor, padding_idx: int | None) -> Tensor:
    """Return rows that have a gradient."""
    unique, places, padding = once(input, padding_idx)
    return F.embedding(places, TableRows.apply(parameter, unique), padding, sparse=True)


@torch.compiler.disable
def trained_bags(parameter: TableParameter, bags: Bags, mode: str, padding_idx: int | None) -> Tensor:
    """Return pooled rows that have a gradient; torch has none that is sparse of maxima: the rows' is, as a whole."""
    return pooled(
        lambda unique: TableRows.apply(parameter, unique),
        bags,
        mode,
        padding_idx,
        each_once=True,
        sparse=mode != "max",
    )
