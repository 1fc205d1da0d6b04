"""Sharded models: their index is read as one file, or refused."""

import json
from pathlib import Path

import pytest
from helpers import PACKINGS, Failure, Stillbit, Tensor, expand, info_of, make_bf16, make_tensor, write_tensors


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
