"""Optimisers of compressed tables: torch's, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import InvalidArgumentError, UnsupportedError
from ._training import TableParameter


class _Touched(NamedTuple):
    """The rows of a table that a gradient is of."""

    index: Tensor  # their numbers, ascending
    rows: Tensor
    gradient: Tensor  # sparse, its rows counted as in `rows`, in the order of the table's own


class _RowOptimizer(torch.optim.Optimizer):
    """Rewrites the rows that have a gradient."""

    def __init__(self, params: Iterable[Any], **defaults: Any) -> None:
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add tables, with options of their own."""
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if not isinstance(parameter, TableParameter):
                what = f"a {type(parameter).__name__} of shape {tuple(parameter.shape)}"
                raise InvalidArgumentError(f"{what} is no compressed table's: leave it to an optimiser of torch's")
        self._check(self.param_groups[-1])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the tables by their gradients.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the model again and returns the loss, which is returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._change(parameter, group)
        return loss

    def _change(self, parameter: TableParameter, group: dict[str, Any]) -> None:
        if not parameter.grad.is_sparse:
            raise UnsupportedError(f"the gradient of {parameter!r} is not sparse: something replaced it")
        touched = _touched(parameter, parameter.grad)
        if self._step_rows(parameter, touched, group):
            parameter.table.update(touched.index, touched.rows)

    def _check(self, group: dict[str, Any]) -> None:
        """Raise InvalidArgumentError for options that are none."""
        raise NotImplementedError

    def _step_rows(self, parameter: TableParameter, touched: _Touched, group: dict[str, Any]) -> bool:
        """Change `touched.rows`, and say whether anything changed."""
        raise NotImplementedError


def _touched(parameter: TableParameter, gradient: Tensor) -> _Touched:
    index, places = torch.unique(gradient._indices()[0], return_inverse=True)
    rows = torch.empty((len(index), parameter.shape[1]), dtype=parameter.dtype)
    parameter.table.gather(index, rows)
    own = torch.sparse_coo_tensor(
        places.view(1, -1), gradient._values(), rows.shape, is_coalesced=gradient.is_coalesced(), check_invariants=False
    )
    return _Touched(index, rows, own)


def _check_positive(**values: Any) -> None:
    for name, value in values.items():
        if not value >= 0:
            raise InvalidArgumentError(f"{name} is {value}, and cannot be negative")


class SparseSGD(_RowOptimizer):
    """Stochastic gradient descent, as `torch.optim.SGD` without momentum: the same tables, to the last bit.

    Momentum and weight decay change rows without a gradient, too, and are not there.

    Parameters
    ----------
    params : iterable of TableParameter
        Or of groups of them, as for torch's optimisers.
    lr : float
        Step size.
    maximize : bool
        Follow the gradient up.

    Raises
    ------
    InvalidArgumentError
        If a parameter is no table's, or an option out of its range.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, *, maximize: bool = False) -> None:
        super().__init__(params, lr=lr, maximize=maximize)

    def _check(self, group: dict[str, Any]) -> None:
        _check_positive(lr=group["lr"])

    def _step_rows(self, parameter: TableParameter, touched: _Touched, group: dict[str, Any]) -> bool:
        lr = float(group["lr"])
        touched.rows.add_(touched.gradient, alpha=lr if group["maximize"] else -lr)
        return True


class SparseAdam(_RowOptimizer):
    """Adam for rows that have a gradient, as `torch.optim.SparseAdam`: the same tables, to the last bit.

    Method: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015; moments decay in the steps in which
    their row has a gradient. They are kept as they are, not compressed: twice the bytes of the raw table, of which the
    system gives memory to those that were touched.

    Parameters
    ----------
    params : iterable of TableParameter
        Or of groups of them, as for torch's optimisers.
    lr : float
        Step size.
    betas : tuple of float
        How much of the first and second moment stays from one step to the next.
    eps : float
        Added to what is divided by.
    maximize : bool
        Follow the gradient up.

    Raises
    ------
    InvalidArgumentError
        If a parameter is no table's, or an option out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, maximize=maximize)

    def _check(self, group: dict[str, Any]) -> None:
        _check_positive(lr=group["lr"], eps=group["eps"])
        if not all(0 <= beta < 1 for beta in group["betas"]):
            raise InvalidArgumentError(f"betas are {group['betas']}, and not from 0 to below 1")

    def _step_rows(self, parameter: TableParameter, touched: _Touched, group: dict[str, Any]) -> bool:
        state = self.state[parameter]
        if not state:
            zeros = {"dtype": parameter.dtype, "size": parameter.shape}
            state.update(step=0, exp_avg=torch.zeros(**zeros), exp_avg_sq=torch.zeros(**zeros))
        state["step"] += 1
        gradient = (-touched.gradient if group["maximize"] else touched.gradient).coalesce()
        if gradient._values().numel() == 0:
            return False
        # Coalesced, it has each row that is touched, in order: rows of the moments stand for it one by one.
        values = gradient._values()
        beta1, beta2 = group["betas"]
        first, second = state["exp_avg"][touched.index], state["exp_avg_sq"][touched.index]
        first += values.sub(first).mul_(1 - beta1)
        second += values.pow(2).sub_(second).mul_(1 - beta2)
        state["exp_avg"][touched.index] = first
        state["exp_avg_sq"][touched.index] = second
        corrections = 1 - beta1 ** state["step"], 1 - beta2 ** state["step"]
        step_size = float(group["lr"]) * math.sqrt(corrections[1]) / corrections[0]
        touched.rows.add_(-step_size * first.div_(second.sqrt_().add_(group["eps"])))
        return True
