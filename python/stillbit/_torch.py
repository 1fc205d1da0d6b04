"""torch's tensors, as `_kinds.Kind` describes."""

from __future__ import annotations

from typing import Any

import torch

from .errors import InvalidArgumentError, UnsupportedError

Shape = tuple[int, ...]

name = "torch"

# Some are younger than others.
_NAMES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
}
_NAME_OF = {getattr(torch, own): found for own, found in _NAMES.items() if hasattr(torch, own)}
_DTYPE_OF = {found: own for own, found in _NAME_OF.items()}

_strided = torch.strided
_int64 = torch.int64
_int32 = torch.int32
_mark_written = torch.autograd.graph.increment_version


def dtype_name(array: Any) -> str:
    found = _NAME_OF.get(array.dtype)
    if found is None:
        raise UnsupportedError(f"{array.dtype} is not a dtype that can be compressed")
    return found


def dtype(name: str) -> torch.dtype:
    if name not in _DTYPE_OF:
        raise UnsupportedError(f"torch {torch.__version__} has no dtype for {name}")
    return _DTYPE_OF[name]


def _check_place(array: Any, what: str) -> None:
    if array.layout is not _strided:
        raise UnsupportedError(f"{what} has the layout {array.layout}, not torch.strided")
    if not array.is_cpu:
        raise UnsupportedError(f"{what} is on the device {array.device}, not on the CPU")


def readable(array: Any, what: str) -> Any:
    if array.is_cuda:
        array = array.cpu()
    _check_place(array, what)
    return array.detach().resolve_conj().resolve_neg().contiguous()


def is_dtype(array: Any, name: str) -> bool:
    return _NAME_OF.get(array.dtype) == name


def address(array: Any) -> int:
    return array.data_ptr()  # type: ignore[no-any-return]


def empty(shape: Shape, dtype: Any) -> Any:
    return torch.empty(shape, dtype=dtype, device="cpu")  # whatever the default device is


def check_out(out: Any, shape: Shape, dtype: Any, name: str) -> None:
    _check_place(out, "out")
    check_out_of(out, shape, dtype)


def check_out_of(out: Any, shape: Shape, dtype: Any) -> None:
    """Check all of an `out` but where it is."""
    if out.dtype != dtype:
        raise InvalidArgumentError(f"out has dtype {out.dtype}, the rows have {dtype}")
    if out.shape != shape:
        raise InvalidArgumentError(f"out has shape {tuple(out.shape)}, the result has {shape}")
    if not out.is_contiguous() or out.is_neg() or out.is_conj():
        raise InvalidArgumentError("out is not contiguous in C order, or a conjugated or negated view")
    if out.requires_grad:
        raise InvalidArgumentError("out requires a gradient, and what Stillbit does is not differentiable")


def index(index: Any) -> Any:
    _check_place(index, "the index")
    if index.dtype is _int64 or index.dtype is _int32:
        return index.contiguous()
    if index.dtype is torch.bool or index.dtype.is_floating_point or index.dtype.is_complex:
        raise InvalidArgumentError(f"the index has dtype {index.dtype}, not integers")
    if _NAME_OF.get(index.dtype) == "U64":
        raise InvalidArgumentError("the index has dtype torch.uint64: make it torch.int64")
    return index.to(_int64).contiguous()


def is_on_gpu(array: Any) -> bool:
    return array.is_cuda  # type: ignore[no-any-return]


def index_bytes(index: Any) -> int:
    return 8 if index.dtype is _int64 else 4


def stride(array: Any) -> int:
    return array.stride(0) * array.element_size()  # type: ignore[no-any-return]


def written(out: Any) -> None:
    _mark_written(out)
