"""Memory that layers are expanded into, ahead of their turn: that of two layers, whatever the number of layers."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from ._kv_modes import on_plain_tensors
from ._kv_store import Chunk, Store
from ._kv_workers import Job, Workers

Part = tuple[Chunk, Tensor, int, int]


class Buffer:
    """Memory that is used again and grows where it has to."""

    def __init__(self) -> None:
        self._bytes: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return 0 if self._bytes is None else self._bytes.numel()

    def tensor(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return a tensor without holes at its beginning; what lay there is lost."""
        num_bytes = like.element_size()
        for size in shape:
            num_bytes *= size
        held = self._bytes
        if held is None or held.device != like.device or held.numel() < num_bytes:
            self._bytes = held = None  # first free it, then take more
            # Room for an eighth more tokens, or it would have to grow with each one.
            held = torch.empty(num_bytes + num_bytes // 8, dtype=torch.uint8, device=like.device)
            self._bytes = held
        return held[:num_bytes].view(like.dtype).view(shape)


class Expansion:
    """A layer's keys and values, being expanded.

    Parameters
    ----------
    stores : tuple of Store
        Keys and values, which do not change until it is done.
    outs : tuple of torch.Tensor
        Where to, from the first token on.
    """

    def __init__(self, stores: tuple[Store, Store], outs: tuple[Tensor, Tensor]) -> None:
        self.stores = stores
        self.outs = outs
        self._job: Job | None = None
        self._event: Any = None

    def start(self, workers: Workers, stream: Any) -> None:
        """Begin: in threads, or on a stream of a GPU."""
        parts = [part for store, out in zip(self.stores, self.outs) for part in store.parts(out)]
        if stream is None:
            self._job = workers.start(expand, parts)
            return
        # What earlier attention still reads, and rows that were just put there, are on the current stream.
        stream.wait_stream(torch.cuda.current_stream(stream.device))
        with torch.cuda.stream(stream):
            for part in parts:
                expand(part)
        self._event = stream.record_event()

    def wait(self) -> None:
        """Return when attention may read: now, or for a GPU as its current stream gets there."""
        self._join(discard=False)
        for store, out in zip(self.stores, self.outs):
            store.put_tail(out)

    def discard(self) -> None:
        """Nobody wants it: return when its memory may be written again."""
        self._join(discard=True)

    def _join(self, discard: bool) -> None:
        if self._job is not None:
            if discard:
                self._job.discard()
            else:
                self._job.wait()
        if self._event is not None:
            torch.cuda.current_stream(self.outs[0].device).wait_event(self._event)


@on_plain_tensors  # threads inherit no modes
def expand(part: Part) -> None:
    """Expand a part of a chunk."""
    chunk, out, begin, end = part
    chunk.expand(out, begin, end)


class Ring:
    """Expands layers in turn, the next one while the model computes with this one.

    Parameters
    ----------
    workers : Workers
        Threads for layers on the CPU.
    ahead : bool
        Whether to expand the next layer in advance.
    lasting : bool
        What is handed out lasts, in memory of its own: for models whose layers share keys and values with later ones.
    """

    def __init__(self, workers: Workers, ahead: bool, lasting: bool) -> None:
        self.workers = workers
        self.ahead = ahead
        self.lasting = lasting
        self.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        return Ring, (self.workers, self.ahead, self.lasting)

    def clear(self) -> None:
        """Give the memory back, and forget what was measured."""
        self._buffers = [(Buffer(), Buffer()), (Buffer(), Buffer())]  # keys and values
        self._turn = 0
        self._expected: tuple[tuple[Any, ...], Expansion] | None = None
        self._streams: dict[torch.device, Any] = {}
        self.misled = False  # whether something was expanded in vain, as between the steps of a beam search
        self.peak_nbytes = 0
        self.seconds = 0.0  # that somebody waited

    @on_plain_tensors
    def take(self, key: tuple[Any, ...], stores: tuple[Store, Store], new_tokens: int) -> tuple[Tensor, Tensor]:
        """Return keys and values with room for new tokens behind those that there are.

        They are valid until two more layers were taken.

        Parameters
        ----------
        key : tuple
            Says which layer it is, and in what state: what was expanded in advance for another one is not used.
        stores : tuple of Store
            Of that layer.
        new_tokens : int
            How many.
        """
        begin = perf_counter()
        expected, self._expected = self._expected, None
        if expected is not None and expected[0] == (*key, new_tokens):
            expansion = expected[1]
        else:
            if expected is not None:
                expected[1].discard()
                self.misled = True
            expansion = self._begin(stores, new_tokens, ahead=False)
        expansion.wait()
        self.seconds += perf_counter() - begin
        return expansion.outs

    @on_plain_tensors
    def expect(self, key: tuple[Any, ...], stores: tuple[Store, Store], new_tokens: int) -> None:
        """Begin to expand what is going to be taken next, if the arguments are then the same."""
        if self.ahead and any(store.chunks for store in stores):
            self.forget()
            self._expected = ((*key, new_tokens), self._begin(stores, new_tokens, ahead=True))

    def forget(self) -> None:
        """Drop what is expanded in advance."""
        expected, self._expected = self._expected, None
        if expected is not None:
            expected[1].discard()
            self.misled = True

    def _begin(self, stores: tuple[Store, Store], new_tokens: int, ahead: bool) -> Expansion:
        self._turn = 1 - self._turn
        buffers = (Buffer(), Buffer()) if self.lasting else self._buffers[self._turn]
        keys, values = (self._room(store, buffer, new_tokens) for store, buffer in zip(stores, buffers))
        expansion = Expansion(stores, (keys, values))
        expansion.start(self.workers, self._stream(keys.device, ahead))
        taken = sum(buffer.nbytes for pair in self._buffers for buffer in pair)
        self.peak_nbytes = max(self.peak_nbytes, taken + (sum(each.nbytes for each in buffers) if self.lasting else 0))
        return expansion

    def _room(self, store: Store, buffer: Buffer, new_tokens: int) -> Tensor:
        batch, heads, _, size = store.tail.shape
        return buffer.tensor((batch, heads, store.length + new_tokens, size), store.tail)

    def _stream(self, device: torch.device, ahead: bool) -> Any:
        if device.type != "cuda":
            return None
        if not ahead:
            return torch.cuda.current_stream(device)
        if device not in self._streams:
            self._streams[device] = torch.cuda.Stream(device)
        return self._streams[device]
