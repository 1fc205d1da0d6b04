"""The example that serves a DLRM runs, and finds what it promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from programs import EXAMPLES, loaded, said_by

pytest.importorskip("torch")

DLRM_INFERENCE = EXAMPLES / "dlrm_inference.py"
SMALL = [
    "--rows",
    "3000",
    "40",
    "40",
    "--dim",
    "16",
    "--steps",
    "20",
    "--batch-size",
    "64",
    "--batches",
    "4",
    "--fast",
    "0.5",
]


@pytest.mark.parametrize("options", [[], ["--dtype", "f32", "--skew", "0", "--packing", "packed"]])
def test_dlrm_inference(options: list[str]) -> None:
    said = said_by(DLRM_INFERENCE, *SMALL, *options)
    element = 4 if options else 2
    assert f"| tables, bytes | {3080 * 16 * element:,} | " in said
    assert "All 256 answers are the same to the last bit." in said
    assert re.search(r"raw in the fast tier \| – \| – \| 0\.[0-9]*[1-9]", said)


def test_dlrm_inference_learns_and_draws_a_chart(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    said = said_by(DLRM_INFERENCE, *SMALL, "--steps", 60, "--chart", tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    before, after = re.findall(r"the loss fell from ([0-9]\.[0-9]+) to ([0-9]\.[0-9]+)", said)[0]
    assert float(after) < float(before)


def test_dlrm_inference_notices_one_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    example = loaded(DLRM_INFERENCE)
    forward = example.sbt.EmbeddingBagCollection.forward

    def forward_wrong(self: object, features: object) -> object:
        found = forward(self, features)
        for each in found.values():
            each.view(torch.int16)[0] ^= 1 << 14
        return found

    monkeypatch.setattr(example.sbt.EmbeddingBagCollection, "forward", forward_wrong)
    threads = torch.get_num_threads()
    try:
        with pytest.raises(SystemExit, match="batch 0, impression 0: .* from compressed ones"):
            example.main(SMALL)
    finally:
        torch.set_num_threads(threads)
