"""Arguments that several functions take, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _core, _numpy
from .errors import InvalidArgumentError

_MAX_COUNT = 2**31 - 1


def dtype_named(dtype: Any) -> str:
    """Return the name in safetensors files ("BF16") of "bf16", "bfloat16", torch.bfloat16 or a numpy dtype."""
    text = dtype if isinstance(dtype, str) else getattr(dtype, "name", getattr(dtype, "__name__", str(dtype)))
    text = text[len("torch.") :] if text.startswith("torch.") else text
    text = _numpy.NAMES.get(text, text)
    _core.dtype_width(text)
    return text.upper()


def count(value: Any, what: str) -> int:
    """Return an integer that is not negative."""
    if isinstance(value, (int, np.integer)) and 0 <= value <= _MAX_COUNT:
        return int(value)
    raise InvalidArgumentError(f"{what} is an integer from 0 to {_MAX_COUNT}, not {value!r}")


def byte_count(value: Any, what: str) -> int:
    """Return a number of bytes."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 0 <= value < 2**63:
        return int(value)
    raise InvalidArgumentError(f"{what} is a number of bytes, not {value!r}")


def notes(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return what is to be kept in a file."""
    result = dict(metadata or {})
    for key, value in result.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidArgumentError(f"metadata[{key!r}] is not text")
    return result


def words(**options: Any) -> None:
    """Raise InvalidArgumentError for an option that is not text; the library knows which texts there are."""
    for what, value in options.items():
        if not isinstance(value, str):
            raise InvalidArgumentError(f"{what} is a word, not {value!r}")
