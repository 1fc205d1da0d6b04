"""The tables that are compressed: a folder of ``.npy`` files, or tables made here."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Table:
    """Rows of one dtype, and what the elements are where the dtype cannot say it.

    ``rows`` has two dimensions: (rows, columns).
    """

    rows: np.ndarray
    elements: str  # as in safetensors: F32, F16, BF16, F8_E4M3


def from_folder(folder: Path) -> dict[str, list[Table]]:
    """Return the tables of a folder by name; ``name__00.npy``, ``name__01.npy`` … are parts of one model.

    ``uint16`` is BF16 and ``uint8`` is fp8, as in ``bench/ratios.py``.
    """
    groups: dict[str, list[Table]] = defaultdict(list)
    elements = {"float32": "F32", "float16": "F16", "uint16": "BF16", "uint8": "F8_E4M3"}
    for path in sorted(folder.glob("*.npy")):
        array = np.load(path)
        groups[path.stem.split("__")[0]].append(Table(array.reshape(-1, array.shape[-1]), elements[str(array.dtype)]))
    return groups


def made_up(num_bytes: int) -> dict[str, list[Table]]:
    """Return tables of ``num_bytes`` bytes: weights of two dtypes, and a bag of words."""
    generator = np.random.default_rng(1)

    def weights(columns: int, itemsize: int) -> np.ndarray:
        num_rows = num_bytes // (columns * itemsize)
        # Every column has a scale of its own, as layers of a trained model have.
        scales = np.exp(generator.normal(-3, 0.3, columns)).astype(np.float32)
        return generator.standard_normal((num_rows, columns), np.float32) * scales

    words = (generator.random((num_bytes // (1024 * 4), 1024), np.float32) < 0.02).astype(np.float32)
    return {
        "bf16 weights, 512 B": [Table((weights(256, 2).view(np.uint32) >> 16).astype(np.uint16), "BF16")],
        "bf16 weights, 128 B": [Table((weights(64, 2).view(np.uint32) >> 16).astype(np.uint16), "BF16")],
        "f32 weights, 1 KiB": [Table(weights(256, 4), "F32")],
        "bag of words, f32, 4 KiB": [Table(words, "F32")],
    }
