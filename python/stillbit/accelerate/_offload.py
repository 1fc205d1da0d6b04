"""`cpu_offload`: a model whose weights rest compressed, and are expanded layer by layer while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import torch
from accelerate.hooks import ModelHook, SequentialHook, add_hook_to_module, remove_hook_from_module
from torch import Tensor, nn

from .._arguments import count
from ..errors import Error, InvalidArgumentError
from ..tensor import CompressedTensor
from ._checks import ATTRIBUTE, check_no_gradients, check_not_offloaded, check_values, device_of, given
from ._layout import Unit, Weight, choose_resident, nesting, units_of
from ._order import Order
from ._ring import Ring, Slot, Statistics
from ._weights import Placeholder, RestingWeight, at_rest, compressed


def cpu_offload(
    model: nn.Module,
    device: Any = None,
    budget: int | None = None,
    *,
    resident: bool = False,
    prefetch: int = 1,
    weights: Any = None,
    num_threads: int = 1,
) -> Offload:
    """Keep a model's weights compressed, and expand them layer by layer while it runs.

    Results are the same to the last bit. Weights rest in pinned host memory, or compressed on the GPU (`resident`).
    While a layer computes, the next ones, as they were called the last time, are expanded into a ring of buffers: on a
    GPU by a stream of their own, on a CPU by a thread. For inference: a call that would need gradients is refused.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place. Its parameters are on the CPU or on `device`, or on ``meta`` where `weights` are given.
    device : str or torch.device, optional
        Where the model runs: ``"cpu"`` or a GPU. Its buffers are moved there. By default where the parameters are.
    budget : int, optional
        Bytes of the device's memory that weights may take: those that stay as they are, the ring, and with `resident`
        those that rest. What fits stays, chosen by the time of transfers that it saves. By default as little as can be.
    resident : bool
        Weights rest in the device's memory, so that a model fits that is too large as it is.
    prefetch : int
        How many layers are expanded ahead. The ring has one buffer more (of the largest layer's size), and as many more
        as layers lie in each other.
    weights : mapping of str to CompressedTensor, or path, optional
        Compressed weights by parameter name, or a file or index for `stillbit.load_file` to map: nothing is compressed
        then, and what the model's parameters hold is not looked at. Without them the model's own are compressed one
        after the other, and each gives up its memory before the next: those that stay are expanded again.
    num_threads : int
        That expand a weight on a CPU. 0: all processors, which then do not compute meanwhile.

    Returns
    -------
    Offload
        Says what is where, and undoes it.

    Raises
    ------
    InvalidArgumentError
        If the model is offloaded already, or has no weights to offload; if the budget is negative or too small, or a
        weight is missing or has another shape or dtype: the message names it.
    DeviceError
        If there is no such GPU.
    """
    prefetch, num_threads = count(prefetch, "prefetch"), count(num_threads, "num_threads")
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 0):
        raise InvalidArgumentError(f"budget is a number of bytes that is not negative, not {budget!r}")
    check_not_offloaded(model)
    units, found = units_of(model)
    if not found:
        raise InvalidArgumentError("the model has no parameters to offload")
    place = device_of(device, found)
    check_values(model, weights is not None)
    tensors = None if weights is None else given(weights, found)
    with torch.inference_mode(False):
        return Offload(model, units, found, tensors, place, budget, resident, prefetch, num_threads)


class Offload:
    """A model that is offloaded: what is where, and the way back. Made by `cpu_offload`."""

    def __init__(
        self,
        model: nn.Module,
        units: list[Unit],
        weights: list[Weight],
        tensors: dict[Weight, CompressedTensor] | None,
        device: torch.device,
        budget: int | None,
        resident: bool,
        prefetch: int,
        num_threads: int,
    ) -> None:
        self._model = model
        self._weights = weights
        self._device = device
        self._prefetch = prefetch
        self._was_on = {weight: (weight.parameter.device, weight.parameter.requires_grad) for weight in weights}
        taken: dict[Weight, CompressedTensor] = {}
        try:
            packed = _take_compressed(weights, taken) if tensors is None else tensors
            for weight in weights:
                weight.stored_nbytes = packed[weight].nbytes
            self._arrange(units, packed, budget, resident, num_threads)
        except BaseException:  # the model is as it was
            for weight, tensor in taken.items():
                weight.parameter.data = weight.of_tensor(tensor.torch()).to(self._was_on[weight][0])
            raise
        self._take_weights(packed)
        self._attach()

    def _arrange(
        self,
        units: list[Unit],
        packed: Mapping[Weight, CompressedTensor],
        budget: int | None,
        resident: bool,
        num_threads: int,
    ) -> None:
        """Choose what stays, and put the rest where it rests; of the model nothing changes."""
        weights, device = self._weights, self._device
        num_slots = min(nesting(self._model, units) + self._prefetch, len(units))
        self._memory = choose_resident(weights, units, budget, num_slots, resident)
        self._units = units
        moving = [unit for unit in units if unit.moving()]
        self._moving = frozenset(moving)
        self._order = Order(moving)
        self._rests: dict[Weight, RestingWeight] = {
            weight: at_rest(packed[weight], device, resident, num_threads) for weight in weights if not weight.stays
        }
        slot_nbytes = max((unit.buffer_nbytes for unit in moving), default=0)
        self._ring = Ring(min(num_slots, len(moving)), slot_nbytes, device, self._rests)
        self._placeholders = {
            weight: Placeholder(weight.name, weight.shape, weight.dtype, device) for weight in self._rests
        }
        self._in_use: dict[Unit, list[Slot]] = {}
        self._values: WeakValueDictionary[Weight, Tensor] = WeakValueDictionary()  # that state dicts hold
        self._handles: list[Any] = []

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self._device

    @property
    def statistics(self) -> Statistics:
        """What moved so far."""
        return self._ring.statistics

    @property
    def raw_nbytes(self) -> int:
        """Bytes of all weights as they are."""
        return sum(weight.nbytes for weight in self._weights)

    @property
    def stored_nbytes(self) -> int:
        """Bytes of the weights that rest, compressed: in host memory, or on the device where it is `resident`."""
        return sum(weight.stored_nbytes for weight in self._weights if not weight.stays)

    @property
    def resident_nbytes(self) -> int:
        """Bytes of the weights that stay on the device as they are."""
        return self._memory.resident_nbytes

    @property
    def ring_nbytes(self) -> int:
        """Bytes of the buffers that weights are expanded into."""
        return self._ring.nbytes

    @property
    def device_nbytes(self) -> int:
        """Bytes of the device's memory that weights take, now and at any time: never more than the budget."""
        return self._memory.resident_nbytes + self._memory.rest_nbytes + self._ring.nbytes

    @property
    def resident_names(self) -> list[str]:
        """Names of the weights that stay on the device as they are."""
        return [weight.name for weight in self._weights if weight.stays]

    def __repr__(self) -> str:
        return (
            f"Offload(device={self._device}, raw_nbytes={self.raw_nbytes}, stored_nbytes={self.stored_nbytes}, "
            f"resident_nbytes={self.resident_nbytes}, ring_nbytes={self.ring_nbytes})"
        )

    def remove(self) -> None:
        """Give the model its weights back, as it had them; those that came from a file are then on `device`.

        Raises
        ------
        InvalidArgumentError
            If the model is running, or was given back already.
        """
        if getattr(self._model, ATTRIBUTE, None) is not self:
            raise InvalidArgumentError("the model is not offloaded any more")
        if self._in_use:
            raise InvalidArgumentError(f"the model is running: {next(iter(self._in_use)).name!r} is in use")
        for unit in self._units:
            _detach(unit.module)
        for handle in self._handles:
            handle.remove()
        with torch.inference_mode(False):
            for weight in self._weights:
                self._restore(weight)
        self._ring.close()
        self._rests = {}
        self._model.__dict__.pop(ATTRIBUTE)

    def check(self) -> None:
        """Wait for the device, and raise what it found malformed; a CPU says so at once.

        Raises
        ------
        CorruptError
            If a weight was malformed.
        """
        for weight, rest in self._rests.items():
            if hasattr(rest, "check"):
                try:
                    rest.check()
                except Error as error:
                    raise type(error)(f"the weight {weight.name!r}: {error}") from None

    def enter(self, unit: Unit) -> None:
        """Put a unit's weights in place, and begin with the next; called by hooks."""
        if unit not in self._moving:
            return
        slots = self._in_use.get(unit)
        if slots:  # it calls itself, or is found in itself
            slots[0].uses += 1
            slots.append(slots[0])
            return
        self._order.note(unit)
        slot = self._ring.acquire(unit)
        self._in_use[unit] = [slot]
        for weight, parameter in slot.parameters(unit):
            for module, key in unit.weights[weight]:
                module._parameters[key] = parameter
        self._ring.prefetch(self._order.expected(self._prefetch))

    def leave(self, unit: Unit) -> None:
        """Take a unit's weights away; called by hooks, also where the forward raised."""
        slots = self._in_use.get(unit)
        if not slots:
            return  # it could not be entered
        slot = slots.pop()
        if not slots:
            del self._in_use[unit]
            self._put_placeholders(unit)
        self._ring.release(slot)

    def _attach(self) -> None:
        for unit in self._units:
            hooked = add_hook_to_module(unit.module, OffloadHook(self, unit), append=True)
            hooked._hf_hook.no_grad = True  # of several hooks that are one now, too
        owners = {id(module): module for weight in self._rests for module, _ in weight.places}
        for module in owners.values():
            self._handles.append(module.register_state_dict_post_hook(partial(self._fill_state_dict)))
            self._handles.append(module.register_load_state_dict_pre_hook(_refuse_to_load))
        self._model.__dict__[ATTRIBUTE] = self

    def _take_weights(self, packed: dict[Weight, CompressedTensor]) -> None:
        """Move what stays to the device, and let go of the rest."""
        for weight in self._weights:
            if weight.stays:
                self._replace(weight, weight.of_tensor(packed.pop(weight).torch()).to(self._device))
            else:
                _let_go(weight)
        for unit in self._units:
            self._put_placeholders(unit)
        for module in self._model.modules():
            for key, buffer in module.named_buffers(recurse=False):
                module._buffers[key] = buffer.to(self._device)

    def _put_placeholders(self, unit: Unit) -> None:
        for weight, places in unit.weights.items():
            if not weight.stays:
                for module, key in places:
                    module._parameters[key] = self._placeholders[weight]

    def _replace(self, weight: Weight, value: Tensor) -> None:
        """Give a weight's parameter its value; one that was on meta becomes another."""
        if weight.parameter.device.type == "meta":
            weight.parameter = nn.Parameter(value, requires_grad=weight.parameter.requires_grad)
        else:
            weight.parameter.data = value
        for module, key in weight.places:
            module._parameters[key] = weight.parameter

    def _restore(self, weight: Weight) -> None:
        device, requires_grad = self._was_on[weight]
        target = self._device if device.type == "meta" else device
        if weight.stays:
            weight.parameter.data = weight.parameter.data.to(target)
        else:
            self._replace(weight, self._expanded(weight).to(target))
        weight.parameter.requires_grad_(requires_grad)

    def _expanded(self, weight: Weight) -> Tensor:
        value = weight.empty(self._device)
        self._rests[weight].expand(weight.in_memory(value))
        return value

    def _fill_state_dict(self, module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
        """Put weights where `state_dict` found placeholders: on the CPU, and tied ones once."""
        for weight in self._rests:
            for owner, key in weight.places:
                if owner is module and isinstance(state.get(prefix + key), Placeholder):
                    value = self._values.get(weight)
                    if value is None:
                        with torch.inference_mode(False):
                            value = self._values[weight] = self._expanded(weight).cpu()
                    state[prefix + key] = value


def _take_compressed(weights: list[Weight], taken: dict[Weight, CompressedTensor]) -> dict[Weight, CompressedTensor]:
    """Compress weights one after the other, and let go of each, so that there is never much more than they take."""
    for weight in weights:
        try:
            tensor = compressed(weight.in_memory(weight.parameter), 0)
        except Error as error:
            raise type(error)(f"the weight {weight.name!r}: {error}") from None
        taken[weight] = tensor
        _let_go(weight)
    return taken


def _let_go(weight: Weight) -> None:
    """Give up a parameter's memory."""
    if weight.parameter.device.type != "meta":
        weight.parameter.data = torch.empty(0, dtype=weight.dtype)


class OffloadHook(ModelHook):
    """Puts a unit's weights in place before its forward, and takes them away after it.

    Weights keep `requires_grad`, but nothing is recorded for a backward: buffers are overwritten before it.
    """

    no_grad = True

    def __init__(self, offload: Offload, unit: Unit) -> None:
        self._offload = offload
        self._unit = unit
        self._handle: Any = None

    def init_hook(self, module: nn.Module) -> nn.Module:
        # Not in post_forward, which does not come where the forward raises.
        self._handle = module.register_forward_hook(lambda *_: self._offload.leave(self._unit), always_call=True)
        return module

    def detach_hook(self, module: nn.Module) -> nn.Module:
        self._handle.remove()
        return module

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if torch.is_grad_enabled():
            check_no_gradients(self._unit, module, (args, kwargs))
        self._offload.enter(self._unit)
        return args, kwargs


def _refuse_to_load(module: nn.Module, state: Any, prefix: str, *_: Any) -> None:
    raise InvalidArgumentError(
        f"the weights of {prefix.rstrip('.') or 'the model'!r} are offloaded: call remove() before load_state_dict"
    )


def _detach(module: nn.Module) -> None:
    hook = getattr(module, "_hf_hook", None)
    hooks = list(hook.hooks) if isinstance(hook, SequentialHook) else [hook]
    if not any(isinstance(one, OffloadHook) for one in hooks):
        return  # somebody removed it
    remove_hook_from_module(module)
    for other in hooks:
        if not isinstance(other, OffloadHook):
            add_hook_to_module(module, other, append=True)
