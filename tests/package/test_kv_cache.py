"""`stillbit.transformers.KVCache` gives models what transformers' own cache gives them, to the last bit."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import stillbit as sb

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.23")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from stillbit.transformers import KVCache  # noqa: E402
from transformers import AutoModelForCausalLM, DynamicCache  # noqa: E402

SMALL = {"chunk_length": 8, "tail_length": 4}
WINDOW = 12
COMMON = {"vocab_size": 97, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "pad_token_id": 0}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "decoder_sparse_step": 1}
CONFIGS = {
    "gpt2": lambda: transformers.GPT2Config(vocab_size=97, n_embd=64, n_layer=3, n_head=4, pad_token_id=0),
    "llama": lambda: transformers.LlamaConfig(**COMMON, **HEADS, tie_word_embeddings=True),
    "gemma2": lambda: transformers.Gemma2Config(**COMMON, **HEADS, sliding_window=WINDOW),
    "gemma3": lambda: transformers.Gemma3TextConfig(
        **COMMON, **HEADS, sliding_window=WINDOW, layer_types=["sliding_attention"] * 2 + ["full_attention"]
    ),
    "qwen2": lambda: transformers.Qwen2Config(**COMMON, num_attention_heads=4, num_key_value_heads=2),
    "qwen3_moe": lambda: transformers.Qwen3MoeConfig(**COMMON, **HEADS, **EXPERTS),
}
WAYS = {
    "greedy": {"do_sample": False},
    "sampled": {"do_sample": True, "temperature": 1.3},
    "beams": {"num_beams": 3, "do_sample": False},
    "sampled beams": {"num_beams": 2, "do_sample": True},
    "lookup": {"prompt_lookup_num_tokens": 3, "do_sample": False},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    """Small models compute faster so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def model_of(config: Any, dtype: Any = None) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).to(dtype or torch.float32).eval()


@pytest.fixture(scope="module", params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Any:
    return model_of(CONFIGS[request.param]())


@pytest.fixture(scope="module")
def llama() -> Any:
    return model_of(CONFIGS["llama"](), torch.bfloat16)


def prompt(batch: int = 2, length: int = 45) -> Any:
    return torch.randint(1, 97, (batch, length), generator=torch.Generator().manual_seed(1))


def bits(tensor: Any) -> Any:
    return tensor.view({2: torch.int16, 4: torch.int32}[tensor.element_size()])


def assert_same(found: Any, expected: Any) -> None:
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert torch.equal(bits(found), bits(expected))


def compressed_tables(cache: KVCache) -> list[Any]:
    stores = [store for layer in cache._compressed_layers for store in layer.stores or ()]
    return [table for store in stores for table in store.tables() if table.codec != "raw"]


def generate(model: Any, cache: Any, ids: Any, **options: Any) -> Any:
    torch.manual_seed(5)
    mask = torch.ones_like(ids)
    out = {"return_dict_in_generate": True, "output_logits": True, "max_new_tokens": 20, "min_new_tokens": 20}
    return model.generate(ids, attention_mask=mask, past_key_values=cache, **out, **options)


@pytest.mark.parametrize("way", WAYS)
def test_generations_are_those_of_a_dynamic_cache(model: Any, way: str) -> None:
    ids = prompt(1 if way == "lookup" else 2)
    expected = generate(model, DynamicCache(config=model.config), ids, **WAYS[way])
    cache = KVCache(config=model.config, **SMALL)
    found = generate(model, cache, ids, **WAYS[way])
    assert torch.equal(found.sequences, expected.sequences)
    for ours, theirs in zip(found.logits, expected.logits, strict=True):
        assert_same(ours, theirs)
    assert cache.num_compressed >= 8 and compressed_tables(cache)


def test_generation_with_an_assistant(llama: Any) -> None:
    config = CONFIGS["llama"]()
    config.num_hidden_layers = 1
    assistant = model_of(config, torch.bfloat16)
    ids = prompt(1)
    expected = generate(llama, DynamicCache(config=llama.config), ids, assistant_model=assistant, do_sample=False)
    cache = KVCache(config=llama.config, **SMALL)
    found = generate(llama, cache, ids, assistant_model=assistant, do_sample=False)
    assert torch.equal(found.sequences, expected.sequences)
    assert compressed_tables(cache)


def test_prompts_in_pieces_and_more_turns(model: Any) -> None:
    cache, expected = KVCache(config=model.config, **SMALL), DynamicCache(config=model.config)
    ids = prompt(2, 60)
    with torch.no_grad():
        for piece in ids.split([20, 1, 7, 1, 1, 25, 5], dim=1):
            found, wanted = (model(piece, past_key_values=each).logits for each in (cache, expected))
            assert_same(found, wanted)
    assert cache.get_seq_length() == 60


@pytest.mark.parametrize("options", [{"prefetch": False}, {"num_threads": 0}, {"num_threads": 3}, {"tail_length": 0}])
def test_options_change_no_bit(llama: Any, options: dict[str, Any]) -> None:
    expected = generate(llama, DynamicCache(config=llama.config), prompt(), do_sample=False)
    cache = KVCache(config=llama.config, **{**SMALL, **options})
    found = generate(llama, cache, prompt(), do_sample=False)
    for ours, theirs in zip(found.logits, expected.logits, strict=True):
        assert_same(ours, theirs)
    assert compressed_tables(cache)


@pytest.mark.parametrize("kind", ["Lfm2", "Qwen3Next"])
def test_states_that_do_not_grow_are_kept_as_they_are(kind: str) -> None:
    own: dict[str, Any] = {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3}
    if kind == "Qwen3Next":
        linear = {f"linear_{name}": 2 for name in ["num_key_heads", "num_value_heads"]}
        linear |= {"linear_key_head_dim": 16, "linear_value_head_dim": 16, "shared_expert_intermediate_size": 32}
        own = {"layer_types": ["linear_attention", "full_attention", "linear_attention"], **EXPERTS, **linear}
    config = getattr(transformers, f"{kind}Config")(**{**COMMON, **HEADS, **own})
    model = model_of(config)
    expected = generate(model, DynamicCache(config=config), prompt(), do_sample=False)
    cache = KVCache(config=config, **SMALL)
    found = generate(model, cache, prompt(), do_sample=False)
    for ours, theirs in zip(found.logits, expected.logits, strict=True):
        assert_same(ours, theirs)
    assert compressed_tables(cache) and cache.nbytes < cache.raw_nbytes
    with pytest.raises(sb.UnsupportedError, match="layer 0 is a LinearAttentionLayer"):
        cache.save("nowhere.safetensors")


def test_layers_that_share_keys_keep_them() -> None:
    shared = ["full_attention", "full_attention", "full_attention", "full_attention"]
    config = transformers.Gemma4TextConfig(
        **{**COMMON, "num_hidden_layers": 4},
        **HEADS,
        layer_types=shared,
        num_kv_shared_layers=3,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=97,
        global_head_dim=16,
    )
    model = model_of(config)
    expected = generate(model, DynamicCache(config=config), prompt(), do_sample=False)
    cache = KVCache(config=config, **SMALL)
    found = generate(model, cache, prompt(), do_sample=False)
    for ours, theirs in zip(found.logits, expected.logits, strict=True):
        assert_same(ours, theirs)
    assert cache.ring.lasting and compressed_tables(cache)


def states(count: int, batch: int, seed: int, dtype: Any = torch.bfloat16, scale: float = 1.0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(batch, 2, count, 16, generator=generator) * scale).to(dtype)


OTHERS = ["crop", "reorder", "repeat", "select", "offload", "prefetch", "copy", "reset"]
OPERATIONS = ["update"] * 3 + OTHERS


def apply(cache: Any, operation: str, number: int, seed: int, window: int) -> tuple[Any, list[Any]]:
    """Do one operation; return the cache, which may be another one then, and what updates returned."""
    batch = cache.layers[0].keys.shape[0] if cache.is_initialized else 2
    returned = []
    if operation == "update":
        for layer in range(2):
            kv = [states(number, batch, 10 * seed + 2 * layer + i) for i in range(2)]
            returned += [each.clone() for each in cache.update(*kv, layer)]
    elif operation == "crop":
        recording = cache.is_recording_past(1)
        if cache.get_seq_length() and (recording or cache.get_seq_length() < window):
            cache.crop(-min(number, cache.get_seq_length()))
    elif operation == "reorder":
        cache.reorder_cache(torch.randint(batch, (batch,), generator=torch.Generator().manual_seed(seed)))
    elif operation == "repeat":
        cache.batch_repeat_interleave(2 if batch <= 4 else 1)
    elif operation == "select":
        cache.batch_select_indices(torch.arange(batch) % 3 != seed % 2 + 1)
    elif operation == "copy":
        cache = copy.deepcopy(cache)
    elif operation == "reset":
        cache.reset()
    elif isinstance(cache, KVCache):
        getattr(cache, operation)(seed % 2, only_non_sliding=False)
    return cache, returned


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(1, 30), st.integers(0, 99)), max_size=14),
    chunk=st.integers(1, 9),
    tail=st.integers(0, 6),
    window=st.integers(2, 20),
    recording=st.booleans(),
)
def test_any_operations(steps: list[Any], chunk: int, tail: int, window: int, recording: bool) -> None:
    kinds = ["full_attention", "sliding_attention"]
    config = transformers.Gemma2Config(
        **{**COMMON, "num_hidden_layers": 2}, **HEADS, sliding_window=window, layer_types=kinds
    )
    cache: Any = KVCache(config, chunk_length=chunk, tail_length=tail)
    expected: Any = DynamicCache(config=config)
    if recording:
        cache.activate_past_recording()
        expected.activate_past_recording()
    for operation, number, seed in [("update", 20, 0), *steps]:
        cache, found = apply(cache, operation, number, seed, window)
        expected, wanted = apply(expected, operation, number, seed, window)
        for ours, theirs in zip(found, wanted, strict=True):
            assert_same(ours, theirs)
            assert ours.stride() == theirs.stride()
        assert [cache.get_seq_length(i) for i in range(2)] == [expected.get_seq_length(i) for i in range(2)]
        assert [cache.get_mask_sizes(3, i) for i in range(2)] == [expected.get_mask_sizes(3, i) for i in range(2)]
        if expected.get_seq_length():
            for ours, theirs in zip(cache, expected, strict=True):
                assert_same(ours[0], theirs[0])
                assert_same(ours[1], theirs[1])


def filled(num_layers: int = 3, tokens: int = 100, batch: int = 2, **options: Any) -> tuple[KVCache, Any]:
    """Return a cache of random tokens, and transformers' own with the same."""
    config = CONFIGS["llama"]()
    config.num_hidden_layers = num_layers
    cache, expected = KVCache(config, **{**SMALL, **options}), DynamicCache(config=config)
    for layer in range(num_layers):
        kv = states(tokens, batch, layer), states(tokens, batch, layer + 50)
        cache.update(*kv, layer)
        expected.update(*kv, layer)
    return cache, expected


def test_what_it_says_of_itself() -> None:
    cache, expected = filled(tokens=2000, chunk_length=64)
    raw = sum(layer.keys.nbytes + layer.values.nbytes for layer in expected.layers)
    assert cache.raw_nbytes == raw and cache.nbytes < raw / 1.3
    assert cache.ratio == raw / cache.nbytes and "tokens=2000" in repr(cache)
    assert len(cache) == len(expected) == 3 and cache.is_sliding == expected.is_sliding
    assert (cache.is_initialized, cache.is_croppable, cache.is_compileable) == (True, True, False)
    assert cache.get_max_length() == expected.get_max_length() == -1 and cache.batch_size == expected.batch_size
    cache.offload(0)
    assert cache.layers[0].stores[0].tail.shape[2] == 0


def test_no_more_than_two_layers_are_expanded() -> None:
    cache, expected = filled(num_layers=16, tokens=500, chunk_length=64)
    for step in range(3):
        for layer in range(16):
            kv = states(1, 2, step), states(1, 2, step + 9)
            for ours, theirs in zip(cache.update(*kv, layer), expected.update(*kv, layer), strict=True):
                assert_same(ours, theirs)
    one_layer = cache.raw_nbytes / 16
    assert one_layer < cache.peak_working_nbytes <= 2 * one_layer * 9 / 8
    assert cache.nbytes + cache.peak_working_nbytes < cache.raw_nbytes
    assert all(seconds > 0 for seconds in cache.seconds.values())


def test_a_plan_is_learnt_again_when_it_stops_fitting() -> None:
    cache, expected = filled(num_layers=1, chunk_length=64, tokens=192, tail_length=0)
    (fit, _) = [store.fit for store in cache.layers[0].stores]
    assert fit.num_learnt == 1
    for scale in [1, 1e-4, 1e-4, 1e-4]:
        kv = states(64, 2, 7, scale=scale), states(64, 2, 8)
        cache.update(*kv, 0)
        expected.update(*kv, 0)
    assert fit.num_learnt == 2
    assert_same(cache.layers[0].keys, expected.layers[0].keys)


def test_beams_share_what_is_compressed() -> None:
    cache, _ = filled(tokens=500, chunk_length=64)
    before = cache.nbytes
    cache.batch_repeat_interleave(8)
    assert cache.raw_nbytes > 8 * before
    assert cache.nbytes < 3 * before  # only the tails are eight times as large


@pytest.mark.parametrize("way", ["begun", "selected", "repeated"])
def test_a_batch_of_nothing(way: str) -> None:
    """It has tokens nevertheless, as many as were added."""
    cache, _ = filled(tokens=45, batch=0 if way == "begun" else 2)
    if way == "selected":
        cache.batch_select_indices(torch.tensor([], dtype=torch.long))
    if way == "repeated":
        cache.batch_repeat_interleave(0)
    cache.crop(-7)
    cache.layers[0].offload()
    held = cache.layers[0].keys
    full = cache.update(held, held, 0)
    assert cache.get_seq_length() == 76
    assert all(each.shape == (0, 2, 76, 16) for each in [*full, cache.layers[0].keys, cache.layers[0].values])


def test_inference_mode_and_no_grad_may_alternate(llama: Any) -> None:
    cache, expected = KVCache(llama.config, **SMALL), DynamicCache(config=llama.config)
    for i, mode in enumerate([torch.inference_mode, torch.no_grad, torch.inference_mode, torch.no_grad]):
        with mode():
            ids = prompt(2, 40 - 9 * i)
            assert_same(llama(ids, past_key_values=cache).logits, llama(ids, past_key_values=expected).logits)


def test_copies_go_their_own_ways(llama: Any) -> None:
    with torch.no_grad():
        cache, expected = KVCache(llama.config, **SMALL), DynamicCache(config=llama.config)
        for each in (cache, expected):
            llama(prompt(), past_key_values=each)
        copies = [copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))]
        cache.reset()
        assert cache.get_seq_length() == 0 and cache.nbytes == 0
        wanted = llama(prompt(2, 3), past_key_values=expected).logits
        for each in copies:
            assert_same(llama(prompt(2, 3), past_key_values=each).logits, wanted)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda kv: kv.float(), r"keys are torch.float32 on cpu, and the cache holds torch.bfloat16"),
        (lambda kv: kv[:1], r"keys have shape \(1, 2, 1, 16\), and the cache holds \(2, 2, tokens, 16\)"),
        (lambda kv: kv[..., :8], r"keys have shape \(2, 2, 1, 8\)"),
        (lambda kv: kv[0], r"keys have shape \(2, 1, 16\)"),
        (lambda kv: kv.requires_grad_(), r"run the model under torch.no_grad"),
    ],
)
def test_states_that_do_not_continue_the_cache(wrong: Any, message: str) -> None:
    cache, expected = filled()
    with pytest.raises(sb.InvalidArgumentError, match=message):
        cache.update(wrong(states(1, 2, 0)), states(1, 2, 0), 0)
    assert_same(cache.layers[0].keys, expected.layers[0].keys)


def test_states_without_values() -> None:
    nothing = states(20, 1, 0).to("meta")
    with pytest.raises(sb.UnsupportedError, match="keys are on the device meta"):
        KVCache(CONFIGS["llama"](), **SMALL).update(nothing, nothing, 0)


def test_as_many_values_as_keys() -> None:
    with pytest.raises(sb.InvalidArgumentError, match="there are 3 keys for 2 values"):
        filled()[0].update(states(3, 2, 0), states(2, 2, 0), 0)


@pytest.mark.parametrize(
    "kind, message",
    [
        ("T5Config", "T5Config: KVCache has no cross-attention"),
        ("GlmMoeDsaConfig", "KVCache has no layers of type 'indexed_attention'"),
        ("FalconH1Config", "FalconH1Config: KVCache has no layers of type 'hybrid'"),
    ],
)
def test_models_that_are_not_supported(kind: str, message: str) -> None:
    if not hasattr(transformers, kind):
        pytest.skip(f"transformers {transformers.__version__} has no {kind}")
    with pytest.raises(sb.UnsupportedError, match=message):
        KVCache(getattr(transformers, kind)())


def test_options_are_checked() -> None:
    for options in [{"chunk_length": 0}, {"chunk_length": -1}, {"tail_length": 1.5}, {"num_threads": -1}]:
        with pytest.raises(sb.InvalidArgumentError):
            KVCache(CONFIGS["llama"](), **options)
    with pytest.raises(sb.InvalidArgumentError, match="codec"):
        filled(codec="zip")


def test_crop_takes_negative_numbers_and_full_windows_none() -> None:
    with pytest.raises(ValueError, match="negative"):
        filled()[0].crop(3)
    cache = KVCache(CONFIGS["gemma3"](), **SMALL)
    cache.update(states(WINDOW + 3, 2, 0), states(WINDOW + 3, 2, 1), 0)
    with pytest.raises(RuntimeError, match="activate_past_recording"):
        cache.layers[0].crop(-1)


def test_a_fault_in_a_thread_is_raised_where_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, _ = filled()

    def broken(*_: object) -> None:
        raise sb.CorruptError("a row is malformed")

    monkeypatch.setattr(type(cache.layers[0].stores[0].chunks[0]), "expand", broken)
    with pytest.raises(sb.CorruptError, match="malformed"):
        for layer in range(3):
            cache.update(states(1, 2, 0), states(1, 2, 0), layer)


def test_on_a_gpu() -> None:
    if not torch.cuda.is_available() or not sb.cuda.is_available():
        pytest.skip("no GPU")
    model = model_of(CONFIGS["gemma3"](), torch.bfloat16).cuda()
    ids = prompt().cuda()
    expected = generate(model, DynamicCache(config=model.config), ids, do_sample=False)
    for device in [None, "cuda"]:
        cache = KVCache(model.config, **SMALL, device=device)
        found = generate(model, cache, ids, do_sample=False)
        for ours, theirs in zip(found.logits, expected.logits, strict=True):
            assert_same(ours, theirs)
        assert compressed_tables(cache)
