"""Bags pooled by torch, of rows that were fetched for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InvalidArgumentError
from ._arguments import Bags


def pooled(
    rows_of: Callable[[Tensor], Tensor],
    bags: Bags,
    mode: str,
    padding_idx: int | None,
    *,
    each_once: bool,
    sparse: bool = False,
) -> Tensor:
    """Fetch the rows of a batch, and let torch pool them: its own arithmetic, gradients and order of summation.

    Parameters
    ----------
    rows_of : callable
        Gives rows by number.
    bags : Bags
        Of which rows.
    each_once : bool
        Ask for each row once, in ascending order. Finding them takes a sort, and pays where rows come over a link.
    mode, padding_idx, sparse
        As of `torch.nn.functional.embedding_bag`.
    """
    input, weights = bags.input, bags.per_sample_weights
    check_offsets(bags.offsets, len(input), bags.include_last_offset)
    if bags.include_last_offset:  # what is behind belongs to no bag
        input = input[: int(bags.offsets[-1])]
        weights = None if weights is None else weights[: len(input)]
    numbers, places, padding = once(input, padding_idx) if each_once else in_turn(input, padding_idx)
    return F.embedding_bag(
        places,
        rows_of(numbers),
        bags.offsets.long(),
        mode=mode,
        sparse=sparse,
        per_sample_weights=weights,
        include_last_offset=bags.include_last_offset,
        padding_idx=padding,
    )


def in_turn(input: Tensor, padding_idx: int | None) -> tuple[Tensor, Tensor, int | None]:
    """Return row numbers to fetch, where those of the input are in them, and where padding is.

    The row of padding comes along, used or not: torch adds in another way where there is a padding_idx.
    """
    places = torch.arange(len(input), device=input.device)
    if padding_idx is None:
        return input, places, None
    return _with(input, padding_idx), torch.where(input == padding_idx, len(input), places), len(input)


def once(input: Tensor, padding_idx: int | None) -> tuple[Tensor, Tensor, int | None]:
    """Return the same, of an input of any shape, with no row number twice, ascending."""
    numbers = input.reshape(-1) if padding_idx is None else _with(input.reshape(-1), padding_idx)
    unique, places = torch.unique(numbers, return_inverse=True)
    return unique, places[: input.numel()].view(input.shape), None if padding_idx is None else int(places[-1])


def _with(input: Tensor, padding_idx: int) -> Tensor:
    return torch.cat([input, input.new_tensor([padding_idx])])


def check_first(offsets: Tensor) -> None:
    """Raise InvalidArgumentError unless the first bag begins with the input, as torch wants it."""
    if len(offsets) > 0 and int(offsets[0]) != 0:
        raise InvalidArgumentError(f"offsets begins with {int(offsets[0])}, not 0")


def check_offsets(offsets: Tensor, num_input: int, include_last_offset: bool) -> None:
    """Raise InvalidArgumentError unless offsets begin with 0, do not decrease, and stay in the input."""
    check_first(offsets)
    if len(offsets) == 0 and include_last_offset:
        raise InvalidArgumentError("offsets is empty, and with include_last_offset has one number at least")
    if len(offsets) > 0 and (int(offsets[-1]) > num_input or bool((offsets[1:] < offsets[:-1]).any())):
        raise InvalidArgumentError(f"offsets decreases somewhere, or goes beyond the {num_input} numbers of input")
