"""The example that trains a graph neural network runs, and finds what it promises."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from programs import EXAMPLES, ROOT, loaded, said_by

pytest.importorskip("torch_geometric")

GNN_TRAINING = EXAMPLES / "gnn_training.py"
PLANETOID = ROOT.parent / "shared" / "data" / "planetoid"


def test_gnn_training_on_a_made_up_graph() -> None:
    size = ["--nodes", 500, "--features", 300, "--classes", 3]
    line = [GNN_TRAINING, *size, "--epochs", 2, "--batch-size", 64, "--packing", "slotted"]
    said = said_by(*line)
    assert "| features, bytes | 600,000 |" in said
    assert "losses are the same to the last bit" in said and "All 0 losses" not in said


def test_gnn_training_on_cora(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    if not PLANETOID.is_dir():
        pytest.skip(f"no citation graphs in {PLANETOID}")
    # Into a copy: torch_geometric writes the processed graph beside the raw files.
    shutil.copytree(PLANETOID / "cora" / "raw", tmp_path / "cora" / "raw")
    said = said_by(GNN_TRAINING, "--planetoid", tmp_path, "--name", "Cora", "--epochs", 1)
    assert "| 2,708 nodes, 10,556 edges, 1,433 features |" in said
    assert "All 5 losses are the same to the last bit" in said  # of 1208 nodes, 256 in a batch


def test_gnn_training_notices_one_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    example = loaded(GNN_TRAINING)
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


def test_cached_rows_are_those_of_the_table() -> None:
    import torch

    x, cached = torch.randn(50, 7), torch.tensor([3, 49, 0])
    asked = []

    def gather(nodes: torch.Tensor) -> torch.Tensor:
        asked.append(nodes)
        return x[nodes]

    rows = loaded(GNN_TRAINING).CachedRows(x[cached], cached, len(x), gather)
    nodes = torch.tensor([0, 1, 49, 3, 2, 1])
    assert torch.equal(rows(nodes), x[nodes])
    assert torch.equal(rows(cached), x[cached])
    assert [each.tolist() for each in asked] == [[1, 2, 1], []]


def test_gnn_training_on_a_gpu() -> None:
    import stillbit.cuda

    if not stillbit.cuda.is_available():
        pytest.skip(stillbit.cuda.why_not_available())
    size = ["--nodes", 500, "--features", 300, "--classes", 3]
    said = said_by(GNN_TRAINING, *size, "--epochs", 2, "--batch-size", 64, "--packing", "slotted", "--device", "cuda")
    assert "| CPU gather | zero-copy | compressed | CPU gather, 1% cached |" in said
    assert "losses are the same to the last bit" in said


def test_gnn_training_draws_a_chart(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    seconds = {"sample": 0.1, "gather": 0.2, "compute": 0.3}
    path = tmp_path / "chart.png"
    loaded(GNN_TRAINING).draw_chart(path, {"raw": 10**7, "compressed": 10**5}, {"raw": seconds, "compressed": seconds})
    assert path.read_bytes().startswith(b"\x89PNG")


def test_gnn_training_says_that_a_chart_needs_matplotlib(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit):
        loaded(GNN_TRAINING).main(["--chart", "chart.png"])
    assert "pip install matplotlib" in capsys.readouterr().err
