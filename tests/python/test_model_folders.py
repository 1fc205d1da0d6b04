"""The folder of a model is compressed and expanded whole, or not at all."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    Failure,
    Stillbit,
    info_of,
    make_bf16,
    make_tensor,
    names_in,
    read_tensors,
    write_bytes,
    write_tensors,
)

CONFIG = {"model_type": "llama", "hidden_size": 40, "rms_norm_eps": 1e-05, "name": "größer", "list": [1, {"a": None}]}
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def write_model(folder: Path) -> Path:
    """Two shards with their index, a config, other files, and a folder in the folder."""
    tensors = [
        {"b": make_bf16((40, 50)), "d": make_tensor("F32", (7,))},
        {"a": make_tensor("I8", (3, 3)), "c": make_bf16((40, 50)), "e": make_tensor("F32", (0,))},
    ]
    (folder / "adapter").mkdir(parents=True)
    for shard, some in zip(SHARDS, tensors, strict=True):
        write_tensors(folder / shard, some, {"format": "pt"})
    weight_map = {name: shard for shard, some in zip(SHARDS, tensors, strict=True) for name in some}
    metadata = {"total_size": 8037, "total_parameters": 4016}
    index = {"metadata": metadata, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_bytes(b'{"odd": "\\u00e4"}  ')
    (folder / "adapter/config.json").write_text("[not even JSON")  # no tensors beside it: copied
    (folder / ".cache").mkdir()
    (folder / ".cache/leftover").write_text("a tool's own")
    return folder


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def test_there_and_back(stillbit: Stillbit, tmp_path: Path) -> None:
    raw, packed, back = write_model(tmp_path / "raw"), tmp_path / "packed", tmp_path / "back"
    info = info_of(stillbit("compress", raw, "-o", packed, "--json"))
    assert {tensor["name"] for tensor in info["tensors"]} == set("abcde")
    assert names_in(packed) == names_in(raw) - {".cache"}
    assert (packed / "tokenizer.json").read_bytes() == (raw / "tokenizer.json").read_bytes()
    assert (packed / "adapter/config.json").read_bytes() == (raw / "adapter/config.json").read_bytes()
    entry = {"quant_method": "stillbit", "version": 1, "dtype": "bfloat16"}
    assert read_json(packed / "config.json") == CONFIG | {"quantization_config": entry}
    index = read_json(packed / "model.safetensors.index.json")
    assert index["weight_map"] == {
        "a.stillbit": SHARDS[1], "b.stillbit": SHARDS[0], "c.stillbit": SHARDS[1], "d.stillbit": SHARDS[0],
        "e.stillbit": SHARDS[1],
    }  # fmt: skip
    assert index["metadata"]["total_size"] == info["stored_bytes"]
    stillbit("verify", packed)
    stillbit("verify", packed, "--against", raw)
    stillbit("verify", packed / "model.safetensors.index.json", "--against", raw / "model.safetensors.index.json")
    assert info_of(stillbit("inspect", packed, "--json"))["file_bytes"] == info["file_bytes"]

    stillbit("decompress", packed, "-o", back)
    assert names_in(back) == names_in(packed)
    for shard in SHARDS:
        assert read_tensors(back / shard) == read_tensors(raw / shard)
    for name in ("config.json", "model.safetensors.index.json"):
        assert read_json(back / name) == read_json(raw / name)


def test_an_empty_folder_is_filled(stillbit: Stillbit, tmp_path: Path) -> None:
    raw = write_model(tmp_path / "raw")
    (tmp_path / "packed").mkdir()
    stillbit("compress", raw, "-o", str(tmp_path / "packed") + "/")
    stillbit("verify", tmp_path / "packed", "--against", raw)
    assert names_in(tmp_path) == {"raw", "packed"}


def test_links_to_files_are_followed(stillbit: Stillbit, tmp_path: Path) -> None:
    """As caches of downloads have them."""
    raw = write_model(tmp_path / "raw")
    (tmp_path / "links").mkdir()
    for name in names_in(raw) - {"adapter", ".cache"}:
        (tmp_path / "links" / name).symlink_to(raw / name)
    stillbit("compress", tmp_path / "links", "-o", tmp_path / "packed")
    stillbit("verify", tmp_path / "packed", "--against", raw)
    assert not any(path.is_symlink() for path in (tmp_path / "packed").iterdir())


def test_an_entry_of_quantized_weights_comes_back(stillbit: Stillbit, tmp_path: Path) -> None:
    raw = write_model(tmp_path / "raw")
    config = CONFIG | {"quantization_config": {"quant_method": "fp8", "block": [128, 128]}}
    (raw / "config.json").write_text(json.dumps(config))
    stillbit("compress", raw, "-o", tmp_path / "packed")
    entry = read_json(tmp_path / "packed/config.json")["quantization_config"]
    assert entry["quant_method"] == "stillbit"
    assert entry["quantization_config"] == config["quantization_config"]
    stillbit("decompress", tmp_path / "packed", "-o", tmp_path / "back")
    assert read_json(tmp_path / "back/config.json") == config


def test_config_that_was_written_again(stillbit: Stillbit, tmp_path: Path) -> None:
    """Without the entry it is left as it is."""
    stillbit("compress", write_model(tmp_path / "raw"), "-o", tmp_path / "packed")
    text = json.dumps({"model_type": "llama"})
    (tmp_path / "packed/config.json").write_text(text)
    stillbit("decompress", tmp_path / "packed", "-o", tmp_path / "back")
    assert (tmp_path / "back/config.json").read_text() == text


MALFORMED = {"dtype": "U8", "shape": [3], "data_offsets": [0, 4]}
BREAKS: dict[str, tuple[Any, list[str]]] = {
    "no tensors": (lambda folder: [(folder / shard).unlink() for shard in SHARDS], [".safetensors"]),
    "missing shard": (lambda folder: (folder / SHARDS[1]).unlink(), [SHARDS[1]]),
    "truncated shard": (lambda folder: os.truncate(folder / SHARDS[0], 2000), [SHARDS[0]]),
    "malformed tensor": (
        lambda folder: write_bytes(
            folder / "x.safetensors", {"t": {"dtype": "U8", "shape": [3], "data_offsets": [0, 4]}}
        ),
        ["x.safetensors"],
    ),
    "tensor not in the index": (
        lambda folder: write_tensors(folder / SHARDS[0], {"z": make_bf16((3, 3))}),
        [SHARDS[0], '"z"'],
    ),
    "index is no JSON": (lambda folder: (folder / "model.safetensors.index.json").write_text("{"), ["index.json"]),
    "config is no JSON": (lambda folder: (folder / "config.json").write_text("{"), ["config.json"]),
    "config is a list": (lambda folder: (folder / "config.json").write_text("[]"), ["config.json"]),
    "config without end": (
        lambda folder: (folder / "config.json").write_text('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
        ["config.json"],
    ),
    "config says compressed": (
        lambda folder: (folder / "config.json").write_text('{"quantization_config": {"quant_method": "stillbit"}}'),
        ["config.json"],
    ),
    "not a regular file": (lambda folder: os.mkfifo(folder / "pipe"), ["pipe"]),
    "links in a circle": (lambda folder: (folder / "loop").symlink_to(folder), ["loop"]),
}


@pytest.mark.parametrize("case", BREAKS)
def test_what_is_wrong_is_named_and_nothing_left(failure: Failure, tmp_path: Path, case: str) -> None:
    folder = write_model(tmp_path / "raw")
    breaks, names = BREAKS[case]
    breaks(folder)
    failure("compress", folder, "-o", tmp_path / "packed", names=names)


def test_unusable_outputs(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    raw = write_model(tmp_path / "raw")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("somebody's")
    (tmp_path / "file").write_text("somebody's")
    for output in ["full", "file", "absent/packed", "raw/packed", "raw", "raw/"]:
        failure("compress", raw, "-o", str(tmp_path / output), names=[output.rstrip("/")])
    stillbit("compress", raw, "-o", tmp_path / "packed")
    failure("compress", tmp_path / "packed", "-o", tmp_path / "twice", names=["compressed already"])
    failure("decompress", raw, "-o", tmp_path / "back", names=[SHARDS[0], "not a compressed file"])
    failure("verify", tmp_path / "packed", "--against", raw / SHARDS[0], names=["no folder"])


def test_a_damaged_payload_leaves_no_folder(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    stillbit("compress", write_model(tmp_path / "raw"), "-o", tmp_path / "packed")
    shard = tmp_path / "packed" / SHARDS[1]
    data = bytearray(shard.read_bytes())
    data[-300] ^= 4
    shard.write_bytes(data)
    failure("decompress", tmp_path / "packed", "-o", tmp_path / "back", names=[SHARDS[1]])
    failure("verify", tmp_path / "packed", names=[SHARDS[1]])


def test_missing_files_are_found_against_the_original(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    raw = write_model(tmp_path / "raw")
    stillbit("compress", raw, "-o", tmp_path / "packed")
    write_tensors(raw / "more.safetensors", {"z": make_bf16((3, 3))})
    failure("verify", tmp_path / "packed", "--against", raw, names=["more.safetensors"])
