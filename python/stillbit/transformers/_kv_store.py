"""Keys or values of one layer: older tokens compressed in chunks, the newest as they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
import torch
from torch import Tensor

from .. import _gpu_fit
from .._fit import Fit
from .._kinds import NUMPY
from ..errors import InvalidArgumentError, UnsupportedError
from ..tensor import CompressedTensor
from ._kv_workers import Workers

# A plan takes 5 ms for so many bytes of bf16, and longer for more; one for a quarter of them costs 0.2 % of the ratio.
SAMPLE_BYTES = 131_072

_scratch = threading.local()  # of each thread: a chunk of one sequence


Table = Union[CompressedTensor, _gpu_fit.GpuRows]


@dataclass(frozen=True)
class Options:
    """What all layers of a cache have in common; `KVCache` describes them."""

    chunk_length: int
    tail_length: int
    codec: str | None
    objective: str
    device: Any  # of compressed rows, where it is not the host


class Chunk:
    """Neighbouring tokens, compressed: a table for each sequence of the batch, a row for each head of a token.

    Not a row for a token with all its heads, which takes 0.3 % less: attention reads head after head, and a table in
    that order is put in place in long pieces, so that a layer is restored in two thirds of the time.

    Immutable. A sequence that beam search picked twice has one table. Tables that no sequence needs any more go.

    Parameters
    ----------
    tables : tuple of CompressedTensor or GpuRows
        Of shape (heads, tokens, size); all of them of one kind.
    sources : tuple, optional
        What expands them where they are needed: for a GPU, a `stillbit.cuda.Table` of each.
    """

    __slots__ = ("length", "sources", "tables")

    def __init__(self, tables: tuple[Table, ...], sources: tuple[Any, ...] | None = None) -> None:
        self.tables = tables
        self.sources: tuple[Any, ...] = tables if sources is None else sources
        self.length = tables[0].shape[1]

    def __deepcopy__(self, _: object) -> Chunk:
        return self

    def select(self, index: list[int]) -> Chunk:
        """Return the chunk of other sequences."""
        return Chunk(tuple(self.tables[i] for i in index), tuple(self.sources[i] for i in index))

    def expand(self, out: Tensor, begin: int, end: int) -> None:
        """Write some tokens to `out`, of shape (batch, heads, end - begin, size)."""
        # Copies by numpy, on the CPU: torch would start threads for each, and this is one of several already. Without
        # the last dimension, of which numpy would make pieces.
        size = out.shape[3]
        is_by_cpu = isinstance(self.sources[0], CompressedTensor)
        places = bits(out.flatten(2)) if is_by_cpu else out.flatten(2)
        done: dict[int, int] = {}
        for i, source in enumerate(self.sources):
            first = done.setdefault(id(source), i)
            if first != i:
                places[i, ...] = places[first]
                continue
            # On a GPU in new memory.
            states = self._expanded(source, out) if is_by_cpu else source.decompress()
            places[i, ...] = states.reshape(len(states), -1)[:, begin * size : end * size]

    def _expanded(self, source: Any, out: Tensor) -> Any:
        """Return all tokens of a sequence, in memory that this thread uses again."""
        shape, dtype = source.shape, source._dtype_of(NUMPY)
        held = getattr(_scratch, "array", None)
        if held is None or (held.shape, held.dtype) != (shape, dtype):
            held = _scratch.array = np.empty(shape, dtype)
        return source.decompress(held, num_threads=1).view(f"u{out.element_size()}")


def bits(tensor: Tensor) -> Any:
    """Return the bits of a tensor in the host's memory, as an array of numpy that shares it."""
    return tensor.view(getattr(torch, f"uint{8 * tensor.element_size()}")).numpy()


class Store:
    """Keys or values of one layer, of shape (batch, heads, tokens, size).

    Parameters
    ----------
    like : torch.Tensor
        Says batch, heads, size, dtype and device.
    options : Options
        Of the cache.
    """

    def __init__(self, like: Tensor, options: Options) -> None:
        self.options = options
        self.chunks: list[Chunk] = []
        self.skipped = 0  # tokens at the beginning of the first chunk that are gone
        self.tail = like.detach()[:, :, :0].clone()
        self.fit = Fit(options.codec, options.objective, row_dims=1)
        self.gpu_fit = _gpu_fit.GpuFit(
            options.codec, options.objective, "pinned" if options.device is None else "device"
        )

    @property
    def length(self) -> int:
        """Tokens."""
        return sum(chunk.length for chunk in self.chunks) - self.skipped + int(self.tail.shape[2])

    @property
    def token_nbytes(self) -> int:
        """Bytes of a token of all sequences, as it is."""
        batch, heads, _, size = self.tail.shape
        return int(batch * heads * size * self.tail.element_size())

    def check(self, states: Tensor, what: str) -> None:
        """Raise InvalidArgumentError unless states continue those that there are, UnsupportedError for their device."""
        tail = self.tail
        wanted = (*tail.shape[:2], tail.shape[3])
        if states.dim() != 4 or (*states.shape[:2], states.shape[3]) != wanted:
            batch, heads, size = wanted
            shape = f"({batch}, {heads}, tokens, {size})"
            raise InvalidArgumentError(f"{what} have shape {tuple(states.shape)}, and the cache holds {shape}")
        if tail.device.type not in ("cpu", "cuda"):
            raise UnsupportedError(f"{what} are on the device {tail.device}: a cache is on a CPU or a CUDA GPU")
        if states.dtype != tail.dtype or states.device != tail.device:
            held = f"{tail.dtype} on {tail.device}"
            raise InvalidArgumentError(f"{what} are {states.dtype} on {states.device}, and the cache holds {held}")

    def append(self, states: Tensor, workers: Workers) -> None:
        """Add tokens at the end; compress what then is beyond the tail."""
        held = self.tail.shape[2]
        tail = torch.cat([self.tail, states.detach()], dim=2) if held else states.detach()
        length = self.options.chunk_length
        # Tokens of no sequence take no memory as they are.
        num_chunks = max(tail.shape[2] - self.options.tail_length, 0) // length if len(tail) else 0
        self._compress([tail[:, :, i * length : (i + 1) * length] for i in range(num_chunks)], workers)
        if num_chunks or not held:  # a copy, so that the prompt's memory is not kept for the sake of its end
            tail = tail[:, :, num_chunks * length :].clone()
        self.tail = tail

    def compress_tail(self, workers: Workers) -> None:
        """Compress all that is not compressed yet."""
        if self.tail.shape[2] and len(self.tail):
            self._compress([self.tail], workers)
            self.tail = self.tail[:, :, :0].clone()

    def _compress(self, parts: list[Tensor], workers: Workers) -> None:
        for part in parts if _gpu_fit.is_on_gpu(self.tail) else ():
            if not self._compress_on_gpu(part):
                break
            parts = parts[1:]
        self._compress_on_cpu(parts, workers)

    def _compress_on_gpu(self, part: Tensor) -> bool:
        """Add a chunk that the GPU compresses, so that it crosses the link compressed. False if it cannot."""
        found = []
        for sequence in part:
            rows = self.gpu_fit.compress(sequence.reshape(-1, sequence.shape[-1]), tuple(sequence.shape))
            if rows is None:
                return False
            found.append(rows)
        self.chunks.append(Chunk(tuple(found)))
        return True

    def _compress_on_cpu(self, parts: list[Tensor], workers: Workers) -> None:
        sequences = [sequence for part in parts for sequence in part]
        if not sequences:
            return
        if self.fit.plan is None:
            middle = sequences[len(sequences) // 2]  # the prompt's beginning is often a template
            self.fit.learn(middle[:, :: max(middle.nbytes // SAMPLE_BYTES, 1)])
        tables = workers.map(self.fit.follow, sequences)
        for i, table in enumerate(tables):
            if not self.fit.fits(table):
                # By the plan that the one before it may have made, or one of its own.
                tables[i] = min(table, self.fit.compress(sequences[i]), key=lambda each: each.nbytes)
        batch = len(parts[0])
        for i in range(len(parts)):
            self.add(tuple(tables[i * batch : (i + 1) * batch]))

    def add(self, tables: tuple[CompressedTensor, ...]) -> None:
        """Add a chunk behind the others: a table for each sequence, the same one where they are the same."""
        device = self.tail.device
        if device.type != "cuda":
            self.chunks.append(Chunk(tables))
            return
        from ..cuda import Table

        placement = "in_place" if self.options.device is None else "device"
        copies = {id(table): Table(table, device, placement) for table in tables}
        self.chunks.append(Chunk(tables, tuple(copies[id(table)] for table in tables)))

    def parts(self, out: Tensor) -> Iterator[tuple[Chunk, Tensor, int, int]]:
        """Yield arguments of `Chunk.expand` that write all compressed tokens to the beginning of `out`."""
        place, begin = 0, self.skipped
        for chunk in self.chunks:
            length = chunk.length - begin
            yield chunk, out[:, :, place : place + length], begin, chunk.length
            place, begin = place + length, 0

    def put_tail(self, out: Tensor) -> None:
        """Write the tokens that are not compressed to their place in `out`, which begins with the first token."""
        end = self.length
        out[:, :, end - self.tail.shape[2] : end].copy_(self.tail)

    def select(self, index: list[int]) -> None:
        """Keep some sequences of the batch, in some order."""
        if not index:
            _, heads, _, size = self.tail.shape
            self.tail = self.tail.new_empty((0, heads, self.length, size))
            self.chunks, self.skipped = [], 0
            return
        self.chunks = [chunk.select(index) for chunk in self.chunks]
        self.tail = self.tail.index_select(0, torch.tensor(index, device=self.tail.device))

    def drop_first(self, num_tokens: int) -> None:
        """Forget tokens at the beginning."""
        while self.chunks and self.skipped + num_tokens >= self.chunks[0].length:
            num_tokens -= self.chunks.pop(0).length - self.skipped
            self.skipped = 0
        if self.chunks:
            self.skipped += num_tokens
        elif num_tokens:
            self.tail = self.tail[:, :, num_tokens:].clone()

    def drop_last(self, num_tokens: int) -> None:
        """Forget tokens at the end. A chunk that loses some, but not all, becomes the tail."""
        in_tail = min(num_tokens, self.tail.shape[2])
        self.tail = self.tail[:, :, : self.tail.shape[2] - in_tail].clone()
        num_tokens -= in_tail
        while num_tokens and self.chunks:
            chunk = self.chunks.pop()
            begin = 0 if self.chunks else self.skipped
            end = max(chunk.length - num_tokens, begin)
            num_tokens -= min(num_tokens, chunk.length - begin)
            if end > begin:
                batch, heads, _, size = self.tail.shape
                self.tail = self.tail.new_empty((batch, heads, end - begin, size))
                chunk.expand(self.tail, begin, end)
            if not self.chunks:
                self.skipped = 0

    def tables(self) -> Iterator[Table]:
        """Yield each table once."""
        seen: set[int] = set()
        for chunk in self.chunks:
            for table in chunk.tables:
                if id(table) not in seen:
                    seen.add(id(table))
                    yield table

    @property
    def compressed_nbytes(self) -> int:
        """Bytes of all compressed tokens as they are stored."""
        return sum(table.nbytes for table in self.tables())
