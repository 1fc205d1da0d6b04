"""What bench measures and prints. How fast anything is depends on the machine, and is not looked at."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import (
    PACKINGS,
    Failure,
    Stillbit,
    Tensor,
    info_of,
    make_array,
    make_bf16,
    make_tensor,
    save_npy,
    write_bytes,
    write_tensors,
)

SPEEDS = {
    "memcpy_gb_per_s", "compress_gb_per_s", "decompress_gb_per_s", "raw_gather_gb_per_s", "gather_gb_per_s",
    "compress_to_memcpy", "decompress_to_memcpy", "gather_to_raw_gather",
}  # fmt: skip
KEYS = SPEEDS | {
    "name", "dtype", "shape", "device", "codec", "packing", "num_rows", "measured_rows", "cache_resident", "raw_bytes",
    "stored_bytes", "ratio", "transfer_ratio",
}  # fmt: skip


def check(info: dict[str, Any]) -> list[dict[str, Any]]:
    """What holds of every result. Returns the tensors."""
    assert set(info) == {"device", "threads", "tensors"}
    assert info["device"] == "cpu"
    for tensor in info["tensors"]:
        assert set(tensor) == KEYS
        assert tensor["device"] == "cpu"
        if tensor["raw_bytes"] == 0:
            assert all(tensor[key] is None for key in SPEEDS)
            continue
        assert all(math.isfinite(tensor[key]) and tensor[key] > 0 for key in SPEEDS)
        for ours, reference in (("compress", "memcpy"), ("decompress", "memcpy"), ("gather", "raw_gather")):
            expected = tensor[f"{ours}_gb_per_s"] / tensor[f"{reference}_gb_per_s"]
            assert tensor[f"{ours}_to_{reference}"] == pytest.approx(expected)
    tensors: list[dict[str, Any]] = info["tensors"]
    return tensors


def bench(stillbit: Stillbit, *args: Any) -> list[dict[str, Any]]:
    return check(info_of(stillbit("bench", *args, "--json")))


@pytest.mark.parametrize("packing", PACKINGS)
def test_sizes_are_those_of_compress(stillbit: Stillbit, tmp_path: Path, packing: str) -> None:
    tensors = {
        "weights": make_bf16((500, 128)),
        "three dimensions": make_bf16((20, 30, 16)),
        "long": make_bf16((100000,)),
        "random": Tensor("F32", (300, 40), np.random.default_rng(1).bytes(48000)),
        "scalar": make_tensor("F64", ()),
        "no rows": make_tensor("F32", (0, 7)),
        "no columns": make_tensor("I8", (7, 0)),
    }
    source = write_tensors(tmp_path / "x.safetensors", tensors)
    measured = bench(stillbit, source, "--packing", packing)
    compressed = info_of(
        stillbit("compress", source, "-o", tmp_path / "y.safetensors", "--packing", packing, "--json")
    )["tensors"]
    same = ("name", "dtype", "shape", "codec", "packing", "raw_bytes", "stored_bytes", "ratio", "transfer_ratio")
    assert [{key: tensor[key] for key in same} for tensor in measured] == [
        {key: tensor[key] for key in same} for tensor in compressed
    ]
    assert [tensor["name"] for tensor in measured] == list(tensors)
    assert {tensor["name"]: tensor["codec"] for tensor in measured}["random"] == "raw"
    assert all(tensor["cache_resident"] for tensor in measured)
    assert all(tensor["measured_rows"] == tensor["num_rows"] for tensor in measured)


def test_compressed_files_are_measured_as_what_they_hold(stillbit: Stillbit, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (300, 40)))
    packed = tmp_path / "packed.safetensors"
    stillbit("compress", source, "-o", packed, "--codec", "raw")
    (tensor,) = bench(stillbit, packed)
    assert (tensor["shape"], tensor["raw_bytes"], tensor["packing"]) == ([300, 40], 48000, "packed")
    assert tensor["codec"] != "raw"


def test_options(stillbit: Stillbit, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", make_array("<u2", (60, 8, 16)))
    args = ["bench", source, "--codec", "ibp", "--as", "BF16", "--row-dims", "2", "--threads", "2", "--json"]
    info = info_of(stillbit(*args))
    (tensor,) = check(info)
    assert info["threads"] == 2
    assert (tensor["dtype"], tensor["codec"], tensor["num_rows"]) == ("BF16", "ibp", 60)


def test_first_rows_when_memory_is_short(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (1000, 500)))
    (tensor,) = bench(stillbit, source, "--max-memory", "3")
    assert (tensor["shape"], tensor["num_rows"], tensor["measured_rows"]) == ([1000, 500], 1000, 500)
    assert tensor["raw_bytes"] == 1_000_000
    assert "first 500 rows" in stillbit("bench", source, "--max-memory", "3").stdout

    packed = tmp_path / "packed.safetensors"
    stillbit("compress", source, "-o", packed)
    assert "6.0 MB" in failure("bench", packed, "--max-memory", "3", names=[packed, '"x"'])
    assert "one row" in failure("bench", source, "--row-dims", "2", "--max-memory", "3", names=[source, '"x"'])


def test_table(stillbit: Stillbit, tmp_path: Path) -> None:
    tensors = {"weights": make_bf16((100, 64)), "empty": make_tensor("F32", (0, 7))}
    result = stillbit("bench", write_tensors(tmp_path / "x.safetensors", tensors), "--threads", "1")
    assert result.stderr == ""
    head, weights, empty, note = result.stdout.splitlines()
    assert {"tensor", "device", "ratio", "memcpy", "compress", "decompress", "gather"} <= set(head.split())
    assert {"weights", "BF16", "100x64", "cpu", "packed", "cache"} <= set(weights.split())
    assert empty.split().count("-") == 5
    assert "1 thread;" in note


def test_file_without_tensors(stillbit: Stillbit, tmp_path: Path) -> None:
    source = write_tensors(tmp_path / "x.safetensors", {})
    assert bench(stillbit, source) == []
    stillbit("bench", source)


@pytest.mark.parametrize("packing", PACKINGS)
def test_damaged_data_is_never_measured(stillbit: Stillbit, failure: Failure, tmp_path: Path, packing: str) -> None:
    """Every bit of what is measured is checked: one that is flipped is found."""
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (300, 40)))
    packed = tmp_path / "packed.safetensors"
    stillbit("compress", source, "-o", packed, "--packing", packing)
    damaged = bytearray(packed.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    packed.write_bytes(damaged)
    failure("bench", packed, names=[packed, '"x"'])
    failure("bench", packed, "--json", names=[packed, '"x"'])


def test_failures(failure: Failure, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (3, 4)))
    failure("bench", tmp_path / "missing.npy", names=["missing.npy"])
    failure("bench", write_bytes(tmp_path / "bad.safetensors", b"no header"), names=["bad.safetensors"])
    failure("bench", source, "--as", "BF16", names=[source, '"x"', "F32", "BF16"])


@pytest.mark.parametrize(
    "args",
    [
        ["bench"],
        ["bench", "x.npy", "y.npy"],
        ["bench", "x.npy", "--codec", "zip"],
        ["bench", "x.npy", "--packing", "loose"],
        ["bench", "x.npy", "--threads", "0"],
        ["bench", "x.npy", "--max-memory", "0"],
        ["bench", "x.npy", "-o", "y.json"],
    ],
    ids=" ".join,
)
def test_usage(failure: Failure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    save_npy(tmp_path / "x.npy", make_array("<f4", (2, 3)))
    failure(*args, status=2)
