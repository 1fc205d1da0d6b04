"""Tables that the tests compress."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import stillbit as sb

DTYPES = ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]
SHAPES = [(), (1,), (0,), (5,), (3, 4), (0, 4), (4, 0), (1, 1), (700, 33), (2, 3, 4), (2, 3, 4, 5)]


def table(shape: tuple[int, ...] = (1000, 16), dtype: str = "f4", seed: int = 0) -> np.ndarray:
    """Random bits in part of every element: every dtype, NaN payloads among them, and compressible."""
    dt = np.dtype(dtype)
    rng = np.random.default_rng(seed)
    if dt.kind == "b":
        return rng.integers(0, 2, shape).astype(dt)
    words = rng.integers(0, 256, (*shape, dt.itemsize), dtype=np.uint8)
    words[..., dt.itemsize // 2 :] //= 32
    return words.view(dt).reshape(shape)


def normal(shape: tuple[int, ...] = (1000, 16), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_same(found: object, wanted: np.ndarray) -> None:
    assert isinstance(found, np.ndarray)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert found.tobytes() == wanted.tobytes()


def compress_mapped(array: np.ndarray, path: object, **options: object) -> sb.CompressedTensor:
    """Through a file that is mapped."""
    sb.save_file({"x": sb.compress(array, **options)}, path)
    return sb.load_file(path)["x"]


def run_python(program: str) -> str:
    """Run a program in a process of its own, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
