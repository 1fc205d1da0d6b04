"""What modules look rows up in, and where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from .. import files
from .._compress import compress
from .._kinds import torch_kind
from .._plan import plan
from .._sharded import INDEX_SUFFIX
from ..errors import InvalidArgumentError, MissingPackageError
from ..tensor import CompressedTensor

# A codec that is looked up fast may take so many times the bytes of the smallest one: normally distributed tables of
# bf16 take 1.01 to 1.07 times as many, and rows are pooled two to four times as fast.
FAST_TABLE_BYTES = 1.08
_PLANNED_BY_CALLER = {"codec", "objective", "plan", "packing"}


@runtime_checkable
class Table(Protocol):
    """A matrix whose rows can be read: `CompressedTensor`, `ShardedTensor`, `TieredTable`, or one of your own.

    A table that can be trained also has ``update(index, rows)``, and one that knows a shorter way to expand all of
    itself ``decompress(like="torch")``. Only a `CompressedTensor` goes into a state dict, to a GPU, and is pooled as it
    is expanded.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """``(num_embeddings, embedding_dim)``."""

    @property
    def dtype_name(self) -> str:
        """As in safetensors files: ``"BF16"``."""

    @property
    def nbytes(self) -> int:
        """Bytes of all that is stored."""

    def gather(self, index: Any, out: Any) -> Any:
        """Write rows to `out`, a tensor of shape ``index.shape + shape[1:]``; raise an IndexError for a row too far."""


def torch_dtype(table: Table) -> torch.dtype:
    """Return the dtype of a table's elements."""
    return torch_kind().dtype(table.dtype_name)


def compressed(weight: Any, options: dict[str, Any], *, is_trained: bool = False) -> CompressedTensor:
    """Return a matrix compressed, to be looked up, and slotted if it is to be trained.

    The objective of tables of 16-bit floats is ``"speed"``, where that takes at most `FAST_TABLE_BYTES` times the bytes
    of the smallest codec; other tables' is that of `compress`. Options that say how rows are stored are followed.
    """
    is_planned = not _PLANNED_BY_CALLER.isdisjoint(options)
    if is_trained and options.get("plan") is None:
        options = {"packing": "slotted", **options}
    if is_planned or not _is_half(options.get("as_dtype") or weight.dtype):
        return compress(weight, **options)
    shared = {name: options[name] for name in ("packing", "row_dims", "num_threads", "as_dtype") if name in options}
    fast = plan(weight, objective="speed", **shared)
    most = FAST_TABLE_BYTES * min(fast.prices.values(), default=0)
    is_fast = fast.codec != "raw" and fast.prices.get(fast.codec, most + 1) <= most
    return compress(weight, objective="speed" if is_fast else "storage", **options)


def _is_half(dtype: Any) -> bool:
    return any(word in str(dtype).lower() for word in ("float16", "f16"))


def as_table(source: Any, options: dict[str, Any], *, is_trained: bool = False) -> Table:
    """Return a table as it is, and anything else compressed.

    Parameters
    ----------
    source : Table, torch.Tensor or numpy.ndarray
        A matrix.
    options : dict
        Of `compress`.
    is_trained : bool
        Whether its rows are to change.

    Raises
    ------
    InvalidArgumentError
        If it is no matrix, a row of the table is not a row of the matrix, or a table comes with options.
    """
    if isinstance(source, (Tensor, np.ndarray)):
        if source.ndim != 2:
            raise InvalidArgumentError(f"a table is a matrix, and this has shape {tuple(source.shape)}")
        return compressed(source, options, is_trained=is_trained)
    if not isinstance(source, Table):
        raise InvalidArgumentError(f"a {type(source).__name__} is no table: give a tensor, or what has its rows")
    if options:
        raise InvalidArgumentError(f"{', '.join(options)}: for tensors that are yet to be compressed, not for a table")
    check_rows(source)
    return source


def check_rows(table: Table) -> None:
    """Raise InvalidArgumentError unless the table is a matrix and its rows are a matrix's."""
    if len(table.shape) != 2:
        raise InvalidArgumentError(f"a table is a matrix, and this has shape {tuple(table.shape)}")
    row_dims = getattr(table, "row_dims", 1)
    if row_dims != 1:
        raise InvalidArgumentError(f"the table was compressed with row_dims={row_dims}: compress it with 1")


def from_file(path: Any, name: str, options: dict[str, Any], *, is_trained: bool = False) -> Table:
    """Open a table in a file: map one that is compressed, compress one that is not.

    Parameters
    ----------
    path : str or os.PathLike
        A compressed file or the index of several, an ordinary safetensors file, or a .npy file.
    name : str
        Of the tensor in the file; a .npy file's own has none, and any will do.
    options : dict
        Of `compress`, for files that are not compressed.
    is_trained : bool
        Whether its rows are to change.

    Raises
    ------
    IoError, CorruptError
        If the file cannot be read.
    InvalidArgumentError
        If there is no such tensor.
    """
    if Path(path).suffix == ".npy":
        return as_table(np.load(path, mmap_mode="r"), options, is_trained=is_trained)
    if _is_compressed(path, name):
        return as_table(files.load_file(path, like="torch")[name], options)
    try:
        from safetensors import safe_open
    except ModuleNotFoundError:
        message = f"{path} is not compressed, and safetensors, which reads it, is not installed"
        raise MissingPackageError(message) from None
    with safe_open(path, "pt") as opened:
        return as_table(opened.get_tensor(name), options, is_trained=is_trained)


def _is_compressed(path: Any, name: str) -> bool:
    """Say whether a tensor of a file is compressed; raise InvalidArgumentError if there is none of the name."""
    is_index = str(path).endswith(INDEX_SUFFIX)
    names: dict[str, Any] = (
        dict.fromkeys(files.load_file(path), True)
        if is_index  # its tensors may be in parts
        else {tensor.name: tensor.codec is not None for tensor in files.inspect_file(path).tensors}
    )
    if name not in names:
        raise InvalidArgumentError(f"{path} has no tensor {name!r}, but {', '.join(sorted(names))}")
    return bool(names[name])
