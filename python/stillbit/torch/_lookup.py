"""Rows looked up and pooled, as operators of torch that know a module by its number."""

from __future__ import annotations

import itertools
from typing import Any, Optional
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from ..errors import InvalidArgumentError
from ._pooling import once

# Modules by number, for operators that can be handed numbers only.
_modules: WeakValueDictionary[int, Any] = WeakValueDictionary()
_next_number = itertools.count()


def number_for(module: Any) -> int:
    """Return a number that operators know a module by, in this process and while it lives."""
    number = next(_next_number)
    _modules[number] = module
    return number


def _module(number: int) -> Any:
    module = _modules.get(int(number))
    if module is None:
        raise InvalidArgumentError(f"embedding {number} is gone: keep it alive while compiled programs use it")
    return module


@torch.library.custom_op("stillbit::embedding", mutates_args=())
def _embedding(module: int, input: Tensor) -> Tensor:
    return _module(module)._rows(input)


@_embedding.register_fake
def _(module: int, input: Tensor) -> Tensor:
    of = _module(module)
    return input.new_empty((*input.shape, of.embedding_dim), dtype=of.dtype)


# torch reads these annotations, and older versions know no `Tensor | None`.
@torch.library.custom_op("stillbit::embedding_bag", mutates_args=())
def _embedding_bag(
    module: int,
    input: Tensor,
    offsets: Tensor,
    per_sample_weights: Optional[Tensor],  # noqa: UP045
    include_last_offset: bool,
) -> Tensor:
    return _module(module)._pooled(input, offsets, per_sample_weights, include_last_offset)


@_embedding_bag.register_fake
def _(
    module: int, input: Tensor, offsets: Tensor, per_sample_weights: Tensor | None, include_last_offset: bool
) -> Tensor:
    of = _module(module)
    num_bags = offsets.shape[0] - 1 if include_last_offset else offsets.shape[0]
    return input.new_empty((num_bags, of.embedding_dim), dtype=of.dtype)


@torch.library.custom_op("stillbit::embedding_bag_weights_backward", mutates_args=())
def _weights_backward(
    gradient: Tensor, module: int, input: Tensor, offsets: Tensor, per_sample_weights: Tensor, include_last_offset: bool
) -> Tensor:
    of = _module(module)
    begins, num_in_bags = offsets, len(input)
    if include_last_offset:
        begins, num_in_bags = offsets[:-1], int(offsets[-1])
    unique, places, padding = once(input[:num_in_bags], of.padding_idx)
    bag_of = torch.searchsorted(begins, torch.arange(num_in_bags, device=input.device), right=True) - 1
    found = torch.zeros_like(per_sample_weights)
    # What torch calls for its own: the mode is sum.
    found[:num_in_bags] = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        gradient, of._rows(unique), places, begins.long(), bag_of, 0, -1 if padding is None else padding
    )
    return found


@_weights_backward.register_fake
def _(
    gradient: Tensor, module: int, input: Tensor, offsets: Tensor, per_sample_weights: Tensor, include_last_offset: bool
) -> Tensor:
    return torch.empty_like(per_sample_weights)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    module, input, offsets, per_sample_weights, include_last_offset = inputs
    ctx.module, ctx.include_last_offset = module, include_last_offset
    ctx.save_for_backward(input, offsets, per_sample_weights)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    """Of per_sample_weights alone: the table is data."""
    if not ctx.needs_input_grad[3]:
        return None, None, None, None, None
    input, offsets, weights = ctx.saved_tensors
    found = torch.ops.stillbit.embedding_bag_weights_backward(
        gradient, ctx.module, input, offsets, weights, ctx.include_last_offset
    )
    return None, None, None, found, None


_embedding_bag.register_autograd(_gradients, setup_context=_keep)
