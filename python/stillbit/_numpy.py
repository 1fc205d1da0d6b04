"""numpy's arrays, as `_kinds.Kind` describes.

numpy lacks bf16 and fp8: ml_dtypes has them, and where it is absent unsigned integers stand for them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from . import _core
from .errors import InvalidArgumentError, UnsupportedError

Shape = tuple[int, ...]

name = "numpy"

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
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
}
# Of the package ml_dtypes.
_EXTENDED_NAMES = {
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
}
NAMES = {**_NAMES, **_EXTENDED_NAMES}

_INT64 = np.dtype(np.int64)
_INT32 = np.dtype(np.int32)

address = _core.address_of
empty = np.empty


def dtype_name(array: Any) -> str:
    found = NAMES.get(array.dtype.name)
    if found is None:
        raise UnsupportedError(f"numpy dtype {array.dtype} is not one that can be compressed")
    if array.dtype.byteorder == ">":
        raise UnsupportedError(f"numpy dtype {array.dtype.str} is big-endian: convert the array first")
    return found


@cache
def dtype(name: str) -> np.dtype[Any]:
    for numpy_name, found in _NAMES.items():
        if found == name:
            return np.dtype(numpy_name)
    extended = next(numpy_name for numpy_name, found in _EXTENDED_NAMES.items() if found == name)
    try:
        import ml_dtypes

        own: np.dtype[Any] = np.dtype(getattr(ml_dtypes, extended))
    except (ImportError, AttributeError):
        own = _stand_in(name)
    return own


def _stand_in(name: str) -> np.dtype[Any]:
    return np.dtype(f"uint{8 * _core.dtype_width(name)}")


def readable(array: Any, what: str) -> Any:
    if isinstance(array, np.ma.MaskedArray):
        raise UnsupportedError(f"{what} is a masked array: fill it first")
    return np.require(array, requirements=["C", "A"])


def is_dtype(array: Any, name: str) -> bool:
    if array.dtype == dtype(name):
        return True
    return name in _EXTENDED_NAMES.values() and array.dtype == _stand_in(name)


def check_out(out: Any, shape: Shape, dtype: Any, name: str) -> None:
    if out.dtype == dtype and out.shape == shape and out.flags.carray:
        return
    if not is_dtype(out, name):
        raise InvalidArgumentError(f"out has dtype {out.dtype}, the rows have {dtype}")
    if out.shape != shape:
        raise InvalidArgumentError(f"out has shape {out.shape}, the result has {shape}")
    if not out.flags.writeable:
        raise InvalidArgumentError("out is read-only")
    if not out.flags.carray:
        raise InvalidArgumentError("out is not contiguous in C order, or not aligned")


def index(index: Any) -> Any:
    if (index.dtype == _INT64 or index.dtype == _INT32) and index.flags.c_contiguous and index.flags.aligned:
        return index
    if index.dtype.kind not in "iu":
        raise InvalidArgumentError(f"the index has dtype {index.dtype}, not integers")
    if index.dtype.kind == "u" and index.size > 0 and int(index.max()) > np.iinfo(np.int64).max:
        raise InvalidArgumentError(f"the index holds {int(index.max())}, which is no row")
    return np.require(index, dtype=np.int64, requirements=["C", "A"])


def is_on_gpu(array: Any) -> bool:
    return False


def index_bytes(index: Any) -> int:
    return index.itemsize  # type: ignore[no-any-return]


def stride(array: Any) -> int:
    return array.strides[0]  # type: ignore[no-any-return]


def written(out: Any) -> None:
    """Nothing: numpy keeps no record."""
