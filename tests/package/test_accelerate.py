"""Offloaded models compute what they computed before, to the last bit, and within their budget."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
transformers = pytest.importorskip("transformers", minversion="5.0")

import stillbit as sb  # noqa: E402
from stillbit.accelerate import cpu_offload  # noqa: E402
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
