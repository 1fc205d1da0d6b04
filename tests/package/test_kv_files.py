"""Caches in files come back as they were, or not at all."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
import stillbit as sb

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.23")

from stillbit.transformers import KVCache  # noqa: E402
from stillbit.transformers._kv_files import CHECK, KEY  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

SMALL = {"chunk_length": 8, "tail_length": 4}


def config_of(**options: Any) -> Any:
    sizes = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    own = {"num_hidden_layers": 2, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 12}
    kinds = {"layer_types": ["sliding_attention", "full_attention"]}
    return transformers.Gemma2Config(**{**sizes, **own, **kinds, **options})


def filled(dtype: Any = torch.bfloat16, tokens: int = 45) -> KVCache:
    generator = torch.Generator().manual_seed(2)
    cache = KVCache(config_of(), **SMALL)
    for layer in range(2):
        cache.update(*(torch.randn(2, 2, tokens, 16, generator=generator).to(dtype) for _ in range(2)), layer)
    return cache


def assert_same(found: KVCache, expected: KVCache) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        for i in range(2):
            assert ours[i].dtype == theirs[i].dtype and torch.equal(ours[i], theirs[i])
    assert found.get_seq_length() == expected.get_seq_length()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    filled().save(tmp_path / "cache.safetensors")
    return tmp_path / "cache.safetensors"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_what_was_saved_is_loaded(tmp_path: Path, dtype: Any) -> None:
    cache = filled(dtype)
    cache.save(tmp_path / "cache.safetensors", {"prompt": "made up"})
    found = KVCache.load(tmp_path / "cache.safetensors", config_of())
    assert_same(found, cache)
    assert found.nbytes == cache.nbytes and found.num_compressed == cache.num_compressed
    assert sb.inspect_file(tmp_path / "cache.safetensors").metadata["prompt"] == "made up"
    assert (tmp_path / "cache.safetensors").stat().st_size < cache.raw_nbytes + 30_000  # of headers


def test_generation_goes_on_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config_of()).eval()
    ids = torch.randint(1, 97, (1, 60))
    with torch.no_grad():
        cache = KVCache(model.config, **SMALL)
        model(ids[:, :50], past_key_values=cache)
        cache.save(tmp_path / "prompt.safetensors")
        expected = model(ids[:, 50:], past_key_values=cache).logits
        for options in [{}, SMALL, {"chunk_length": 3, "tail_length": 0}]:
            found = KVCache.load(tmp_path / "prompt.safetensors", model.config, **options)
            assert torch.equal(model(ids[:, 50:], past_key_values=found).logits, expected)


def test_shared_beams_and_partial_chunks(tmp_path: Path) -> None:
    cache = filled()
    cache.activate_past_recording()
    cache.batch_repeat_interleave(3)
    kv = torch.zeros(6, 2, 2, 16, dtype=torch.bfloat16)
    cache.update(kv, kv, 0)
    cache.update(kv, kv, 1)
    cache.crop(-5)
    cache.save(tmp_path / "beams.safetensors")
    found = KVCache.load(tmp_path / "beams.safetensors", config_of(), **SMALL)
    assert_same(found, cache)
    assert found.nbytes == cache.nbytes


def test_nothing_in_it(tmp_path: Path) -> None:
    KVCache(config_of()).save(tmp_path / "empty.safetensors")
    found = KVCache.load(tmp_path / "empty.safetensors", config_of())
    assert found.get_seq_length() == 0 and found.nbytes == 0 and not found.is_initialized


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}, "num_hidden_layers is 2, the config has 3"),
        ({"num_key_value_heads": 1}, "num_key_value_heads is 2, the config has 1"),
        ({"head_dim": 8}, "head_dim is 16, the config has 8"),
        ({"sliding_window": 16}, "layer 0 of the cache is of another kind"),
        ({"layer_types": ["full_attention"] * 2}, "layer 0 of the cache is of another kind"),
        ({"vocab_size": 96}, "vocab_size is 97, the config has 96"),
    ],
)
def test_caches_of_other_models(path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(sb.MismatchError, match=f"cache.safetensors: .*{message}"):
        KVCache.load(path, config_of(**options))


def test_caches_of_another_dtype(tmp_path: Path) -> None:
    config = config_of(dtype="bfloat16")
    KVCache(config).save(tmp_path / "cache.safetensors")
    with pytest.raises(sb.MismatchError, match="dtype is torch.bfloat16, the config has torch.float16"):
        KVCache.load(tmp_path / "cache.safetensors", config_of(dtype="float16"))
    KVCache.load(tmp_path / "cache.safetensors", config_of())  # which says nothing of a dtype


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    sb.save_file({"x": sb.compress(torch.zeros(4, 4))}, tmp_path / "other.safetensors")
    with pytest.raises(sb.MismatchError, match=r"other.safetensors: holds no cache"):
        KVCache.load(tmp_path / "other.safetensors", config_of())
    with pytest.raises(sb.IoError, match="missing"):
        KVCache.load(tmp_path / "missing.safetensors", config_of())


def test_truncated_files(path: Path) -> None:
    whole = path.read_bytes()
    for length in [0, 7, 8, 100, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(sb.CorruptError, match=r"cache.safetensors"):
            KVCache.load(path, config_of())


def test_changed_bits(path: Path) -> None:
    whole, expected = path.read_bytes(), filled()
    found_out = 0
    chance = random.Random(3)
    for _ in range(150):
        changed = bytearray(whole)
        changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        try:
            found = KVCache.load(path, config_of())
        except sb.Error:
            found_out += 1
        else:
            assert_same(found, expected)  # the change was in something that does not matter
    assert found_out > 100


def described(path: Path, change: Any) -> None:
    """Change what a file says of its cache, and make its checksum fit."""
    about = json.loads(sb.inspect_file(path).metadata[KEY])
    change(about)
    text = json.dumps(about)
    own = {KEY: text, CHECK: hashlib.sha256(text.encode()).hexdigest()}
    sb.save_file(sb.load_file(path, mmap=False), path, own)


def skip(layer: Any, num_tokens: Any) -> None:
    """Let keys and values begin somewhere else, and all numbers agree."""
    for store in layer["stores"]:
        store.update(skipped=num_tokens)
    layer.update(tokens=layer["tokens"] - num_tokens)


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer["stores"][0]["chunks"].pop(),
        lambda layer: layer["stores"][0]["chunks"][0].append(0),
        lambda layer: layer["stores"][0]["chunks"][0].__setitem__(0, 99),
        lambda layer: layer["stores"][1]["shape"].__setitem__(2, 1),
        lambda layer: layer["stores"][1].update(dtype="float32"),
        lambda layer: layer["stores"][1].update(dtype="no dtype"),
        lambda layer: layer["stores"][0].update(skipped=-1),
        lambda layer: layer["stores"].pop(),
        lambda layer: layer.update(tokens=3),
        lambda layer: layer.update(tokens="many"),
        lambda layer: layer.update(tokens=float(layer["tokens"])),
        lambda layer: skip(layer, -1),
        lambda layer: skip(layer, 10_000),
        lambda layer: skip(layer, 0.5),
    ],
)
def test_descriptions_that_do_not_fit_the_tables(path: Path, change: Any) -> None:
    described(path, lambda about: change(about["layers"][1]))
    with pytest.raises(sb.CorruptError, match="cache.safetensors: the tables of the cache are not those"):
        KVCache.load(path, config_of())


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", "7", '"version"', "{}", '{"version": 1}', '{"version": 1, "config": [], "layers": []}',
     '{"version": 1, "config": {}, "layers": 3}'],
)  # fmt: skip
def test_descriptions_that_are_none(path: Path, text: str) -> None:
    own = {KEY: text, CHECK: hashlib.sha256(text.encode()).hexdigest()}
    sb.save_file(sb.load_file(path, mmap=False), path, own)
    with pytest.raises((sb.CorruptError, sb.MismatchError), match="cache.safetensors: "):
        KVCache.load(path, config_of())


@pytest.mark.parametrize("layer", [7, [], "layer", {}, {"window": None}, {"window": None, "stores": 3}])
def test_layers_that_are_none(path: Path, layer: Any) -> None:
    described(path, lambda about: about["layers"].__setitem__(1, layer))
    with pytest.raises((sb.CorruptError, sb.MismatchError), match="cache.safetensors: "):
        KVCache.load(path, config_of())


def test_versions_to_come(path: Path) -> None:
    described(path, lambda about: about.update(version=2))
    with pytest.raises(sb.UnsupportedError, match="version 2"):
        KVCache.load(path, config_of())


def test_a_file_that_cannot_be_written_leaves_the_old_one(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(sb.IoError):
        filled().save(tmp_path / "no folder" / "cache.safetensors")
    with pytest.raises(sb.InvalidArgumentError):
        filled().save(path, {"a note": 1})  # type: ignore[dict-item]
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == [path.name]


def test_an_older_transformers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import stillbit.transformers

    monkeypatch.delattr(transformers.cache_utils, "get_layer_types_and_kwargs")
    monkeypatch.delitem(sys.modules, "stillbit.transformers.kv_cache")
    with pytest.raises(sb.MissingPackageError, match="transformers 5.23 or newer"):
        _ = stillbit.transformers.KVCache
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = stillbit.transformers.nothing
