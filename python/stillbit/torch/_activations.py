"""`save_on_cpu_compressed`: what training saves for the backward pass, compressed."""

from __future__ import annotations

import math
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from .. import _gpu_fit
from .._arguments import count, words
from .._fit import Fit
from .._torch import _NAME_OF
from ..tensor import CompressedTensor

# A row should be long enough to be worth a kernel's start, and no longer than codecs take.
ROW_BYTES = (128, 65_536)
GAPS = 4  # a view is put back with its gaps if these make it that many times as large at most
NUM_PROBES = 64  # numbers that tell tensors apart which came to the same place
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class save_on_cpu_compressed(saved_tensors_hooks):
    """Keep what the forward pass saves in the host's memory, compressed, until the backward pass wants it.

    Tensors of a GPU are compressed and expanded there, where the codec that suits them has an encoder for GPUs, so that
    they cross the link compressed; else by the CPU.

    As `torch.autograd.graph.save_on_cpu`, which keeps it as it is. Every tensor comes back with the same bits, shape
    and strides, so gradients are the same to the last bit. What is saved several times is kept once. Left as they are:
    parameters and other leaves that require a gradient, views of these, small tensors, and what has no memory that can
    be compressed (sparse and complex128 tensors, tensors of subclasses, views with large gaps or overlaps).

    An object may be entered again, and is better: what it saved in one step says how to compress the next.

    Parameters
    ----------
    min_nbytes : int
        Smaller tensors are left as they are.
    codec, objective
        As of `compress`.

    Examples
    --------
    >>> saving = save_on_cpu_compressed()
    >>> for batch in batches:
    ...     with saving:
    ...         loss = model(batch)
    ...     loss.backward()
    >>> saving.raw_nbytes, saving.stored_nbytes
    """

    def __init__(self, min_nbytes: int = 16_384, *, codec: str | None = None, objective: str = "storage") -> None:
        words(codec=codec or "auto", objective=objective)
        self.min_nbytes = max(count(min_nbytes, "min_nbytes"), 1)
        self._options = (codec, objective)
        # By shape, in the order in which a step saves them.
        self._fits: dict[Any, list[tuple[Fit, _gpu_fit.GpuFit]]] = {}
        self._number_of: dict[Any, int] = {}
        self._at: WeakValueDictionary[Any, Packed] = WeakValueDictionary()
        self._raw = self._stored = self._kept = 0
        super().__init__(self._pack, unpack)

    def __enter__(self) -> save_on_cpu_compressed:
        self._number_of = {}
        self._raw = self._stored = self._kept = 0
        super().__enter__()
        return self

    @property
    def raw_nbytes(self) -> int:
        """Bytes of what was compressed since it was last entered, each tensor counted once."""
        return self._raw

    @property
    def stored_nbytes(self) -> int:
        """Bytes that it takes."""
        return self._stored

    @property
    def kept_nbytes(self) -> int:
        """Bytes of tensors that were saved as they are. Those that are saved twice count twice."""
        return self._kept

    @property
    def ratio(self) -> float:
        """``raw_nbytes / stored_nbytes``."""
        return self._raw / self._stored if self._stored else 1.0

    def _pack(self, tensor: Tensor) -> Any:
        if not self._is_worth_it(tensor):
            self._kept += 0 if tensor.layout != torch.strided else tensor.nbytes
            return tensor
        with torch.no_grad():
            key = (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
            packed = self._at.get(key)
            dense = in_memory_order(tensor)
            if packed is None or not packed.holds(dense):
                packed = Packed(tensor, dense, self._compress(dense))
                self._at[key] = packed
                self._raw += dense.nbytes
                self._stored += packed.table.nbytes
        return packed

    def _is_worth_it(self, tensor: Tensor) -> bool:
        if type(tensor) is not Tensor or tensor.layout != torch.strided or tensor.dtype not in _NAME_OF:
            return False
        source = tensor if tensor._base is None else tensor._base
        if source.is_leaf and source.requires_grad:
            return False
        if tensor.nbytes < self.min_nbytes or tensor.is_conj() or tensor.is_neg() or tensor.device.type == "meta":
            return False
        return has_few_gaps(tensor)

    def _compress(self, dense: Tensor) -> CompressedTensor | _gpu_fit.GpuRows:
        rows = dense.view(-1, row_length(dense))
        key = (dense.dtype, rows.shape)
        number = self._number_of[key] = self._number_of.get(key, -1) + 1
        fits = self._fits.setdefault(key, [])
        if number == len(fits):
            fits.append((Fit(*self._options, row_dims=1), _gpu_fit.GpuFit(*self._options)))
        of_cpu, of_gpu = fits[number]
        found = of_gpu.compress(rows) if _gpu_fit.is_on_gpu(rows) else None
        return of_cpu.compress(rows) if found is None else found


class Packed:
    """A saved tensor.

    Parameters
    ----------
    tensor : torch.Tensor
        As it was.
    dense : torch.Tensor
        Its elements in the order in which they lay.
    table : CompressedTensor or GpuRows
        These, compressed.
    """

    def __init__(self, tensor: Tensor, dense: Tensor, table: CompressedTensor | _gpu_fit.GpuRows) -> None:
        self.table = table
        self._shape, self._stride, self._device = tensor.shape, tensor.stride(), tensor.device
        self._order = memory_order(tensor)
        self._dense_shape = dense.shape
        self._probes = probes(dense)

    def holds(self, dense: Tensor) -> bool:
        """Say whether a tensor that came to the same place has the same bits."""
        if dense.shape != self._dense_shape or not torch.equal(probes(dense), self._probes):
            return False
        whole = self.table.decompress().view(self._dense_shape).to(dense.device)
        return bool(torch.equal(as_integers(whole), as_integers(dense)))

    def tensor(self) -> Tensor:
        """Return it in new memory, where it was, with the strides that it had."""
        dense = self.table.decompress().view(self._dense_shape).to(self._device)
        inverse = sorted(range(len(self._order)), key=self._order.__getitem__)
        found = dense.permute(inverse)
        if any(a != b for a, b, size in zip(found.stride(), self._stride, found.shape) if size > 1):
            with_gaps = torch.empty_strided(found.shape, self._stride, dtype=found.dtype, device=found.device)
            found = with_gaps.copy_(found)
        return found.as_strided(self._shape, self._stride)


def unpack(saved: Any) -> Tensor:
    """Return what was saved."""
    if not isinstance(saved, Packed):
        return saved
    with torch.no_grad():
        return saved.tensor()


def memory_order(tensor: Tensor) -> list[int]:
    """Return the dimensions from the one with the largest stride to the one with the smallest."""
    return sorted(range(tensor.dim()), key=lambda i: -tensor.stride(i))


def distinct(tensor: Tensor) -> Tensor:
    """Return a tensor without what `expand` repeats: dimensions of stride 0 have one entry."""
    for i in range(tensor.dim()):
        if tensor.stride(i) == 0 and tensor.shape[i] > 1:
            tensor = tensor.narrow(i, 0, 1)
    return tensor


def in_memory_order(tensor: Tensor) -> Tensor:
    """Return the elements in the order in which they lie, without gaps."""
    return distinct(tensor.detach()).permute(memory_order(tensor)).contiguous()


def has_few_gaps(tensor: Tensor) -> bool:
    """Say whether no two elements lie in one place, but for what `expand` repeats, and most places have one."""
    tensor = distinct(tensor)
    end = 1  # places up to the last element of what was looked at
    for i in reversed(memory_order(tensor)):
        if tensor.shape[i] > 1:
            if tensor.stride(i) < end:
                return False
            end += (tensor.shape[i] - 1) * tensor.stride(i)
    return bool(end <= GAPS * tensor.numel())


def row_length(dense: Tensor) -> int:
    """Return how many elements make a row: those of as few of the last dimensions as reach a row's least length."""
    length, least, most = 1, *(limit // dense.element_size() for limit in ROW_BYTES)
    for size in reversed(dense.shape):
        if length >= least:
            break
        length *= size
    while length > most:
        length = next((length // k for k in range(2, 65) if length % k == 0), 1)
    return length


def as_integers(tensor: Tensor) -> Tensor:
    """Return the bits."""
    return tensor.view(INTEGERS[tensor.element_size()])


def probes(dense: Tensor) -> Tensor:
    """Return the bits of a few elements, in the host's memory."""
    flat = as_integers(dense).view(-1)
    return flat[:: math.ceil(len(flat) / NUM_PROBES)].cpu().clone()
