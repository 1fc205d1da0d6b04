"""Arrays of every dtype and shape come back from .npy files bit for bit."""

import struct
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    CODECS,
    DTYPES,
    FP8,
    PACKINGS,
    SHAPES,
    Failure,
    Stillbit,
    assert_same,
    make_array,
    make_array_for,
    make_bf16,
    make_tensor,
    round_trip,
    save_npy,
    write_tensors,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

# Round trips of .npy files


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("descr", "name"), DTYPES.items())
def test_every_dtype(stillbit: Stillbit, tmp_path: Path, descr: str, name: str, codec: str, packing: str) -> None:
    shape = (70, 600 if codec == "rans" else 96)  # its states alone take 128 bytes of a row that has a slot
    array = make_array_for(codec, descr, shape)
    found, info = round_trip(
        stillbit, save_npy(tmp_path / "weights.npy", array), "--codec", codec, "--packing", packing
    )
    assert_same(found, array)
    assert (info["name"], info["dtype"], info["shape"]) == ("weights", name, list(shape))
    assert info["packing"] == packing
    assert codec in ("auto", info["codec"])
    assert codec == "raw" or info["stored_bytes"] < info["raw_bytes"]


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


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=st.sampled_from(list(DTYPES)).flatmap(
        lambda descr: hnp.arrays(descr, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=20))
    ),
    codec=st.sampled_from(CODECS),
    packing=st.sampled_from(PACKINGS),
    row_dims=st.integers(0, 4),
)
def test_any_array(
    stillbit: Stillbit, tmp_path: Path, array: np.ndarray, codec: str, packing: str, row_dims: int
) -> None:
    options = ["--codec", codec, "--row-dims", str(row_dims), "--packing", packing]
    assert_same(round_trip(stillbit, save_npy(tmp_path / "x.npy", array), *options)[0], array)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("descr", ["<f2", "<u2"])
def test_all_16_bit_patterns(stillbit: Stillbit, tmp_path: Path, descr: str, codec: str, packing: str) -> None:
    """Each among numbers that the codec makes smaller: those do not fit, and come back as well."""
    array = np.arange(65536, dtype=np.uint16).view(descr).reshape(512, 128)
    regular = make_array_for(codec, "<f2", (2000, 128)).view(descr)
    for values in (array, np.concatenate([regular[:1000], array, regular[1000:]])):
        options = ["--codec", codec, "--packing", packing]
        assert_same(round_trip(stillbit, save_npy(tmp_path / "x.npy", values), *options)[0], values)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("codec", CODECS)
def test_nan_payloads_and_signed_zeros(stillbit: Stillbit, tmp_path: Path, codec: str, packing: str) -> None:
    bits = np.resize(np.array([0x7F800001, 0xFFC12345, 0x80000000, 0, 0xFF800000, 1], np.uint32), (60, 40))
    array = bits.view(np.float32)
    options = ["--codec", codec, "--packing", packing]
    assert_same(round_trip(stillbit, save_npy(tmp_path / "x.npy", array), *options)[0], array)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("packing", PACKINGS)
def test_rows_that_repeat(stillbit: Stillbit, tmp_path: Path, codec: str, packing: str) -> None:
    """Rows that equal others are stored once, but where every row has a slot and where raw rows were asked for."""
    distinct = make_array_for(codec, "<f4", (37, 60))
    array = np.concatenate([distinct, distinct[np.random.default_rng(2).integers(0, 37, 400)]])
    for values in (array, np.repeat(array[:1], 300, axis=0)):
        options = ["--codec", codec, "--packing", packing]
        found, info = round_trip(stillbit, save_npy(tmp_path / "x.npy", values), *options)
        assert_same(found, values)
        assert packing == "slotted" or codec == "raw" or info["stored_bytes"] < info["raw_bytes"] / 5


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shape", [(), (1,), (0, 5), (5, 0), (300, 1), (1, 3000), (1, 20000), (9, 7001)])
def test_shapes_of_every_codec(
    stillbit: Stillbit, tmp_path: Path, shape: tuple[int, ...], codec: str, packing: str
) -> None:
    array = make_array("<f4", shape)
    options = ["--codec", codec, "--packing", packing]
    assert_same(round_trip(stillbit, save_npy(tmp_path / "x.npy", array), *options)[0], array)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_constant_tensor_becomes_small(stillbit: Stillbit, tmp_path: Path, value: float, packing: str) -> None:
    array = np.full((1000, 256), value, np.float32)
    found, info = round_trip(stillbit, save_npy(tmp_path / "x.npy", array), "--packing", packing)
    assert_same(found, array)
    assert info["codec"] != "raw"
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
