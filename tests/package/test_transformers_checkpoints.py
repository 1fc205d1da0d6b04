"""Compressed checkpoints load to exactly what was compressed: as state dicts, into models, and by from_pretrained."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.0")

import stillbit as sb  # noqa: E402
import stillbit.transformers as sbt  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from tiny_models import (  # noqa: E402
    KINDS,
    assert_same_bits,
    assert_same_state,
    generated,
    logits,
    prompt,
    state_of,
    tiny_model,
)

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def save(model: Any, folder: Path, shards: bool = False) -> Path:
    """Write a model as transformers does, with a file besides, and compress it. Returns the compressed folder."""
    model.save_pretrained(folder / "raw", max_shard_size="40KB" if shards else "5GB")
    (folder / "raw" / "tokenizer.json").write_text('{"version": "1.0"}')
    sb.compress_file(folder / "raw", folder / "packed")
    return folder / "packed"


def raw_state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        state |= load_file(file)
    return state


def from_pretrained(folder: Path, **options: Any) -> Any:
    model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **options)
    assert not any(info.values()), info
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_loads_to_the_same(kind: str, tmp_path: Path) -> None:
    source = tiny_model(kind)
    packed = save(source, tmp_path, shards=True)
    wanted = raw_state(tmp_path / "raw")
    found = sbt.load(packed, num_threads=2)
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert_same_bits(found[name], tensor, name)
    model, tokens = from_pretrained(packed), prompt()
    assert_same_state(state_of(model), state_of(source))
    assert_same_bits(logits(model, tokens), logits(source, tokens))
    for one, other in zip(generated(model, tokens), generated(source, tokens), strict=True):
        assert torch.equal(one, other)


def test_parameters_are_expanded_where_they_are_going_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stillbit.transformers import quantizer

    places = {"model.a": 1, "model.b": "cuda:2", "model.c": "disk", "model.d": torch.device("cpu"), "": "meta"}
    found = [quantizer.place_of(f"model.{each}.weight", places) for each in "abcde"]
    assert found == [torch.device("cuda", 1), torch.device("cuda", 2), *[torch.device("cpu")] * 3]
    assert quantizer.place_of("model.a.weight", None) == torch.device("cpu")
    asked: list[Any] = []
    place_of = quantizer.place_of
    monkeypatch.setattr(quantizer, "place_of", lambda *about: asked.append(about) or place_of(*about))
    source = tiny_model("mixtral")
    model = from_pretrained(save(source, tmp_path), device_map={"": "cpu"})
    assert_same_state(state_of(model), state_of(source))
    names = {name for name, _ in asked}
    assert names and names <= set(dict(model.named_parameters()))
    assert all(device_map == {"": torch.device("cpu")} or device_map == {"": "cpu"} for _, device_map in asked)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_expands_what_goes_there(tmp_path: Path) -> None:
    source = tiny_model("mixtral")
    model = from_pretrained(save(source, tmp_path), device_map="cuda")
    assert all(parameter.is_cuda for parameter in model.parameters())
    assert_same_state(state_of(model.cpu()), state_of(source))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_dtypes(dtype: Any, tmp_path: Path) -> None:
    source = tiny_model("gpt2", dtype)
    packed = save(source, tmp_path)
    assert_same_state(state_of(from_pretrained(packed)), state_of(source))
    cast = from_pretrained(packed, dtype=torch.bfloat16)
    raw_cast = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "raw", dtype=torch.bfloat16)
    assert_same_state(state_of(cast), state_of(raw_cast))


def test_a_config_that_says_no_dtype(tmp_path: Path) -> None:
    source = tiny_model("gpt2")
    source.save_pretrained(tmp_path / "raw")
    config = json.loads((tmp_path / "raw/config.json").read_text())
    (tmp_path / "raw/config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "dtype"}))
    sb.compress_file(tmp_path / "raw", tmp_path / "packed")
    assert from_pretrained(tmp_path / "packed").dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["llama", "qwen3_moe"])
@pytest.mark.parametrize("auto", ["AutoModel", "AutoModelForSequenceClassification"])
def test_models_with_other_heads(kind: str, auto: str, tmp_path: Path) -> None:
    """Names get a prefix or lose it, and what is missing or too much is reported as of the raw checkpoint."""
    packed = save(tiny_model(kind), tmp_path)
    load = getattr(transformers, auto).from_pretrained
    torch.manual_seed(0)
    wanted, info = load(tmp_path / "raw", output_loading_info=True)
    torch.manual_seed(0)
    found, found_info = load(packed, output_loading_info=True)
    assert found_info == info
    assert info["missing_keys"] or info["unexpected_keys"]
    assert_same_state(state_of(found), state_of(wanted))


@pytest.mark.parametrize("device_map", ["cpu", "auto", {"": "cpu"}])
def test_device_maps(device_map: Any, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    source = tiny_model("gemma2")
    assert_same_state(state_of(from_pretrained(save(source, tmp_path), device_map=device_map)), state_of(source))


def test_fp8_and_every_bit_pattern(tmp_path: Path) -> None:
    bytes_ = torch.arange(256, dtype=torch.uint8).repeat(16).view(64, 64)
    words = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16).view(256, 256)
    state = {
        "e4m3": bytes_.view(torch.float8_e4m3fn),
        "e5m2": bytes_.clone().view(torch.float8_e5m2),
        "bf16": words.view(torch.bfloat16),
        "f16": words.clone().view(torch.float16),
        "scalar": torch.tensor(1.5),
        "nothing": torch.empty(0, 4),
    }
    save_file(state, tmp_path / "raw.safetensors")
    sb.compress_file(tmp_path / "raw.safetensors", tmp_path / "packed.safetensors")
    found = sbt.load(tmp_path / "packed.safetensors")
    for name, tensor in state.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert found[name].reshape(-1).view(torch.uint8).equal(tensor.reshape(-1).view(torch.uint8)), name


def test_experts_that_are_equal_are_all_there(tmp_path: Path) -> None:
    """Payloads are stored once: parameters are put together of tensors that have none of their own."""
    source = tiny_model("qwen3_moe")
    with torch.no_grad():
        for name, parameter in source.named_parameters():
            if "experts" in name or "q_proj" in name:
                parameter.fill_(0.25)
    packed = save(source, tmp_path)
    assert_same_state(state_of(from_pretrained(packed)), state_of(source))


def test_into_the_memory_that_is_there(tmp_path: Path) -> None:
    source = tiny_model("gpt2")
    packed = save(source, tmp_path)
    model = tiny_model("gpt2", seed=1)
    before = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    sbt.load_into(model, packed)
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == before
    assert model.transformer.wte.weight is model.lm_head.weight
    assert_same_state(model.state_dict(), source.state_dict())


def test_tensors_are_expanded_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few calls for many tensors, in windows, and nothing is kept that nobody asked for."""
    from stillbit.transformers import _lookahead

    windows: list[list[str]] = []
    expand = _lookahead.WholeFile.expand

    def noting(self: Any, outs: Any, **options: Any) -> None:
        outs = list(outs)
        windows.append([name for name, _ in outs])
        expand(self, outs, **options)

    kept: list[Any] = []
    made = _lookahead.Lookahead.__init__
    monkeypatch.setattr(_lookahead.WholeFile, "expand", noting)
    monkeypatch.setattr(_lookahead.Lookahead, "__init__", lambda self, files: kept.append(self) or made(self, files))
    source = tiny_model("mixtral")
    packed = save(source, tmp_path, shards=True)
    for window, fewest in [(64 << 20, 2), (20_000, 6)]:
        windows.clear()
        monkeypatch.setattr(_lookahead, "WINDOW_NBYTES", window)
        assert_same_state(state_of(from_pretrained(packed)), state_of(source))
        names = [name for each in windows for name in each]
        assert sorted(names) == sorted(raw_state(tmp_path / "raw"))
        assert fewest <= len(windows) < len(names) / 2
        assert kept[-1]._ready == {}
    windows.clear()
    transformers.AutoModel.from_pretrained(packed)
    assert "lm_head.weight" not in [name for each in windows for name in each]
    assert kept[-1]._ready == {}


def test_what_was_loaded_is_saved_raw(tmp_path: Path) -> None:
    source = tiny_model("mixtral")
    packed = save(source, tmp_path)
    from_pretrained(packed).save_pretrained(tmp_path / "again")
    assert (tmp_path / "again/model.safetensors").read_bytes() == (tmp_path / "raw/model.safetensors").read_bytes()
    wanted = json.loads((tmp_path / "raw/config.json").read_text())
    assert json.loads((tmp_path / "again/config.json").read_text()) == wanted


def test_other_files_travel_along_and_back(tmp_path: Path) -> None:
    packed = save(tiny_model("llama"), tmp_path, shards=True)
    names = {path.name for path in (tmp_path / "raw").iterdir()}
    assert {path.name for path in packed.iterdir()} == names
    assert json.loads((packed / "config.json").read_text())["quantization_config"]["quant_method"] == "stillbit"
    sb.verify_file(packed, tmp_path / "raw")
    sb.decompress_file(packed, tmp_path / "back")
    for name in names:
        found, wanted = tmp_path / "back" / name, tmp_path / "raw" / name
        if name.endswith(".json"):
            assert json.loads(found.read_text()) == json.loads(wanted.read_text()), name
        else:
            assert_same_state(dict(sorted(load_file(found).items())), dict(sorted(load_file(wanted).items())))


# What is wrong is said, with the file and the tensor.


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tiny_model("llama"), tmp_path_factory.mktemp("llama"), shards=True)


@pytest.fixture
def broken(compressed: Path, tmp_path: Path) -> Path:
    """A copy, to be broken."""
    shutil.copytree(compressed, tmp_path / "packed")
    return tmp_path / "packed"


def both_fail(folder: Path, error: type[Exception], *names: str) -> None:
    for load in (sbt.load, from_pretrained):
        with pytest.raises(error) as raised:
            load(folder)
        for name in names:
            assert name in str(raised.value), (load, str(raised.value))


def test_missing_shard(broken: Path) -> None:
    shard = sorted(broken.glob("*.safetensors"))[1]
    shard.unlink()
    both_fail(broken, OSError, shard.name)


def test_truncated_shard(broken: Path) -> None:
    shard = sorted(broken.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-64])
    with pytest.raises(sb.CorruptError, match=shard.name):
        sbt.load(broken)


def test_corrupted_payload(broken: Path) -> None:
    """A bit of a weight that no structure depends on: only its checksum says so."""
    shard = sorted(broken.glob("*.safetensors"))[0]
    raw = bytearray(shard.read_bytes())
    header = 8 + int.from_bytes(raw[:8], "little")
    entries = json.loads(raw[8:header])
    largest = max((k for k in entries if k != "__metadata__"), key=lambda k: np.diff(entries[k]["data_offsets"])[0])
    end = header + entries[largest]["data_offsets"][1]
    for offset in range(end - 200, end - 4000, -100):
        shard.write_bytes(raw[:offset] + bytes([raw[offset] ^ 1]) + raw[offset + 1 :])
        with contextlib.suppress(sb.CorruptError):
            sbt.load(broken, verify=False)
            break
    else:
        pytest.fail("each bit is one that a structure depends on")
    both_fail(broken, sb.CorruptError, shard.name, largest.removesuffix(".stillbit"), "checksum")


def test_config_says_compressed_but_files_are_plain(broken: Path) -> None:
    for shard in (broken.parent / "packed").glob("*.safetensors"):
        save_file({"x": torch.zeros(3)}, shard, {"format": "pt"})
    for index in broken.glob("*.index.json"):
        index.unlink()
    first, *others = sorted(broken.glob("*.safetensors"))
    for other in others:
        other.unlink()
    first.rename(broken / "model.safetensors")
    both_fail(broken, sb.CorruptError, "config.json", "model.safetensors")


def test_payload_of_another_tensor(broken: Path) -> None:
    shard = next(path for path in sorted(broken.glob("*.safetensors")) if b"embed_tokens" in path.read_bytes()[:4000])
    other = next(path for path in sorted(broken.glob("*.safetensors")) if path != shard)
    shard.write_bytes(other.read_bytes())
    both_fail(broken, sb.CorruptError, shard.name)


def test_another_models_checkpoint(compressed: Path) -> None:
    model = tiny_model("llama")
    model.lm_head = torch.nn.Linear(32, 7, bias=False, dtype=torch.bfloat16)
    with pytest.raises(sb.MismatchError, match=r"lm_head.weight.*\(160, 32\).*\(7, 32\)"):
        sbt.load_into(model, compressed)
    with pytest.raises(sb.MismatchError, match="is not in the model"):
        sbt.load_into(tiny_model("gpt2"), compressed)
    model = tiny_model("llama", torch.float32)
    with pytest.raises(sb.MismatchError, match="torch.float32"):
        sbt.load_into(model, compressed)
    model = tiny_model("llama")
    model.extra = torch.nn.Linear(3, 3)
    with pytest.raises(sb.MismatchError, match="extra"):
        sbt.load_into(model, compressed)


def test_what_from_pretrained_refuses(compressed: Path, broken: Path) -> None:
    with pytest.raises(sb.InvalidArgumentError, match="not compressed"):
        from_pretrained(compressed.parent / "raw", quantization_config=sbt.StillbitConfig())
    with pytest.raises(sb.UnsupportedError, match="disk"):
        from_pretrained(compressed, device_map={"": "disk"})
    config = json.loads((broken / "config.json").read_text())
    config["quantization_config"]["version"] = 2
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(sb.UnsupportedError, match="version 2"):
        from_pretrained(broken)
    config["quantization_config"] |= {"version": 1, "quantization_config": {"quant_method": "fp8"}}
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(sb.UnsupportedError, match="quantized before"):
        from_pretrained(broken)


def test_devices_that_nothing_is_expanded_on(compressed: Path) -> None:
    with pytest.raises(sb.UnsupportedError, match="meta"):
        sbt.load(compressed, device="meta")
    with pytest.raises(sb.InvalidArgumentError, match="num_threads"):
        sbt.load(compressed, num_threads=-1)


def test_folders_that_hold_no_model(tmp_path: Path) -> None:
    with pytest.raises(sb.InvalidArgumentError, match="no .safetensors file"):
        sbt.load(tmp_path)
    for name in "ab":
        save_file({"x": torch.zeros(3)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(sb.InvalidArgumentError, match="several"):
        sbt.load(tmp_path)
    with pytest.raises(sb.IoError):
        sbt.load(tmp_path / "absent.safetensors")


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="no real tensors beside the repository")
def test_ratio_of_real_weights(tmp_path: Path) -> None:
    """A model file of weights that were trained, its header and all metadata included."""
    files = sorted(SHARED_DATA.glob("w_*_bf16__*.npy"))
    state = {path.stem: torch.from_numpy(np.load(path)).view(torch.bfloat16) for path in files}
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    sb.compress_file(tmp_path / "model.safetensors", tmp_path / "packed.safetensors")
    for name, tensor in sbt.load(tmp_path / "packed.safetensors").items():
        assert_same_bits(tensor, state[name], name)
    sizes = [(tmp_path / name).stat().st_size for name in ("model.safetensors", "packed.safetensors")]
    assert sizes[0] / sizes[1] >= 1.44
