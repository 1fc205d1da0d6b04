"""The example that offloads a language model runs, and finds what it promises."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from programs import EXAMPLES, loaded, said_by

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

LLM_OFFLOAD = EXAMPLES / "llm_offload.py"
SMALL_LLM = ["--steps", 2, "--hidden", 64, "--layers", 2, "--prompt-tokens", 300, "--new-tokens", 4, "--repeats", 1]


def test_llm_offload_with_a_small_model() -> None:
    said = said_by(LLM_OFFLOAD, *SMALL_LLM, "--device", "cpu", "--threads", 1)
    assert "DynamicCache(offloading=True), which needs one, is left out" in said
    assert "| | as it is | raw offload | Stillbit |" in said
    assert "All 4 tokens and 1,024 logits are the same to the last bit" in said


def test_llm_offload_with_the_model_of_a_folder(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    tokenizers = pytest.importorskip("tokenizers")
    example = loaded(LLM_OFFLOAD)
    AutoModelForCausalLM.from_config(example.small_config(64, 2)).to(torch.float16).save_pretrained(tmp_path)
    words = tokenizers.Tokenizer(tokenizers.models.BPE({chr(i): i for i in range(128)} | {"?": 128}, [], unk_token="?"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    said = said_by(LLM_OFFLOAD, *SMALL_LLM, "--device", "cpu", "--model", tmp_path, "--dtype", "float16")
    assert "A prompt of 300 tokens" in said and "are the same to the last bit" in said


def test_llm_offload_notices_one_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    example = loaded(LLM_OFFLOAD)
    update = example.KVCache.update

    def update_wrongly(self: object, *arguments: object) -> object:
        keys, values = update(self, *arguments)
        values.view(torch.int16)[0, 0, 0] ^= 1 << 12
        return keys, values

    monkeypatch.setattr(example.KVCache, "update", update_wrongly)
    threads = torch.get_num_threads()
    try:
        with pytest.raises(SystemExit, match="Stillbit: "):
            example.main([*map(str, SMALL_LLM), "--device", "cpu"])
    finally:
        torch.set_num_threads(threads)


def test_llm_offload_draws_a_chart(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    part = {"weights": 1, "cache": 2, "buffers": 3}
    times = {"weights": 0.1, "cache": 0.2, "compute": 0.3}
    loaded(LLM_OFFLOAD).draw_chart(tmp_path / "chart.png", {"a": part, "b": part}, {"a": times, "b": times})
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


NEEDS = {"pip install matplotlib": ["--chart", "chart.png"], "2 at least": ["--new-tokens", "1"]}


@pytest.mark.parametrize("message, line", NEEDS.items())
def test_llm_offload_says_what_it_needs(
    line: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit):
        loaded(LLM_OFFLOAD).main(line)
    assert message in capsys.readouterr().err
