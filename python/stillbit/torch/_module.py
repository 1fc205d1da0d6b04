"""What `Embedding` and `EmbeddingBag` share: a table where torch's modules have a weight."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .. import _pickling
from .._sharded import ShardedTensor
from ..errors import Error, MismatchError, OutOfRangeError, UnsupportedError
from ..tensor import CompressedTensor
from ..tiers import TieredTable
from . import _lookup
from ._tables import Table, as_table, check_rows, compressed, torch_dtype
from ._training import TableParameter, check_updatable

_CPU = torch.device("cpu")


class TableModule(nn.Module):
    """A module on a table. See `Embedding` for the parameters."""

    weight: Any  # a TableParameter, where the table is trained

    def __init__(
        self,
        table: Any,
        padding_idx: int | None,
        max_norm: float | None,
        scale_grad_by_freq: bool,
        sparse: bool,
        trainable: bool,
        options: dict[str, Any],
    ) -> None:
        super().__init__()
        if max_norm is not None:
            raise UnsupportedError("max_norm rewrites rows as they are looked up, which compressed tables do not")
        if trainable and scale_grad_by_freq:
            raise UnsupportedError("scale_grad_by_freq is not supported with sparse gradients, by torch neither")
        table = as_table(table, options, is_trained=trainable)
        check_rows(table)
        self.num_embeddings, self.embedding_dim = table.shape
        self.padding_idx = None if padding_idx is None else self._row(padding_idx)
        self.max_norm = None
        self.scale_grad_by_freq, self.sparse = bool(scale_grad_by_freq), bool(sparse)
        self.dtype = torch_dtype(table)
        self.device = _CPU
        self._gpu: Any = None  # the table there
        self._frozen: Any = None if trainable else table
        if trainable:
            self.weight = TableParameter.of(table)
        self._number = _lookup.number_for(self)

    @property
    def table(self) -> Any:
        """Where rows are: a `CompressedTensor`, or what the module was made of."""
        return self.weight.table if self._frozen is None else self._frozen

    @property
    def trainable(self) -> bool:
        """Whether gradients can be taken."""
        return self._frozen is None

    @property
    def nbytes(self) -> int:
        """Bytes that the table takes."""
        return self.table.nbytes  # type: ignore[no-any-return]

    def decompress(self) -> Tensor:
        """Expand the whole table: what ``weight`` is elsewhere."""
        if self._gpu is not None:
            return self._gpu.decompress()
        if hasattr(self.table, "decompress"):
            return self.table.decompress(like="torch")
        return self._rows(torch.arange(self.num_embeddings))

    def check(self) -> None:
        """Wait for the GPU and raise what lookups found wrong there, as `stillbit.cuda.Table.check`."""
        if self._gpu is not None:
            self._gpu.check()

    def extra_repr(self) -> str:
        """Describe the module in one line."""
        about = f"{self.num_embeddings}, {self.embedding_dim}, {self.dtype}"
        if self.padding_idx is not None:
            about += f", padding_idx={self.padding_idx}"
        if self.trainable:
            about += ", trainable=True"
        raw = self.num_embeddings * self.embedding_dim * self.dtype.itemsize
        return f"{about}, {raw} bytes in {self.nbytes}"

    def _row(self, number: int) -> int:
        """Return the number of a row as it counts from the start."""
        if not -self.num_embeddings <= number < self.num_embeddings:
            raise OutOfRangeError(f"padding_idx is {number}, and there are {self.num_embeddings} rows")
        return int(number % self.num_embeddings)

    def _rows(self, index: Tensor) -> Tensor:
        """Return rows, wherever the module is."""
        if self._gpu is not None:
            return self._gpu.gather(index)
        out = torch.empty((*index.shape, self.embedding_dim), dtype=self.dtype)
        if isinstance(self.table, (CompressedTensor, ShardedTensor, TieredTable)):
            self.table.gather(index, out, num_threads=torch.get_num_threads())
        else:
            self.table.gather(index, out)
        return out

    def _takes_gradients(self) -> bool:
        return self._frozen is None and bool(self.weight.requires_grad) and torch.is_grad_enabled()

    def _apply(self, fn: Any, recurse: bool = True) -> TableModule:
        """Follow a model to another device; a dtype is what the table was compressed in."""
        probe = fn(torch.empty(0, dtype=self.dtype, device=self.device))
        if probe.dtype != self.dtype:
            wanted = "convert the tensor before it is compressed, or the results"
            raise UnsupportedError(f"a compressed table keeps its dtype, {self.dtype}, not {probe.dtype}: {wanted}")
        if probe.device != self.device:
            self._move(probe.device)
        return self

    def _move(self, device: torch.device) -> None:
        if device.type == "cpu":
            self._gpu = None
        elif device.type != "cuda":
            raise UnsupportedError(f"a compressed table cannot go to {device}: to the CPU, or to a GPU of NVIDIA's")
        elif self.trainable:
            raise UnsupportedError("a table that is trained stays on the CPU: keep it there, and move its results")
        elif not isinstance(self.table, CompressedTensor):
            raise UnsupportedError(f"a {type(self.table).__name__} cannot be moved to a GPU by its module")
        else:
            self._gpu = self.table.cuda(device)
        self.device = _CPU if self._gpu is None else self._gpu.device

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Add the table, compressed: the bytes of a file, as a tensor of uint8."""
        if not isinstance(self.table, CompressedTensor):
            raise UnsupportedError(f"{prefix}payload: a {type(self.table).__name__} does not go into a state dict")
        payload = bytearray(_pickling.to_bytes(self.table))
        destination[f"{prefix}payload"] = torch.frombuffer(payload, dtype=torch.uint8)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take a payload, or the weight of one of torch's modules, which is compressed."""
        own = [key for key in (f"{prefix}payload", f"{prefix}weight") if key in state_dict]
        if own:
            try:
                self._replace(self._loaded(state_dict[own[0]], is_payload=own[0].endswith("payload")))
            except Error as error:
                error_msgs.append(f"{own[0]}: {error}")
        elif strict:
            missing_keys.append(f"{prefix}payload")
        if strict:
            unexpected_keys += [key for key in state_dict if key.startswith(prefix) and key not in own[:1]]

    def _loaded(self, found: Tensor, is_payload: bool) -> CompressedTensor:
        packing = getattr(self.table, "packing", "packed")
        if is_payload:
            table = _pickling.from_bytes(found.cpu().numpy().tobytes(), "torch")
        else:
            options = {} if packing == "slotted" else {"packing": packing}
            table = compressed(found, options, is_trained=self.trainable)
        wanted = (self.num_embeddings, self.embedding_dim), self.dtype
        if (table.shape, torch_dtype(table)) != wanted:
            raise MismatchError(f"the table has shape {table.shape} and {torch_dtype(table)}, the module {wanted}")
        if self.trainable:
            check_updatable(table)
        return table

    def _replace(self, table: Table) -> None:
        if self.trainable:
            self.weight.replace(table)
        else:
            self._frozen = table
        if self._gpu is not None:
            self._move(self.device)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_gpu": None, "_number": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._number = _lookup.number_for(self)
        if self.device != _CPU:
            self._move(self.device)
