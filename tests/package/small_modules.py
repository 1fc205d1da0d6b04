"""Modules of every shape, to be offloaded, and what their tests share."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402


class Block(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        return x + torch.tanh(self.linear(x))


class Routed(nn.Module):
    """Layers that are called in an order that each input has its own, with experts of which few are called."""

    def __init__(self, num_layers: int = 5, num_experts: int = 6) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(64))
        self.layers = nn.ModuleList(Block() for _ in range(num_layers))
        self.shared = Block()
        self.experts = nn.ModuleList(Block() for _ in range(num_experts))
        self.register_buffer("offset", torch.rand(64))
        self.order = list(range(num_layers))
        self.called = [0]

    def forward(self, x: Any) -> Any:
        x = x * self.scale + self.offset
        for layer in self.order:
            x = self.shared(self.layers[layer](x))
        for expert in self.called:
            x = self.experts[expert](x)
        return x


class Transposed(nn.Module):
    """Weights in other orders than C's: a transposed one, one with channels last; and one without elements."""

    def __init__(self) -> None:
        super().__init__()
        self.turned = nn.Parameter(torch.randn(40, 50, 60).permute(2, 0, 1))
        self.convolution = nn.Conv2d(8, 16, 3).to(memory_format=torch.channels_last)
        self.nothing = nn.Parameter(torch.empty(0, 3))
        self.number = nn.Parameter(torch.tensor([1.5]))

    def forward(self, x: Any) -> Any:
        return self.convolution(x) * self.number + self.turned.sum() + self.nothing.sum()


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Threads of torch that spin for work take the processor from the one that expands."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def x() -> Any:
    return torch.rand(3, 64, generator=torch.Generator().manual_seed(1))
