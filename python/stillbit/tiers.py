"""`TieredTable`: rows in tiers, by how often they are looked up."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import _core, _index, _kinds
from ._arguments import byte_count, words
from ._compress import compress
from ._rows import Array, Index, Rows
from .errors import InvalidArgumentError, UnsupportedError
from .tensor import CompressedTensor

__all__ = ["TierStatistics", "TieredStatistics", "TieredTable"]

_POLICIES = {"tinylfu": False, "static": True}
_UNLIMITED = 2**64 - 1


@dataclass(frozen=True)
class TierStatistics:
    """What a tier did since the table was made or its statistics were reset, and what it holds now.

    Attributes
    ----------
    num_lookups : int
        Rows that were found there.
    bytes_read : int
        For these: raw bytes in the fast tier; elsewhere stored bytes, where rows lie in the tensor at their mean.
    num_filled, num_evicted : int
        Rows that were put there, and that gave way.
    num_rows, max_rows : int
        Rows that it holds, and has room for, an estimate where they are compressed.
    nbytes : int
        Bytes of memory that it takes, with what is needed to find and to count rows.
    budget_nbytes : int or None
        Bytes that it may take; None for no limit.
    """

    num_lookups: int
    bytes_read: int
    num_filled: int
    num_evicted: int
    num_rows: int
    max_rows: int
    nbytes: int
    budget_nbytes: int | None


@dataclass(frozen=True)
class TieredStatistics:
    """What the tiers of a table did, and what they hold.

    Attributes
    ----------
    fast, warm, cold : TierStatistics
        Raw rows in memory, compressed rows in memory, and the mapped file, of which nothing counts as memory.
    num_prefetched, num_prefetch_hits : int
        Rows that prefetches put into the fast tier, and lookups that found them there.
    num_updated : int
        Rows that were rewritten.
    num_updated_held : int
        Rows that the warm tier holds since the file has them as they were.
    """

    fast: TierStatistics
    warm: TierStatistics
    cold: TierStatistics
    num_prefetched: int
    num_prefetch_hits: int
    num_updated: int
    num_updated_held: int

    @property
    def num_lookups(self) -> int:
        """Of all tiers."""
        return self.fast.num_lookups + self.warm.num_lookups + self.cold.num_lookups

    @property
    def hit_rate(self) -> float:
        """Of lookups, the part that found its row raw in the fast tier; 0 without lookups."""
        return self.fast.num_lookups / self.num_lookups if self.num_lookups else 0.0


class TieredTable(Rows):
    """A table whose rows are raw in memory, compressed in memory, or in a mapped file, by how often they are looked up.

    Each tier keeps to a budget of bytes, in which what is needed to find and to count rows is included. Any number of
    threads may read and update at the same time: each reader sees a row whole, as it was before an update or as it is
    after it. A process that is forked has the table as it was; what prefetches had still to do is not done there.

    Parameters
    ----------
    source : CompressedTensor, numpy.ndarray, torch.Tensor, str or os.PathLike
        A tensor in memory is copied, and lies in the warm tier as a whole. An array is compressed first. A mapped
        tensor is the cold tier, as is a file: give the path of a compressed file to have it looked at before it is
        read, so that one that was truncated or rewritten in place is an error.
    name : str, optional
        Of the tensor, where `source` is a path.
    fast_nbytes : int
        Budget of the fast tier, raw rows in memory; 0 for none.
    warm_nbytes : int, optional
        Budget of the warm tier, compressed rows in memory. It must hold a tensor that is in memory, and what updates
        make it grow by; of a mapped one it holds rows that are looked up often, and those that were updated. Without
        it: no limit for a tensor in memory, and nothing of a mapped one.
    policy : str
        ``"tinylfu"``: rows move by how often they were looked up lately. A row takes another's place where it was
        looked up more often, by a count-min sketch that is halved now and then (TinyLFU); the row to give way is the
        least counted of five. ``"static"``: the rows that `place` puts there, and no others.
    prefetch_share : float
        How much of the fast tier rows that are prefetched may take, from the first `prefetch` on: 0 to 0.5.
    like : str, optional
        ``"numpy"`` or ``"torch"``: what results are. Without it: as the source's, and numpy for a path.
    **options
        Of `compress`, for arrays.

    Raises
    ------
    InvalidArgumentError
        If a budget is too small for a row, or for a tensor in memory, or an argument is not as described.
    IoError, CorruptError
        If a file cannot be read, or breaks the format.

    Notes
    -----
    G. Einziger, R. Friedman and B. Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", ACM Transactions on
    Storage 13 (4), 2017.

    Examples
    --------
    >>> import numpy as np, stillbit as sb
    >>> weights = np.random.default_rng(0).standard_normal((10_000, 64)).astype(np.float32)
    >>> table = sb.TieredTable(weights, fast_nbytes=300_000)  # of 2.6 MB
    >>> (table.gather([3, 0, 3]) == weights[[3, 0, 3]]).all()
    np.True_
    """

    __slots__ = ("__weakref__",)

    def __init__(
        self,
        source: Any,
        name: str | None = None,
        *,
        fast_nbytes: int,
        warm_nbytes: int | None = None,
        policy: str = "tinylfu",
        prefetch_share: float = 0.125,
        like: str | None = None,
        **options: Any,
    ) -> None:
        words(policy=policy)
        if policy not in _POLICIES:
            raise InvalidArgumentError(f"the policy is {' or '.join(map(repr, _POLICIES))}, not {policy!r}")
        if not isinstance(prefetch_share, (int, float)):
            raise InvalidArgumentError(f"prefetch_share is a number from 0 to 0.5, not {prefetch_share!r}")
        limits = (
            byte_count(fast_nbytes, "fast_nbytes"),
            None if warm_nbytes is None else byte_count(warm_nbytes, "warm_nbytes"),
            _POLICIES[policy],
            float(prefetch_share),
        )
        is_path = isinstance(source, (str, os.PathLike))
        if not is_path and name is not None:
            raise InvalidArgumentError("a name is for a tensor in a file: give the file's path with it")
        if options and _kinds.kind_of(source) is None:
            raise InvalidArgumentError(f"{', '.join(options)}: options of compress are for arrays")
        if is_path:
            if not isinstance(name, str):
                raise InvalidArgumentError("give the name of the tensor in the file")
            super().__init__(_core.TieredTable(Path(source), name, *limits), like or "numpy")
        elif isinstance(source, CompressedTensor):
            super().__init__(_core.TieredTable(source._handle, False, *limits), like or source.like)
        else:
            kind = _kinds.array_kind(source, "the source")
            if options.get("plan") is None:
                options.setdefault("packing", "slotted")  # for updates: rows are rewritten where they are
            compressed = compress(source, **options)
            super().__init__(_core.TieredTable(compressed._handle, True, *limits), like or kind.name)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the fast and the warm tier take."""
        statistics = self.statistics()
        return statistics.fast.nbytes + statistics.warm.nbytes

    def __repr__(self) -> str:
        return f"TieredTable(shape={self._shape}, dtype={self._dtype_name}, nbytes={self.nbytes}, like={self.like})"

    def update(self, index: Index, rows: Array) -> None:
        """Replace rows in every tier that holds them; of a row that is named twice the last is kept.

        Rows of a mapped or packed tensor cannot be changed where they are: they are kept in the warm tier from then on.

        Parameters
        ----------
        index : int, list of int, numpy.ndarray or torch.Tensor
            Row numbers, as in `gather`.
        rows : numpy.ndarray or torch.Tensor
            Shape ``index.shape + row_shape``, of the table's dtype.

        Raises
        ------
        OutOfRangeError
            If a row number is negative or not below ``num_rows``.
        InvalidArgumentError
            If the rows do not fit, or the warm tier's budget has no room for them; nothing was changed.
        """
        index_kind, wide = _wide(index)
        kind, rows = self._input(rows, tuple(wide.shape) + self.row_shape)
        num_index = math.prod(wide.shape)
        self._handle.update(index_kind.address(wide), num_index, kind.address(rows), num_index * self._row_bytes)

    def prefetch(self, index: Index, *, background: bool = True) -> int:
        """Pull rows into a part of the fast tier ahead of their use: those of the next batch, while this one computes.

        Parameters
        ----------
        index : int, list of int, numpy.ndarray or torch.Tensor
            Row numbers, as in `gather`; in this order, as many as have room. The oldest of earlier ones give way.
        background : bool
            On a thread of the table, which the first call starts and `close` ends; what goes wrong there is raised by
            the gather that looks the row up. Otherwise by this call.

        Returns
        -------
        int
            So many of the row numbers, from the first on, were taken on. 0 without a fast tier.

        Raises
        ------
        OutOfRangeError
            If a row number is negative or not below ``num_rows``.
        """
        index_kind, wide = _wide(index)
        return int(self._handle.prefetch(index_kind.address(wide), math.prod(wide.shape), bool(background)))

    def wait_for_prefetches(self) -> None:
        """Wait until prefetches in the background are done."""
        self._handle.wait_for_prefetches()

    def place(self, counts: Any) -> None:
        """Put the rows with the largest counts into the fast tier, and those that follow into the warm one.

        With ``policy="static"`` they stay there; else it is where the policy begins.

        Parameters
        ----------
        counts : array_like of int
            How often each row was looked up, in a trace of last week for example; shape ``(num_rows,)``. Rows whose
            count is 0 are put nowhere.
        """
        array = np.asarray(counts)
        if array.dtype.kind not in "iu" or array.ndim != 1 or (array.size > 0 and int(array.min()) < 0):
            raise InvalidArgumentError("counts are integers, not negative, in one dimension")
        array = np.ascontiguousarray(array, dtype=np.uint64)
        self._handle.place(_core.address_of(array), array.size)

    def statistics(self) -> TieredStatistics:
        """Return what the tiers did and what they hold."""
        found = self._handle.statistics()
        return TieredStatistics(
            _tier(found.fast),
            _tier(found.warm),
            _tier(found.cold),
            found.num_prefetched,
            found.num_prefetch_hits,
            found.num_updated,
            found.num_updated_held,
        )

    def reset_statistics(self) -> None:
        """Set what the tiers did to 0; what they hold stays."""
        self._handle.reset_statistics()

    def close(self) -> None:
        """End the thread and free the memory, once calls that are under way are done.

        Later calls raise InvalidArgumentError, but for `close` itself and `statistics`.
        """
        self._handle.close()

    def __enter__(self) -> TieredTable:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise UnsupportedError("a table in tiers is not pickled: make one in the other process, or let it be forked")


def _wide(index: Index) -> tuple[_kinds.Kind, Any]:
    """Return row numbers as int64, in C order."""
    index = _index.as_array(index)
    kind = _kinds.array_kind(index, "the index")
    index = kind.index(index)
    return kind, index.astype(np.int64, copy=False) if kind is _kinds.NUMPY else index.long()


def _tier(found: _core.TierStatistics) -> TierStatistics:
    return TierStatistics(
        found.num_lookups,
        found.bytes_read,
        found.num_filled,
        found.num_evicted,
        found.num_rows,
        found.max_rows,
        found.bytes,
        None if found.budget_bytes == _UNLIMITED else found.budget_bytes,
    )
