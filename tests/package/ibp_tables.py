"""Tables for the tests of `stillbit.ibp`, and its row layout written down once more, bit by bit."""

from __future__ import annotations

import numpy as np
import torch

WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(shape: tuple[int, ...], width: int, seed: int = 0) -> torch.Tensor:
    """Integers of `width` bytes, every bit random: all NaN payloads, infinities and denormals of that width."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 256, (*shape, width), dtype=np.uint8)
    return torch.from_numpy(words.reshape(-1).view(f"i{width}").reshape(shape))


def partly_equal(shape: tuple[int, int], width: int = 4, seed: int = 0, share: float = 0.9) -> torch.Tensor:
    """A table in which that share of the elements of a column agree in some bits, others of another column."""
    mask, value = bits((1, shape[1]), width, seed + 1), bits((1, shape[1]), width, seed + 2)
    table = bits(shape, width, seed)
    agreeing = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share
    return torch.where(agreeing, (table & ~mask) | (value & mask), table).contiguous()


def words_of(tensor: torch.Tensor) -> list[int]:
    """Elements as integers that are not negative."""
    width = tensor.element_size()
    return [int(word) & (1 << 8 * width) - 1 for word in tensor.reshape(-1).view(WORDS[width]).tolist()]


def encoded_row(row: torch.Tensor, mask: torch.Tensor, bitval: torch.Tensor) -> bytes:
    """Return a row as the artifact stores it (src/published/spec.md); raw where it does not shrink."""
    width = row.element_size()
    size = 8 * width
    header, stream = "", ""
    for word, m, value in zip(words_of(row), words_of(mask), words_of(bitval), strict=True):
        agrees = word & m == value
        header += "1" if agrees else "0"
        stream += "".join(f"{word:0{size}b}"[i] for i in range(size) if not agrees or f"{m:0{size}b}"[i] == "0")
    header += "0" * (-len(header) % size)
    stream += "0" * (-len(stream) % size)
    stored = b"".join(int(header[i : i + 8][::-1], 2).to_bytes(1, "little") for i in range(0, len(header), 8))
    stored += b"".join(int(stream[i : i + size], 2).to_bytes(width, "little") for i in range(0, len(stream), size))
    raw = row.reshape(-1).view(torch.uint8).numpy().tobytes()
    return stored if len(stored) < len(raw) else raw


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether dtype, shape and every bit are the same."""
    as_bytes = [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (a, b)]
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*as_bytes)


def is_compressed(bitmask: torch.Tensor, num_rows: int) -> list[bool]:
    """Which rows a bitmask says are compressed."""
    return [bool(int(bitmask[row // 32]) >> row % 32 & 1) for row in range(num_rows)]
