"""Arguments of lookups, checked; bags in whichever way they come as one."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import InvalidArgumentError, UnsupportedError

_INTEGERS = (torch.int32, torch.int64)


class Bags(NamedTuple):
    """Bags in one dimension, as `torch.nn.functional.embedding_bag` takes them."""

    input: Tensor
    offsets: Tensor
    per_sample_weights: Tensor | None
    include_last_offset: bool

    @property
    def num_bags(self) -> int:
        """How many results there are."""
        return int(self.offsets.shape[0]) - self.include_last_offset

    def have_gradient(self) -> bool:
        """Say whether a gradient of the weights is wanted."""
        weights = self.per_sample_weights
        return weights is not None and weights.requires_grad and torch.is_grad_enabled()


def check_input(input: Any, device: torch.device, what: str = "input") -> None:
    """Raise InvalidArgumentError unless an argument is a tensor of int32 or int64 where the module is."""
    if not isinstance(input, Tensor):
        raise InvalidArgumentError(f"{what} is a {type(input).__name__}, not a torch.Tensor")
    if input.dtype not in _INTEGERS:
        raise InvalidArgumentError(f"{what} has dtype {input.dtype}, not torch.int32 or torch.int64")
    if input.device != device:
        raise InvalidArgumentError(f"{what} is on {input.device}, the module on {device}: move one of them with .to")


def as_bags(module: Any, input: Any, offsets: Any, per_sample_weights: Any) -> Bags:
    """Return bags in one dimension.

    Raises
    ------
    InvalidArgumentError, UnsupportedError
        As by `EmbeddingBag.forward`.
    """
    check_input(input, module.device)
    if per_sample_weights is not None:
        _check_weights(module, input, per_sample_weights)
    include_last_offset = module.include_last_offset
    if input.is_nested:
        if offsets is not None:
            raise InvalidArgumentError("input is nested, so that there can be no offsets")
        weights = None if per_sample_weights is None else per_sample_weights.values()
        return Bags(input.values(), input.offsets(), weights, True)
    if input.dim() == 2:
        if offsets is not None:
            raise InvalidArgumentError("input has two dimensions, a bag in each row, so that there can be no offsets")
        offsets = torch.arange(input.shape[0], dtype=input.dtype, device=input.device) * input.shape[1]
        weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
        return Bags(input.reshape(-1), offsets, weights, False)
    if input.dim() != 1:
        raise InvalidArgumentError(f"input has {input.dim()} dimensions, not one or two")
    if offsets is None:
        raise InvalidArgumentError("input has one dimension, and no offsets say where bags begin")
    check_input(offsets, module.device, "offsets")
    if offsets.dim() != 1:
        raise InvalidArgumentError(f"offsets has {offsets.dim()} dimensions, not one")
    return Bags(input, offsets, per_sample_weights, include_last_offset)


def _check_weights(module: Any, input: Tensor, weights: Any) -> None:
    if module.mode != "sum":
        raise UnsupportedError(f"per_sample_weights are for sums, and the mode is {module.mode}")
    if not isinstance(weights, Tensor) or weights.is_nested != input.is_nested:
        raise InvalidArgumentError("per_sample_weights is not the same kind of tensor as input")
    if weights.dtype != module.dtype:
        raise InvalidArgumentError(f"per_sample_weights has dtype {weights.dtype}, the table {module.dtype}")
    if weights.device != input.device:
        raise InvalidArgumentError(f"per_sample_weights is on {weights.device}, input on {input.device}")
    shapes = [each.values().shape if each.is_nested else each.shape for each in (weights, input)]
    if shapes[0] != shapes[1]:
        raise InvalidArgumentError(f"per_sample_weights has shape {tuple(shapes[0])}, input {tuple(shapes[1])}")
