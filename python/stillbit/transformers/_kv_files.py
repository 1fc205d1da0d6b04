"""A cache in a file: a compressed safetensors file whose metadata says which table is what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DummyLayer

from .._compress import compress
from ..errors import CorruptError, Error, MismatchError, UnsupportedError
from ..files import inspect_file, load_file, save_file
from ..tensor import CompressedTensor
from ._kv_layers import CompressedLayer, CompressedSlidingLayer
from ._kv_modes import on_plain_tensors
from ._kv_store import Store

KEY = "stillbit.kv_cache"
CHECK = "stillbit.kv_cache.sha256"  # of the text under KEY: a changed number in it would be a wrong token later
KINDS = ("keys", "values")

# What a cache's shape depends on, of those that a config has.
FIELDS = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "kv_lora_rank",
)


def fingerprint(config: Any) -> dict[str, Any]:
    """Return what tells whether a cache is of such a model. Its weights do not."""
    found = {field: getattr(config, field, None) for field in FIELDS}
    dtype = getattr(config, "dtype", None)
    return {**found, "dtype": None if dtype is None else str(dtype)}


def save(path: Any, cache: Any, metadata: Mapping[str, str] | None) -> None:
    """Write a cache to a file."""
    tensors: dict[str, CompressedTensor] = {}
    layers = [_described(number, layer, tensors) for number, layer in enumerate(cache.layers)]
    text = json.dumps({"version": 1, "config": cache.fingerprint, "layers": layers})
    own = {KEY: text, CHECK: hashlib.sha256(text.encode()).hexdigest()}
    save_file(tensors, path, {**(metadata or {}), **own})


def _described(number: int, layer: Any, tensors: dict[str, CompressedTensor]) -> dict[str, Any] | None:
    """Describe a layer, and add its tables to those of the file."""
    if isinstance(layer, DummyLayer):
        return None
    if not isinstance(layer, CompressedLayer):
        raise UnsupportedError(f"layer {number} is a {type(layer).__name__}: its states cannot be saved")
    stores = [
        _described_store(f"layers.{number}.{kind}", store, tensors) for kind, store in zip(KINDS, layer.stores or ())
    ]
    return {"window": _window(layer), "tokens": layer.get_seq_length(), "stores": stores}


def _window(layer: CompressedLayer) -> int | None:
    return layer.sliding_window if isinstance(layer, CompressedSlidingLayer) else None


def _described_store(name: str, store: Store, tensors: dict[str, CompressedTensor]) -> dict[str, Any]:
    numbers = {id(table): i for i, table in enumerate(store.tables())}
    for i, table in enumerate(store.tables()):
        tensors[f"{name}.{i}"] = table if isinstance(table, CompressedTensor) else table.host()
    if store.tail.numel():
        tensors[f"{name}.tail"] = compress(store.tail, codec="raw", packing="packed")
    batch, heads, tail, size = store.tail.shape
    return {
        "shape": [batch, heads, tail, size],
        "dtype": str(store.tail.dtype)[len("torch.") :],
        "skipped": store.skipped,
        "chunks": [[numbers[id(table)] for table in chunk.tables] for chunk in store.chunks],
    }


@on_plain_tensors
def fill(path: Any, cache: Any, device: Any) -> None:
    """Put what a file holds into a cache that is empty."""
    try:
        about = _description(path)
        _check_model(path, cache, about)
    except Error:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptError(f"{path}: the description of the cache is malformed: {error!r}") from None
    tensors = load_file(path, mmap=False, like="torch")  # checks all checksums
    try:
        for number, (layer, found) in enumerate(zip(cache.layers, about["layers"])):
            if found is not None and found["stores"]:
                stores = [
                    _store(f"layers.{number}.{kind}", one, tensors, cache.options, device)
                    for kind, one in zip(KINDS, found["stores"])
                ]
                _check_lengths(layer, stores, found["tokens"])
                layer.restore((stores[0], stores[1]), found["tokens"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise CorruptError(f"{path}: the tables of the cache are not those that it describes: {error}") from None


def _description(path: Any) -> Any:
    notes = inspect_file(path).metadata
    if KEY not in notes:
        raise MismatchError(f"{path}: holds no cache of keys and values")
    text = notes[KEY]
    if notes.get(CHECK) != hashlib.sha256(text.encode()).hexdigest():
        raise CorruptError(f"{path}: the description of the cache does not have its checksum")
    about = json.loads(text)
    if about["version"] != 1:
        raise UnsupportedError(f"{path}: the cache has version {about['version']}, this Stillbit reads 1")
    return about


def _check_model(path: Any, cache: Any, about: Any) -> None:
    """Raise MismatchError if the file is the cache of a model of another shape."""
    for field, wanted in cache.fingerprint.items():
        found = about["config"].get(field)
        if found != wanted and not (field == "dtype" and None in (found, wanted)):
            raise MismatchError(f"{path}: the cache is of a model whose {field} is {found}, the config has {wanted}")
    if len(about["layers"]) != len(cache.layers):
        raise MismatchError(f"{path}: the cache has {len(about['layers'])} layers, the config {len(cache.layers)}")
    for number, (layer, found) in enumerate(zip(cache.layers, about["layers"])):
        if (found is None) != isinstance(layer, DummyLayer) or (found and found["window"] != _window(layer)):
            raise MismatchError(f"{path}: layer {number} of the cache is of another kind than the config's")


def _store(name: str, found: Any, tensors: Mapping[str, Any], options: Any, device: Any) -> Store:
    batch, heads, tail, size = found["shape"]
    dtype = getattr(torch, found["dtype"])
    store = Store(torch.empty((batch, heads, 0, size), dtype=dtype, device=device), options)
    for numbers in found["chunks"]:
        tables = [tensors[f"{name}.{i}"] for i in numbers]
        for table in tables:
            if table.shape != (heads, tables[0].shape[1], size) or table.dtype != dtype or len(tables) != batch:
                raise ValueError(f"{name} has a chunk of shape {table.shape}")
        store.add(tuple(tables))
    if tail:
        store.tail = _tail(tensors[f"{name}.tail"], (batch, heads, tail, size), dtype).to(device)
    store.skipped = found["skipped"]
    if type(store.skipped) is not int or not 0 <= store.skipped < (store.chunks[0].length if store.chunks else 1):
        raise ValueError(f"{name} skips {store.skipped!r} tokens")
    return store


def _tail(table: CompressedTensor, shape: tuple[int, ...], dtype: Any) -> Tensor:
    if table.shape != shape or table.dtype != dtype:
        raise ValueError(f"a tail of shape {table.shape}")
    return table.torch()


def _check_lengths(layer: Any, stores: list[Store], tokens: int) -> None:
    held = stores[0].length
    window = _window(layer)
    if type(tokens) is not int or held != stores[1].length or held > tokens or (window is None and held != tokens):
        raise ValueError(f"{held} keys and {stores[1].length} values for {tokens} tokens")
