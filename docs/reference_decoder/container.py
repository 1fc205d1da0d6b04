"""Compressed files: payloads in a safetensors file, and what its metadata says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import xxhash
from bits import require
from payload import Tensor, decode_payload, parse_header

T = TypeVar("T")


def member(parent: Any, key: str, kind: type[T]) -> T:
    """Return a member of a JSON object, which must have the given type."""
    require(isinstance(parent, dict) and key in parent, key, "is missing")
    require(type(parent[key]) is kind, key, f"must be of type {kind.__name__}")
    value: T = parent[key]
    return value


def string_map(parent: Any, key: str) -> dict[str, str]:
    """Return a member of a JSON object, which must be an object of strings."""
    value = member(parent, key, dict)
    require(all(isinstance(text, str) for text in value.values()), key, "must map strings to strings")
    return value


def parse_json(text: bytes | str, field: str) -> Any:
    """Parse a JSON text, in which no object may have a key twice."""

    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("must not have a key twice")
        return dict(pairs)

    try:
        return json.loads(text if isinstance(text, str) else text.decode(), object_pairs_hook=as_dict)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{field}: {error}") from error


def read_container(file: bytes) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return the metadata and the payloads of a safetensors file: its header's size, its header as JSON, its data."""
    header_bytes = int.from_bytes(file[:8], "little")
    require(8 <= 8 + header_bytes <= len(file), "header size", "must lie within the file")
    header = parse_json(file[8 : 8 + header_bytes], "header")
    metadata = string_map(header, "__metadata__")
    data = file[8 + header_bytes :]
    payloads, spans = {}, []
    for key in header.keys() - {"__metadata__"}:
        entry = member(header, key, dict)
        shape, offsets = member(entry, "shape", list), member(entry, "data_offsets", list)
        require(member(entry, "dtype", str) == "U8", "dtype", "a payload must be stored as U8")
        require(len(offsets) == 2 and all(type(o) is int for o in offsets), "data_offsets", "must be two integers")
        require(shape == [offsets[1] - offsets[0]], "shape", "a payload must have one dimension, its size")
        payloads[key] = data[offsets[0] : offsets[1]]
        spans.append((offsets[0], offsets[1]))
    ends = [0, *(end for _, end in sorted(spans))]
    require([*(start for start, _ in sorted(spans)), len(data)] == ends, "data_offsets", "must cover the data once")
    return metadata, payloads


def read_file(path: str | Path) -> dict[str, Tensor]:
    """Decode every tensor of a compressed file.

    Parameters
    ----------
    path : str or Path
        A compressed ``.safetensors`` file.

    Returns
    -------
    dict
        By name, in the order of the source: the dtype, the shape, and the bytes of the tensor.

    Raises
    ------
    ValueError
        If the file or a payload breaks the format, or if a checksum does not match.
    """
    metadata, payloads = read_container(Path(path).read_bytes())
    text = member(metadata, "stillbit", str)
    digest = f"{xxhash.xxh3_64_intdigest(text.encode()):016x}"
    require(member(metadata, "stillbit.checksum", str) == digest, "stillbit.checksum", "does not match")
    manifest = parse_json(text, "stillbit")
    require(member(manifest, "version", int) == 1, "version", "must be 1")
    source_format = string_map(manifest, "metadata").get("format")
    require(metadata.get("format") == source_format, "format", "must be the manifest's")
    tensors: dict[str, Tensor] = {}
    named = set()
    for entry in member(manifest, "tensors", list):
        name, key = member(entry, "name", str), member(entry, "payload", str)
        require(name not in tensors, "name", f"{name!r} must be unique")
        require(key in payloads, "payload", f"{key!r} is missing")
        header = parse_header(payloads[key])
        for field, value in (("dtype", header.dtype), ("codec", header.codec), ("packing", header.packing)):
            require(member(entry, field, str) == value, field, f"of {name!r} must be what the payload says")
        require(member(entry, "shape", list) == list(header.shape), "shape", f"of {name!r} must be the payload's")
        tensors[name] = decode_payload(payloads[key])
        named.add(key)
    require(named == payloads.keys(), "payload", "every payload must be named by a tensor")
    return tensors
