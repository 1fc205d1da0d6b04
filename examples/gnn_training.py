"""Train a graph neural network from compressed features: ``python examples/gnn_training.py``.

GraphSAGE learns to classify nodes by mini-batches, once from raw features and once from compressed ones, with the same
seed. Both trainings must have the same losses to the last bit in every step, or the program fails. Then it prints a
Markdown table of what the features take in memory and where the time of an epoch goes. The graph is made up, unless
``--planetoid`` names a folder with a citation graph. Needs PyTorch and PyTorch Geometric.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import stillbit as sb
import torch
import torch.nn.functional as F
import torch_geometric.typing
from stillbit.pyg import FeatureStore
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.datasets import Planetoid
from torch_geometric.loader import NeighborLoader, NodeLoader
from torch_geometric.nn import SAGEConv
from torch_geometric.sampler import BaseSampler, NodeSamplerInput, SamplerOutput

NUM_NEIGHBORS = [10, 10]  # for each layer of the model
PHASES = ["sample", "gather", "compute"]

Transform = Callable[[Data], Data]


class Neighbors(BaseSampler):
    """Draws up to so many in-neighbours of each node, step after step, with torch's default generator.

    The samplers of torch_geometric are faster, but need pyg-lib or torch-sparse. Neighbours are drawn with replacement
    and count once; a node with no more neighbours than are wanted gives all of them.

    Parameters
    ----------
    edge_index : Tensor
        Sources and targets of the edges.
    num_nodes : int
        In the graph.
    num_neighbors : list of int
        To draw in each step.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int, num_neighbors: list[int]) -> None:
        self.num_neighbors = num_neighbors
        self.edges = edge_index[1].argsort(stable=True)  # those into one node lie together
        self.src, self.dst = edge_index[:, self.edges]
        self.degree = torch.bincount(edge_index[1], minlength=num_nodes)
        self.start = self.degree.cumsum(0) - self.degree
        self.place = torch.full((num_nodes,), -1)  # of each node in the batch

    def _draw(self, targets: Tensor, wanted: int) -> Tensor:
        """Return places in `edges` of some edges into the targets."""
        degree = self.degree[targets, None]
        all_of_them = torch.arange(wanted)
        drawn = torch.randint(2**62, (len(targets), wanted)) % degree.clamp(min=1)
        chosen = self.start[targets, None] + torch.where(degree > wanted, drawn, all_of_them)
        return chosen[all_of_them < degree].unique()

    def sample_from_nodes(self, index: NodeSamplerInput, **_: object) -> SamplerOutput:
        """Return a part of the graph around nodes, which come first in it."""
        node = reached = index.node
        self.place[node] = torch.arange(len(node))
        edges = []
        for wanted in self.num_neighbors:
            edges.append(self._draw(reached, wanted))
            sources = self.src[edges[-1]]
            reached = sources[self.place[sources] < 0].unique()
            self.place[reached] = torch.arange(len(node), len(node) + len(reached))
            node = torch.cat([node, reached])
        edge = torch.cat(edges)
        row, col = self.place[self.src[edge]], self.place[self.dst[edge]]
        self.place[node] = -1
        return SamplerOutput(node, row, col, self.edges[edge], metadata=(index.input_id, index.time))

    def sample_from_edges(self, *_: object, **__: object) -> SamplerOutput:
        """Not needed for classes of nodes."""
        raise NotImplementedError


def loader_of(data: Data, nodes: Tensor, transform: Transform, **options: Any) -> NodeLoader:
    """Return a loader of batches around nodes, with the fastest sampler that there is."""
    options = {"input_nodes": nodes, "transform": transform, **options}
    if torch_geometric.typing.WITH_PYG_LIB or torch_geometric.typing.WITH_TORCH_SPARSE:
        return NeighborLoader(data, NUM_NEIGHBORS, **options)
    return NodeLoader(data, Neighbors(data.edge_index, data.num_nodes, NUM_NEIGHBORS), **options)


class GraphSAGE(nn.Module):
    """Two layers."""

    def __init__(self, num_features: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.first, self.second = SAGEConv(num_features, hidden), SAGEConv(hidden, num_classes)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = F.dropout(self.first(x, edge_index).relu(), training=self.training)
        return self.second(x, edge_index)


class Training:
    """One of the trainings that are compared.

    Parameters
    ----------
    data : Data
        The graph, without features.
    attach : callable
        Puts features into a batch.
    model : GraphSAGE
        Is trained.
    batch_size : int
        Nodes in a step.
    """

    def __init__(self, data: Data, attach: Transform, model: GraphSAGE, batch_size: int) -> None:
        self.attach, self.model = attach, model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        self.train = loader_of(data, data.train_mask, self._timed_attach, batch_size=batch_size, shuffle=True)
        self.test = loader_of(data, data.test_mask, self._timed_attach, batch_size=batch_size)
        self.losses: list[Tensor] = []  # one tensor for each epoch
        self.seconds: dict[str, list[float]] = {phase: [] for phase in PHASES}  # of each epoch
        self._gather_seconds = 0.0

    def _timed_attach(self, batch: Data) -> Data:
        begin = perf_counter()
        batch = self.attach(batch)
        self._gather_seconds += perf_counter() - begin
        return batch

    def _step(self, batch: Data) -> Tensor:
        self.optimizer.zero_grad()
        out = self.model(batch.x, batch.edge_index)[: batch.batch_size]
        loss = F.cross_entropy(out, batch.y[: batch.batch_size])
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def run_epoch(self, seed: int) -> None:
        """Train on all nodes once; the seed decides batches, neighbours and dropout."""
        torch.manual_seed(seed)
        self.model.train()
        self._gather_seconds, compute_seconds = 0.0, 0.0
        losses = []
        begin = perf_counter()
        for batch in self.train:
            loaded = perf_counter()
            losses.append(self._step(batch))
            compute_seconds += perf_counter() - loaded
        sample_seconds = perf_counter() - begin - self._gather_seconds - compute_seconds
        self.losses.append(torch.stack(losses))
        for phase, took in zip(PHASES, [sample_seconds, self._gather_seconds, compute_seconds], strict=True):
            self.seconds[phase].append(took)

    @torch.no_grad()
    def accuracy(self, seed: int) -> float:
        """Return which part of the test nodes the model classifies right."""
        torch.manual_seed(seed)
        self.model.eval()
        right = total = 0
        for batch in self.test:
            guess = self.model(batch.x, batch.edge_index)[: batch.batch_size].argmax(1)
            right += int((guess == batch.y[: batch.batch_size]).sum())
            total += batch.batch_size
        return right / total


def made_up_graph(num_nodes: int, num_features: int, num_classes: int) -> Data:
    """Return a graph of communities, which are the classes, whose nodes are bags of words.

    Three of five edges stay in their community. A word is the rarer the higher its rank, and every community has words
    of its own that it uses more than others do; a node has 20 words, some of them the same.
    """
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(num_classes, (num_nodes,), generator=generator)
    y[:num_classes] = torch.arange(num_classes)  # so that no community is empty
    own_words = torch.rand(num_classes, num_features, generator=generator) < 0.1
    words_used = (1 + 2 * own_words) / torch.arange(10, num_features + 10)
    x = torch.zeros(num_nodes, num_features)
    num_edges = 4 * num_nodes
    src, dst = torch.randint(num_nodes, (2, num_edges), generator=generator)
    stays = torch.rand(num_edges, generator=generator) < 0.6
    for community in range(num_classes):
        members = (y == community).nonzero().view(-1)
        words = torch.multinomial(words_used[community], 20 * len(members), replacement=True, generator=generator)
        x[members[:, None], words.view(-1, 20)] = 1
        edges = (stays & (y[src] == community)).nonzero().view(-1)
        dst[edges] = members[torch.randint(len(members), (len(edges),), generator=generator)]
    train_mask = torch.rand(num_nodes, generator=generator) < 0.5
    edge_index = torch.stack([torch.cat([src, dst]), torch.cat([dst, src])])
    return Data(x=x, y=y, edge_index=edge_index, train_mask=train_mask, test_mask=~train_mask)


def check_same(raw: Training, compressed: Training) -> None:
    """Exit with a message if a loss or a weight differs in any bit."""
    for epoch, (expected, losses) in enumerate(zip(raw.losses, compressed.losses, strict=True)):
        differ = (expected.view(torch.int32) != losses.view(torch.int32)).nonzero()
        if len(differ):
            step = int(differ[0])
            differing = f"{expected[step]} from raw features, {losses[step]} from compressed ones"
            raise SystemExit(f"epoch {epoch}, step {step}: loss {differing}")
    for (name, expected), weights in zip(raw.model.named_parameters(), compressed.model.parameters(), strict=True):
        if not torch.equal(expected.view(torch.int32), weights.view(torch.int32)):
            raise SystemExit(f"{name} differs after the last step")


def draw_chart(path: Path, nbytes: dict[str, int], seconds: dict[str, dict[str, float]]) -> None:
    """Draw memory and time as bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    bars = left.bar(list(nbytes), [each / 1e6 for each in nbytes.values()], color="tab:gray")
    left.bar_label(bars, fmt="%.3g")
    left.set(title="Features in memory", ylabel="MB")
    bottom = [0.0] * len(seconds)
    for phase in PHASES:
        heights = [each[phase] for each in seconds.values()]
        right.bar(list(seconds), heights, bottom=bottom, label=phase)
        bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
    right.set(title="An epoch", ylabel="seconds")
    figure.legend(loc="outside lower right", ncols=len(PHASES))
    figure.savefig(path, dpi=150)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    graph = parser.add_argument_group("a made-up graph")
    graph.add_argument("--nodes", type=int, default=10_000)
    graph.add_argument("--features", type=int, default=1_000)
    graph.add_argument("--classes", type=int, default=8)
    graph = parser.add_argument_group("a citation graph instead")
    graph.add_argument("--planetoid", type=Path, metavar="FOLDER", help="downloaded and processed there if need be")
    graph.add_argument("--name", choices=["Cora", "Citeseer", "Pubmed"], default="Cora", help="which one")
    parser.add_argument("--packing", choices=["slotted", "packed"], default="packed", help="of compressed features")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=64, help="width of the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--chart", type=Path, metavar="FILE.png", help="draw memory and time, with matplotlib")
    options = parser.parse_args(arguments)
    if options.chart and importlib.util.find_spec("matplotlib") is None:
        parser.error("--chart needs matplotlib: pip install matplotlib")
    if options.planetoid and importlib.util.find_spec("scipy") is None:
        parser.error("--planetoid needs scipy, as its files hold sparse matrices: pip install scipy")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Train twice, compare, print."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    if options.planetoid:
        # torch_geometric names the folder as it is asked, others in small letters.
        lower = options.name.lower()
        name = lower if (options.planetoid / lower).is_dir() else options.name
        data = Planetoid(str(options.planetoid), name, split="full")[0]
    else:
        data = made_up_graph(options.nodes, options.features, options.classes)

    x = data.x
    table = sb.compress(x, packing=options.packing)
    del data.x
    data.num_nodes = len(x)

    def attach_raw(batch: Data) -> Data:
        batch.x = x.index_select(0, batch.n_id)  # faster than x[batch.n_id]
        return batch

    def training(attach: Transform) -> Training:
        torch.manual_seed(options.seed)
        model = GraphSAGE(x.shape[1], options.hidden, int(data.y.max()) + 1)
        return Training(data, attach, model, options.batch_size)

    raw, compressed = training(attach_raw), training(FeatureStore({"x": table}).attach)
    for epoch in range(options.epochs):
        # In turns, so that what else the machine does meets both.
        for each in [raw, compressed] if epoch % 2 == 0 else [compressed, raw]:
            each.run_epoch(options.seed + epoch)
        check_same(raw, compressed)

    columns = {"raw": raw, "compressed": compressed}
    seconds = {name: {phase: median(each.seconds[phase]) for phase in PHASES} for name, each in columns.items()}
    print(f"| {len(x):,} nodes, {data.num_edges:,} edges, {x.shape[1]:,} features | raw | compressed |\n|---|---|---|")
    print(f"| features, bytes | {x.nbytes:,} | {table.nbytes:,} |")
    print(f"| ratio | 1 | {table.ratio:.1f} |")
    print(f"| codec, packing | – | {table.codec}, {table.packing} |")
    for phase in PHASES:
        print(f"| {phase}, ms per epoch | {' | '.join(f'{each[phase] * 1e3:.1f}' for each in seconds.values())} |")
    accuracies = [f"{each.accuracy(options.seed):.4f}" for each in columns.values()]
    print(f"| accuracy on test nodes | {' | '.join(accuracies)} |\n")
    sampler, threads = type(raw.train.node_sampler).__name__, f"threads: {options.threads}"
    print(f"Batches of {options.batch_size}, drawn by {sampler}; {threads}; medians of {options.epochs} epochs.")
    num_losses = sum(len(losses) for losses in raw.losses)
    print(f"All {num_losses} losses are the same to the last bit, and the weights after the last step.")
    if options.chart:
        draw_chart(options.chart, {"raw": x.nbytes, "compressed": table.nbytes}, seconds)


if __name__ == "__main__":
    main()
