"""`compress`."""

from __future__ import annotations

from typing import Any

from . import _core
from ._arguments import count, words
from ._plan import Plan, core_plan, named_input
from ._progress import COMPRESS_PASSES, counting
from ._rows import Array
from .tensor import CompressedTensor


def compress(
    x: Array,
    *,
    codec: str | None = None,
    packing: str | None = None,
    objective: str = "storage",
    row_dims: int = 1,
    num_threads: int = 0,
    as_dtype: Any = None,
    plan: Plan | None = None,
    progress: bool = False,
) -> CompressedTensor:
    """Compress an array or a tensor in memory.

    Parameters
    ----------
    x : numpy.ndarray or torch.Tensor
        Any shape. What is not in C order, or is on a GPU, is copied first.
    codec : str, optional
        ``"raw"``, ``"ibp"``, ``"window"``, ``"escape"``, ``"sparse"``, ``"dictionary"`` or ``"rans"``; without one,
        whichever serves the objective best. A tensor that a codec does not make smaller is stored raw.
    packing : str, optional
        ``"slotted"``: rows can be updated and appended. ``"packed"``: smallest, read-only. Without one slotted, unless
        that takes more than 6 % more than packed rows of 256 bytes and more would: sparse rows, mostly, and
        repeated ones, which packed are stored once. Say ``"slotted"`` if rows are to change.
    objective : str
        What the choice of a codec makes small: ``"storage"``, ``"transfer"`` of gathers, ``"speed"`` (time to
        expand), or ``"smallest"``: storage where no rows are gathered, as in files at rest, with ``packing="packed"``.
    row_dims : int
        How many of the last dimensions make a row, the unit of random access.
    num_threads : int
        0 for all processors.
    as_dtype : str or dtype, optional
        What the elements are, where `x` has integers of the same width in their place: ``"bf16"``, ``"f8_e4m3"``.
    plan : Plan, optional
        What `plan` made of this tensor or of one with such rows. It says codec, packing, objective and row_dims.
    progress : bool
        Show a progress bar, with tqdm.

    Returns
    -------
    CompressedTensor
        Results are of the kind of `x`.

    Raises
    ------
    InvalidArgumentError
        If an argument is not as described, or the plan is for other rows.
    UnsupportedError
        If the dtype cannot be compressed, or the tensor has no memory that can be read.
    """
    words(codec=codec or "auto", packing=packing or "auto", objective=objective)
    core = core_plan(plan, None, codec, packing, objective, row_dims)
    kind, x, name = named_input(x, as_dtype, "x")
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
            core,
        )
    return CompressedTensor(handle, kind.name)
