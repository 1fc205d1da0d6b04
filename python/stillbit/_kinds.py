"""Kinds of arrays that tensors are compressed from and expanded into: numpy's, and torch's where it is in use."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Protocol, cast

import numpy as np

from . import _numpy
from .errors import InvalidArgumentError, MissingPackageError

Shape = tuple[int, ...]


class Kind(Protocol):
    """What the package asks of a framework; one module implements it for each, `_numpy` and `_torch`.

    Shapes are tuples of int. A dtype is the framework's own object; a dtype name is that of safetensors ("BF16").
    """

    name: str

    def dtype_name(self, array: Any) -> str:
        """Name an array's dtype, or raise UnsupportedError."""

    def dtype(self, name: str) -> Any:
        """Return the dtype of results."""

    def readable(self, array: Any, what: str) -> Any:
        """Return the array, or a copy, in C order in the CPU's memory; raise UnsupportedError where there is none."""

    def is_dtype(self, array: Any, name: str) -> bool:
        """Say whether the array's elements are, or stand for, those of a dtype."""

    def address(self, array: Any) -> int:
        """Return where the elements lie."""

    def empty(self, shape: Shape, dtype: Any) -> Any:
        """Return an array to write to."""

    def check_out(self, out: Any, shape: Shape, dtype: Any, name: str) -> None:
        """Raise InvalidArgumentError or UnsupportedError unless `out` can be written to as it lies in memory."""

    def index(self, index: Any) -> Any:
        """Return integers as an array of int32 or int64 in C order; raise InvalidArgumentError for anything else."""

    def is_on_gpu(self, array: Any) -> bool:
        """Say whether an array is in the memory of a GPU that Stillbit expands rows on."""

    def index_bytes(self, index: Any) -> int:
        """Return 4 or 8: the width of what `index` returned."""

    def stride(self, array: Any) -> int:
        """Return how many bytes lie between the starts of an array's entries along its first dimension."""

    def written(self, out: Any) -> None:
        """Note that memory of the caller's was written to."""


NUMPY = cast(Kind, _numpy)
_torch: Kind | None = None  # once it is needed


def torch_kind() -> Kind:
    """Return torch's kind, and import torch for it.

    Raises
    ------
    MissingPackageError
        If torch is not installed.
    """
    global _torch
    if _torch is None:
        try:
            _torch = cast(Kind, importlib.import_module("stillbit._torch"))
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise MissingPackageError("torch is not installed: pip install torch, or stillbit[torch]") from None
    return _torch


def kind_of(array: Any) -> Kind | None:
    """Return the kind of an array; None for anything else. Never imports torch: who has a tensor has done so."""
    if isinstance(array, np.ndarray):
        return NUMPY
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return torch_kind()
    return None


def kind_named(name: str) -> Kind:
    """Return the kind that the argument ``like`` names."""
    if name == "numpy":
        return NUMPY
    if name == "torch":
        return torch_kind()
    raise InvalidArgumentError(f'like is "numpy" or "torch", not {name!r}')


def array_kind(array: Any, what: str) -> Kind:
    """Return the kind of an array; raise InvalidArgumentError, naming the argument, for anything else."""
    kind = kind_of(array)
    if kind is None:
        raise InvalidArgumentError(f"{what} is a {type(array).__name__}, not a numpy array or a torch tensor")
    return kind
