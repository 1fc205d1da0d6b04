"""What stands in the brackets of ``t[...]``, as row numbers."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from ._kinds import Shape, kind_of
from .errors import InvalidArgumentError, OutOfRangeError


def as_array(index: Any) -> Any:
    """Return a list, an integer or a range as an array; arrays and tensors as they are."""
    if kind_of(index) is not None:
        return index
    if isinstance(index, tuple):
        raise InvalidArgumentError("an index along several dimensions is not supported: give row numbers")
    array = np.asarray(index)
    return array if array.size > 0 else array.astype(np.int64)  # an empty list is no list of floats


def positions(key: Any, length: int) -> tuple[Any, Shape]:
    """Return what a key picks along the first dimension, as numpy would.

    Parameters
    ----------
    key : int, slice, list, numpy.ndarray or torch.Tensor
        Integers of any shape, negative ones from the end; or a mask, one-dimensional.
    length : int
        Of the first dimension.

    Returns
    -------
    tuple
        An int64 array of one dimension, and the shape that stands for the first dimension in the result.

    Raises
    ------
    OutOfRangeError
        If an integer is below -length or not below length.
    InvalidArgumentError
        If the key is something else, or a mask of another length.
    """
    if isinstance(key, slice):
        picked = range(*key.indices(length))
        return np.arange(picked.start, picked.stop, picked.step, dtype=np.int64), (len(picked),)
    kind = kind_of(key)
    if kind is not None:
        key = kind.readable(key, "the index")
    elif not isinstance(key, list):
        key = integer(key)
    array = np.asarray(key)
    if array.dtype == np.bool_:
        if array.shape != (length,):
            raise InvalidArgumentError(f"a mask of shape {array.shape} does not fit the first dimension, {length}")
        found = np.flatnonzero(array)
        return found, found.shape
    if array.size == 0:
        return np.empty(0, np.int64), array.shape
    if array.dtype.kind not in "iu":
        raise InvalidArgumentError(f"the index has dtype {array.dtype}, not integers or bool")
    place(int(array.min()), length)
    place(int(array.max()), length)
    array = array.astype(np.int64, copy=False)
    return np.where(array < 0, array + length, array).reshape(-1), array.shape


def integer(key: Any) -> int:
    """Return what counts as an integer as one; raise InvalidArgumentError for anything else."""
    try:
        if not isinstance(key, bool):
            return operator.index(key)
    except TypeError:
        pass
    raise InvalidArgumentError(f"an index is an integer, a slice, a list, an array or a mask, not {key!r}")


def place(key: int, length: int) -> int:
    """Return an integer as it counts from the start; raise OutOfRangeError if there is no such place."""
    if not -length <= key < length:
        raise OutOfRangeError(f"index {key} is out of range for a first dimension of {length}")
    return key if key >= 0 else key + length


def rows_at(places: Any, outer: Shape) -> Any:
    """Return the row numbers at places along the first of the dimensions that count rows, shape (places, rows each)."""
    each = math.prod(outer[1:])
    if each == 1:
        return places
    return (places[:, None] * each + np.arange(each, dtype=np.int64)).reshape(-1)
