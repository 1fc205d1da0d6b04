"""Compressed checkpoints of language models: whole state dicts, expanded straight to where they are going to be."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._arguments import count
from .._kinds import torch_kind
from .._sharded import INDEX_SUFFIX, ShardedTensor
from ..errors import CorruptError, Error, InvalidArgumentError, MismatchError
from ..files import PathLike, load_file
from ..tensor import CompressedTensor

__all__ = ["checkpoint_path", "load", "load_into", "open_checkpoint"]

_SMALL_NBYTES = 1 << 20  # threads that expand smaller tensors wait longer for Python's lock than they work

METHOD = "stillbit"  # in a config.json, of quantization_config


def load(path: PathLike, *, device: Any = "cpu", num_threads: int = 0, verify: bool = True) -> dict[str, Tensor]:
    """Load a compressed checkpoint: the state dict of what was compressed, to the last bit.

    Parameters
    ----------
    path : str or os.PathLike
        The folder of a model, as ``stillbit compress FOLDER -o …`` writes it; or a compressed .safetensors file, or the
        index of several.
    device : str or torch.device
        Where the tensors shall be. A GPU expands them itself.
    num_threads : int
        0 for all processors.
    verify : bool
        Compare the checksum of every tensor; of those that a GPU expands, that of what is stored.

    Returns
    -------
    dict of str to torch.Tensor
        In the order of the files. Each has memory of its own, also those that are stored once since they are equal.

    Raises
    ------
    IoError, CorruptError, InvalidArgumentError
        Naming the file and the tensor: a shard that is missing, a file that is truncated, corrupted or not compressed.
    """
    place = torch.device(device)
    jobs = [
        (name, tensor, torch.empty(tensor.shape, dtype=torch_kind().dtype(tensor.dtype_name), device=place))
        for name, tensor in open_checkpoint(path).items()
    ]
    _expand_all(path, jobs, count(num_threads, "num_threads"), verify)
    return {name: out for name, _, out in jobs}


def load_into(model: nn.Module, path: PathLike, *, num_threads: int = 0, verify: bool = True) -> None:
    """Load a compressed checkpoint into the memory that a model's parameters and buffers have.

    The checkpoint has the names of ``model.state_dict()``; of tied weights one is enough. (What transformers stores
    under other names than its modules have, experts for example, `from_pretrained` puts together.)

    Parameters
    ----------
    model : torch.nn.Module
        Its parameters and buffers are on the CPU or on a GPU.
    path, num_threads, verify
        As in `load`.

    Raises
    ------
    MismatchError
        If a tensor is missing, or is not in the model, or has another shape or dtype there: it is named. The model has
        not changed then.
    IoError, CorruptError, InvalidArgumentError
        As `load`; the model's weights then hold anything.
    """
    tensors = open_checkpoint(path)
    state = model.state_dict()
    jobs = []
    for name, tensor in tensors.items():
        out = state.get(name)
        if out is None:
            raise MismatchError(f"{path}: tensor {name!r} is not in the model")
        _check_fits(path, name, tensor, out)
        jobs.append((name, tensor, out))
    loaded = {state[name].data_ptr() for name in tensors}
    missing = [name for name in state if name not in tensors and state[name].data_ptr() not in loaded]
    if missing:
        raise MismatchError(
            f"{path}: tensor {missing[0]!r} of the model is not there, nor are {len(missing) - 1} others"
        )
    _expand_all(path, jobs, count(num_threads, "num_threads"), verify)


def checkpoint_path(path: PathLike) -> Path:
    """Return the file or index that a model's folder has its weights in; a path that is no folder as it is.

    Raises
    ------
    InvalidArgumentError
        If there is none, or there are several.
    """
    folder = Path(path)
    if not folder.is_dir():
        return folder
    for name in ("model.safetensors", "model" + INDEX_SUFFIX):
        if (folder / name).is_file():
            return folder / name
    chosen = sorted(folder.glob("*" + INDEX_SUFFIX)) or sorted(folder.glob("*.safetensors"))
    if len(chosen) == 1:
        return chosen[0]
    what = "no .safetensors file" if not chosen else f"several: {', '.join(found.name for found in chosen)}"
    raise InvalidArgumentError(f"{folder}: a folder with the weights of one model was wanted, and this one has {what}")


def open_checkpoint(path: PathLike) -> dict[str, CompressedTensor | ShardedTensor]:
    """Map a compressed checkpoint, as `load_file`; `path` may be a model's folder.

    Raises
    ------
    IoError, CorruptError, InvalidArgumentError
        If it cannot be read, breaks the format, or is not compressed.
    """
    file = checkpoint_path(path)
    try:
        return load_file(file, like="torch")
    except InvalidArgumentError as error:
        if says_compressed(file.parent):
            raise CorruptError(
                f"{file.parent / 'config.json'}: says that the weights are compressed by stillbit, but {error}"
            ) from None
        raise


def says_compressed(folder: Path) -> bool:
    """Say whether a config.json says that the weights beside it are compressed."""
    try:
        entry = json.loads((folder / "config.json").read_text()).get("quantization_config")
    except (OSError, ValueError, AttributeError):
        return False
    return isinstance(entry, dict) and entry.get("quant_method") == METHOD


def expand(tensor: CompressedTensor | ShardedTensor, out: Tensor, num_threads: int, verify: bool) -> None:
    """Expand a tensor into memory of its shape and dtype, on the CPU or on a GPU."""
    if isinstance(tensor, ShardedTensor):
        begin = 0
        for part in tensor.parts:
            expand(part, out[begin : begin + len(part)], num_threads, verify)
            begin += len(part)
    elif out.is_cuda:
        if verify:
            tensor._handle.verify_stored(num_threads)
        # A mapped file's pages are pinned where they are, and crossed by the copy engine while the GPU expands.
        table = tensor.cuda(out.device, "pinned" if tensor._source is None else "in_place")
        table.decompress(out)
        table.check()
    else:
        tensor.decompress(out, num_threads=num_threads, verify=verify)


def expanded(file: Path, name: str, tensor: CompressedTensor | ShardedTensor, device: torch.device) -> Tensor:
    """Return a tensor of a file, expanded where it is going to be, by all processors or a GPU; checksums compared."""
    out = torch.empty(tensor.shape, dtype=torch_kind().dtype(tensor.dtype_name), device=device)
    with _named(file, name, tensor):
        expand(tensor, out, 0, True)
    return out


Job = tuple[str, Any, Tensor]


def _check_fits(path: PathLike, name: str, tensor: Any, out: Tensor) -> None:
    wanted = (tuple(tensor.shape), torch_kind().dtype(tensor.dtype_name))
    if (tuple(out.shape), out.dtype) != wanted:
        raise MismatchError(
            f"{path}: tensor {name!r} is {wanted[1]} of shape {wanted[0]}, the model's is {out.dtype} of shape "
            f"{tuple(out.shape)}"
        )
    if out.device.type not in ("cpu", "cuda") or not out.is_contiguous():
        raise MismatchError(
            f"{path}: tensor {name!r} cannot be written to the model's, which is on the device {out.device}"
            f"{'' if out.is_contiguous() else ' and not contiguous'}"
        )


def _expand_all(path: PathLike, jobs: Iterable[Job], num_threads: int, verify: bool) -> None:
    """Expand tensors on threads: a tensor each, but those that would keep one busy when the others have done."""
    threads = num_threads or _num_processors()
    ordered = sorted(jobs, key=lambda job: job[2].nbytes, reverse=True)
    total = sum(out.nbytes for _, _, out in ordered)
    # One that is a fair part of all goes to all threads.
    is_large = [threads > 1 and out.nbytes * 2 * threads > total for _, _, out in ordered]
    file = checkpoint_path(path)

    def run(job: Job, job_threads: int) -> None:
        name, tensor, out = job
        with _named(file, name, tensor):
            expand(tensor, out, job_threads, verify)

    for job, large in zip(ordered, is_large):
        if large:
            run(job, threads)
    rest = [job for job, large in zip(ordered, is_large) if not large]
    _each([job for job in rest if job[2].nbytes >= _SMALL_NBYTES], threads, lambda job: run(job, 1))
    for job in rest:
        if job[2].nbytes < _SMALL_NBYTES:
            run(job, 1)


def _each(jobs: list[Job], threads: int, run: Callable[[Job], None]) -> None:
    if threads == 1 or len(jobs) < 2 or any(out.is_cuda for _, _, out in jobs):
        for job in jobs:
            run(job)
        return
    with ThreadPoolExecutor(threads, "stillbit-load") as pool:
        futures = [pool.submit(run, job) for job in jobs]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextlib.contextmanager
def _named(file: Path, name: str, tensor: CompressedTensor | ShardedTensor) -> Iterator[None]:
    """Put the file, of an index the shard, and the tensor before an error."""
    try:
        yield
    except Error as error:
        source = tensor._source if isinstance(tensor, CompressedTensor) else None
        raise type(error)(f"{source[0] if source else file}: tensor {name!r}: {error}") from None


def _num_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
