"""`compress`."""

from __future__ import annotations

from typing import Any

from . import _core, _kinds
from ._arguments import count, dtype_named, words
from ._progress import COMPRESS_PASSES, counting
from .errors import InvalidArgumentError, UnsupportedError
from .tensor import Array, CompressedTensor


def compress(
    x: Array,
    *,
    codec: str | None = None,
    packing: str = "slotted",
    objective: str = "storage",
    row_dims: int = 1,
    num_threads: int = 0,
    as_dtype: Any = None,
    progress: bool = False,
) -> CompressedTensor:
    """Compress an array or a tensor in memory.

    Parameters
    ----------
    x : numpy.ndarray or torch.Tensor
        Any shape. What is not in C order, or is on a GPU, is copied first.
    codec : str, optional
        ``"raw"``, ``"ibp"``, ``"window"``, ``"escape"``, ``"sparse"`` or ``"dictionary"``; without one, whichever
        serves the objective best. A tensor that a codec does not make smaller is stored raw.
    packing : str
        ``"slotted"``: rows can be updated and appended. ``"packed"``: smallest, read-only.
    objective : str
        What the choice of a codec makes small: ``"storage"``, ``"transfer"`` of gathers, or ``"speed"`` (time to
        expand).
    row_dims : int
        How many of the last dimensions make a row, the unit of random access.
    num_threads : int
        0 for all processors.
    as_dtype : str or dtype, optional
        What the elements are, where `x` has integers of the same width in their place: ``"bf16"``, ``"f8_e4m3"``.
    progress : bool
        Show a progress bar, with tqdm.

    Returns
    -------
    CompressedTensor
        Results are of the kind of `x`.

    Raises
    ------
    InvalidArgumentError
        If an argument is not as described.
    UnsupportedError
        If the dtype cannot be compressed, or the tensor has no memory that can be read.
    """
    words(codec=codec or "auto", packing=packing, objective=objective)
    kind = _kinds.array_kind(x, "x")
    x = kind.readable(x, "x")
    name = kind.dtype_name(x) if as_dtype is None else dtype_named(as_dtype)
    if _core.dtype_width(name) != x.itemsize:
        raise InvalidArgumentError(f"as_dtype {name} has {_core.dtype_width(name)} bytes, x has dtype {x.dtype}")
    if as_dtype is not None and str(x.dtype).startswith(">"):
        raise UnsupportedError(f"numpy dtype {x.dtype} is big-endian: convert the array first")
    kind.dtype(name)  # fails now rather than in the first gather
    with counting(progress, COMPRESS_PASSES * x.nbytes, "compressing") as counter:
        handle = _core.compress(
            kind.address(x),
            name,
            tuple(x.shape),
            codec,
            packing,
            objective,
            count(row_dims, "row_dims"),
            count(num_threads, "num_threads"),
            counter,
        )
    return CompressedTensor(handle, kind.name)
