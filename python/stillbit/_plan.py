"""`Plan` and `plan`: how rows are going to be stored, decided once for many tensors."""

from __future__ import annotations

import math
from typing import Any

from . import _core, _kinds
from ._arguments import count, dtype_named, words
from ._kinds import Kind, Shape
from ._statistics import BitStatistics
from .errors import InvalidArgumentError, UnsupportedError

Array = Any  # numpy.ndarray or torch.Tensor


class Plan:
    """How rows are going to be stored: the codec with its masks and tables, and where rows lie.

    Made by `plan`; followed by `compress`, `compress_file` and `compress_to_file`, which take it as ``plan=``. Chunks
    of a table, or shards of it in other processes, are then all stored in the same way, without planning again. What
    follows a plan is lossless whatever it says: a row that breaks it is stored raw, and so is a tensor that it
    would make larger. Immutable; can be pickled, and printed: it says why it is what it is.
    """

    __slots__ = ("_core",)

    def __init__(self, core: _core.Plan) -> None:
        self._core = core

    @property
    def codec(self) -> str:
        """How bits are coded: ``"raw"`` where nothing makes the rows smaller."""
        return self._core.codec

    @property
    def packing(self) -> str:
        """``"slotted"`` or ``"packed"``."""
        return self._core.packing

    @property
    def objective(self) -> str:
        """What was made small: ``"storage"``, ``"transfer"``, ``"speed"`` or ``"smallest"``."""
        return self._core.objective

    @property
    def dtype_name(self) -> str:
        """Of the rows, as in safetensors files: ``"BF16"``."""
        return self._core.dtype

    @property
    def row_shape(self) -> Shape:
        """Of one row."""
        return tuple(self._core.row_shape)

    @property
    def num_rows(self) -> int:
        """Rows of the tensor that it was made and priced for."""
        return self._core.num_rows

    @property
    def prices(self) -> dict[str, int]:
        """Bytes that each codec that was considered would take for that many rows; empty where there are none."""
        return dict(self._core.prices)

    @property
    def ratio(self) -> float:
        """Raw bytes over the price of the codec: an estimate, exact for small tensors."""
        raw = self._core.row_bytes * self.num_rows
        price = self.prices.get(self.codec, raw)
        return raw / price if price else 1.0

    @property
    def stride(self) -> int | None:
        """Bytes of a slot; None when packed."""
        return self._core.stride if self.packing == "slotted" else None

    @property
    def tile_nbytes(self) -> int:
        """Bytes that are encoded as one: of a row, of several short ones, or of a part of a long one."""
        return self._core.tile_bytes

    @property
    def tables_nbytes(self) -> int:
        """Bytes of the codec's masks and tables, which every tensor that follows the plan stores once."""
        return self._core.plan_bytes

    def to_json(self) -> str:
        """Return the plan as text, to be kept in a file or sent elsewhere."""
        return self._core.to_json()

    @staticmethod
    def from_json(text: str) -> Plan:
        """Return the plan that `to_json` wrote.

        Raises
        ------
        CorruptError
            If the text is none of these.
        """
        if not isinstance(text, str):
            raise InvalidArgumentError(f"a plan's text is a str, not {type(text).__name__}")
        return Plan(_core.Plan.from_json(text))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan.from_json, (self.to_json(),)

    def __repr__(self) -> str:
        return (
            f"Plan(row_shape={self.row_shape}, dtype={self.dtype_name}, codec={self.codec}, packing={self.packing}, "
            f"ratio={self.ratio:.2f})"
        )

    def __str__(self) -> str:
        row_bytes = self._core.row_bytes
        lines = [
            f"{self.codec}, {self.packing}: {self.dtype_name} rows of shape {self.row_shape}, {row_bytes:,} bytes each",
            f"priced for {self.num_rows:,} rows, objective {self.objective}; codecs that are not listed were not asked "
            "for, or make no row smaller",
        ]
        raw = row_bytes * self.num_rows
        for codec, price in sorted(self.prices.items(), key=lambda item: item[1]):
            mark = "*" if codec == self.codec else " "
            lines.append(f"{mark} {codec:<10} {price:>20,} bytes  {raw / price if price else 1.0:8.3f}")
        if self.stride is not None:
            lines.append(f"slots of {self.stride:,} bytes; what does not fit goes to an overflow area")
        elif self.codec != "raw" and self.tile_nbytes > row_bytes:
            lines.append(f"{self.tile_nbytes // row_bytes:,} rows are encoded together")
        elif self.codec != "raw" and self.tile_nbytes < row_bytes:
            lines.append(f"rows are encoded in parts of {self.tile_nbytes:,} bytes")
        if self._core.stores_repeats_once:
            lines.append("rows that repeat an earlier one are stored once")
        if self.codec != "raw":
            lines.append(f"masks and tables of {self.tables_nbytes:,} bytes")
        return "\n".join(lines)


def named_input(x: Array, as_dtype: Any, what: str) -> tuple[Kind, Array, str]:
    """Return an array's kind, the array as it can be read in C order, and the name of its dtype."""
    kind = _kinds.array_kind(x, what)
    x = kind.readable(x, what)
    name = kind.dtype_name(x) if as_dtype is None else dtype_named(as_dtype)
    if _core.dtype_width(name) != x.itemsize:
        raise InvalidArgumentError(f"as_dtype {name} has {_core.dtype_width(name)} bytes, {what} has dtype {x.dtype}")
    if as_dtype is not None and str(x.dtype).startswith(">"):
        raise UnsupportedError(f"numpy dtype {x.dtype} is big-endian: convert the array first")
    return kind, x, name


def core_plan(
    plan: Plan | None, default_packing: str | None, codec: Any, packing: str | None, objective: str, row_dims: int
) -> Any:
    """Return what the library takes for a plan; raise InvalidArgumentError for options that are the plan's to say."""
    if plan is None:
        return None
    if not isinstance(plan, Plan):
        raise InvalidArgumentError(f"plan is a {type(plan).__name__}, not a Plan: stillbit.plan makes one")
    if codec is not None or (packing, objective, row_dims) != (default_packing, "storage", 1):
        raise InvalidArgumentError("a plan says codec, packing, objective and row_dims: give these to stillbit.plan")
    return plan._core


def plan(
    x: Array,
    *,
    codec: str | None = None,
    packing: str | None = None,
    objective: str = "storage",
    row_dims: int = 1,
    num_rows: int | None = None,
    statistics: BitStatistics | None = None,
    num_threads: int = 0,
    as_dtype: Any = None,
) -> Plan:
    """Decide how rows are going to be stored, without storing any.

    Parameters
    ----------
    x : numpy.ndarray or torch.Tensor
        The tensor, or a sample of its rows: a few MiB, from everywhere in it.
    codec, packing, objective, row_dims, num_threads, as_dtype
        As in `compress`.
    num_rows : int, optional
        Rows of the whole, where `x` is a sample. Masks and tables are weighed against that many rows.
    statistics : BitStatistics, optional
        Of all rows. Only they can say which bits never deviate, by which codec ``"ibp"`` leaves bits out; without them
        the sample is believed, and rows that break that belief are stored raw.

    Returns
    -------
    Plan

    Raises
    ------
    InvalidArgumentError
        If an argument is not as described, or the statistics are of other rows.
    UnsupportedError
        If the dtype cannot be compressed, or the array is not on the CPU.
    """
    words(codec=codec or "auto", packing=packing or "auto", objective=objective)
    kind, x, name = named_input(x, as_dtype, "x")
    row_dims = count(row_dims, "row_dims")
    counts = None
    if statistics is not None:
        if not isinstance(statistics, BitStatistics):
            raise InvalidArgumentError(f"statistics is a {type(statistics).__name__}, not BitStatistics")
        row_shape = tuple(x.shape)[max(len(x.shape) - row_dims, 0) :]
        counts = statistics._of_rows(name, row_shape)
        num_rows = statistics.num_rows if num_rows is None else num_rows
    if num_rows is not None and (not isinstance(num_rows, int) or num_rows < math.prod(x.shape[: x.ndim - row_dims])):
        raise InvalidArgumentError(f"num_rows is {num_rows!r}: it counts all rows, those of x among them")
    return Plan(
        _core.plan(
            kind.address(x),
            name,
            tuple(x.shape),
            codec,
            packing,
            objective,
            row_dims,
            count(num_threads, "num_threads"),
            num_rows,
            counts,
        )
    )
