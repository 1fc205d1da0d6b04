"""Language models of every kind that the package is held to, small enough for tests: built from a config."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.0")

VOCABULARY = 160
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": None,
    "pad_token_id": 0,
}
GROUPED = SMALL | {"num_key_value_heads": 2, "head_dim": 8}
EXPERTS = GROUPED | {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}

# Name, class of the config, its arguments.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2Config",  # tied, Conv1D, learned positions, biases
        {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128, "bos_token_id": 1}
        | {"eos_token_id": None, "pad_token_id": 0},
    ),
    "llama": ("LlamaConfig", GROUPED),  # grouped queries, weights not tied
    "gemma2": ("Gemma2Config", GROUPED | {"sliding_window": 8}),  # tied; every other layer has a window
    "gemma3": ("Gemma3TextConfig", GROUPED | {"sliding_window": 8, "sliding_window_pattern": 2}),
    "qwen2": ("Qwen2Config", GROUPED | {"tie_word_embeddings": True}),  # biases of queries, keys and values
    "qwen3": ("Qwen3Config", GROUPED | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
    "qwen3_moe": ("Qwen3MoeConfig", EXPERTS | {"decoder_sparse_step": 1, "mlp_only_layers": [1]}),
    "mixtral": ("MixtralConfig", EXPERTS),
}


def tiny_model(kind: str, dtype: Any = torch.bfloat16, seed: int = 0) -> Any:
    """Build a model in evaluation mode; the same one for the same seed."""
    name, arguments = KINDS[kind]
    torch.manual_seed(seed)
    return transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**arguments), dtype=dtype).eval()


def prompt(batch: int = 2, length: int = 11) -> Any:
    """Return token numbers without padding; longer than the windows."""
    return torch.randint(2, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(7))


def logits(model: Any, tokens: Any) -> Any:
    with torch.no_grad():
        return model(tokens).logits


def generated(model: Any, tokens: Any, **options: Any) -> Any:
    """Return tokens, and the logits of each step."""
    settings = {"max_new_tokens": 6, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    done = model.generate(tokens, attention_mask=torch.ones_like(tokens), **(settings | options))
    return done.sequences, torch.stack(done.logits)


def assert_same_bits(found: Any, wanted: Any, name: str = "") -> None:
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), name
    assert torch.equal(found.contiguous().view(torch.uint8), wanted.contiguous().view(torch.uint8)), name


def assert_same_state(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert_same_bits(found[name], tensor, name)


def state_of(model: Any) -> dict[str, Any]:
    """Return a copy of the model's weights and buffers."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
