"""Malformed .npy and .safetensors files end with status 1 and a message that names them."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Failure, save_npy, write_bytes

# .npy files


def npy(descr: str, shape: str, data: bytes, fortran_order: str = "False") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


BAD_NPY: dict[str, bytes] = {
    "empty file": b"",
    "magic alone": b"\x93NUMPY",
    "magic and version": b"\x93NUMPY\x01\x00",
    "random bytes": np.random.default_rng(1).bytes(4096),
    "text": b"not an array at all, but long enough to be one",
    "version 0": npy("'<f4'", "(3,)", bytes(12)).replace(b"NUMPY\x01", b"NUMPY\x00"),
    "version 4": npy("'<f4'", "(3,)", bytes(12)).replace(b"NUMPY\x01", b"NUMPY\x04"),
    "header longer than the file": b"\x93NUMPY\x01\x00\xff\xff{'descr': '<f4'",
    "header of 4 GiB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr': '<f4'",
    "header cut short": b"\x93NUMPY\x02\x00\x04\x00",
    "no header": b"\x93NUMPY\x01\x00\x00\x00" + bytes(12),
    "header is not a dictionary": npy("'<f4'", "(3,)", bytes(12)).replace(b"{", b"["),
    "header is code": npy("__import__('os').abort()", "(3,)", bytes(12)),
    "unknown key": npy("'<f4', 'more': 'x'", "(3,)", bytes(12)),
    "no shape": b"\x93NUMPY\x01\x00\x29\x00{'descr': '<f4', 'fortran_order': False, }",
    "fortran_order is a number": npy("'<f4'", "(3,)", bytes(12), "0"),
    "negative dimension": npy("'<f4'", "(-3,)", bytes(12)),
    "fraction as dimension": npy("'<f4'", "(3.0,)", bytes(12)),
    "shape is a number": npy("'<f4'", "3", bytes(12)),
    "shape does not end": npy("'<f4'", "(3,", bytes(12)),
    "dimension above 64 bits": npy("'<f4'", "(99999999999999999999,)", bytes(12)),
    "product above 64 bits": npy("'<f4'", "(4294967296, 4294967296, 4294967296)", bytes(12)),
    "product above 64 bits but for a zero": npy("'<f4'", "(9223372036854775807, 9223372036854775807, 0)", b""),
    "rank 65": npy("'|u1'", "(" + "1, " * 65 + ")", bytes(1)),
    "one byte short": npy("'<f4'", "(3,)", bytes(11)),
    "one byte long": npy("'<f4'", "(3,)", bytes(13)),
    "no data": npy("'<f4'", "(3,)", b""),
    "scalar without data": npy("'<f4'", "()", b""),
    "big-endian": npy("'>f4'", "(3,)", bytes(12)),
    "Python objects": npy("'|O'", "(3,)", b"\x80\x04cos\nabort\n(tR."),
    "structured": npy("[('a', '<f4'), ('b', '<i4')]", "(3,)", bytes(24)),
    "subarray": npy("('<f4', (2,))", "(3,)", bytes(24)),
    "text elements": npy("'<U1'", "(3,)", bytes(12)),
    "bytes elements": npy("'|S4'", "(3,)", bytes(12)),
    "void": npy("'|V4'", "(3,)", bytes(12)),
    "dates": npy("'<M8[ns]'", "(3,)", bytes(24)),
    "128-bit complex": npy("'<c16'", "(3,)", bytes(48)),
    "128-bit float": npy("'<f16'", "(3,)", bytes(48)),
    "no dtype": npy("''", "(3,)", bytes(12)),
}


@pytest.mark.parametrize("case", BAD_NPY)
def test_malformed_npy(failure: Failure, tmp_path: Path, case: str) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(BAD_NPY[case])
    failure("inspect", path, names=[path])
    failure("compress", path, "-o", tmp_path / "y.safetensors", names=[path])


def test_every_truncation_of_npy(failure: Failure, tmp_path: Path) -> None:
    whole = npy("'<f4'", "(2, 2)", bytes(16))
    path = tmp_path / "x.npy"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        failure("inspect", path, names=[path])


@pytest.mark.parametrize("kind", ["big-endian", "objects", "structured"])
def test_numpy_files_that_are_refused(failure: Failure, tmp_path: Path, kind: str) -> None:
    arrays = {
        "big-endian": np.arange(6, dtype=">f4"),
        "objects": np.array([{"a": 1}, None], object),
        "structured": np.zeros(3, [("a", "<f4"), ("b", "<i4")]),
    }
    path = save_npy(tmp_path / "x.npy", arrays[kind])
    failure("compress", path, "-o", tmp_path / "y.safetensors", names=[path])


# .safetensors files


def entry(begin: Any = 0, end: Any = 4, dtype: Any = "F32", shape: Any = (1,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


ENTRY = json.dumps(entry()).encode()

# Header and data. The header's length is right unless the case is about it.
BAD_SAFETENSORS: dict[str, tuple[bytes | dict[str, Any], bytes]] = {
    "duplicate names": (b'{"x":' + ENTRY + b',"x":' + ENTRY + b"}", bytes(4)),
    "duplicate names of parts": (
        b'{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"x":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}',
        bytes(4),
    ),
    "duplicate __metadata__": (b'{"__metadata__":{},"__metadata__":{},"x":' + ENTRY + b"}", bytes(4)),
    "duplicate key in __metadata__": (b'{"__metadata__":{"a":"1","a":"2"},"x":' + ENTRY + b"}", bytes(4)),
    "duplicate dtype": (b'{"x":{"dtype":"F32","dtype":"U32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    "duplicate shape": (b'{"x":{"dtype":"F32","shape":[],"shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    "duplicate offsets": (b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"data_offsets":[0,4]}}', bytes(4)),
    "offsets empty, then right": (b'{"x":{"dtype":"U8","shape":[4],"data_offsets":[],"data_offsets":[0,4]}}', bytes(4)),
    "hole between": ({"x": entry(0, 4), "y": entry(8, 12)}, bytes(12)),
    "hole before": ({"x": entry(4, 8)}, bytes(8)),
    "hole after": ({"x": entry(0, 4)}, bytes(8)),
    "overlap": ({"x": entry(0, 4), "y": entry(2, 6)}, bytes(6)),
    "same place": ({"x": entry(0, 4), "y": entry(0, 4)}, bytes(4)),
    "end before begin": ({"x": entry(0, 4), "y": entry(4, 0), "z": entry(0, 4)}, bytes(4)),
    "negative offset": ({"x": entry(-4, 0)}, b""),
    "float offset": ({"x": entry(0, 4.0)}, bytes(4)),
    "text offset": ({"x": entry(0, "4")}, bytes(4)),
    "offset beyond the file": ({"x": entry(0, 8, shape=[2])}, bytes(4)),
    "offset of 2^63": ({"x": entry(0, 2**63, "U8", [2**63])}, bytes(4)),
    "offset of 2^64 - 1": ({"x": entry(0, 4), "y": entry(4, 2**64 - 1)}, bytes(4)),
    "offset of 2^64": ({"x": entry(0, 2**64)}, bytes(4)),
    "offset of 10^400": (b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,1' + b"0" * 400 + b"]}}", bytes(4)),
    "one offset": (b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[4]}}', bytes(4)),
    "three offsets": (b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}}', bytes(4)),
    "no offsets": (b'{"x":{"dtype":"F32","shape":[1]}}', bytes(4)),
    "no dtype": (b'{"x":{"shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    "no shape": (b'{"x":{"dtype":"F32","data_offsets":[0,4]}}', bytes(4)),
    "header is an array": (b"[]", b""),
    "header is a string": (b'"x"', b""),
    "header is null": (b"null", b""),
    "header is empty": (b"", b""),
    "header is blank": (b"   ", b""),
    "header is not JSON": (b"{x}", b""),
    "header does not end": (b'{"x":' + ENTRY, bytes(4)),
    "text after the header": (b'{"x":' + ENTRY + b"}x", bytes(4)),
    "zero after the header": (b'{"x":' + ENTRY + b"}\0", bytes(4)),
    "zero and text after the header": (b'{"x":' + ENTRY + b'}\0{"y"', bytes(4)),
    "byte order mark before the header": (b'\xef\xbb\xbf{"x":' + ENTRY + b"}", bytes(4)),
    "arrays nested too deep": (b"[" * 200_000, b""),
    "objects nested too deep": (b'{"x":' * 200_000, b""),
    "shape nested too deep": (b'{"x":{"shape":' + b"[" * 200_000, b""),
    "tensor is a number": ({"x": 1}, b""),
    "tensor is null": ({"x": None}, b""),
    "tensor is an array": ({"x": [0, 4]}, bytes(4)),
    "dtype unknown": ({"x": entry(dtype="F33")}, bytes(4)),
    "dtype in small letters": ({"x": entry(dtype="f32")}, bytes(4)),
    "dtype is a number": ({"x": entry(dtype=32)}, bytes(4)),
    "dtype with half bytes": ({"x": entry(0, 1, "F4", [2])}, bytes(1)),
    "shape too large": ({"x": entry(shape=[2])}, bytes(4)),
    "shape too small": ({"x": entry(shape=[0])}, bytes(4)),
    "shape is a number": ({"x": entry(shape=1)}, bytes(4)),
    "negative dimension": ({"x": entry(shape=[-1])}, bytes(4)),
    "fraction as dimension": ({"x": entry(shape=[1.0])}, bytes(4)),
    "rank 65": ({"x": entry(shape=[1] * 65)}, bytes(4)),
    "product above 64 bits": ({"x": entry(shape=[2**32, 2**32, 1])}, bytes(4)),
    "product that wraps around to the size": ({"x": entry(0, 4, "U8", [2**62 + 1, 4])}, bytes(4)),
    "product above 64 bits but for a zero": ({"x": entry(0, 0, shape=[2**40, 2**40, 0])}, b""),
    "metadata of numbers": ({"__metadata__": {"a": 1}, "x": entry()}, bytes(4)),
    "metadata of objects": ({"__metadata__": {"a": {}}, "x": entry()}, bytes(4)),
    "metadata of nulls": ({"__metadata__": {"a": None}, "x": entry()}, bytes(4)),
    "metadata is an array": ({"__metadata__": ["a"], "x": entry()}, bytes(4)),
    "metadata is a tensor": ({"__metadata__": entry()}, bytes(4)),
    "name not UTF-8": (b'{"\xff":' + ENTRY + b"}", bytes(4)),
    "metadata not UTF-8": (b'{"__metadata__":{"a":"\xc3"},"x":' + ENTRY + b"}", bytes(4)),
    "half a surrogate": (b'{"\\ud800":' + ENTRY + b"}", bytes(4)),
    "data cut short": ({"x": entry()}, bytes(3)),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_SAFETENSORS)
def test_malformed_safetensors(failure: Failure, tmp_path: Path, case: str) -> None:
    path = write_bytes(tmp_path / "x.safetensors", *BAD_SAFETENSORS[case])
    failure("inspect", path, names=[path])
    failure("compress", path, "-o", tmp_path / "y.safetensors", names=[path])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(7),
        bytes(8),
        struct.pack("<Q", 3) + b"{}",
        struct.pack("<Q", 100_000_001) + b"{}",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**64 - 1) + b"{}",
        struct.pack("<Q", 2**64 - 8) + b"{}",
        struct.pack("<Q", 1) + b"{}",
        np.random.default_rng(2).bytes(4096),
        b"\x93NUMPY\x01\x00 what is this",
    ],
)
def test_wrong_header_length(failure: Failure, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    for command in ("inspect", "verify"):
        failure(command, path, names=[path])
    failure("compress", path, "-o", tmp_path / "y.safetensors", names=[path])
    failure("decompress", path, "-o", tmp_path / "y.npy", names=[path])
