"""A lazy state dict for accelerate's own hooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from .._kinds import torch_kind
from ..errors import InvalidArgumentError
from ..tensor import CompressedTensor
from ._weights import RestingWeight, at_rest, compressed


class CompressedWeights(Mapping[str, Tensor]):
    """Weights by name, compressed until they are asked for: a ``state_dict`` for accelerate's own offloading.

    >>> accelerate.cpu_offload(model, "cuda", state_dict=stillbit.accelerate.CompressedWeights.of(model, "cuda"))

    Each time that a name is looked up its weight is expanded, into new memory on the device; what is not compressed, a
    buffer of a model for example, is returned as it is. `accelerate` looks weights up when their layer is called, and
    expands nothing ahead: `stillbit.accelerate.cpu_offload` does.

    Parameters
    ----------
    tensors : mapping of str to CompressedTensor or torch.Tensor
        As `stillbit.load_file` returns them, for example.
    device : str or torch.device
        Where weights are expanded.
    num_threads : int
        That expand a weight on a CPU; 0: all processors.

    Raises
    ------
    DeviceError
        If there is no such GPU.
    """

    def __init__(self, tensors: Mapping[str, Any], device: Any = "cpu", *, num_threads: int = 0) -> None:
        self._device = torch.device(device)
        self._items: dict[str, Any] = {}
        rests: dict[int, Any] = {}  # tied weights rest once
        for name, tensor in tensors.items():
            if isinstance(tensor, Tensor):
                self._items[name] = tensor
            elif isinstance(tensor, CompressedTensor):
                if id(tensor) not in rests:
                    rests[id(tensor)] = _Lazy(tensor, at_rest(tensor, self._device, False, num_threads))
                self._items[name] = rests[id(tensor)]
            else:
                raise InvalidArgumentError(f"tensors[{name!r}] is a {type(tensor).__name__}, not a compressed tensor")

    @classmethod
    def of(cls, model: torch.nn.Module, device: Any = "cpu", *, num_threads: int = 0) -> CompressedWeights:
        """Compress a model's state dict; the model is not changed."""
        tensors: dict[str, Any] = {}
        done: dict[int, CompressedTensor] = {}
        parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        for name, value in model.state_dict().items():
            if name not in parameters:
                tensors[name] = value
            elif value.device.type == "meta":
                raise InvalidArgumentError(f"the weight {name!r} is on the device meta: it has no values")
            else:
                if value.data_ptr() not in done or value.numel() == 0:
                    done[value.data_ptr()] = compressed(value, num_threads)
                tensors[name] = done[value.data_ptr()]
        return cls(tensors, device, num_threads=num_threads)

    @property
    def stored_nbytes(self) -> int:
        """Bytes of all that rests."""
        return sum({id(item): _nbytes(item) for item in self._items.values()}.values())

    def __getitem__(self, name: str) -> Tensor:
        item = self._items[name]
        return item.value(self._device) if isinstance(item, _Lazy) else item

    def __contains__(self, name: object) -> bool:
        return name in self._items  # nothing is expanded for that

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class _Lazy:
    def __init__(self, tensor: CompressedTensor, rest: RestingWeight) -> None:
        self.shape = tensor.shape
        self.dtype = tensor._dtype_of(torch_kind())
        self.rest = rest

    def value(self, device: torch.device) -> Tensor:
        out = torch.empty(self.shape, dtype=self.dtype, device=device)
        self.rest.expand(out)
        return out


def _nbytes(item: Any) -> int:
    return item.rest.stored_nbytes if isinstance(item, _Lazy) else item.nbytes  # type: ignore[no-any-return]
