"""A ring of buffers that weights are expanded into, ahead of the layers that use them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import Error, InvalidArgumentError
from ._layout import Unit, Weight
from ._weights import RestingWeight


@dataclass
class Statistics:
    """What moved, since the start or the last `reset`."""

    expanded_nbytes: int = 0  # of weights, as they are
    stored_nbytes: int = 0  # of the same, compressed
    num_expanded: int = 0  # layers; called experts and embeddings are layers, too
    num_prefetched: int = 0  # of these, expanded before they were called, and then called
    num_in_place: int = 0  # layers that were called and lay in a buffer still
    seconds_waited: float = 0.0  # by the caller, on a CPU; on a GPU it does not wait

    def reset(self) -> None:
        """Start again from zero."""
        self.__init__()  # type: ignore[misc]


@dataclass(eq=False)
class Slot:
    """A buffer, and whose weights are in it."""

    memory: Tensor
    unit: Unit | None = None
    uses: int = 0  # calls of the unit that are under way
    is_prefetched: bool = False
    ticket: Any = None  # of the expansion
    released: Any = None  # a CUDA event behind the last use
    views: dict[Unit, list[tuple[Weight, nn.Parameter]]] = field(default_factory=dict)

    def parameters(self, unit: Unit) -> list[tuple[Weight, nn.Parameter]]:
        """Return the unit's weights as they lie in this buffer."""
        if unit not in self.views:
            with torch.inference_mode(False):  # they outlive the call
                self.views[unit] = self._views_of(unit)
        return self.views[unit]

    def _views_of(self, unit: Unit) -> list[tuple[Weight, nn.Parameter]]:
        views = []
        begin = 0
        for weight in unit.moving():
            memory = self.memory[begin : begin + weight.nbytes]
            # torch chooses by `requires_grad` how it multiplies matrices, also where no gradient is recorded.
            parameter = nn.Parameter(weight.of_memory(memory), requires_grad=weight.parameter.requires_grad)
            views.append((weight, parameter))
            begin += weight.aligned_nbytes
        return views


Job = tuple[str, RestingWeight, Tensor]  # name, what to expand, where to


class Expander(Protocol):
    """Who expands weights while the current layer computes."""

    def start(self, slot: Slot, jobs: list[Job]) -> None:
        """Begin to expand into a buffer that nobody uses."""

    def wait(self, slot: Slot) -> None:
        """Let what the caller does next come after the expansion."""

    def abandon(self, slot: Slot) -> None:
        """Let what is started next in this buffer come after the expansion, which nobody wants any more."""

    def release(self, slot: Slot) -> None:
        """Let what is started next in this buffer come after what the caller did last."""

    def close(self) -> None:
        """End."""


def _expand(jobs: list[Job]) -> None:
    for name, rest, out in jobs:
        try:
            rest.expand(out)
        except Error as error:
            raise type(error)(f"the weight {name!r}: {error}") from None


class ThreadExpander:
    """Expands on a thread of the CPU's."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "stillbit-expand")

    def start(self, slot: Slot, jobs: list[Job]) -> None:
        slot.ticket = self._pool.submit(_expand, jobs)

    def wait(self, slot: Slot) -> None:
        ticket: Future[None] = slot.ticket
        ticket.result()

    def abandon(self, slot: Slot) -> None:
        ticket: Future[None] = slot.ticket
        if not ticket.cancel():
            ticket.exception()  # waits; what failed is expanded again when it is wanted

    def release(self, slot: Slot) -> None:
        """Nothing: what the caller did is done."""

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class StreamExpander:
    """Expands on a stream of a GPU's, beside the one that computes; nobody waits on the CPU. Not yet run on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        # Buffers come from the memory of the current stream.
        self._stream.wait_stream(torch.cuda.current_stream(device))

    def start(self, slot: Slot, jobs: list[Job]) -> None:
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            if slot.released is not None:
                self._stream.wait_event(slot.released)
            _expand(jobs)
            slot.ticket = self._stream.record_event()

    def wait(self, slot: Slot) -> None:
        torch.cuda.current_stream(self._device).wait_event(slot.ticket)

    def abandon(self, slot: Slot) -> None:
        """Nothing: what is started next comes after it, on the same stream."""

    def release(self, slot: Slot) -> None:
        slot.released = torch.cuda.current_stream(self._device).record_event()

    def close(self) -> None:
        self._stream.synchronize()


class Ring:
    """Buffers of one size for the units that are in use, and for those that are expected next."""

    def __init__(self, num_slots: int, slot_nbytes: int, device: torch.device, rests: dict[Weight, RestingWeight]):
        with torch.inference_mode(False):
            self.slots = [Slot(torch.empty(slot_nbytes, dtype=torch.uint8, device=device)) for _ in range(num_slots)]
        self._rests = rests
        self._expander: Expander = StreamExpander(device) if device.type == "cuda" else ThreadExpander()
        self.statistics = Statistics()

    @property
    def nbytes(self) -> int:
        """Of all buffers."""
        return sum(slot.memory.untyped_storage().nbytes() for slot in self.slots)

    def acquire(self, unit: Unit) -> Slot:
        """Return the buffer with a unit's weights, which is in use from now on."""
        slot = self._slot_of(unit)
        if slot is None:
            slot = self._free_slot(())
            if slot is None:
                raise InvalidArgumentError(
                    f"all {len(self.slots)} buffers are in use when {unit.name!r} is called: layers call each other "
                    "deeper than modules lie in each other; give cpu_offload a larger prefetch"
                )
            self._start(slot, unit)
        elif slot.is_prefetched:
            self.statistics.num_prefetched += 1
        else:
            self.statistics.num_in_place += 1
        begin = time.perf_counter()
        try:
            self._expander.wait(slot)
        except BaseException:
            slot.unit = None
            raise
        self.statistics.seconds_waited += time.perf_counter() - begin
        slot.is_prefetched = False
        slot.uses += 1
        self.slots.remove(slot)
        self.slots.append(slot)  # the first is the one that was used longest ago
        return slot

    def release(self, slot: Slot) -> None:
        """End a use of a buffer; the weights stay in it until it is needed."""
        slot.uses -= 1
        if slot.uses == 0:
            self._expander.release(slot)

    def prefetch(self, units: Iterable[Unit]) -> None:
        """Begin to expand units that are expected next, nearest first, as far as there are buffers."""
        wanted = tuple(units)
        for unit in wanted:
            if self._slot_of(unit) is not None:
                continue
            slot = self._free_slot(wanted)
            if slot is None:
                return
            self._start(slot, unit)
            slot.is_prefetched = True

    def close(self) -> None:
        """End expansions, and give up the buffers."""
        self._expander.close()
        self.slots = []

    def _slot_of(self, unit: Unit) -> Slot | None:
        return next((slot for slot in self.slots if slot.unit is unit), None)

    def _free_slot(self, keep: tuple[Unit, ...]) -> Slot | None:
        free = [slot for slot in self.slots if slot.uses == 0 and slot.unit not in keep]
        if not free:
            return None
        # One that is empty, or was used; then what was expected longest ago, and did not come.
        return min(free, key=lambda slot: slot.unit is not None and slot.is_prefetched)

    def _start(self, slot: Slot, unit: Unit) -> None:
        if slot.unit is not None and slot.is_prefetched:
            self._expander.abandon(slot)
        slot.unit = None  # until it has begun
        parameters = slot.parameters(unit)
        self._expander.start(
            slot, [(weight.name, self._rests[weight], weight.in_memory(out.detach())) for weight, out in parameters]
        )
        slot.unit, slot.is_prefetched = unit, False
        self.statistics.num_expanded += 1
        self.statistics.expanded_nbytes += sum(weight.nbytes for weight, _ in parameters)
        self.statistics.stored_nbytes += sum(weight.stored_nbytes for weight, _ in parameters)
