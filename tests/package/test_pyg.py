"""Features for PyTorch Geometric, through its own loaders."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stillbit as sb

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
from stillbit.pyg import FeatureStore  # noqa: E402
from torch_geometric.data import Data, HeteroData  # noqa: E402
from torch_geometric.loader import NodeLoader  # noqa: E402
from torch_geometric.sampler import BaseSampler, HeteroSamplerOutput, SamplerOutput  # noqa: E402

NODES, EDGES = 400, 3000


class Neighbors(BaseSampler):  # type: ignore[misc]
    """All neighbours, one step away; those of torch_geometric need packages with compiled code."""

    def __init__(self, edge_index: torch.Tensor, node_type: str | None = None) -> None:
        self.edge_index, self.node_type = edge_index, node_type

    def sample_from_nodes(self, index: Any, **_: object) -> Any:
        src, dst = self.edge_index
        edge = torch.isin(dst, index.node).nonzero().view(-1)
        others = src[edge][~torch.isin(src[edge], index.node)].unique()
        node = torch.cat([index.node, others])
        place = torch.full((NODES,), -1)
        place[node] = torch.arange(len(node))
        row, col = place[src[edge]], place[dst[edge]]
        if self.node_type is None:
            return SamplerOutput(node, row, col, edge, metadata=(index.input_id, index.time))
        kind = (self.node_type, "to", self.node_type)
        return HeteroSamplerOutput(
            {self.node_type: node}, {kind: row}, {kind: col}, {kind: edge}, None, metadata=(index.input_id, index.time)
        )

    def sample_from_edges(self, index: Any, neg_sampling: Any = None) -> Any:
        raise NotImplementedError


def random_edges() -> torch.Tensor:
    return torch.randint(NODES, (2, EDGES), generator=torch.Generator().manual_seed(0))


X = torch.randn(NODES, 32, generator=torch.Generator().manual_seed(1)).bfloat16()
Y = torch.arange(NODES) % 7


def homogeneous() -> Data:
    return Data(x=X.clone(), y=Y.clone(), edge_index=random_edges())


def heterogeneous() -> HeteroData:
    data = HeteroData()
    data["paper"].x, data["paper"].y = X.clone(), Y.clone()
    data["author"].x = X[:50] * 2
    data["paper", "to", "paper"].edge_index = random_edges()
    return data


def loader_of(data: Any, node_type: str | None, **options: Any) -> NodeLoader:
    nodes = torch.arange(0, NODES, 3)
    return NodeLoader(
        data,
        Neighbors(random_edges(), node_type),
        input_nodes=nodes if node_type is None else (node_type, nodes),
        batch_size=50,
        **options,
    )


def check(batches: Any, node_type: str | None, with_y: bool = True) -> None:
    count = 0
    for batch in batches:
        part = batch if node_type is None else batch[node_type]
        assert len(part.n_id) > 50 or count > 0
        assert part.x.dtype == torch.bfloat16
        assert torch.equal(part.x, X[part.n_id])
        if with_y:
            assert torch.equal(part.y, Y[part.n_id])
        count += 1
    assert count == 3


@pytest.mark.parametrize("num_workers", [0, 1])
def test_attach_to_batches(num_workers: int) -> None:
    data = homogeneous()
    store = FeatureStore.from_data(data)
    assert "x" not in data and data.num_nodes == NODES
    check(loader_of(data, None, transform=store.attach, num_workers=num_workers), None)


def test_attach_to_heterogeneous_batches() -> None:
    data = heterogeneous()
    store = FeatureStore.from_data(data)
    assert data["author"].num_nodes == 50 and len(store) == 2
    loader = loader_of(data, "paper", transform=store.attach)
    check(loader, "paper")
    assert next(iter(loader))["author"].x.shape == (0, 32)  # the sampler leaves authors out


@pytest.mark.parametrize("num_workers", [0, 1])
def test_store_beside_a_graph(num_workers: int) -> None:
    data = homogeneous()
    store = FeatureStore({"x": sb.compress(X)}, packing="packed")
    store.put_tensor(Y, group_name=None, attr_name="y", index=None)
    check(loader_of((store, data), None, filter_per_worker=False, num_workers=num_workers), None)


def test_store_beside_a_heterogeneous_graph() -> None:
    store = FeatureStore({("paper", "x"): sb.compress(X), ("author", "x"): sb.compress(X[:50])})
    check(loader_of((store, heterogeneous()), "paper", filter_per_worker=False), "paper", with_y=False)


def test_store_on_a_mapped_file(tmp_path: Path) -> None:
    sb.save_file({"x": sb.compress(X)}, tmp_path / "x.safetensors")
    store = pickle.loads(pickle.dumps(FeatureStore(sb.load_file(tmp_path / "x.safetensors"))))
    assert torch.equal(store[None, "x", None], X)
    data = homogeneous()
    del data.x
    data.num_nodes = NODES
    check(loader_of(data, None, transform=store.attach), None)


def test_store_as_a_store() -> None:
    store = FeatureStore()
    assert store.get_tensor("paper", "x", index=None) is None
    assert store.put_tensor(X, "paper", "x", index=None)
    assert store.get_tensor_size("paper", "x") == X.shape
    assert store.get_tensor_size("paper", "z") is None
    wanted: list[Any] = [torch.tensor([3, 1]), torch.arange(NODES) % 2 == 0, slice(3, 9), 5]
    for index in wanted:
        assert torch.equal(store.get_tensor("paper", "x", index), X[index])
    assert torch.equal(store["paper", "x"][torch.tensor([3])], X[[3]])
    assert torch.equal(store["paper"].x[torch.tensor([3])], X[[3]])

    assert store.put_tensor(X[:2], "paper", "x", index=torch.tensor([7, 8]))
    assert torch.equal(store.get_tensor("paper", "x", index=torch.tensor([7, 8])), X[:2])
    assert not store.put_tensor(X[:2], "paper", "z", index=torch.tensor([7, 8]))
    assert store.update_tensor(X[:9], "paper", "x", index=None)
    assert store.get_tensor_size("paper", "x") == (9, 32)
    assert [(attr.group_name, attr.attr_name) for attr in store.get_all_tensor_attrs()] == [("paper", "x")]
    assert store.remove_tensor("paper", "x", index=None) and not store.remove_tensor("paper", "x", index=None)
    assert len(store) == 0 and repr(store).startswith("FeatureStore(0 tensors")


def test_edge_features_of_a_batch() -> None:
    kind = ("paper", "to", "paper")
    weights = torch.arange(EDGES)
    store = FeatureStore({(kind, "weight"): sb.compress(weights, row_dims=0)})
    batch = HeteroData()
    batch[kind].e_id = torch.tensor([5, 2])
    assert torch.equal(store.attach(batch)[kind].weight, weights[[5, 2]])


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(sb.InvalidArgumentError, match="'x'.*Tensor"):
        FeatureStore({"x": X})  # type: ignore[dict-item]
    with pytest.raises(sb.InvalidArgumentError, match="row_dims=1"):
        FeatureStore({"x": sb.compress(np.zeros((3, 4)), row_dims=2)})
    with pytest.raises(sb.InvalidArgumentError, match="n_id"):
        FeatureStore({"x": sb.compress(X)}).attach(Data(num_nodes=3))


def test_features_in_tiers(tmp_path: Path) -> None:
    sb.save_file({"x": sb.compress(X)}, tmp_path / "x.safetensors")
    table = sb.TieredTable(tmp_path / "x.safetensors", "x", fast_nbytes=8_000, warm_nbytes=10_000, like="torch")
    store = FeatureStore({"x": table})
    data = homogeneous()
    del data.x
    data.num_nodes = NODES
    for _ in range(2):
        for batch in NodeLoader(data, Neighbors(data.edge_index), batch_size=50, transform=store.attach):
            assert torch.equal(batch.x, X[batch.n_id])
    assert table.statistics().fast.num_lookups > 0
    assert torch.equal(store.get_tensor(group_name=None, attr_name="x", index=None), X)
    assert torch.equal(store.get_tensor(group_name=None, attr_name="x", index=torch.tensor([7, 7])), X[[7, 7]])
    store.put_tensor(X[1:2], group_name=None, attr_name="x", index=torch.tensor([0]))
    assert torch.equal(table.gather(0), X[1])
    assert "in" in repr(store)
