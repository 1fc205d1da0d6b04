"""Stillbit: lossless compression of ML tensors, row by row.

>>> import numpy as np, stillbit as sb
>>> table = sb.compress(np.arange(12, dtype=np.float32).reshape(4, 3))
>>> table.gather([3, 0])
array([[ 9., 10., 11.],
       [ 0.,  1.,  2.]], dtype=float32)
"""

from __future__ import annotations

from ._compress import compress
from ._core import FileInfo, TensorInfo, version
from ._plan import Plan, plan
from ._pool import pool
from ._sharded import ShardedTensor
from ._statistics import BitStatistics
from ._stream import compress_to_file
from .errors import (
    CorruptError,
    DeviceError,
    Error,
    InvalidArgumentError,
    IoError,
    MismatchError,
    MissingPackageError,
    OutOfRangeError,
    UnsupportedError,
)
from .files import compress_file, decompress_file, inspect_file, load_arrays, load_file, save_file, verify_file
from .tensor import CompressedTensor
from .tiers import TieredStatistics, TieredTable, TierStatistics

__version__ = version

__all__ = [
    "BitStatistics",
    "CompressedTensor",
    "CorruptError",
    "DeviceError",
    "Error",
    "FileInfo",
    "InvalidArgumentError",
    "IoError",
    "MismatchError",
    "MissingPackageError",
    "OutOfRangeError",
    "Plan",
    "ShardedTensor",
    "TensorInfo",
    "TierStatistics",
    "TieredStatistics",
    "TieredTable",
    "UnsupportedError",
    "__version__",
    "compress",
    "compress_file",
    "compress_to_file",
    "decompress_file",
    "inspect_file",
    "load_arrays",
    "load_file",
    "plan",
    "pool",
    "save_file",
    "verify_file",
]
