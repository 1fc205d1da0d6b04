"""What the tests of the command make, read, run and compare."""

import json
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
# Real tensors, where they lie beside the repository.
SHARED_FILES = sorted((REPOSITORY.parent / "shared" / "data").glob("*.npy"))

Stillbit = Callable[..., subprocess.CompletedProcess[str]]
Failure = Callable[..., str]

DTYPES = {
    "|b1": "BOOL",
    "|u1": "U8",
    "|i1": "I8",
    "<u2": "U16",
    "<i2": "I16",
    "<u4": "U32",
    "<i4": "I32",
    "<u8": "U64",
    "<i8": "I64",
    "<f2": "F16",
    "<f4": "F32",
    "<f8": "F64",
    "<c8": "C64",
}
FP8 = ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"]
WIDTHS = {name: int(descr[2:]) for descr, name in DTYPES.items()} | {"BF16": 2} | dict.fromkeys(FP8, 1)
PACKINGS = ["packed", "slotted"]
CODECS = ["auto", "raw", "ibp", "window", "escape", "sparse", "dictionary", "rans"]
OBJECTIVES = ["storage", "transfer", "speed", "smallest"]
SHAPES = [
    (), (1,), (0,), (7,), (5000,), (0, 5), (5, 0), (0, 0), (1, 1), (300, 1), (1, 3000), (65, 3), (64, 100), (3, 0, 2),
    (2, 3, 4, 5), (5, 1, 7, 1), (2,) * 10,
]  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def write_bytes(path: Path, header: bytes | dict[str, Any], data: bytes = b"") -> Path:
    """A safetensors file as it is on disk, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    return write_bytes(path, header, b"".join(tensor.data for tensor in tensors.values()))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    raw = path.read_bytes()
    data_begin = 8 + struct.unpack_from("<Q", raw)[0]
    header = json.loads(raw[8:data_begin])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (data_begin + offset for offset in entry["data_offsets"])
        tensors[name] = Tensor(entry["dtype"], tuple(entry["shape"]), raw[begin:end])
    return tensors, metadata


def make_array(descr: str, shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    """Numbers as tensors have them: alike in their high bits, random in their low ones."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(descr)
    if dtype.kind == "b":
        return rng.random(shape) < 0.1
    if dtype.kind in "ui":
        return rng.integers(0, 100, shape).astype(dtype)
    if dtype.kind == "c":
        return np.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape), dtype)
    return np.asarray(rng.standard_normal(shape), dtype)


def make_array_for(codec: str, descr: str, shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    """Numbers that the codec makes smaller."""
    array = make_array(descr, shape, seed)
    rng = np.random.default_rng(seed)
    if codec == "sparse":
        return np.where(rng.random(shape) < 0.05, array, np.zeros_like(array))
    if codec == "dictionary":
        return array.reshape(-1)[rng.integers(0, 4, shape)]
    return array


def make_tensor(dtype: str, shape: tuple[int, ...], seed: int = 1) -> Tensor:
    size = WIDTHS[dtype] * int(np.prod(shape, dtype=np.int64))
    return Tensor(dtype, shape, np.random.default_rng(seed).integers(0, 16, size).astype(np.uint8).tobytes())


def make_bf16(shape: tuple[int, ...], seed: int = 1) -> Tensor:
    bits = make_array("<f4", shape, seed).view(np.uint32) >> 16
    return Tensor("BF16", shape, bits.astype(np.uint16).tobytes())


def save_npy(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert found.tobytes() == wanted.tobytes()


def info_of(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    info = json.loads(result.stdout)
    assert isinstance(info, dict)
    return info


def names_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def round_trip(stillbit: Stillbit, source: Path, *options: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Through a compressed file and back, by way of both output formats. Returns the array and what was said of it."""
    packed = source.with_name("round_trip.safetensors")
    npy, expanded = source.with_name("expanded.npy"), source.with_name("expanded.safetensors")
    info = info_of(stillbit("compress", source, "-o", packed, "--json", *options))
    stillbit("verify", packed)
    stillbit("verify", packed, "--against", source)
    assert stillbit("decompress", packed, "-o", npy).stdout == ""
    stillbit("decompress", packed, "-o", expanded)

    (tensor,) = info["tensors"]
    (stored,) = read_tensors(expanded)[0].items()
    array = np.load(npy)
    assert stored == (tensor["name"], Tensor(tensor["dtype"], array.shape, array.tobytes()))
    return array, tensor


def zoo() -> dict[str, Tensor]:
    """Every dtype, and shapes that are easily forgotten."""
    tensors = {f"layer.{dtype}": make_tensor(dtype, (33, 40), i) for i, dtype in enumerate(WIDTHS)}
    tensors |= {f"odd.{i}": make_tensor("U8", shape, i) for i, shape in enumerate(SHAPES)}
    tensors |= {f"bf16.{i}": make_bf16(shape, i) for i, shape in enumerate(SHAPES)}
    tensors |= {f"tiny.{i}": make_tensor("BF16", (i,), i) for i in range(1, 20)}
    return tensors


def expand(stillbit: Stillbit, source: Path, *options: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Through a compressed file `packed.safetensors` and back."""
    packed, expanded = source.with_name("packed.safetensors"), source.with_name("expanded.safetensors")
    stillbit("compress", source, "-o", packed, *options)
    stillbit("verify", packed)
    stillbit("verify", packed, "--against", source)
    stillbit("decompress", packed, "-o", expanded)
    return read_tensors(expanded)
