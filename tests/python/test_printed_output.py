"""What inspect and compress print, as JSON and as a table."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import (
    CODECS,
    OBJECTIVES,
    PACKINGS,
    WIDTHS,
    Stillbit,
    Tensor,
    info_of,
    make_array,
    make_array_for,
    make_bf16,
    names_in,
    round_trip,
    save_npy,
    write_tensors,
    zoo,
)

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
    assert {tensor["codec"] for tensor in info["tensors"]} > {"raw"}
    assert {tensor["codec"] for tensor in info["tensors"]} < set(CODECS)
    assert {tensor["packing"] for tensor in info["tensors"]} == {packing}


def tensors_for_every_codec() -> dict[str, Tensor]:
    arrays = {codec: make_array_for(codec, "<f4", (120, 130)) for codec in CODECS[1:]}
    return {codec: Tensor("F32", array.shape, array.tobytes()) for codec, array in arrays.items()}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("codec", CODECS)
def test_price_of_the_chosen_codec_is_what_it_took(
    stillbit: Stillbit, tmp_path: Path, codec: str, packing: str
) -> None:
    """Small tensors are priced exactly. Prices are kept in the file, and what is chosen is the smallest."""
    source, output = write_tensors(tmp_path / "x.safetensors", tensors_for_every_codec()), tmp_path / "y.safetensors"
    stillbit("compress", source, "-o", output, "--codec", codec, "--packing", packing)
    for tensor in info_of(stillbit("inspect", output, "--json"))["tensors"]:
        if codec == "raw":
            assert "prices" not in tensor  # nothing was considered
            continue
        prices = tensor["prices"]
        assert prices[tensor["codec"]] == tensor["stored_bytes"] == min(prices.values())
        assert codec == "auto" or set(prices) <= {codec, "raw"}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_price_of_the_chosen_codec_with_objective(
    stillbit: Stillbit, tmp_path: Path, objective: str, packing: str
) -> None:
    source, output = write_tensors(tmp_path / "x.safetensors", tensors_for_every_codec()), tmp_path / "y.safetensors"
    options = ["--objective", objective, "--packing", packing, "--json"]
    for tensor in info_of(stillbit("compress", source, "-o", output, *options))["tensors"]:
        assert tensor["prices"][tensor["codec"]] == tensor["stored_bytes"]


def test_prices_are_printed_as_ratios(stillbit: Stillbit, tmp_path: Path) -> None:
    tensors = tensors_for_every_codec()
    source, output = write_tensors(tmp_path / "x.safetensors", tensors), tmp_path / "y.safetensors"
    stillbit("compress", source, "-o", output)
    info = info_of(stillbit("inspect", output, "--json"))
    table = stillbit("inspect", output).stdout.partition("\n\n")[2].splitlines()
    codecs = [word for word in table[0].split() if word in CODECS]
    assert set(codecs) == {codec for tensor in info["tensors"] for codec in tensor["prices"]} >= {"raw", "ibp"}
    for line, tensor in zip(table[1:], info["tensors"], strict=True):
        name, *ratios = line.split()
        prices = [tensor["prices"].get(codec) for codec in codecs]
        assert name == tensor["name"]
        assert ratios == ["-" if price is None else f"{tensor['raw_bytes'] / price:.3f}" for price in prices]
    # Nothing is printed of what was not priced.
    assert "\n\n" not in stillbit("inspect", source).stdout


@pytest.mark.parametrize("packing", PACKINGS)
def test_objectives(stillbit: Stillbit, tmp_path: Path, packing: str) -> None:
    """Each does best at what it is for, and the tensors come back."""
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (800, 200)))
    infos = {}
    for objective in OBJECTIVES:
        found, infos[objective] = round_trip(stillbit, source, "--objective", objective, "--packing", packing)
        assert found.tobytes() == np.load(source).tobytes()
    stored = {objective: info["stored_bytes"] for objective, info in infos.items()}
    assert stored["smallest"] == min(stored.values())
    assert stored["storage"] == min(stored[objective] for objective in OBJECTIVES if objective != "smallest")
    assert infos["transfer"]["transfer_ratio"] == max(info["transfer_ratio"] for info in infos.values())
    assert round_trip(stillbit, source, "--packing", packing)[1] == infos["storage"]


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
