"""Compressed checkpoints of language models: whole state dicts, expanded straight to where they are going to be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .._arguments import count
from .._kinds import torch_kind
from .._sharded import INDEX_SUFFIX, ShardedTensor
from .._whole_file import Entry, WholeFile
from ..errors import CorruptError, Error, InvalidArgumentError, MismatchError, UnsupportedError
from ..files import PathLike, load_arrays, load_file
from ..tensor import CompressedTensor

__all__ = ["checkpoint_path", "load", "load_into", "open_checkpoint"]

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
    num_threads = count(num_threads, "num_threads")
    if place.type == "cuda":
        tensors = open_checkpoint(path)
        outs = {name: empty(tensor.dtype_name, tensor.shape, place) for name, tensor in tensors.items()}
        _expand_on_gpus(path, {name: (tensors[name], out) for name, out in outs.items()}, verify)
        return outs
    if place.type != "cpu":
        raise UnsupportedError(f"tensors are expanded on a CPU or a CUDA GPU, not on {place}")
    return opened(path, lambda file: load_arrays(file, like="torch", num_threads=num_threads, verify=verify))


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
    whole = opened(path, WholeFile)
    state = model.state_dict()
    for name, entry in whole.entries.items():
        if name not in state:
            raise MismatchError(f"{path}: tensor {name!r} is not in the model")
        _check_fits(path, name, entry, state[name])
    loaded = {state[name].data_ptr() for name in whole.entries}
    missing = [name for name in state if name not in whole.entries and state[name].data_ptr() not in loaded]
    if missing:
        raise MismatchError(
            f"{path}: tensor {missing[0]!r} of the model is not there, nor are {len(missing) - 1} others"
        )
    outs = {name: state[name] for name in whole.entries}
    for out in outs.values():
        torch_kind().written(out)
    addresses = ((name, out.data_ptr()) for name, out in outs.items() if not out.is_cuda)
    whole.expand(addresses, num_threads=count(num_threads, "num_threads"), verify=bool(verify))
    on_gpus = [name for name, out in outs.items() if out.is_cuda]
    if on_gpus:
        tensors = open_checkpoint(path)
        _expand_on_gpus(path, {name: (tensors[name], outs[name]) for name in on_gpus}, verify)


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
    return opened(path, lambda file: load_file(file, like="torch"))


Opened = TypeVar("Opened")


def opened(path: PathLike, opener: Callable[[Path], Opened]) -> Opened:
    """Open the weights of a folder, or a file; say so where a config promises what is not there."""
    file = checkpoint_path(path)
    try:
        return opener(file)
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


def expand_on_gpu(file: Path, name: str, tensor: CompressedTensor | ShardedTensor, out: Tensor, verify: bool) -> None:
    """Expand a tensor into memory of a GPU's, of its shape and dtype; the checksum is that of what is stored."""
    begin = 0
    for part in tensor.parts if isinstance(tensor, ShardedTensor) else (tensor,):
        try:
            if verify:
                part._handle.verify_stored(0)
            # A mapped file's pages are pinned where they are, and crossed by the copy engine while the GPU expands.
            table = part.cuda(out.device, "pinned" if part._source is None else "in_place")
            table.decompress(out if part is tensor else out[begin : begin + len(part)])
            table.check()
        except Error as error:
            place = file if part._source is None else part._source[0]
            raise type(error)(f"{place}: tensor {name!r}: {error}") from None
        begin += 0 if part is tensor else len(part)


def _expand_on_gpus(path: PathLike, jobs: dict[str, tuple[Any, Tensor]], verify: bool) -> None:
    file = checkpoint_path(path)
    for name, (tensor, out) in jobs.items():
        expand_on_gpu(file, name, tensor, out, verify)


def empty(dtype_name: str, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Return memory for a tensor."""
    return torch.empty(shape, dtype=torch_kind().dtype(dtype_name), device=device)


def _check_fits(path: PathLike, name: str, entry: Entry, out: Tensor) -> None:
    wanted = (entry.shape, torch_kind().dtype(entry.dtype_name))
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
