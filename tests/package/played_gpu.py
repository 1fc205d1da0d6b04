"""Lookups on a GPU that there is not: tables are on the CPU, whose own code stands for the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import stillbit as sb
import stillbit.cuda
from stillbit import _core, _cuda_pool, _gpu_fit

torch = pytest.importorskip("torch")


class PlayedHandle:
    """What `_core.CudaTable` says of a table."""

    def __init__(self, tensor: sb.CompressedTensor) -> None:
        self.tensor = tensor
        self.num_rows = tensor.num_rows


class PlayedCore:
    """In place of `_core`: takes the addresses that a GPU would get, and has the CPU pool what is there."""

    def __init__(self) -> None:
        self.launches: list[int] = []  # tables of each call

    def CudaLookup(self, handle: PlayedHandle, *arguments: Any) -> Any:  # noqa: N802
        *bags, weights, padding, out, stride = arguments
        width, num_index = _core.dtype_width(handle.tensor.dtype_name), bags[1]
        return _core.Lookup(
            handle.tensor._handle, *bags, weights or None, num_index * width if weights else 0, padding, out, stride
        )

    def cuda_pool(self, lookups: Sequence[Any], stream: int, max_sms: int) -> None:
        self.launches.append(len(lookups))
        _core.pool(lookups, 1)


@pytest.fixture
def played_core(monkeypatch: pytest.MonkeyPatch) -> PlayedCore:
    played = PlayedCore()
    monkeypatch.setattr(_cuda_pool, "_core", played)
    return played


def played_table(tensor: sb.CompressedTensor) -> Any:
    """Return a table whose GPU is the CPU."""
    table = object.__new__(stillbit.cuda.Table)
    table._handle = PlayedHandle(tensor)
    table._torch = torch
    table._device = torch.device("cpu")
    table._shape, table._row_shape = tensor.shape, tensor.row_shape
    table._kind = stillbit.cuda.torch_kind()
    table._dtype = tensor._dtype_of(table._kind)
    table._dtype_name = tensor.dtype_name
    table._stream = lambda: 0
    return table


class PlayedTable:
    """In place of `stillbit.cuda.Table`, for rows that are compressed on a GPU: keeps them as they are."""

    has_room = True
    made: list[PlayedTable]

    def __init__(
        self, template: Any, device: Any, placement: str, *, capacity_rows: int, overflow_nbytes: int, empty: bool
    ) -> None:
        assert empty and overflow_nbytes > 0 and template.packing == "slotted"
        self.template, self.placement, self.capacity_rows = template, placement, capacity_rows
        self.codec = template.codec
        self.rows = torch.empty((0, *template.shape[1:]), dtype=template._dtype_of(stillbit.cuda.torch_kind()))
        self.made.append(self)

    def append(self, rows: Any) -> None:
        assert rows.dtype == self.rows.dtype
        self.rows = torch.cat([self.rows, rows])
        assert len(self.rows) <= self.capacity_rows

    def check(self) -> None:
        if not self.has_room:
            raise sb.InvalidArgumentError("row 0 found no room in the overflow area")

    def decompress(self) -> Any:
        return self.rows.clone()

    def tensor(self) -> sb.CompressedTensor:
        return sb.compress(self.rows, packing="slotted", codec=self.codec)

    @property
    def pinned_nbytes(self) -> int:
        return int(self.rows.nbytes / self.template.ratio)

    device_nbytes = pinned_nbytes


@pytest.fixture
def played_tables(monkeypatch: pytest.MonkeyPatch) -> type[PlayedTable]:
    """Every tensor is on a GPU, as far as compressing it is concerned."""
    kind = type("Played", (PlayedTable,), {"made": []})
    monkeypatch.setattr(_gpu_fit, "Table", kind)
    monkeypatch.setattr(_gpu_fit, "is_on_gpu", lambda tensor: True)
    return kind
