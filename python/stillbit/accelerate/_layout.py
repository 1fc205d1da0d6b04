"""Which modules' weights come and go together, and which of them stay: decided before anything moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..errors import InvalidArgumentError

ALIGNMENT = 256  # of a weight in a buffer: what GPUs' copies and kernels like best

# A transfer costs as much as this many bytes more: some 10 µs at 25 GB/s, which is PCIe 4 with 16 lanes. It decides
# only between weights that compress alike.
TRANSFER_NBYTES = 256 << 10


@dataclass(eq=False)
class Weight:
    """A parameter, by whatever modules it is known."""

    name: str
    parameter: nn.Parameter
    shape: torch.Size
    dtype: torch.dtype
    nbytes: int
    stored_nbytes: int = 0  # once it is compressed
    names: list[str] = field(default_factory=list)  # all; more than one where it is tied
    places: list[tuple[nn.Module, str]] = field(default_factory=list)  # modules that have it, and what they call it
    units: set[Unit] = field(default_factory=set)
    stays: bool = False
    order: tuple[int, ...] = ()  # of its dimensions in memory, where that is not C order

    def in_memory(self, tensor: Tensor) -> Tensor:
        """Return a tensor of the weight's shape with its dimensions as they lie in memory: in C order."""
        return tensor.permute(self.order) if self.order else tensor

    def empty(self, device: torch.device) -> Tensor:
        """Return memory for it, laid out as the parameter is."""
        return self.of_memory(torch.empty(self.nbytes, dtype=torch.uint8, device=device))

    def of_memory(self, memory: Tensor) -> Tensor:
        """Return the weight that lies in some bytes."""
        lying = memory.view(self.dtype).view([self.shape[i] for i in self.order] if self.order else self.shape)
        return self.of_tensor(lying)

    def of_tensor(self, lying: Tensor) -> Tensor:
        """Undo `in_memory`."""
        return lying.permute([self.order.index(i) for i in range(len(self.order))]) if self.order else lying

    @property
    def aligned_nbytes(self) -> int:
        """What it takes in a buffer."""
        return -(-self.nbytes // ALIGNMENT) * ALIGNMENT


@dataclass(eq=False)
class Unit:
    """A module whose weights come before its forward, and go after it: a layer, an expert, an embedding."""

    name: str
    module: nn.Module
    weights: dict[Weight, list[tuple[nn.Module, str]]] = field(default_factory=dict)

    def moving(self) -> list[Weight]:
        """Return the weights that do not stay."""
        return [weight for weight in self.weights if not weight.stays]

    @property
    def buffer_nbytes(self) -> int:
        """What the weights that do not stay take in a buffer."""
        return sum(weight.aligned_nbytes for weight in self.weights if not weight.stays)


def units_of(model: nn.Module) -> tuple[list[Unit], list[Weight]]:
    """Divide a model's parameters into units.

    Units are the elements of every ModuleList and ModuleDict (layers; in them, experts), and of a Sequential that is
    not in one of those; modules that are found in several places; and of the rest each module that has parameters of
    its own. What lies deeper in a unit, and is no unit itself, comes and goes with it.

    Returns
    -------
    tuple
        Units in the order of `named_modules`, which is nearly always that of execution, and weights.
    """
    places: dict[int, int] = {}
    for module in model.modules():
        for child in module.children():
            places[id(child)] = places.get(id(child), 0) + 1
    units: dict[int, Unit] = {}
    weights: dict[int, Weight] = {}
    seen: set[int] = set()

    def visit(module: nn.Module, name: str, owner: Unit, in_block: bool) -> None:
        if id(module) in seen:
            return
        seen.add(id(module))
        if module is owner.module or (not in_block and _has_forward(module)):
            owner = units.setdefault(id(module), Unit(name or "the model", module))
        for key, parameter in module.named_parameters(recurse=False):
            _add(weights, owner, module, key, f"{name}.{key}" if name else key, parameter)
        for key, child in module.named_children():
            path = f"{name}.{key}" if name else key
            is_block = _has_forward(child) and (_is_list(module, in_block) or places[id(child)] > 1)
            visit(child, path, Unit(path, child) if is_block else owner, in_block or is_block)

    visit(model, "", Unit("", model), False)
    return [unit for unit in units.values() if unit.weights], list(weights.values())


def _has_forward(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward


def _is_list(module: nn.Module, in_block: bool) -> bool:
    return isinstance(module, (nn.ModuleList, nn.ModuleDict)) or (isinstance(module, nn.Sequential) and not in_block)


def _add(
    weights: dict[int, Weight], unit: Unit, module: nn.Module, key: str, name: str, parameter: nn.Parameter
) -> None:
    nbytes = parameter.numel() * parameter.element_size()
    made = Weight(name, parameter, parameter.shape, parameter.dtype, nbytes, order=_order(parameter))
    weight = weights.setdefault(id(parameter), made)
    weight.names.append(name)
    weight.places.append((module, key))
    weight.units.add(unit)
    unit.weights.setdefault(weight, []).append((module, key))


def _order(parameter: Tensor) -> tuple[int, ...]:
    """Return how the dimensions of a transposed weight, or one with channels last, lie in memory.

    What is computed with it depends on that: kernels are chosen, and sums taken, by strides.
    """
    order = tuple(sorted(range(parameter.dim()), key=parameter.stride, reverse=True))
    is_other = not parameter.is_contiguous() and parameter.permute(order).is_contiguous()
    return order if is_other else ()


def nesting(model: nn.Module, units: Iterable[Unit]) -> int:
    """Return how many units are at most in each other: so many are in use at the same time."""
    modules = {id(unit.module) for unit in units}

    def depth(module: nn.Module) -> int:
        inner = max((depth(child) for child in module.children()), default=0)
        return inner + (id(module) in modules)

    return max(depth(model), 1)


@dataclass
class Memory:
    """Bytes of the device's memory that weights take."""

    resident_nbytes: int  # as they are, all the time
    rest_nbytes: int  # compressed, all the time
    ring_nbytes: int  # buffers for the others

    @property
    def nbytes(self) -> int:
        return self.resident_nbytes + self.rest_nbytes + self.ring_nbytes


def memory_of(weights: list[Weight], units: list[Unit], num_slots: int, rests_on_device: bool) -> Memory:
    """Return what weights take with those staying that do."""
    resident = sum(weight.nbytes for weight in weights if weight.stays)
    rest = sum(weight.stored_nbytes for weight in weights if not weight.stays) if rests_on_device else 0
    return Memory(resident, rest, num_slots * max((unit.buffer_nbytes for unit in units), default=0))


def choose_resident(
    weights: list[Weight], units: list[Unit], budget: int | None, num_slots: int, rests_on_device: bool
) -> Memory:
    """Mark the weights that stay, within a budget, so that the time of transfers that it saves is as long as can be.

    The ring's buffers are as large as the largest unit needs. First, units for which the ring would have to be larger
    than they are themselves stay. Then, by time saved for each byte, whatever fits: what compresses least, and what is
    small.

    Raises
    ------
    InvalidArgumentError
        If the budget does not suffice even if nothing stays; the message says what would.
    """

    def memory() -> Memory:
        return memory_of(weights, units, num_slots, rests_on_device)

    used = _shrink_ring(units, memory)
    if budget is None:
        return used
    if used.nbytes > budget:
        largest = max(units, key=lambda unit: unit.buffer_nbytes)
        raise InvalidArgumentError(
            f"a budget of {budget} bytes is too small: {used.nbytes} are needed at least, "
            f"{num_slots} buffers of {largest.buffer_nbytes} bytes for {largest.name!r} among them"
        )
    # What stays may make the ring smaller, and room for others: until nothing changes.
    while True:
        before = used.nbytes, used.ring_nbytes
        for weight in sorted(_moving(weights), key=_saved_per_byte, reverse=True):
            weight.stays = True
            after = memory()
            if after.nbytes <= budget:
                used = after
            else:
                weight.stays = False
        if (used.nbytes, used.ring_nbytes) == before:
            return used


def _shrink_ring(units: list[Unit], memory: Callable[[], Memory]) -> Memory:
    used = memory()
    while used.ring_nbytes > 0:
        largest = max(units, key=lambda unit: unit.buffer_nbytes)
        chosen = largest.moving()
        for weight in chosen:
            weight.stays = True
        after = memory()
        if after.nbytes > used.nbytes:
            for weight in chosen:
                weight.stays = False
            return used
        used = after
    return used


def _moving(weights: Iterable[Weight]) -> Iterator[Weight]:
    return (weight for weight in weights if not weight.stays)


def _saved_per_byte(weight: Weight) -> float:
    return (weight.stored_nbytes + TRANSFER_NBYTES) * len(weight.units) / max(weight.nbytes, 1)
