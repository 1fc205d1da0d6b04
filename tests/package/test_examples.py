"""Programs in examples/ run, and find what they promise."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
GNN_TRAINING = ROOT / "examples" / "gnn_training.py"
DLRM_INFERENCE = ROOT / "examples" / "dlrm_inference.py"
PLANETOID = ROOT.parent / "shared" / "data" / "planetoid"


@pytest.fixture(autouse=True)
def needs_torch() -> None:
    pytest.importorskip("torch")


@pytest.fixture
def needs_torch_geometric() -> None:
    pytest.importorskip("torch_geometric")


def said_by(*line: object) -> str:
    done = subprocess.run([sys.executable, *map(str, line)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def example_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("needs_torch_geometric")
def test_gnn_training_on_a_made_up_graph() -> None:
    size = ["--nodes", 500, "--features", 300, "--classes", 3]
    line = [GNN_TRAINING, *size, "--epochs", 2, "--batch-size", 64, "--packing", "slotted"]
    said = said_by(*line)
    assert "| features, bytes | 600,000 |" in said
    assert "losses are the same to the last bit" in said and "All 0 losses" not in said


@pytest.mark.usefixtures("needs_torch_geometric")
def test_gnn_training_on_cora(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    if not PLANETOID.is_dir():
        pytest.skip(f"no citation graphs in {PLANETOID}")
    # Into a copy: torch_geometric writes the processed graph beside the raw files.
    shutil.copytree(PLANETOID / "cora" / "raw", tmp_path / "cora" / "raw")
    said = said_by(GNN_TRAINING, "--planetoid", tmp_path, "--name", "Cora", "--epochs", 1)
    assert "| 2,708 nodes, 10,556 edges, 1,433 features |" in said
    assert "All 5 losses are the same to the last bit" in said  # of 1208 nodes, 256 in a batch


@pytest.mark.usefixtures("needs_torch_geometric")
def test_gnn_training_notices_one_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    example = example_at(GNN_TRAINING)
    attach = example.FeatureStore.attach

    def attach_wrong(self: object, batch: object) -> object:
        batch = attach(self, batch)
        batch.x.view(torch.int32)[0] ^= 1 << 22
        return batch

    monkeypatch.setattr(example.FeatureStore, "attach", attach_wrong)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        with pytest.raises(SystemExit, match="epoch 0"):
            example.main(["--nodes", "300", "--features", "50", "--classes", "3", "--epochs", "1"])
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


@pytest.mark.usefixtures("needs_torch_geometric")
def test_gnn_training_draws_a_chart(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    seconds = {"sample": 0.1, "gather": 0.2, "compute": 0.3}
    path = tmp_path / "chart.png"
    example_at(GNN_TRAINING).draw_chart(
        path, {"raw": 10**7, "compressed": 10**5}, {"raw": seconds, "compressed": seconds}
    )
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("needs_torch_geometric")
def test_gnn_training_says_that_a_chart_needs_matplotlib(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit):
        example_at(GNN_TRAINING).main(["--chart", "chart.png"])
    assert "pip install matplotlib" in capsys.readouterr().err


SMALL = ["--rows", "3000", "40", "40", "--dim", "16", "--steps", "20", "--batch-size", "64", "--batches", "4"]


@pytest.mark.parametrize("options", [[], ["--dtype", "f32", "--skew", "0", "--packing", "packed"]])
def test_dlrm_inference(options: list[str]) -> None:
    said = said_by(DLRM_INFERENCE, *SMALL, *options)
    element = 4 if options else 2
    assert f"| tables, bytes | {3080 * 16 * element:,} | " in said
    assert "All 256 answers are the same to the last bit." in said


def test_dlrm_inference_learns_and_draws_a_chart(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    said = said_by(DLRM_INFERENCE, *SMALL, "--steps", 60, "--chart", tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    before, after = re.findall(r"the loss fell from ([0-9]\.[0-9]+) to ([0-9]\.[0-9]+)", said)[0]
    assert float(after) < float(before)


def test_dlrm_inference_notices_one_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    example = example_at(DLRM_INFERENCE)
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
