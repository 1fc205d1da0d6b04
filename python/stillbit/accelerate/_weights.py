"""Weights at rest: compressed where they lie, expanded into memory that is there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._compress import compress
from ..cuda import Table
from ..errors import Error
from ..tensor import CompressedTensor


class HostWeight:
    """A weight that rests in the host's memory, or in a mapped file, and that the CPU expands."""

    def __init__(self, tensor: CompressedTensor, num_threads: int) -> None:
        self._tensor = tensor
        self._num_threads = num_threads
        self._is_known = False
        self.stored_nbytes = tensor.nbytes

    def expand(self, out: Tensor) -> None:
        """Write the weight into contiguous memory of its shape and dtype; the first time, compare its checksum."""
        self._tensor.decompress(out, num_threads=self._num_threads, verify=not self._is_known)
        self._is_known = True


class CudaWeight:
    """A weight that rests in pinned host memory, or compressed in the GPU's, and that the GPU expands."""

    def __init__(self, tensor: CompressedTensor, device: torch.device, placement: str) -> None:
        if tensor._source is not None:  # of a file, which may be damaged
            tensor.verify()
        self._table = Table(tensor, device, placement)
        self.stored_nbytes = tensor.nbytes

    def expand(self, out: Tensor) -> None:
        """Write the weight into contiguous memory of the GPU, on the current stream."""
        self._table.decompress(out)

    def check(self) -> None:
        """Wait for the current stream, and raise CorruptError for what was malformed."""
        self._table.check()


RestingWeight = Any  # HostWeight or CudaWeight


def at_rest(tensor: CompressedTensor, device: torch.device, resident: bool, num_threads: int) -> RestingWeight:
    """Put a compressed tensor where it rests."""
    if device.type == "cuda":
        return CudaWeight(tensor, device, "device" if resident else "pinned")
    return HostWeight(tensor, num_threads)


def compressed(weight: Tensor, num_threads: int) -> CompressedTensor:
    """Compress a weight, as small as can be."""
    return compress(weight.detach(), packing="packed", num_threads=num_threads)


class Placeholder(torch.Tensor):
    """What a module has in place of a weight that is at rest: shape, dtype and device, and no memory.

    Whoever computes with it gets an error that names the weight, rather than wrong numbers.
    """

    _name: str

    @staticmethod
    def __new__(cls, name: str, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Placeholder:
        return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=dtype, device=device)  # type: ignore[no-any-return]

    def __init__(self, name: str, *_: Any) -> None:
        self._name = name
        self._is_param = True  # for torch.nn.Parameter's isinstance

    def __repr__(self, **_: Any) -> str:
        return f"Placeholder({self._name!r}, shape={tuple(self.shape)}, dtype={self.dtype}, device={self.device})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:  # for state_dict, which puts the weight in its place afterwards
            return cls(args[0]._name, args[0].shape, args[0].dtype, args[0].device)
        leaves = torch.utils._pytree.tree_leaves((args, kwargs or {}))
        found = next(leaf for leaf in leaves if isinstance(leaf, Placeholder))
        raise Error(
            f"the weight {found._name!r} is offloaded, and {func} was called on it outside of the forward of the "
            "module that it belongs to: call remove() of what cpu_offload returned first"
        )
