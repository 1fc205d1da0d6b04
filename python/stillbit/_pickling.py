"""How tensors travel to other processes: mapped ones as path and name, others as the bytes of a file."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _core
from .errors import MismatchError

if TYPE_CHECKING:
    from .tensor import CompressedTensor

_OUT_OF_BAND = 5  # the pickle protocol that has buffers


def reduce(tensor: CompressedTensor, protocol: int) -> tuple[Any, ...]:
    """Return what ``__reduce_ex__`` returns."""
    if tensor._source is not None:
        expected = (tensor.shape, tensor.dtype_name, tensor.nbytes)
        return _map_again, (*tensor._source, expected, tensor.like)
    with tempfile.TemporaryDirectory(prefix="stillbit-") as folder:
        path = Path(folder) / "tensor.safetensors"
        _core.save(path, [("", tensor._handle)], {}, 0)
        data = path.read_bytes()
    return _from_bytes, (pickle.PickleBuffer(data) if protocol >= _OUT_OF_BAND else data, tensor.like)


def _map_again(path: str, name: str, expected: tuple[Any, ...], like: str) -> CompressedTensor:
    from .tensor import CompressedTensor

    handles = dict(_core.load(path, True))
    tensor = CompressedTensor(handles[name], like, (path, name)) if name in handles else None
    if tensor is None or (tensor.shape, tensor.dtype_name, tensor.nbytes) != expected:
        raise MismatchError(f'{path}: tensor "{name}" is not the one that was pickled')
    return tensor


def _from_bytes(data: Any, like: str) -> CompressedTensor:
    from .tensor import CompressedTensor

    with tempfile.TemporaryDirectory(prefix="stillbit-") as folder:
        path = Path(folder) / "tensor.safetensors"
        path.write_bytes(data)
        ((_, handle),) = _core.load(path, False)
    return CompressedTensor(handle, like)
