"""Offloaded models compute what they computed before, to the last bit, and within their budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
transformers = pytest.importorskip("transformers", minversion="5.0")

import stillbit as sb  # noqa: E402
from stillbit.accelerate import cpu_offload  # noqa: E402
from torch import nn  # noqa: E402

import small_modules  # noqa: E402
from small_modules import Block, Routed  # noqa: E402
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


@pytest.mark.parametrize("kind", KINDS)
def test_logits_tokens_and_weights_are_the_same(kind: str) -> None:
    model, tokens = tiny_model(kind), prompt()
    state, wanted, (sequences, steps) = state_of(model), logits(model, tokens), generated(model, tokens)
    offload = cpu_offload(model)
    assert offload.stored_nbytes < offload.raw_nbytes
    assert_same_bits(logits(model, tokens), wanted)
    found_sequences, found_steps = generated(model, tokens)
    assert torch.equal(found_sequences, sequences)
    assert_same_bits(found_steps, steps)
    assert_same_state(model.state_dict(), state)
    offload.remove()
    assert_same_state(model.state_dict(), state)
    assert_same_bits(logits(model, tokens), wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_the_same_in_other_dtypes(kind: str, dtype: Any) -> None:
    for batch in (1, 2):
        model, tokens = tiny_model(kind, dtype), prompt(batch)
        _, wanted = generated(model, tokens)
        cpu_offload(model)
        assert_same_bits(generated(model, tokens)[1], wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_file_weights_and_cache_are_compressed_at_once(kind: str, tmp_path: Path) -> None:
    """As the three are meant to be used: nothing of the model lies anywhere as it is."""
    sbt = pytest.importorskip("stillbit.transformers", exc_type=ImportError)
    source, tokens = tiny_model(kind), prompt(length=20)
    sequences, steps = generated(source, tokens)
    source.save_pretrained(tmp_path / "raw")
    sb.compress_file(tmp_path / "raw", tmp_path / "packed")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "packed").eval()
    offload = cpu_offload(model, resident=True)
    cache = sbt.KVCache(config=model.config, chunk_length=4, tail_length=2)
    found_sequences, found_steps = generated(model, tokens, past_key_values=cache)
    assert torch.equal(found_sequences, sequences)
    assert_same_bits(found_steps, steps)
    assert cache.num_compressed > 0
    assert offload.stored_nbytes < offload.raw_nbytes


@pytest.mark.parametrize("kind", ["llama", "gemma2", "mixtral"])
@pytest.mark.parametrize("resident", [False, True])
def test_any_budget_that_is_enough(kind: str, resident: bool) -> None:
    model, tokens = tiny_model(kind), prompt()
    wanted = logits(model, tokens)
    offload = cpu_offload(model, resident=resident)
    least, raw = offload.device_nbytes, offload.raw_nbytes
    offload.remove()
    stay = []
    for budget in [least, least + raw // 4, least + raw // 2, least + raw]:
        offload = cpu_offload(model, budget=budget, resident=resident)
        assert_same_bits(logits(model, tokens), wanted)
        assert offload.device_nbytes <= budget
        buffers = sum(slot.memory.untyped_storage().nbytes() for slot in offload._ring.slots)
        resting = offload.stored_nbytes if resident else 0
        kept = sum(p.nbytes for n, p in model.named_parameters() if n in offload.resident_names)
        assert buffers + resting + kept == offload.device_nbytes
        stay.append(offload.resident_nbytes)
        offload.remove()
    assert stay == sorted(stay)
    assert stay[-1] == raw
    assert resident or stay[0] < raw
    with pytest.raises(sb.InvalidArgumentError, match=f"{least} are needed"):
        cpu_offload(model, budget=least - 1, resident=resident)
    assert_same_bits(logits(model, tokens), wanted)


one_thread, x = small_modules.one_thread, small_modules.x


# Modules of every shape


class LastToken(nn.Module):
    """As a model's head: what it reads is a part of a larger tensor, and lies apart."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 256, bias=False)
        self.frozen = nn.Linear(256, 64, bias=False).requires_grad_(False)
        self.seen: list[bool] = []

    def forward(self, x: Any) -> Any:
        self.seen += [self.head.weight.requires_grad, self.frozen.weight.requires_grad]
        return self.frozen(self.head(x[:, -1:]))


@pytest.mark.parametrize("budget", [None, 1 << 30])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_keep_the_flag_by_which_torch_chooses_kernels(dtype: Any, budget: int | None) -> None:
    """Of x, whose tokens lie apart, torch.matmul makes one matrix if the weight's flag is set, and several if not."""
    torch.manual_seed(0)
    model, x = nn.Sequential(LastToken(), LastToken()).to(dtype).eval(), torch.randn(2, 30, 64).to(dtype)
    model[1].head.weight.requires_grad_(False)
    wanted = [layer(x).detach() for layer in model]
    flags = [layer.seen[:] for layer in model]
    assert flags == [[True, False], [False, False]]
    offload = cpu_offload(model, budget=budget)
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        for layer, result, seen in zip(model, wanted, flags, strict=True):
            layer.seen.clear()
            with mode():
                found = layer(x)
            assert_same_bits(found, result)
            assert layer.seen == seen
            assert not found.requires_grad
    offload.remove()
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, False, False, False]


def test_orders_that_change_while_it_is_offloaded(x: Any) -> None:
    torch.manual_seed(0)
    model = Routed().eval()
    cases = []
    for seed in range(30):
        rng = torch.Generator().manual_seed(seed)
        orders = torch.randint(0, 5, (6,), generator=rng).tolist(), torch.randint(0, 6, (3,), generator=rng).tolist()
        model.order, model.called = orders
        with torch.no_grad():
            cases.append((orders, model(x)))
    for prefetch in (0, 1, 3):
        offload = cpu_offload(model, prefetch=prefetch)
        for (model.order, model.called), wanted in cases:
            with torch.inference_mode():
                assert_same_bits(model(x), wanted)
        offload.remove()


def test_what_is_not_called_is_not_expanded(x: Any) -> None:
    model = Routed().eval()
    offload = cpu_offload(model, prefetch=0)
    model.called = [2]
    with torch.no_grad():
        model(x)
    # The model's own weight, five layers, the shared one after each, an expert.
    assert offload.statistics.num_expanded + offload.statistics.num_in_place == 1 + 5 + 5 + 1
    offload.remove()


def test_the_next_layers_are_there_before_they_are_called(x: Any) -> None:
    model = nn.Sequential(*(Block() for _ in range(8))).eval()
    offload = cpu_offload(model)
    for _ in range(4):
        with torch.no_grad():
            model(x)
    assert offload.statistics.num_prefetched == 4 * 8 - 1
    offload.statistics.reset()
    assert offload.statistics.num_expanded == 0


def test_a_model_that_is_too_large_fits_compressed(x: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(Block(256) for _ in range(80))).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.02)
    model = model.bfloat16()
    x = torch.rand(3, 256, dtype=torch.bfloat16)
    with torch.no_grad():
        wanted = model(x)
    raw = sum(parameter.nbytes for parameter in model.parameters())
    budget = int(raw / 1.4)
    offload = cpu_offload(model, budget=budget, resident=True)
    with torch.no_grad():
        assert_same_bits(model(x), wanted)
    assert raw > offload.device_nbytes
    assert offload.device_nbytes <= budget


def test_a_forward_that_raises(x: Any) -> None:
    model = Routed().eval()
    with torch.no_grad():
        wanted = model(x)
    offload = cpu_offload(model)
    for _ in range(5):
        with pytest.raises(RuntimeError), torch.no_grad():
            model(torch.rand(3, 7))
        with pytest.raises(IndexError), torch.no_grad():
            model.order = [0, 99]
            model(x)
        model.order = list(range(5))
    with torch.no_grad():
        assert_same_bits(model(x), wanted)
    offload.remove()


def test_other_hooks_stay(x: Any) -> None:
    from accelerate.hooks import ModelHook, add_hook_to_module

    class Doubled(ModelHook):
        def post_forward(self, module: Any, output: Any) -> Any:
            return 2 * output

    model = nn.Sequential(Block(), Block()).eval()
    add_hook_to_module(model[0], Doubled())
    with torch.no_grad():
        wanted = model(x)
    offload = cpu_offload(model)
    for mode in (torch.no_grad, torch.enable_grad):
        with mode():
            found = model(x)
        assert_same_bits(found, wanted)
        assert not found.requires_grad
    offload.remove()
    with torch.no_grad():
        assert_same_bits(model(x), wanted)
    assert isinstance(model[0]._hf_hook, Doubled)
    assert not hasattr(model[1], "_hf_hook")


def test_what_saves_most_time_for_its_bytes_stays() -> None:
    """What compresses least; of what compresses alike, what is called by two."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(256, 256, bias=False) for _ in range(5))).bfloat16().eval()
    bits = torch.randint(-(1 << 15), 1 << 15, (256, 256), dtype=torch.int32).to(torch.int16)
    model[2].weight.data = bits.view(torch.bfloat16)
    model[4].weight = model[1].weight
    offload = cpu_offload(model)
    least, nbytes = offload.device_nbytes, model[0].weight.numel() * 2
    assert offload.resident_names == []
    offload.remove()
    for budget, names in [(least + nbytes, ["1.weight"]), (least + 2 * nbytes, ["1.weight", "2.weight"])]:
        offload = cpu_offload(model, budget=budget)
        assert offload.resident_names == names
        offload.remove()


def test_the_host_never_holds_all_weights_twice(monkeypatch: pytest.MonkeyPatch, x: Any) -> None:
    from stillbit.accelerate import _offload

    model = nn.Sequential(*(Block() for _ in range(8))).bfloat16().eval()
    x = x.bfloat16()
    with torch.no_grad():
        wanted = model(x)
    raw = sum(parameter.nbytes for parameter in model.parameters())
    held, done = [], []
    compress = _offload.compressed

    def noting(weight: Any, num_threads: int) -> Any:
        done.append(compress(weight, num_threads))
        held.append(sum(each.nbytes for each in [*model.parameters(), *done]))
        return done[-1]

    monkeypatch.setattr(_offload, "compressed", noting)
    offload = cpu_offload(model, budget=2 * raw)
    assert offload.resident_nbytes == raw
    assert len(held) == 16
    assert max(held) <= raw + max(tensor.nbytes for tensor in done)
    assert held[-1] < raw
    with torch.no_grad():
        assert_same_bits(model(x), wanted)


def test_a_model_that_is_not_offloaded_after_all_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    from stillbit.accelerate import _offload

    model = tiny_model("gemma2")
    state = state_of(model)
    compress, done = _offload.compressed, []

    def failing(weight: Any, num_threads: int) -> Any:
        done.append(weight)
        if len(done) == 5:
            raise MemoryError("no more")
        return compress(weight, num_threads)

    monkeypatch.setattr(_offload, "compressed", failing)
    with pytest.raises(MemoryError):
        cpu_offload(model)
    assert_same_state(model.state_dict(), state)
    assert all(parameter.requires_grad for parameter in model.parameters())
    monkeypatch.undo()
    monkeypatch.setattr(_offload, "choose_resident", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cpu_offload(model)
    assert_same_state(model.state_dict(), state)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_the_gpu_that_is_current_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    from stillbit.accelerate import _checks

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert _checks.device_of("cuda", []) == torch.device("cuda", 3)
    assert _checks.device_of("cuda:1", []) == torch.device("cuda", 1)


# Weights that are there already


def test_weights_from_a_file(tmp_path: Path) -> None:
    source, tokens = tiny_model("qwen2"), prompt()
    source.save_pretrained(tmp_path / "raw", max_shard_size="40KB")
    sb.compress_file(tmp_path / "raw", tmp_path / "packed")
    model = tiny_model("qwen2", seed=1)
    offload = cpu_offload(model, weights=tmp_path / "packed/model.safetensors.index.json")
    assert_same_bits(logits(model, tokens), logits(source, tokens))
    offload.remove()
    assert_same_state(model.state_dict(), source.state_dict())


def test_a_model_on_meta(x: Any, tmp_path: Path) -> None:
    source = nn.Sequential(Block(), Block()).eval()
    tensors = {name: sb.compress(weight) for name, weight in source.state_dict().items()}
    with torch.device("meta"):
        model = nn.Sequential(Block(), Block()).eval()
    with pytest.raises(sb.InvalidArgumentError, match=r"'0.linear.weight' is on the device meta.*weights="):
        cpu_offload(model, "cpu")
    for budget in (None, 1 << 30):
        offload = cpu_offload(model, "cpu", budget, weights=tensors)
        with torch.no_grad():
            assert_same_bits(model(x), source(x))
        offload.remove()
        assert_same_state(model.state_dict(), source.state_dict())
        model = model.to("meta")
    with pytest.raises(sb.InvalidArgumentError, match="device meta"):
        cpu_offload(model, weights=tensors)


def test_weights_of_another_model(tmp_path: Path) -> None:
    model = nn.Sequential(Block(), Block()).eval()
    tensors = {name: sb.compress(weight) for name, weight in model.state_dict().items()}
    for name, wrong, match in [
        ("1.linear.bias", None, "no compressed tensor for the weight '1.linear.bias'"),
        ("1.linear.bias", torch.zeros(3), "has a Tensor"),
        ("1.linear.bias", sb.compress(torch.zeros(3)), r"'1.linear.bias' is F32 of shape \(3,\)"),
        ("0.linear.weight", sb.compress(torch.zeros(64, 64).half()), "'0.linear.weight' is F16"),
    ]:
        changed = {key: tensor for key, tensor in (tensors | {name: wrong}).items() if tensor is not None}
        with pytest.raises(sb.InvalidArgumentError, match=match):
            cpu_offload(model, weights=changed)
    with pytest.raises(sb.IoError):
        cpu_offload(model, weights=tmp_path / "absent.safetensors")
    assert not hasattr(model[0], "_hf_hook")


def test_a_damaged_file_is_found_when_the_weight_is_wanted(x: Any, tmp_path: Path) -> None:
    model = nn.Sequential(Block(), Block()).eval()
    path = tmp_path / "x.safetensors"
    sb.save_file({name: sb.compress(weight, packing="packed") for name, weight in model.state_dict().items()}, path)
    raw = bytearray(path.read_bytes())
    raw[-3000] ^= 16
    path.write_bytes(raw)
    cpu_offload(model, weights=path)
    for _ in range(2):
        with pytest.raises(sb.CorruptError, match="the weight '1.linear.weight'"), torch.no_grad():
            model(x)


def test_a_file_that_is_cut_short_or_not_there(tmp_path: Path) -> None:
    source = tiny_model("qwen2")
    source.save_pretrained(tmp_path / "raw", max_shard_size="40KB")
    sb.compress_file(tmp_path / "raw", tmp_path / "packed")
    index = tmp_path / "packed/model.safetensors.index.json"
    shards = sorted((tmp_path / "packed").glob("*.safetensors"))
    model = tiny_model("qwen2", seed=1)
    state = state_of(model)
    whole = shards[1].read_bytes()
    shards[1].write_bytes(whole[:-64])
    with pytest.raises(sb.CorruptError, match=shards[1].name):
        cpu_offload(model, weights=index)
    shards[1].unlink()
    with pytest.raises(sb.IoError, match=shards[1].name):
        cpu_offload(model, weights=index)
    with pytest.raises(sb.InvalidArgumentError, match="not a compressed file"):
        cpu_offload(model, weights=next((tmp_path / "raw").glob("*.safetensors")))
    assert_same_state(model.state_dict(), state)
    assert not any(hasattr(module, "_hf_hook") for module in model.modules())
