"""Tensors, their names and metadata come back from .safetensors files as they were."""

import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from helpers import (
    CODECS,
    DTYPES,
    PACKINGS,
    Stillbit,
    Tensor,
    assert_same,
    expand,
    info_of,
    make_array,
    make_bf16,
    make_tensor,
    names_in,
    read_tensors,
    save_npy,
    write_tensors,
    zoo,
)


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
