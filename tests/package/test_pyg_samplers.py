"""Features in the batches of PyTorch Geometric's own samplers, which need packages with compiled code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
import torch_geometric.typing  # noqa: E402
from stillbit.pyg import FeatureStore  # noqa: E402
from torch_geometric.data import Data, HeteroData  # noqa: E402
from torch_geometric.loader import LinkNeighborLoader, NeighborLoader  # noqa: E402

if not (torch_geometric.typing.WITH_PYG_LIB or torch_geometric.typing.WITH_TORCH_SPARSE):
    pytest.skip("neither pyg-lib nor torch-sparse is installed", allow_module_level=True)

PAPERS, AUTHORS = 300, 40


def edges(num_sources: int, num_targets: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    src = torch.randint(num_sources, (2000,), generator=generator)
    return torch.stack([src, torch.randint(num_targets, (2000,), generator=generator)])


def homogeneous() -> Data:
    return Data(x=torch.randn(PAPERS, 16).bfloat16(), y=torch.arange(PAPERS), edge_index=edges(PAPERS, PAPERS, 0))


def heterogeneous() -> HeteroData:
    data = HeteroData()
    data["paper"].x, data["author"].x = torch.randn(PAPERS, 16), torch.randn(AUTHORS, 5).half()
    data["paper", "cites", "paper"].edge_index = edges(PAPERS, PAPERS, 0)
    data["author", "writes", "paper"].edge_index = edges(AUTHORS, PAPERS, 1)
    return data


def by_nodes(data: Any, **options: Any) -> Iterable[Any]:
    graph = data[1] if isinstance(data, tuple) else data
    nodes = torch.arange(0, PAPERS, 3)
    input_nodes = ("paper", nodes) if isinstance(graph, HeteroData) else nodes
    return NeighborLoader(data, [5, 3], input_nodes=input_nodes, batch_size=32, **options)


def by_links(data: Any, **options: Any) -> Iterable[Any]:
    graph = data[1] if isinstance(data, tuple) else data
    links: Any = graph.edge_index if isinstance(graph, Data) else ("author", "writes", "paper")
    if isinstance(graph, Data) and graph is not data:
        links = (None, links)  # beside a store, links have a type
    return LinkNeighborLoader(data, [5, 3], edge_label_index=links, batch_size=512, neg_sampling_ratio=1.0, **options)


def check_same(expected: Iterable[Any], batches: Iterable[Any]) -> None:
    """Every batch has the same nodes, and bit for bit the same features."""
    torch.manual_seed(5)
    wanted = list(expected)
    torch.manual_seed(5)
    count = 0
    for a, b in zip(wanted, batches, strict=True):
        for part, other in zip(a.node_stores, b.node_stores, strict=True):
            assert torch.equal(part.n_id, other.n_id) and part.x.dtype == other.x.dtype
            assert torch.equal(part.x.view(torch.uint8), other.x.view(torch.uint8))
            count += len(part.n_id)
    assert count > PAPERS


@pytest.mark.parametrize("loader", [by_nodes, by_links])
@pytest.mark.parametrize("make", [homogeneous, heterogeneous])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_attach(make: Any, loader: Any, num_workers: int) -> None:
    data = make()
    bare = data.clone()
    store = FeatureStore.from_data(bare)
    check_same(loader(data, num_workers=num_workers), loader(bare, transform=store.attach, num_workers=num_workers))


@pytest.mark.parametrize("loader", [by_nodes, by_links])
@pytest.mark.parametrize("make", [homogeneous, heterogeneous])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_store_beside_a_graph(make: Any, loader: Any, num_workers: int) -> None:
    data = make()
    graph = data.clone()
    store = FeatureStore.from_data(graph)
    if isinstance(graph, Data):  # which does not say by itself how many nodes its edges are for
        graph.put_edge_index(data.edge_index, layout="coo", size=(PAPERS, PAPERS))
    check_same(
        loader(data, num_workers=num_workers), loader((store, graph), filter_per_worker=False, num_workers=num_workers)
    )
