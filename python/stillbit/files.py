"""Compressed files: safetensors files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import _core
from ._arguments import count, dtype_named, notes, words
from ._kinds import kind_named
from ._plan import Plan, core_plan
from ._progress import COMPRESS_PASSES, counting
from ._rows import Array
from ._sharded import INDEX_SUFFIX, ShardedTensor, joined, read_index
from ._whole_file import WholeFile
from .errors import InvalidArgumentError
from .tensor import CompressedTensor

PathLike = Any  # str or os.PathLike


def save_file(
    tensors: Mapping[str, CompressedTensor],
    path: PathLike,
    metadata: Mapping[str, str] | None = None,
    *,
    num_threads: int = 0,
) -> None:
    """Write tensors to a compressed file.

    Parameters
    ----------
    tensors : mapping of str to CompressedTensor
        In the file's order.
    path : str or os.PathLike
        Written whole or not at all: a crash at any moment leaves the old file or the new one.
    metadata : mapping of str to str, optional
        Notes to keep in the file.
    num_threads : int
        0 for all processors.

    Raises
    ------
    IoError
        If the file cannot be written.
    InvalidArgumentError
        If a value is no compressed tensor, or a note no text.
    """
    handles = []
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, CompressedTensor):
            raise InvalidArgumentError(f"tensors[{name!r}] is a {type(tensor).__name__}: compress it first")
        handles.append((name, tensor._handle))
    _core.save(Path(path), handles, notes(metadata), count(num_threads, "num_threads"))


def load_file(path: PathLike, mmap: bool = True, *, like: str = "numpy") -> dict[str, CompressedTensor | ShardedTensor]:
    """Open a compressed file.

    Parameters
    ----------
    path : str or os.PathLike
        Written by `save_file`, `compress_file` or the command; or the index of several such files, a
        .safetensors.index.json, whose tensors may be split over them.
    mmap : bool
        Map the file and read pages when they are touched: the tensors are then read-only, the file must stay as it is
        while they live, and only `CompressedTensor.verify` looks at checksums. Otherwise the file is copied into memory
        and its checksums are checked.
    like : str
        ``"numpy"`` or ``"torch"``: what results are.

    Returns
    -------
    dict of str to CompressedTensor
        A `ShardedTensor` where the rows of a tensor are in several files.

    Raises
    ------
    IoError
        If the file cannot be read.
    CorruptError
        If it breaks the format.
    """
    kind_named(like)
    absolute = os.path.abspath(path)  # noqa: PTH100 -- as it was given, links and all
    handles = dict(_core.load(Path(path), bool(mmap)))
    if not absolute.endswith(INDEX_SUFFIX):
        return {
            name: CompressedTensor(handle, like, (absolute, name) if mmap else None) for name, handle in handles.items()
        }
    parts, shard_of = read_index(Path(path))
    tensors = {}
    for name, handle in handles.items():
        shard = shard_of.get(f"{name}.stillbit")  # tied tensors are found through the index
        file = os.path.join(os.path.dirname(absolute), shard) if shard else absolute  # noqa: PTH118, PTH120 -- as above
        tensors[name] = CompressedTensor(handle, like, (file, name) if mmap else None)
    return joined(Path(path), tensors, parts)


def load_arrays(path: PathLike, *, like: str = "numpy", num_threads: int = 0, verify: bool = True) -> dict[str, Array]:
    """Expand all tensors of a compressed file: what was compressed, by name.

    All of them are expanded in one call, which deals them out to threads, and parts of those that are large: for files
    of many small tensors that is several times as fast as `CompressedTensor.decompress` of each.

    Parameters
    ----------
    path : str or os.PathLike
        As of `load_file`.
    like : str
        ``"numpy"`` or ``"torch"``: what results are.
    num_threads : int
        0 for all processors.
    verify : bool
        Compare the checksum of every tensor.

    Returns
    -------
    dict of str to numpy.ndarray or torch.Tensor
        In the order of the file, tensors that an index has in parts behind the others. Each has memory of its own.

    Raises
    ------
    IoError
        If a file cannot be read.
    CorruptError
        If one breaks the format, or a checksum differs: the message names file and tensor.
    InvalidArgumentError
        If it is not compressed.
    """
    kind = kind_named(like)
    whole = WholeFile(path)
    outs = {name: kind.empty(entry.shape, kind.dtype(entry.dtype_name)) for name, entry in whole.entries.items()}
    addresses = ((name, kind.address(out)) for name, out in outs.items())
    whole.expand(addresses, num_threads=count(num_threads, "num_threads"), verify=bool(verify), are_new=True)
    return outs


def inspect_file(path: PathLike) -> _core.FileInfo:
    """Return what is in a file, compressed or not (.npy, .safetensors or an index of these), or in a model's folder.

    Raises
    ------
    IoError, CorruptError
        If the file cannot be read, or breaks the format.
    """
    return _core.inspect_file(Path(path))


def compress_file(
    input: PathLike,
    output: PathLike,
    *,
    codec: str | None = None,
    packing: str = "packed",
    objective: str = "storage",
    row_dims: int = 1,
    num_threads: int = 0,
    as_dtype: Any = None,
    plan: Plan | None = None,
    progress: bool = False,
) -> _core.FileInfo:
    """Compress a .npy, .safetensors or .safetensors.index.json file, in memory that does not grow with it.

    The folder of a model becomes a folder: every .safetensors file in it is compressed, indices and config.json say so,
    and all other files are copied (docs/llm.md).

    Parameters
    ----------
    input, output : str or os.PathLike
        The output is a .safetensors file, or a folder that does not exist or is empty; written whole or not at all.
    codec, packing, objective, row_dims, num_threads, as_dtype, plan, progress
        As in `compress`, for every tensor; files are packed unless asked otherwise (``packing="auto"`` leaves it open).

    Returns
    -------
    FileInfo
        Of the output.

    Raises
    ------
    IoError, CorruptError, UnsupportedError, InvalidArgumentError
        Naming the file and the tensor.
    """
    words(codec=codec or "auto", packing=packing, objective=objective)
    core = core_plan(plan, "packed", codec, packing, objective, row_dims)
    options = (codec, packing, objective, count(row_dims, "row_dims"), count(num_threads, "num_threads"))
    name = None if as_dtype is None else dtype_named(as_dtype)
    total = COMPRESS_PASSES * _core.total_bytes(Path(input)) if progress else 0
    with counting(progress, total, "compressing") as counter:
        return _core.compress_file(Path(input), Path(output), *options, name, counter, core)


def decompress_file(input: PathLike, output: PathLike, *, num_threads: int = 0, progress: bool = False) -> None:
    """Expand a compressed file into .safetensors, or .npy where it holds one tensor, checking every checksum.

    The folder that `compress_file` made of a model's becomes the model's again.

    Parameters
    ----------
    input, output : str or os.PathLike
        The output is written whole or not at all.
    num_threads, progress
        As in `compress`.

    Raises
    ------
    IoError, CorruptError, InvalidArgumentError
        Naming the file and the tensor.
    """
    total = _core.total_bytes(Path(input)) if progress else 0
    with counting(progress, total, "decompressing") as counter:
        _core.decompress_file(Path(input), Path(output), count(num_threads, "num_threads"), counter)


def verify_file(
    path: PathLike, against: PathLike | None = None, *, num_threads: int = 0, progress: bool = False
) -> None:
    """Check every checksum of a compressed file, and compare it with the original.

    Parameters
    ----------
    path : str or os.PathLike
        The compressed file or folder.
    against : str or os.PathLike, optional
        The file or folder that was compressed: names, shapes, dtypes and all bits must be the same.
    num_threads, progress
        As in `compress`.

    Raises
    ------
    CorruptError, MismatchError
        Naming the tensor and, where there is one, the first element that differs.
    """
    total = _core.total_bytes(Path(path)) if progress else 0
    original = None if against is None else Path(against)
    with counting(progress, total, "verifying") as counter:
        _core.verify_file(Path(path), original, count(num_threads, "num_threads"), counter)
