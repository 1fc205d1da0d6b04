"""What inspect and compress print, as JSON and as a table."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import PACKINGS, WIDTHS, Stillbit, info_of, make_array, make_bf16, names_in, save_npy, write_tensors, zoo

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
