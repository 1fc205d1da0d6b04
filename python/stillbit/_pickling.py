"""How tensors travel to other processes.

A mapped tensor is its path and name. One in memory is a copy, as the bytes of a file, except on the way to a process
that is being started: there it is memory that both processes map.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _core
from .errors import MismatchError

if TYPE_CHECKING:
    from .tensor import CompressedTensor

_OUT_OF_BAND = 5  # the pickle protocol that has buffers


class Image:
    """A tensor as a file in memory without a name (memfd): the system frees it with its last user, however that ends.

    Parameters
    ----------
    descriptor : int
        Closed with this object.
    changes : int
        How often the tensor had been changed when the image was made.
    """

    def __init__(self, descriptor: int, changes: int) -> None:
        self.descriptor = descriptor
        self.changes = changes
        weakref.finalize(self, os.close, descriptor)


def reduce(tensor: CompressedTensor, protocol: int) -> tuple[Any, ...]:
    """Return what ``__reduce_ex__`` returns."""
    if tensor._source is not None:
        expected = (tensor.shape, tensor.dtype_name, tensor.nbytes)
        return _map_again, (*tensor._source, expected, tensor.like)
    if _is_starting_a_process() and hasattr(os, "memfd_create"):
        from multiprocessing.reduction import DupFd

        return _map_shared, (DupFd(_image_of(tensor).descriptor), tensor.like)
    data = to_bytes(tensor)
    return from_bytes, (pickle.PickleBuffer(data) if protocol >= _OUT_OF_BAND else data, tensor.like)


def _is_starting_a_process() -> bool:
    """Say whether this thread pickles what a new process gets: then descriptors can go with it."""
    context = sys.modules.get("multiprocessing.context")
    return context is not None and context.get_spawning_popen() is not None


def _image_of(tensor: CompressedTensor) -> Image:
    """Return the tensor's image, the same for every process that is started until the tensor changes."""
    changes = tensor._changes
    image = tensor._image
    if image is None or image.changes != changes:
        image = Image(os.memfd_create("stillbit", os.MFD_CLOEXEC), changes)
        _core.save_shared(image.descriptor, tensor._handle)
        tensor._image = image
    return image


def _map_shared(descriptor: Any, like: str) -> CompressedTensor:
    from .tensor import CompressedTensor

    image = Image(descriptor.detach(), 0)
    os.set_inheritable(image.descriptor, False)
    tensor = CompressedTensor(_core.map_shared(image.descriptor), like)
    tensor._image = image  # for processes that this one starts
    return tensor


def _map_again(path: str, name: str, expected: tuple[Any, ...], like: str) -> CompressedTensor:
    from .tensor import CompressedTensor

    handles = dict(_core.load(path, True))
    tensor = CompressedTensor(handles[name], like, (path, name)) if name in handles else None
    if tensor is None or (tensor.shape, tensor.dtype_name, tensor.nbytes) != expected:
        raise MismatchError(f'{path}: tensor "{name}" is not the one that was pickled')
    return tensor


def to_bytes(tensor: CompressedTensor) -> bytes:
    """Return a tensor as the bytes of a file."""
    with tempfile.TemporaryDirectory(prefix="stillbit-") as folder:
        path = Path(folder) / "tensor.safetensors"
        _core.save(path, [("", tensor._handle)], {}, 0)
        return path.read_bytes()


def from_bytes(data: Any, like: str) -> CompressedTensor:
    """Return the tensor that `to_bytes` wrote, checksums checked; it can be changed where the original could."""
    from .tensor import CompressedTensor

    with tempfile.TemporaryDirectory(prefix="stillbit-") as folder:
        path = Path(folder) / "tensor.safetensors"
        path.write_bytes(data)
        ((_, handle),) = _core.load(path, False)
    return CompressedTensor(handle, like)
