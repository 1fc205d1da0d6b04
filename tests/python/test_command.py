"""The `stillbit` command as its user meets it: round trips, what it prints, and how it fails."""

import itertools
import json
import os
import random
import stat
import struct
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

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
CODECS = ["auto", "ibp", "raw"]
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


@pytest.fixture
def failure(stillbit: Stillbit, tmp_path: Path) -> Failure:
    """Runs a command that must fail, and returns its message. Nothing in the folder may change by it."""

    def contents() -> dict[Path, bytes | None]:
        return {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")}

    def run(*args: str | Path, status: int = 1, names: Iterable[str | Path] = ()) -> str:
        before = contents()
        result = stillbit(*args, check=False)
        assert result.returncode == status, (result.returncode, result.stdout, result.stderr)
        assert result.stdout == ""
        assert result.stderr.strip() != ""
        for name in names:
            assert str(name) in result.stderr
        assert contents() == before
        return result.stderr

    return run


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


# Round trips of .npy files


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("descr", "name"), DTYPES.items())
def test_every_dtype(stillbit: Stillbit, tmp_path: Path, descr: str, name: str, codec: str, packing: str) -> None:
    array = make_array(descr, (70, 96))
    found, info = round_trip(
        stillbit, save_npy(tmp_path / "weights.npy", array), "--codec", codec, "--packing", packing
    )
    assert_same(found, array)
    assert (info["name"], info["dtype"], info["shape"]) == ("weights", name, [70, 96])
    assert info["packing"] == packing
    assert info["codec"] == "raw" if codec == "raw" else info["codec"] in ("ibp", "raw")


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)) or "scalar")
def test_every_shape(stillbit: Stillbit, tmp_path: Path, shape: tuple[int, ...], packing: str) -> None:
    array = make_array("<f4", shape)
    found, info = round_trip(stillbit, save_npy(tmp_path / "x.npy", array), "--packing", packing)
    assert_same(found, array)
    assert (info["shape"], info["raw_bytes"]) == (list(shape), array.nbytes)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("row_dims", [0, 1, 2, 3, 4, 5, 64])
def test_row_dims(stillbit: Stillbit, tmp_path: Path, row_dims: int, packing: str) -> None:
    """More than the tensor has means all of them."""
    array = make_array("<f4", (6, 5, 4, 30))
    options = ["--row-dims", str(row_dims), "--packing", packing]
    assert_same(round_trip(stillbit, save_npy(tmp_path / "x.npy", array), *options)[0], array)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=st.sampled_from(list(DTYPES)).flatmap(
        lambda descr: hnp.arrays(descr, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=20))
    ),
    packing=st.sampled_from(PACKINGS),
    row_dims=st.integers(0, 4),
)
def test_any_array(stillbit: Stillbit, tmp_path: Path, array: np.ndarray, packing: str, row_dims: int) -> None:
    options = ["--row-dims", str(row_dims), "--packing", packing]
    assert_same(round_trip(stillbit, save_npy(tmp_path / "x.npy", array), *options)[0], array)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("descr", ["<f2", "<u2"])
def test_all_16_bit_patterns(stillbit: Stillbit, tmp_path: Path, descr: str, packing: str) -> None:
    array = np.arange(65536, dtype=np.uint16).view(descr).reshape(512, 128)
    assert_same(round_trip(stillbit, save_npy(tmp_path / "x.npy", array), "--packing", packing)[0], array)


@pytest.mark.parametrize("packing", PACKINGS)
def test_nan_payloads_and_signed_zeros(stillbit: Stillbit, tmp_path: Path, packing: str) -> None:
    bits = np.resize(np.array([0x7F800001, 0xFFC12345, 0x80000000, 0, 0xFF800000, 1], np.uint32), (60, 40))
    array = bits.view(np.float32)
    assert_same(round_trip(stillbit, save_npy(tmp_path / "x.npy", array), "--packing", packing)[0], array)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_constant_tensor_becomes_small(stillbit: Stillbit, tmp_path: Path, value: float, packing: str) -> None:
    array = np.full((1000, 256), value, np.float32)
    found, info = round_trip(stillbit, save_npy(tmp_path / "x.npy", array), "--packing", packing)
    assert_same(found, array)
    assert info["codec"] == "ibp"
    assert info["stored_bytes"] < info["raw_bytes"] / 10


@pytest.mark.parametrize("packing", PACKINGS)
def test_random_bytes_do_not_grow_by_more_than_a_header(stillbit: Stillbit, tmp_path: Path, packing: str) -> None:
    array = np.random.default_rng(1).integers(0, 256, (300, 1001), np.uint8)
    found, info = round_trip(stillbit, save_npy(tmp_path / "x.npy", array), "--packing", packing)
    assert_same(found, array)
    assert info["codec"] == "raw"
    assert info["stored_bytes"] <= info["raw_bytes"] + 256


@pytest.mark.parametrize("shape", [(40, 30), (4, 5, 60), (3, 1, 4, 7), (1, 9), (9, 1), (9,), (), (0, 4), (4, 0)])
def test_fortran_order(stillbit: Stillbit, tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.asarray(make_array("<i2", shape), order="F")
    assert_same(round_trip(stillbit, save_npy(tmp_path / "x.npy", array))[0], array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_versions(stillbit: Stillbit, tmp_path: Path, version: tuple[int, int]) -> None:
    array = make_array("<f4", (20, 30))
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, array, version=version)
    assert_same(round_trip(stillbit, tmp_path / "x.npy")[0], array)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 3)}\n",
        "{'shape':(5,3),'fortran_order':False,'descr':'<f4'}",
        '{ "descr" : "<f4" ,\n "fortran_order" : False ,\n "shape" : ( 5 , 3 , ) , }  ',
    ],
)
def test_npy_headers_of_other_writers(stillbit: Stillbit, tmp_path: Path, header: str) -> None:
    """Other writers put no padding, so that the elements are not aligned."""
    array = make_array("<f4", (5, 3))
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + array.tobytes())
    assert_same(np.load(path), array)
    assert_same(round_trip(stillbit, path)[0], array)


def test_threads_do_not_change_the_file(stillbit: Stillbit, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (9000, 128)))
    for packing in PACKINGS:
        files = []
        for threads in ("1", "2", "7"):
            output = tmp_path / f"{packing}_{threads}.safetensors"
            stillbit("compress", source, "-o", output, "--threads", threads, "--packing", packing)
            stillbit("verify", output, "--threads", threads, "--against", source)
            stillbit("decompress", output, "-o", tmp_path / "y.npy", "--threads", threads)
            assert np.load(tmp_path / "y.npy").tobytes() == np.load(source).tobytes()
            files.append(output.read_bytes())
        assert files[0] == files[1] == files[2]


# Reading elements as another dtype


@pytest.mark.parametrize("word", ["BF16", "bf16"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_u16_as_bf16(stillbit: Stillbit, tmp_path: Path, packing: str, word: str) -> None:
    array = np.frombuffer(make_bf16((50, 64)).data, np.uint16).reshape(50, 64)
    source = save_npy(tmp_path / "x.npy", array)
    found, info = round_trip(stillbit, source, "--as", word, "--packing", packing)
    assert_same(found, array)
    assert info["dtype"] == "BF16"


@pytest.mark.parametrize("dtype", FP8)
def test_u8_as_fp8(stillbit: Stillbit, tmp_path: Path, dtype: str) -> None:
    array = np.resize(np.arange(256, dtype=np.uint8), (20, 100))
    found, info = round_trip(stillbit, save_npy(tmp_path / "x.npy", array), "--as", dtype)
    assert_same(found, array)
    assert info["dtype"] == dtype


def test_as_another_width(failure: Failure, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "weights.npy", make_array("<f4", (3, 4)))
    message = failure("compress", source, "-o", tmp_path / "y.safetensors", "--as", "BF16", names=[source])
    assert 'tensor "weights"' in message


def test_as_names_the_tensor_of_another_width(failure: Failure, tmp_path: Path) -> None:
    tensors = {"fits": make_tensor("U16", (2, 3)), "does_not": make_tensor("U8", (2, 3))}
    source = write_tensors(tmp_path / "x.safetensors", tensors)
    message = failure("compress", source, "-o", tmp_path / "y.safetensors", "--as", "BF16", names=[source])
    assert "does_not" in message


# .safetensors files


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


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("codec", CODECS)
def test_many_tensors(stillbit: Stillbit, tmp_path: Path, codec: str, packing: str) -> None:
    tensors, metadata = zoo(), {"format": "pt", "author": "Zoë", "note": 'a "quoted"\nline', "": "no key"}
    source = write_tensors(tmp_path / "model.safetensors", tensors, metadata)
    found, found_metadata = expand(stillbit, source, "--codec", codec, "--packing", packing)
    assert list(found.items()) == list(tensors.items())
    assert found_metadata == metadata


def test_thousands_of_tensors(stillbit: Stillbit, tmp_path: Path) -> None:
    tensors = {f"t{i}": Tensor("U32", (1,), struct.pack("<I", i)) for i in range(3000)}
    assert expand(stillbit, write_tensors(tmp_path / "x.safetensors", tensors))[0] == tensors


@pytest.mark.parametrize("metadata", [None, {}, {"format": "np"}])
def test_no_tensors(stillbit: Stillbit, tmp_path: Path, metadata: dict[str, str] | None) -> None:
    assert expand(stillbit, write_tensors(tmp_path / "x.safetensors", {}, metadata)) == ({}, metadata or {})


def test_odd_names(stillbit: Stillbit, tmp_path: Path) -> None:
    names = [
        "",
        " ",
        "a",
        "a.stillbit",
        "a.stillbit.stillbit",
        "stillbit",
        "重み",
        'q"\\',
        "new\nline",
        "a/b",
        "x" * 2000,
        "\0",
    ]
    tensors = {name: make_tensor("I16", (3, 4), i) for i, name in enumerate(names)}
    assert expand(stillbit, write_tensors(tmp_path / "x.safetensors", tensors))[0] == tensors


@pytest.mark.parametrize("packing", PACKINGS)
def test_tied_tensors_are_stored_once(stillbit: Stillbit, tmp_path: Path, packing: str) -> None:
    tied = make_bf16((200, 64))
    tensors = {"embed": tied, "other": make_bf16((200, 64), 2), "head": tied, "again": tied}
    tensors |= {
        "other_dtype": Tensor("F16", tied.shape, tied.data),
        "other_shape": Tensor("BF16", (64, 200), tied.data),
    }
    source = write_tensors(tmp_path / "model.safetensors", tensors)
    assert expand(stillbit, source, "--packing", packing)[0] == tensors

    info = info_of(stillbit("inspect", tmp_path / "packed.safetensors", "--json"))
    stored = {tensor["name"]: tensor["stored_bytes"] for tensor in info["tensors"]}
    assert list(stored) == list(tensors)
    assert stored["embed"] == stored["head"] == stored["again"]
    payloads, _ = read_tensors(tmp_path / "packed.safetensors")
    assert set(payloads) == {f"{name}.stillbit" for name in ("embed", "other", "other_dtype", "other_shape")}
    assert info["stored_bytes"] == sum(len(payload.data) for payload in payloads.values())
    assert info["raw_bytes"] == 6 * len(tied.data)


def test_tensors_that_differ_in_one_bit_are_not_tied(stillbit: Stillbit, tmp_path: Path) -> None:
    first = make_tensor("F32", (100, 10))
    tensors = {"a": first, "b": Tensor("F32", first.shape, first.data[:-1] + bytes([first.data[-1] ^ 1]))}
    assert expand(stillbit, write_tensors(tmp_path / "x.safetensors", tensors))[0] == tensors


def test_input_may_be_the_output(stillbit: Stillbit, tmp_path: Path) -> None:
    tensors = zoo()
    path = write_tensors(tmp_path / "x.safetensors", tensors)
    stillbit("compress", path, "-o", path)
    stillbit("verify", path)
    stillbit("decompress", path, "-o", path)
    assert read_tensors(path)[0] == tensors
    assert names_in(tmp_path) == {"x.safetensors"}


def test_tensor_that_safetensors_cannot_name(stillbit: Stillbit, tmp_path: Path) -> None:
    """`__metadata__.npy` may be refused, but it must not become a file that nobody can read."""
    save_npy(tmp_path / "__metadata__.npy", make_array("<f4", (3, 4)))
    commands = [
        ("compress", tmp_path / "__metadata__.npy", "-o", tmp_path / "packed.safetensors"),
        ("verify", tmp_path / "packed.safetensors"),
        ("decompress", tmp_path / "packed.safetensors", "-o", tmp_path / "expanded.safetensors"),
        ("inspect", tmp_path / "expanded.safetensors"),
    ]
    results = [stillbit(*command, check=False) for command in commands]
    written = [path.name for path in tmp_path.glob("*.safetensors")]
    assert results[1].returncode == 0 or "packed.safetensors" not in written
    assert results[3].returncode == 0 or "expanded.safetensors" not in written


# The safetensors library


@pytest.mark.parametrize("packing", PACKINGS)
def test_library_reads_what_is_decompressed(stillbit: Stillbit, tmp_path: Path, packing: str) -> None:
    arrays = {f"layer.{name}": make_array(descr, (30, 20)) for descr, name in DTYPES.items() if name != "C64"}
    arrays |= {"empty": np.zeros((0, 3), np.float32), "scalar": np.array(2.5)}
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "np"})
    stillbit("compress", tmp_path / "x.safetensors", "-o", tmp_path / "y.safetensors", "--packing", packing)
    stillbit("decompress", tmp_path / "y.safetensors", "-o", tmp_path / "z.safetensors")
    found = safetensors.numpy.load_file(tmp_path / "z.safetensors")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert_same(found[name], array)
    with safetensors.safe_open(tmp_path / "z.safetensors", "np") as file:
        assert file.metadata() == {"format": "np"}


def test_library_lists_payloads(stillbit: Stillbit, tmp_path: Path) -> None:
    source = write_tensors(tmp_path / "x.safetensors", zoo(), {"format": "pt"})
    stillbit("compress", source, "-o", tmp_path / "y.safetensors")
    with safetensors.safe_open(tmp_path / "y.safetensors", "np") as file:
        keys = list(file.keys())
        assert keys
        assert all(key.endswith(".stillbit") for key in keys)
        assert file.get_tensor(keys[0]).dtype == np.uint8
        assert file.metadata()["format"] == "pt"


# Shards and their index


def write_shards(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    first = {"b": make_bf16((40, 50)), "d": make_tensor("F32", (7,))}
    second = {"a": make_tensor("I8", (3, 3)), "c": make_bf16((40, 50)), "e": make_tensor("F32", (0,))}
    shards = {"model-00001-of-00002.safetensors": first, "model-00002-of-00002.safetensors": second}
    for shard, tensors in shards.items():
        write_tensors(folder / shard, tensors, {"format": "pt"})
    weight_map = {name: shard for shard, tensors in shards.items() for name in tensors}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 8000}, "weight_map": weight_map}))
    return index, first | second


@pytest.mark.parametrize("packing", PACKINGS)
def test_shards_become_one_file(stillbit: Stillbit, tmp_path: Path, packing: str) -> None:
    index, tensors = write_shards(tmp_path)
    found, metadata = expand(stillbit, index, "--packing", packing)
    assert found == tensors
    assert metadata == {"format": "pt"}


def test_inspect_index(stillbit: Stillbit, tmp_path: Path) -> None:
    index, tensors = write_shards(tmp_path)
    info = info_of(stillbit("inspect", index, "--json"))
    assert {tensor["name"] for tensor in info["tensors"]} == set(tensors)
    assert info["raw_bytes"] == sum(len(tensor.data) for tensor in tensors.values())


INDICES: dict[str, tuple[str, str]] = {
    "not JSON": ("{", ""),
    "empty file": ("", ""),
    "not an object": ("[]", ""),
    "no weight_map": ("{}", ""),
    "text after a zero": ('{"weight_map": {"x": "good.safetensors"}}\0{', ""),
    "weight_map is null": ('{"weight_map": null}', ""),
    "weight_map is a list": ('{"weight_map": []}', ""),
    "weight_map is a string": ('{"weight_map": "good.safetensors"}', ""),
    "shard is a number": ('{"weight_map": {"x": 1}}', ""),
    "shard is missing": ('{"weight_map": {"x": "missing.safetensors"}}', "missing.safetensors"),
    "shard in another folder": ('{"weight_map": {"x": "../good.safetensors"}}', "../good.safetensors"),
    "shard at an absolute path": ('{"weight_map": {"x": "/etc/passwd"}}', "/etc/passwd"),
    "shard is the folder": ('{"weight_map": {"x": "."}}', ""),
    "shard without a name": ('{"weight_map": {"x": ""}}', ""),
    "shard is malformed": ('{"weight_map": {"x": "bad.safetensors"}}', "bad.safetensors"),
    "shard is compressed": ('{"weight_map": {"x": "packed.safetensors"}}', "packed.safetensors"),
    "tensor in no shard": ('{"weight_map": {"x": "good.safetensors", "zzz": "good.safetensors"}}', "zzz"),
    "tensor in two shards": ('{"weight_map": {"x": "good.safetensors", "y": "same.safetensors"}}', '"x"'),
    "nested too deep": ('{"weight_map": ' + "[" * 100_000 + "]" * 100_000 + "}", ""),
}


@pytest.mark.parametrize("case", INDICES)
def test_malformed_index(stillbit: Stillbit, failure: Failure, tmp_path: Path, case: str) -> None:
    text, named = INDICES[case]
    for name in ("good", "same"):
        write_tensors(tmp_path / f"{name}.safetensors", {"x": make_tensor("U8", (3,))})
    stillbit("compress", tmp_path / "good.safetensors", "-o", tmp_path / "packed.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not a safetensors file")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(text)
    for command in (["inspect", index], ["compress", index, "-o", tmp_path / "out.safetensors"]):
        message = failure(*command, names=[named] if named else [])
        assert str(tmp_path) in message


# What is printed


REQUIRED = {"name", "dtype", "shape", "codec", "packing", "raw_bytes", "stored_bytes", "ratio"}


def check_sums(info: dict[str, Any], file: Path) -> None:
    assert {"tensors", "raw_bytes", "stored_bytes", "ratio"} <= set(info)
    for tensor in info["tensors"]:
        assert set(tensor) >= REQUIRED
        assert tensor["raw_bytes"] == WIDTHS[tensor["dtype"]] * int(np.prod(tensor["shape"], dtype=np.int64))
        if tensor["stored_bytes"] > 0:
            assert tensor["ratio"] == pytest.approx(tensor["raw_bytes"] / tensor["stored_bytes"])
    assert info["raw_bytes"] == sum(tensor["raw_bytes"] for tensor in info["tensors"])
    assert info["ratio"] == pytest.approx(info["raw_bytes"] / info["stored_bytes"])
    assert info["file_bytes"] == file.stat().st_size
    assert info["stored_bytes"] <= info["file_bytes"]


def test_inspect_raw(stillbit: Stillbit, tmp_path: Path) -> None:
    tensors = zoo()
    source = write_tensors(tmp_path / "x.safetensors", tensors)
    info = info_of(stillbit("inspect", source, "--json"))
    check_sums(info, source)
    assert [(tensor["name"], tensor["dtype"], tuple(tensor["shape"])) for tensor in info["tensors"]] == [
        (name, tensor.dtype, tensor.shape) for name, tensor in tensors.items()
    ]
    assert all(tensor["codec"] is None and tensor["packing"] is None for tensor in info["tensors"])
    assert all(tensor["stored_bytes"] == tensor["raw_bytes"] for tensor in info["tensors"])
    assert info["ratio"] == 1


@pytest.mark.parametrize("packing", PACKINGS)
def test_inspect_compressed(stillbit: Stillbit, tmp_path: Path, packing: str) -> None:
    tensors = zoo() | {"large": make_bf16((500, 128))}
    # Empty tensors of one shape are equal, which is not what is looked at here.
    tensors = {name: tensor for name, tensor in tensors.items() if tensor.data}
    assert len({(tensor.dtype, tensor.shape, tensor.data) for tensor in tensors.values()}) == len(tensors)
    source, output = write_tensors(tmp_path / "x.safetensors", tensors), tmp_path / "y.safetensors"
    printed = info_of(stillbit("compress", source, "-o", output, "--packing", packing, "--json"))
    info = info_of(stillbit("inspect", output, "--json"))
    assert info == printed
    check_sums(info, output)
    assert info["stored_bytes"] == sum(tensor["stored_bytes"] for tensor in info["tensors"])
    assert [(tensor["name"], tensor["dtype"], tuple(tensor["shape"])) for tensor in info["tensors"]] == [
        (name, tensor.dtype, tensor.shape) for name, tensor in tensors.items()
    ]
    assert {tensor["codec"] for tensor in info["tensors"]} == {"raw", "ibp"}
    assert {tensor["packing"] for tensor in info["tensors"]} == {packing}


def test_json_of_file_without_tensors(stillbit: Stillbit, tmp_path: Path) -> None:
    info = info_of(stillbit("inspect", write_tensors(tmp_path / "x.safetensors", {}), "--json"))
    assert (info["tensors"], info["raw_bytes"], info["stored_bytes"]) == ([], 0, 0)


def test_table_names_every_tensor(stillbit: Stillbit, tmp_path: Path) -> None:
    tensors = zoo()
    source = write_tensors(tmp_path / "x.safetensors", tensors)
    for text in (
        stillbit("inspect", source).stdout,
        stillbit("compress", source, "-o", tmp_path / "y.safetensors").stdout,
        stillbit("inspect", tmp_path / "y.safetensors").stdout,
    ):
        words = text.split()
        assert all(name in words for name in tensors)
        assert "BF16" in words


def test_nothing_on_stderr_when_all_is_well(stillbit: Stillbit, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (100, 30)))
    assert stillbit("compress", source, "-o", tmp_path / "y.safetensors").stderr == ""
    assert stillbit("verify", tmp_path / "y.safetensors").stderr == ""
    assert stillbit("decompress", tmp_path / "y.safetensors", "-o", tmp_path / "z.npy").stderr == ""
    assert names_in(tmp_path) == {"x.npy", "y.safetensors", "z.npy"}


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["compress", "--help"], ["inspect", "--help"]])
def test_help(stillbit: Stillbit, args: list[str]) -> None:
    assert stillbit(*args).stdout.strip() != ""


# Outputs


@pytest.mark.parametrize("make_link", [os.symlink, os.link])
def test_output_is_a_link(stillbit: Stillbit, tmp_path: Path, make_link: Callable[[Path, Path], None]) -> None:
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30)))
    target, link = tmp_path / "target.safetensors", tmp_path / "link.safetensors"
    target.write_bytes(b"old")
    make_link(target, link)
    stillbit("compress", source, "-o", link)
    stillbit("verify", link, "--against", source)
    if make_link is os.symlink:
        assert link.is_symlink()
        stillbit("verify", target, "--against", source)
    else:
        assert target.read_bytes() == b"old"


def test_output_is_a_link_to_nothing(stillbit: Stillbit, tmp_path: Path) -> None:
    """Written through, as every tool that opens its output does."""
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30)))
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "target.safetensors")
    stillbit("compress", source, "-o", tmp_path / "link.safetensors")
    assert (tmp_path / "link.safetensors").is_symlink()
    stillbit("verify", tmp_path / "target.safetensors", "--against", source)


def test_replaced_file_keeps_its_permissions(stillbit: Stillbit, tmp_path: Path) -> None:
    source, output = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30))), tmp_path / "y.safetensors"
    output.write_bytes(b"old")
    output.chmod(0o640)
    stillbit("compress", source, "-o", output)
    assert stat.S_IMODE(output.stat().st_mode) == 0o640


def test_new_file_has_the_permissions_of_new_files(stillbit: Stillbit, tmp_path: Path) -> None:
    source, output = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30))), tmp_path / "y.safetensors"
    stillbit("compress", source, "-o", output)
    assert output.stat().st_mode == source.stat().st_mode


def test_longest_file_name(stillbit: Stillbit, tmp_path: Path) -> None:
    """The temporary name beside the output must not need more letters than the file system has."""
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30)))
    output = tmp_path / ("n" * (255 - len(".safetensors")) + ".safetensors")
    stillbit("compress", source, "-o", output)
    stillbit("verify", output, "--against", source)


def test_file_names_with_odd_letters(stillbit: Stillbit, tmp_path: Path) -> None:
    folder = tmp_path / "a folder\nof 重み"
    folder.mkdir()
    array = make_array("<f4", (10, 30))
    assert_same(round_trip(stillbit, save_npy(folder / 'it\'s "x" 重み.npy', array))[0], array)


def test_relative_file_names(command: str, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30)))
    for args in (["compress", "x.npy", "-o", "y.safetensors"], ["decompress", "./y.safetensors", "-o", "z.npy"]):
        subprocess.run([command, *args], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert_same(np.load(tmp_path / "z.npy"), np.load(source))


# Status 2: usage


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["unknown"],
        ["inspect"],
        ["inspect", "x.npy", "--unknown"],
        ["inspect", "x.npy", "y.npy"],
        ["compress"],
        ["compress", "x.npy"],
        ["compress", "x.npy", "-o"],
        ["compress", "-o", "y.safetensors"],
        ["compress", "x.npy", "-o", "y.npy"],
        ["compress", "x.npy", "-o", "y"],
        ["compress", "x.npy", "-o", ""],
        ["compress", "x.npy", "-o", ".safetensors.bak"],
        ["compress", "x.npy", "-o", "y.safetensors", "--codec", "zip"],
        ["compress", "x.npy", "-o", "y.safetensors", "--codec", ""],
        ["compress", "x.npy", "-o", "y.safetensors", "--packing", "loose"],
        ["compress", "x.npy", "-o", "y.safetensors", "--as", "F99"],
        ["compress", "x.npy", "-o", "y.safetensors", "--row-dims", "-1"],
        ["compress", "x.npy", "-o", "y.safetensors", "--row-dims", "65"],
        ["compress", "x.npy", "-o", "y.safetensors", "--row-dims", "two"],
        ["compress", "x.npy", "-o", "y.safetensors", "--threads", "0"],
        ["compress", "x.npy", "-o", "y.safetensors", "--threads", "-1"],
        ["compress", "x.npy", "-o", "y.safetensors", "--threads", "99999999999999999999"],
        ["compress", "x.npy", "-o", "y.safetensors", "-o", "z.safetensors"],
        ["compress", "x.npy", "-o", "y.safetensors", "--against", "x.npy"],
        ["decompress", "y.safetensors"],
        ["decompress", "y.safetensors", "-o", "x.npz"],
        ["decompress", "y.safetensors", "-o", "x.safetensors.index.json"],
        ["decompress", "y.safetensors", "-o", "x.npy", "--codec", "ibp"],
        ["decompress", "y.safetensors", "-o", "x.npy", "--json"],
        ["verify"],
        ["verify", "y.safetensors", "--against"],
        ["verify", "y.safetensors", "-o", "x.npy"],
    ],
    ids=" ".join,
)
def test_usage(failure: Failure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    save_npy(tmp_path / "x.npy", make_array("<f4", (2, 3)))
    failure(*args, status=2)


# Status 1: inputs


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


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors", "x.safetensors.index.json", "x.pt"])
@pytest.mark.parametrize("kind", ["missing", "directory", "below a file"])
def test_input_that_cannot_be_read(failure: Failure, tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    if kind == "directory":
        path.mkdir()
    elif kind == "below a file":
        (tmp_path / "file").touch()
        path = tmp_path / "file" / name
    failure("inspect", path, names=[path])
    failure("verify", path, names=[path])
    failure("compress", path, "-o", tmp_path / "out.safetensors", names=[path])
    failure("decompress", path, "-o", tmp_path / "out.npy", names=[path])


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors"])
def test_input_is_a_pipe(command: str, tmp_path: Path, name: str) -> None:
    """Refused, not waited for."""
    os.mkfifo(tmp_path / name)
    result = subprocess.run(
        [command, "inspect", tmp_path / name], capture_output=True, text=True, timeout=5, check=False
    )
    assert result.returncode == 1
    assert name in result.stderr


@pytest.mark.parametrize("args", [["inspect"], ["inspect", "--json"], ["compress", "-o", "out.safetensors"]])
def test_file_name_that_is_not_utf8(command: str, tmp_path: Path, args: list[str]) -> None:
    """The name becomes a tensor's, which must be UTF-8: the message still names the file."""
    path = os.fsencode(tmp_path) + b"/\xff.npy"
    with open(path, "wb") as file:
        np.save(file, make_array("<f4", (2, 3)))
    result = subprocess.run([command, args[0], path, *args[1:]], capture_output=True, cwd=tmp_path, check=False)
    assert result.returncode in (0, 1)
    assert result.returncode == 0 or path in result.stderr


def test_compressed_already(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30)))
    packed = tmp_path / "packed.safetensors"
    stillbit("compress", source, "-o", packed)
    failure("compress", packed, "-o", tmp_path / "twice.safetensors", names=[packed])
    failure("verify", packed, "--against", packed, names=[packed])


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors"])
def test_not_compressed(failure: Failure, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "x.npy":
        save_npy(path, make_array("<f4", (10, 30)))
    else:
        write_tensors(path, {"x": make_tensor("F32", (2, 3))})
    failure("decompress", path, "-o", tmp_path / "y.safetensors", names=[path])
    failure("verify", path, names=[path])


@pytest.mark.parametrize("tensors", [{}, {"a": Tensor("U8", (1,), b"a"), "b": Tensor("U8", (1,), b"b")}])
def test_npy_holds_one_tensor(stillbit: Stillbit, failure: Failure, tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    source, packed = write_tensors(tmp_path / "x.safetensors", tensors), tmp_path / "packed.safetensors"
    stillbit("compress", source, "-o", packed)
    failure("decompress", packed, "-o", tmp_path / "y.npy", names=[packed])


def test_output_without_a_stem(stillbit: Stillbit, tmp_path: Path) -> None:
    """A file that is called `.safetensors`: written, or refused by name."""
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30)))
    stillbit("compress", source, "-o", tmp_path / "packed.safetensors")
    result = stillbit("decompress", tmp_path / "packed.safetensors", "-o", tmp_path / ".safetensors", check=False)
    assert result.returncode == 0 or str(tmp_path / ".safetensors") in result.stderr


# Status 1: outputs


@pytest.mark.parametrize("command_name", ["compress", "decompress"])
@pytest.mark.parametrize(
    "kind", ["no folder", "folder is a file", "a directory", "a directory with a file", "a pipe", "a link to itself"]
)
def test_output_that_cannot_be_written(
    stillbit: Stillbit, failure: Failure, tmp_path: Path, command_name: str, kind: str
) -> None:
    source, packed = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30))), tmp_path / "packed.safetensors"
    stillbit("compress", source, "-o", packed)
    output = tmp_path / "out.safetensors"
    if kind == "no folder":
        output = tmp_path / "none" / "out.safetensors"
    elif kind == "folder is a file":
        output = source / "out.safetensors"
    elif kind.startswith("a directory"):
        output.mkdir()
        if kind == "a directory with a file":
            (output / "kept").write_bytes(b"kept")
    elif kind == "a pipe":
        os.mkfifo(output)
    else:
        output.symlink_to(output)
    failure(command_name, source if command_name == "compress" else packed, "-o", output, names=[output])


def test_failure_leaves_the_old_output(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    """The fixture compares the folder before and after: here it holds an output to keep."""
    source, packed = save_npy(tmp_path / "x.npy", make_array("<f4", (100, 30))), tmp_path / "packed.safetensors"
    stillbit("compress", source, "-o", packed)
    (tmp_path / "old.safetensors").write_bytes(b"old")
    (tmp_path / "old.npy").write_bytes(b"old")
    content = bytearray(packed.read_bytes())
    content[-100] ^= 1
    packed.write_bytes(content)
    message = failure("decompress", packed, "-o", tmp_path / "old.npy", names=[packed])
    assert 'tensor "x"' in message
    failure("decompress", packed, "-o", tmp_path / "old.safetensors", names=[packed])
    failure("compress", tmp_path / "missing.npy", "-o", tmp_path / "old.safetensors")


# verify --against


def changed(array: np.ndarray, element: int) -> np.ndarray:
    copy = array.copy()
    copy.reshape(-1).view(np.uint8)[element * array.itemsize] ^= 1
    return copy


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("element", [0, 1, 37, 2999])
def test_against_other_values(stillbit: Stillbit, failure: Failure, tmp_path: Path, packing: str, element: int) -> None:
    array, packed = make_array("<f4", (100, 30)), tmp_path / "packed.safetensors"
    stillbit("compress", save_npy(tmp_path / "weights.npy", array), "-o", packed, "--packing", packing)
    other = save_npy(tmp_path / "other.npy", changed(array, element))
    message = failure("verify", packed, "--against", other, names=[packed])
    assert 'tensor "weights"' in message
    assert message.rstrip().endswith(f"element {element}")


def test_against_names_the_first_difference(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    """Also where threads find later ones first."""
    array, packed = make_array("<f4", (20000, 256)), tmp_path / "packed.safetensors"
    stillbit("compress", save_npy(tmp_path / "x.npy", array), "-o", packed)
    other = array.copy()
    other.reshape(-1)[[1000, 2_000_000, 5_000_000]] = 99
    message = failure("verify", packed, "--against", save_npy(tmp_path / "other.npy", other))
    assert message.rstrip().endswith("element 1000")


def test_against_another_zero(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    packed = tmp_path / "packed.safetensors"
    stillbit("compress", save_npy(tmp_path / "x.npy", np.zeros((3, 4), np.float32)), "-o", packed)
    failure("verify", packed, "--against", save_npy(tmp_path / "other.npy", -np.zeros((3, 4), np.float32)))


def test_against_itself_with_nan(stillbit: Stillbit, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", np.full((3, 4), np.nan, np.float32))
    stillbit("compress", source, "-o", tmp_path / "packed.safetensors")
    stillbit("verify", tmp_path / "packed.safetensors", "--against", source)


@pytest.mark.parametrize(
    "other",
    [
        make_array("<f4", (30, 100)),
        make_array("<f4", (3000,)),
        make_array("<f4", (99, 30)),
        make_array("<i4", (100, 30)),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_against_another_shape_or_dtype(
    stillbit: Stillbit, failure: Failure, tmp_path: Path, other: np.ndarray
) -> None:
    packed = tmp_path / "packed.safetensors"
    stillbit("compress", save_npy(tmp_path / "weights.npy", make_array("<f4", (100, 30))), "-o", packed)
    message = failure("verify", packed, "--against", save_npy(tmp_path / "other.npy", other), names=[packed])
    assert 'tensor "weights"' in message


@pytest.mark.parametrize("case", ["value", "name", "one more", "one less", "dtype", "shape", "swapped"])
def test_against_another_model(stillbit: Stillbit, failure: Failure, tmp_path: Path, case: str) -> None:
    a, b = make_tensor("U16", (5, 8), 1), make_tensor("U16", (5, 8), 2)
    other_b = Tensor("U16", b.shape, b.data[:20] + bytes([b.data[20] ^ 128]) + b.data[21:])
    others = {
        "value": {"a": a, "b": other_b},
        "name": {"a": a, "c": b},
        "one more": {"a": a, "b": b, "c": b},
        "one less": {"a": a},
        "dtype": {"a": a, "b": Tensor("I16", b.shape, b.data)},
        "shape": {"a": a, "b": Tensor("U16", (8, 5), b.data)},
        "swapped": {"a": b, "b": a},
    }
    packed = tmp_path / "packed.safetensors"
    stillbit("compress", write_tensors(tmp_path / "x.safetensors", {"a": a, "b": b}), "-o", packed)
    stillbit("verify", packed, "--against", write_tensors(tmp_path / "same.safetensors", {"b": b, "a": a}))
    other = write_tensors(tmp_path / "other.safetensors", others[case])
    message = failure("verify", packed, "--against", other, names=[packed])
    if case in ("value", "name", "dtype", "shape"):
        assert 'tensor "b"' in message
    if case == "value":
        assert message.rstrip().endswith("element 10")


def test_against_npy_of_one_tensor(stillbit: Stillbit, tmp_path: Path) -> None:
    """A .npy file has no name for its tensor."""
    array = make_array("<f4", (20, 30))
    safetensors.numpy.save_file({"model.weight": array}, tmp_path / "x.safetensors")
    stillbit("compress", tmp_path / "x.safetensors", "-o", tmp_path / "packed.safetensors")
    stillbit("verify", tmp_path / "packed.safetensors", "--against", save_npy(tmp_path / "other.npy", array))


@pytest.mark.parametrize("name", ["missing.npy", "folder.npy", "bad.npy", "bad.safetensors"])
def test_against_a_file_that_cannot_be_read(stillbit: Stillbit, failure: Failure, tmp_path: Path, name: str) -> None:
    packed = tmp_path / "packed.safetensors"
    stillbit("compress", save_npy(tmp_path / "x.npy", make_array("<f4", (3, 4))), "-o", packed)
    if name.startswith("folder"):
        (tmp_path / name).mkdir()
    elif name.startswith("bad"):
        (tmp_path / name).write_bytes(b"bad")
    failure("verify", packed, "--against", tmp_path / name, names=[tmp_path / name])


# Damaged compressed files


def results_of(command: str, files: list[Path]) -> list[subprocess.CompletedProcess[str]]:
    """Verifies many files, as many at once as there are processors."""

    def verify(file: Path) -> subprocess.CompletedProcess[str]:
        args: list[str | Path] = [command, "verify", file, "--threads", "1"]
        return subprocess.run(args, capture_output=True, text=True, errors="replace", check=False)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(verify, files))


def survivors(command: str, folder: Path, damaged: dict[str, bytes]) -> list[tuple[str, int, str]]:
    """Files that verify does not reject in the right way: with status 1 and a message that names them."""
    files = []
    for label, content in damaged.items():
        files.append(folder / f"{label}.safetensors")
        files[-1].write_bytes(content)
    return [
        (file.name, result.returncode, result.stderr)
        for file, result in zip(files, results_of(command, files), strict=True)
        if result.returncode != 1 or str(file) not in result.stderr
    ]


@pytest.fixture
def small(stillbit: Stillbit, tmp_path: Path) -> Callable[[str], bytes]:
    """A compressed file of a few hundred bytes with encoded rows and with raw ones."""

    def compress(packing: str) -> bytes:
        rows = np.zeros((40, 16), np.uint32)
        rows[:, :3] = make_array("<u4", (40, 3))
        tensors = {"ibp": Tensor("U32", rows.shape, rows.tobytes()), "raw": make_tensor("U8", (3,))}
        source = write_tensors(tmp_path / "small.safetensors", tensors, {"author": "me"})
        info = info_of(
            stillbit("compress", source, "-o", tmp_path / "packed.safetensors", "--packing", packing, "--json")
        )
        assert [tensor["codec"] for tensor in info["tensors"]] == ["ibp", "raw"]
        return (tmp_path / "packed.safetensors").read_bytes()

    return compress


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_truncation(command: str, small: Callable[[str], bytes], tmp_path: Path, packing: str) -> None:
    whole = small(packing)
    assert survivors(command, tmp_path, {str(size): whole[:size] for size in range(len(whole))}) == []


@pytest.mark.parametrize("packing", PACKINGS)
def test_flipped_bits(command: str, small: Callable[[str], bytes], tmp_path: Path, packing: str) -> None:
    whole = small(packing)
    rng = random.Random(1)
    damaged = {}
    for at in rng.sample(range(len(whole)), 300):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.randrange(8)
        damaged[str(at)] = bytes(flipped)
    assert survivors(command, tmp_path, damaged) == []


@pytest.mark.parametrize("packing", PACKINGS)
def test_appended_and_missing_bytes(command: str, small: Callable[[str], bytes], tmp_path: Path, packing: str) -> None:
    whole = small(packing)
    middle = len(whole) // 2
    damaged = {
        "one byte more": whole + b"\0",
        "twice": whole + whole,
        "byte missing": whole[:middle] + whole[middle + 1 :],
        "byte put in": whole[:middle] + b"\0" + whole[middle:],
        "zeros in the middle": whole[: -(len(whole) // 4)] + bytes(len(whole) // 4),
    }
    assert survivors(command, tmp_path, damaged) == []


def test_payload_of_another_file(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    """What the header says of a tensor must be what its payload says."""
    contents = []
    for i, shape in enumerate([(20, 30), (30, 20)]):
        array = np.random.default_rng(i).integers(0, 256, shape, np.uint8)
        source = write_tensors(tmp_path / "x.safetensors", {"weights": Tensor("U8", shape, array.tobytes())})
        stillbit("compress", source, "-o", tmp_path / f"{i}.safetensors")
        contents.append((tmp_path / f"{i}.safetensors").read_bytes())
    first, second = contents
    assert len(first) == len(second)
    data_begin = 8 + struct.unpack_from("<Q", first)[0]
    mixed = tmp_path / "mixed.safetensors"
    mixed.write_bytes(first[:data_begin] + second[data_begin:])
    assert 'tensor "weights"' in failure("verify", mixed, names=[mixed])
    assert 'tensor "weights"' in failure("decompress", mixed, "-o", tmp_path / "out.npy", names=[mixed])


def test_damaged_tensor_is_named(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    tensors = {f"layer.{i}": make_bf16((50, 64), i) for i in range(3)}
    source, packed = write_tensors(tmp_path / "x.safetensors", tensors), tmp_path / "packed.safetensors"
    for packing, name in itertools.product(PACKINGS, tensors):
        stillbit("compress", source, "-o", packed, "--packing", packing)
        payload = read_tensors(packed)[0][f"{name}.stillbit"].data
        content = bytearray(packed.read_bytes())
        content[content.index(payload) + len(payload) // 2] ^= 16
        packed.write_bytes(content)
        assert f'tensor "{name}"' in failure("verify", packed, names=[packed])
        assert f'tensor "{name}"' in failure("decompress", packed, "-o", tmp_path / "out.safetensors", names=[packed])
