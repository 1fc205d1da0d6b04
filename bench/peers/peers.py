"""What people would use otherwise, behind one interface: blocks of bytes in, smaller blocks out.

Every peer is the newest release on PyPI with the settings that its documentation gives for numbers; one thread. A
peer that is not installed is left out, and named.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator


class Peer(Protocol):
    """A compressor of blocks."""

    name: str

    def compress(self, block: np.ndarray) -> bytes:
        """Return a block of rows, compressed; it has the dtype as which the peer compresses best."""

    def decompress(self, data: bytes, out: np.ndarray) -> None:
        """Expand a block into memory that is there, or copy it there where the peer cannot."""


class Zstd:
    """Zstandard at its default level."""

    name = "zstd -3"
    package = "zstandard"

    def __init__(self, module: Any, elements: str) -> None:
        self.encoder, self.decoder = module.ZstdCompressor(level=3), module.ZstdDecompressor()

    def compress(self, block: np.ndarray) -> bytes:
        return bytes(self.encoder.compress(block.data))

    def decompress(self, data: bytes, out: np.ndarray) -> None:
        out.reshape(-1).view(np.uint8)[:] = np.frombuffer(self.decoder.decompress(data), np.uint8)


class Lz4:
    """LZ4, its block format."""

    name = "lz4"
    package = "lz4.block"

    def __init__(self, module: Any, elements: str) -> None:
        self.module = module

    def compress(self, block: np.ndarray) -> bytes:
        return bytes(self.module.compress(block.data, store_size=True))

    def decompress(self, data: bytes, out: np.ndarray) -> None:
        out.reshape(-1).view(np.uint8)[:] = np.frombuffer(self.module.decompress(data), np.uint8)


class Blosc2:
    """Blosc2: bits of equal significance together, then Zstandard."""

    name = "Blosc2 bitshuffle + zstd"
    package = "blosc2"

    def __init__(self, module: Any, elements: str) -> None:
        self.module = module
        module.set_nthreads(1)
        self.settings = {
            "codec": module.Codec.ZSTD,
            "clevel": 5,
            "filters": [module.Filter.BITSHUFFLE],
            "filters_meta": [0],
            "nthreads": 1,
        }

    def compress(self, block: np.ndarray) -> bytes:
        return bytes(self.module.compress2(block, typesize=block.itemsize, **self.settings))

    def decompress(self, data: bytes, out: np.ndarray) -> None:
        self.module.decompress2(data, dst=out, nthreads=1)


class Pcodec:
    """Pcodec at its default level; bf16 goes in as the integers of its bits."""

    name = "pcodec"
    package = "pcodec"

    def __init__(self, module: Any, elements: str) -> None:
        self.standalone = importlib.import_module("pcodec.standalone")
        self.config = module.ChunkConfig(enable_8_bit=True)

    def compress(self, block: np.ndarray) -> bytes:
        return bytes(self.standalone.simple_compress(block.reshape(-1), self.config))

    def decompress(self, data: bytes, out: np.ndarray) -> None:
        self.standalone.simple_decompress_into(data, out.reshape(-1))


class ZipNN:
    """ZipNN: exponents apart from the rest, Huffman-coded."""

    name = "ZipNN"
    package = "zipnn"
    dtypes = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F8_E4M3": "float8_e4m3fn"}

    def __init__(self, module: Any, elements: str) -> None:
        self.codec = module.ZipNN(bytearray_dtype=self.dtypes[elements], input_format="byte", threads=1)

    def compress(self, block: np.ndarray) -> bytes:
        # It works in the memory that it is given.
        return bytes(self.codec.compress(bytearray(block.tobytes())))

    def decompress(self, data: bytes, out: np.ndarray) -> None:
        out.reshape(-1).view(np.uint8)[:] = np.frombuffer(self.codec.decompress(data), np.uint8)


PEERS: list[Any] = [Zstd, Lz4, Blosc2, Pcodec, ZipNN]


def installed() -> list[tuple[Any, Any, str]]:
    """Return the peers that are installed: class, module, and a name with the version."""
    found = []
    for peer in PEERS:
        try:
            module = importlib.import_module(peer.package)
        except ImportError:
            continue
        version = importlib.metadata.version(peer.package.partition(".")[0])
        found.append((peer, module, f"{peer.name} ({version})"))
    return found


def missing() -> Iterator[str]:
    """Yield the names of the peers that are not installed."""
    names = {peer for peer, _, _ in installed()}
    return (peer.name for peer in PEERS if peer not in names)
