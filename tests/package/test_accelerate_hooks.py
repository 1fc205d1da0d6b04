"""Weights that rest compressed behind accelerate's own hooks."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("transformers", minversion="5.0")

import stillbit as sb  # noqa: E402
from stillbit.accelerate import CompressedWeights  # noqa: E402
from torch import nn  # noqa: E402

from tiny_models import assert_same_bits, assert_same_state, generated, logits, prompt, state_of, tiny_model  # noqa: E402


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mixtral"])
def test_lazy_weights_for_accelerate(kind: str) -> None:
    import accelerate

    model, tokens = tiny_model(kind), prompt()
    wanted = logits(model, tokens)
    weights = CompressedWeights.of(model)
    assert set(weights) == set(model.state_dict())
    assert weights.stored_nbytes < sum(parameter.nbytes for parameter in model.parameters())
    assert_same_state(dict(weights), state_of(model))
    sequences, steps = generated(model, tokens)
    accelerate.cpu_offload(model, "cpu", state_dict=weights)
    assert_same_bits(logits(model, tokens), wanted)
    found_sequences, found_steps = generated(model, tokens)
    assert torch.equal(found_sequences, sequences)
    assert_same_bits(found_steps, steps)


def test_lazy_weights_beside_others_of_accelerate() -> None:
    """As dispatch_model wraps them."""
    from accelerate.utils import OffloadedWeightsLoader

    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)).eval()
    loader = OffloadedWeightsLoader(state_dict=CompressedWeights.of(model))
    assert_same_state({name: loader[name] for name in loader}, state_of(model))


def test_lazy_weights_that_are_none() -> None:
    with pytest.raises(sb.InvalidArgumentError, match=r"tensors\['x'\] is a list"):
        CompressedWeights({"x": [1]})
    with pytest.raises(sb.InvalidArgumentError, match="'weight' is on the device meta"):
        CompressedWeights.of(nn.Linear(3, 3, device="meta"))
    weights = CompressedWeights({"x": sb.compress(torch.zeros(3))})
    assert "y" not in weights
    assert len(weights) == 1
    with pytest.raises(KeyError):
        weights["y"]
