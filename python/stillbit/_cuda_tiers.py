"""`stillbit.cuda.TieredTable`: rows that are looked up often raw in the GPU's memory, the others compressed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._arguments import byte_count
from ._cuda_pool import Request, run
from ._tier_policy import Moves, TierPolicy
from .errors import InvalidArgumentError
from .tensor import CompressedTensor

MAX_COUNTED = 65_536  # lookups of a batch that are looked at
MAX_MOVES = 1024  # rows that one batch may move: some 100 microseconds of a link, for rows of 512 bytes
SLACK = 16  # bytes behind the last row that are read


class TieredTable:
    """A table whose hot rows lie raw in the GPU's memory; the others are expanded as they cross the link.

    A lookup is one kernel: it finds in a map, of 4 bytes a row in the GPU's memory, whether a row is there, and copies
    or expands it. Which rows are there is decided on the host, behind the lookups: their numbers are copied back while
    nobody waits for it, counted (TinyLFU), and rows that lead go in by a gather that stands on the stream before a
    later lookup. Batches that come while one is on its way back are not counted. Within a CUDA graph nothing is.

    All calls are for one stream. `stillbit.TieredTable` is the one for the host's memory.

    Parameters
    ----------
    tensor : CompressedTensor
        Slotted, as it is now.
    device, placement
        As of `stillbit.cuda.Table`.
    fast_nbytes : int
        Bytes of the GPU's memory for raw rows, the map included.
    policy : str
        ``"tinylfu"``, or ``"static"``: the rows that `place` puts there, and no others.

    Raises
    ------
    InvalidArgumentError
        If the tensor is packed, or `fast_nbytes` holds no row.
    DeviceError, MissingPackageError
        As by `stillbit.cuda.Table`.
    """

    def __init__(
        self,
        tensor: CompressedTensor,
        device: Any = "cuda",
        placement: str = "pinned",
        *,
        fast_nbytes: int,
        policy: str = "tinylfu",
    ) -> None:
        if policy not in ("tinylfu", "static"):
            raise InvalidArgumentError(f"the policy is 'tinylfu' or 'static', not {policy!r}")
        if tensor.packing != "slotted":
            raise InvalidArgumentError('a table in tiers is of a slotted tensor: compress it with packing="slotted"')
        row_nbytes = math.prod(tensor.row_shape) * tensor.raw_nbytes // max(math.prod(tensor.shape), 1)
        num_slots = max(byte_count(fast_nbytes, "fast_nbytes") - 4 * tensor.num_rows - SLACK, 0) // max(row_nbytes, 1)
        num_slots = min(num_slots, tensor.num_rows)
        if num_slots == 0:
            least = 4 * tensor.num_rows + SLACK + row_nbytes
            raise InvalidArgumentError(f"fast_nbytes is {fast_nbytes}: a map and one row take {least} bytes")
        self._table = new_table(tensor, device, placement)
        torch = self._torch = self._table._torch
        self._policy = TierPolicy(tensor.num_rows, num_slots, MAX_MOVES)
        self._is_adaptive = policy == "tinylfu"
        self._slots = torch.zeros(tensor.num_rows, dtype=torch.int32, device=self._table.device)
        self._rows = torch.empty(num_slots * row_nbytes + SLACK, dtype=torch.uint8, device=self._table.device)
        self._copy: Any = None  # of a batch, on its way back
        self._table._handle.set_fast_rows(self._slots.data_ptr(), self._rows.data_ptr(), num_slots)

    @property
    def table(self) -> Any:
        """The `stillbit.cuda.Table` that it looks rows up in; its lookups find hot rows, and are not counted."""
        return self._table

    @property
    def fast_nbytes(self) -> int:
        """Bytes of the GPU's memory that raw rows and the map take."""
        return int(self._slots.nbytes + self._rows.nbytes)

    @property
    def num_fast(self) -> int:
        """Rows that are raw in the GPU's memory."""
        return int((self._policy.row_in >= 0).sum())

    @property
    def hit_rate(self) -> float:
        """Of lookups that were counted, the part that found its row raw; 0 without any."""
        return self._policy.num_hits / self._policy.num_lookups if self._policy.num_lookups else 0.0

    def gather(self, index: Any, out: Any = None) -> Any:
        """Look rows up, on the current stream: as `stillbit.cuda.Table.gather`."""
        self._fill()
        found = self._table.gather(index, out)
        self._watch(index)
        return found

    def pool(
        self,
        index: Any,
        offsets: Any = None,
        mode: str = "sum",
        weights: Any = None,
        padding_index: int | None = None,
        out: Any = None,
        *,
        include_last_offset: bool = False,
    ) -> Any:
        """Look rows up and pool them, on the current stream: as `stillbit.cuda.Table.pool`."""
        self._fill()
        request = Request(self._table, index, offsets, mode, weights, padding_index, out, include_last_offset)
        run([request])
        self._watch(index)
        return request.out

    def place(self, counts: Any) -> None:
        """Put the rows with the largest counts into the GPU's memory, and let the others leave it.

        Parameters
        ----------
        counts : array_like of int
            How often each row was looked up, in a trace for example; shape ``(num_rows,)``. Rows whose count is 0 are
            put nowhere.
        """
        array = np.asarray(counts)
        if array.dtype.kind not in "iu" or array.shape != (len(self._slots),) or int(array.min()) < 0:
            raise InvalidArgumentError(f"counts are {len(self._slots)} integers, not negative, in one dimension")
        self._move(self._policy.place(array.astype(np.uint64)))

    def check(self) -> None:
        """Wait for the current stream, and raise what went wrong: as `stillbit.cuda.Table.check`."""
        self._table.check()

    def _watch(self, index: Any) -> None:
        """Have the numbers copied back, if none are under way."""
        if self._is_adaptive and self._copy is None and index.numel() > 0:
            self._copy = start_copy(index.reshape(-1)[:MAX_COUNTED])

    def _fill(self) -> None:
        """Move rows by what was counted, if numbers have come."""
        if self._copy is not None and self._copy.is_done():
            numbers = self._copy.numbers()
            self._copy = None
            self._move(self._policy.moves(numbers))

    def _move(self, moves: Moves) -> None:
        """Put moves on the stream: rows leave the map, their places get others, and these go into it."""
        if len(moves.evicted):
            self._slots[self._there(moves.evicted)] = 0
        if len(moves.rows):
            rows, slots = self._there(moves.rows), self._there(moves.slots)
            stream = self._table._stream()
            self._table._handle.gather(
                rows.data_ptr(), len(rows), 8, self._rows.data_ptr(), stream, slots.data_ptr(), 0
            )
            self._slots[rows] = (slots + 1).to(self._slots.dtype)

    def _there(self, numbers: Any) -> Any:
        """Return numbers in the GPU's memory, without waiting for it."""
        host = self._torch.from_numpy(np.ascontiguousarray(numbers, dtype=np.int64))
        if self._table.device.type == "cpu":
            return host
        return host.pin_memory().to(self._table.device, non_blocking=True)


def new_table(tensor: CompressedTensor, device: Any, placement: str) -> Any:
    """Return the table that rows are looked up in."""
    from .cuda import Table

    return Table(tensor, device, placement)


class Copy:
    """Numbers on their way from a GPU.

    Parameters
    ----------
    index : torch.Tensor
        Of one dimension.
    """

    def __init__(self, index: Any) -> None:
        import torch

        self._host = torch.empty(len(index), dtype=index.dtype, pin_memory=True)
        self._host.copy_(index, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record(torch.cuda.current_stream(index.device))

    def is_done(self) -> bool:
        """Say whether they are there."""
        return bool(self._event.query())

    def numbers(self) -> Any:
        """Return them."""
        return self._host.numpy().astype(np.int64, copy=False)


def start_copy(index: Any) -> Copy | None:
    """Begin to copy numbers; None for those that a pinned index has, and while a graph is captured."""
    import torch

    if not index.is_cuda or torch.cuda.is_current_stream_capturing():
        return None
    return Copy(index)
