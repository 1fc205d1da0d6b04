"""Compressed features for PyTorch Geometric: a feature store, and a transform for loaders of ordinary data.

>>> store = FeatureStore.from_data(data)  # compresses data.x, which leaves data
>>> loader = NeighborLoader(data, [10, 10], transform=store.attach)  # batches have x again

or, with the graph apart: ``NeighborLoader((store, graph), [10, 10], filter_per_worker=False)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
import torch_geometric.data

from ._compress import compress
from .errors import InvalidArgumentError
from .tensor import CompressedTensor
from .tiers import TieredTable

__all__ = ["FeatureStore"]

Group = Any  # None in homogeneous graphs, else a node type, or an edge type (source, relation, target)
Batch = TypeVar("Batch")


def _ids_in(part: Any, group: Group) -> torch.Tensor:
    """Return which nodes or edges of the graph a batch has."""
    ids = "e_id" if isinstance(group, tuple) else "n_id"
    if ids in part:
        return part[ids]
    if ids == "n_id" and group is not None and part.num_nodes == 0:  # of a type that the sampler did not reach
        return torch.empty(0, dtype=torch.int64)
    raise InvalidArgumentError(f"the batch has no {ids} for {group or 'its nodes'}: use a loader that sets it")


class FeatureStore(torch_geometric.data.FeatureStore):
    """Features by group and name, each kept as a `CompressedTensor` or a `TieredTable`.

    Parameters
    ----------
    tables : mapping, optional
        Names in homogeneous graphs, ``("paper", "x")`` in heterogeneous ones, to compressed tensors with a row for each
        node: ``{"x": stillbit.load_file("features.safetensors")["x"]}``. Or to tables in tiers, a cache of the features
        that are looked up most: ``{"x": stillbit.TieredTable("features.safetensors", "x", fast_nbytes=2**30)}``.
    **options
        Of `compress`, for tensors that are put in later. ``row_dims`` is set: a node's features make a row.

    Raises
    ------
    InvalidArgumentError
        If a value is no compressed tensor, or its rows are not nodes.
    """

    def __init__(self, tables: Mapping[Any, CompressedTensor | TieredTable] | None = None, **options: Any) -> None:
        super().__init__()
        self._options = options
        self._tables: dict[tuple[Group, str], CompressedTensor | TieredTable] = {}
        for key, table in (tables or {}).items():
            if not isinstance(table, (CompressedTensor, TieredTable)):
                raise InvalidArgumentError(f"tables[{key!r}] is a {type(table).__name__}: compress it first")
            if table.row_dims != table.ndim - 1:
                wanted = f"compress it with row_dims={table.ndim - 1}"
                raise InvalidArgumentError(
                    f"tables[{key!r}] has shape {table.shape} with other rows than nodes: {wanted}"
                )
            self._tables[key if isinstance(key, tuple) else (None, key)] = table

    @classmethod
    def from_data(cls, data: Any, names: tuple[str, ...] = ("x",), **options: Any) -> FeatureStore:
        """Compress features and remove them from the data, which keeps its numbers of nodes.

        Parameters
        ----------
        data : torch_geometric.data.Data or torch_geometric.data.HeteroData
            Is changed.
        names : tuple of str
            Node features to take.
        **options
            Of `compress`.
        """
        store = cls(**options)
        for part in data.node_stores:
            for name in names:
                if name not in part:
                    continue
                num_nodes = part.num_nodes
                store.put_tensor(part[name], group_name=part._key, attr_name=name, index=None)
                del part[name]
                part.num_nodes = num_nodes
        return store

    def attach(self, batch: Batch) -> Batch:
        """Add to a batch the features of its nodes (``n_id``) and edges (``e_id``): a loader's ``transform``.

        Parameters
        ----------
        batch : torch_geometric.data.Data or torch_geometric.data.HeteroData
            Is changed.

        Raises
        ------
        InvalidArgumentError
            If the batch does not say which nodes it has.
        """
        parts: Any = batch
        for (group, name), table in self._tables.items():
            part = parts if group is None else parts[group]
            part[name] = table.gather(_ids_in(part, group), like="torch")
        return batch

    def _put_tensor(self, tensor: Any, attr: Any) -> bool:
        key = (attr.group_name, attr.attr_name)
        if attr.index is None:
            self._tables[key] = compress(tensor, row_dims=max(tensor.ndim - 1, 0), **self._options)
            return True
        if key not in self._tables:
            return False
        numbers = torch.arange(len(self._tables[key]))[attr.index]
        self._tables[key].update(numbers, tensor)
        return True

    def _get_tensor(self, attr: Any) -> torch.Tensor | None:
        table = self._tables.get((attr.group_name, attr.attr_name))
        if table is None:
            return None
        index = attr.index
        if index is None:
            return table.torch()
        if isinstance(index, torch.Tensor) and index.dtype != torch.bool:
            return table.gather(index, like="torch")
        return table._pick(index, "torch")

    def _remove_tensor(self, attr: Any) -> bool:
        return self._tables.pop((attr.group_name, attr.attr_name), None) is not None

    def _get_tensor_size(self, attr: Any) -> tuple[int, ...] | None:
        table = self._tables.get((attr.group_name, attr.attr_name))
        return None if table is None else table.shape

    def get_all_tensor_attrs(self) -> list[Any]:
        """Name all features. Loaders write into what they get, so it is new every time."""
        return [self._tensor_attr_cls(group_name=group, attr_name=name) for group, name in self._tables]

    def __len__(self) -> int:
        return len(self._tables)

    def __repr__(self) -> str:
        raw = sum(table.raw_nbytes for table in self._tables.values())
        stored = sum(table.nbytes for table in self._tables.values())
        return f"{type(self).__name__}({len(self)} tensors, {raw} bytes in {stored})"
