"""What offloading refuses, and what it leaves as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("transformers", minversion="5.0")

import stillbit as sb  # noqa: E402
from stillbit.accelerate import cpu_offload  # noqa: E402
from torch import nn  # noqa: E402

import small_modules  # noqa: E402
from small_modules import Block, Transposed  # noqa: E402
from tiny_models import assert_same_bits, assert_same_state, state_of, tiny_model  # noqa: E402

one_thread, x = small_modules.one_thread, small_modules.x


@pytest.mark.parametrize("options", [{}, {"resident": True}, {"budget": 1 << 30}])
def test_weights_lie_as_they_lay(options: dict[str, Any]) -> None:
    """Sums depend on it, and which kernels torch takes."""
    torch.manual_seed(0)
    model = Transposed().eval()
    strides = {name: parameter.stride() for name, parameter in model.named_parameters()}
    before = state_of(model)
    x = torch.randn(2, 8, 20, 20)
    with torch.no_grad():
        wanted = model(x)
        offload = cpu_offload(model, **options)
        assert_same_bits(model(x), wanted)
    assert model.state_dict()["turned"].stride() == strides["turned"]
    offload.remove()
    assert {name: parameter.stride() for name, parameter in model.named_parameters()} == strides
    assert_same_state(state_of(model), before)


@pytest.mark.parametrize("budget", [-1, 0.5, True, "1 GB"])
def test_budgets_that_are_none(budget: Any) -> None:
    with pytest.raises(sb.InvalidArgumentError, match="budget"):
        cpu_offload(nn.Linear(3, 3).eval(), budget=budget)


def test_arguments_that_make_no_sense() -> None:
    model = nn.Linear(3, 3).eval()
    for options, match in [
        ({"device": "gpu"}, "gpu"),
        ({"device": "meta"}, "meta"),
        ({"prefetch": -1}, "prefetch"),
        ({"num_threads": "all"}, "num_threads"),
    ]:
        with pytest.raises(sb.InvalidArgumentError, match=match):
            cpu_offload(model, **options)
    with pytest.raises(sb.InvalidArgumentError, match="no parameters"):
        cpu_offload(nn.ReLU())
    if not torch.cuda.is_available():
        with pytest.raises(sb.DeviceError):
            cpu_offload(nn.Sequential(Block(), Block(), Block()).eval(), "cuda")


def test_a_dtype_that_is_not_compressed_is_named() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3, dtype=torch.complex128)).eval()
    before = state_of(model)
    with pytest.raises(sb.UnsupportedError, match=r"'1\.weight'.*complex128"):
        cpu_offload(model)
    assert_same_state(state_of(model), before)


def test_offloaded_once() -> None:
    import accelerate

    model = nn.Sequential(Block(), Block()).eval()
    offload = cpu_offload(model)
    with pytest.raises(sb.InvalidArgumentError, match="offloaded already"):
        cpu_offload(model)
    with pytest.raises(sb.InvalidArgumentError, match="offloaded already"):
        cpu_offload(nn.Sequential(model, nn.Linear(3, 3)))
    offload.remove()
    with pytest.raises(sb.InvalidArgumentError, match="not offloaded any more"):
        offload.remove()
    accelerate.cpu_offload(model, "cpu")
    with pytest.raises(sb.InvalidArgumentError, match="by accelerate"):
        cpu_offload(model)


def test_gradients(x: Any) -> None:
    model = nn.Sequential(Block(), Block(), Block()).train()
    wanted = model(x).detach()
    offload = cpu_offload(model)
    with pytest.raises(sb.InvalidArgumentError, match="training mode"):
        model(x)
    with torch.no_grad():
        assert_same_bits(model(x), wanted)
    model.eval()
    assert not model(x).requires_grad
    with pytest.raises(sb.InvalidArgumentError, match="requires a gradient"):
        model(x.clone().requires_grad_())
    offload.remove()
    assert all(parameter.requires_grad for parameter in model.parameters())
    model(x).sum().backward()


def test_weights_are_not_replaced_nor_read_by_accident(x: Any) -> None:
    model = nn.Sequential(Block(), Block(), Block()).eval()
    state = state_of(model)
    offload = cpu_offload(model)
    with pytest.raises(sb.InvalidArgumentError, match=r"'0.linear' are offloaded.*remove"):
        model.load_state_dict(state)
    with pytest.raises(sb.Error, match=r"'0.linear.weight' is offloaded"):
        model[0].linear.weight + 1
    parameter = model[0].linear.weight
    assert (parameter.shape, parameter.dtype, parameter.device.type) == ((64, 64), torch.float32, "cpu")
    assert "0.linear.weight" in repr(parameter)
    assert sum(p.numel() for p in model.parameters()) == sum(t.numel() for t in state.values())
    offload.remove()


def test_an_offloaded_model_is_saved(tmp_path: Path) -> None:
    model = tiny_model("gemma2")
    model.save_pretrained(tmp_path / "raw")
    cpu_offload(model)
    model.save_pretrained(tmp_path / "offloaded")
    assert (tmp_path / "offloaded/model.safetensors").read_bytes() == (tmp_path / "raw/model.safetensors").read_bytes()
