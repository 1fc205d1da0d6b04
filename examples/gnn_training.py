"""Train a graph neural network from compressed features: ``python examples/gnn_training.py``.

GraphSAGE learns to classify nodes by mini-batches, once from raw features and once from compressed ones, with the same
seed. Both trainings must have the same losses to the last bit in every step, or the program fails. Then it prints a
Markdown table of what the features take in memory and where the time of an epoch goes. The graph is made up, unless
``--planetoid`` names a folder with a citation graph. Needs PyTorch and PyTorch Geometric.

With ``--device cuda`` the model trains on a GPU and features stay in host memory: gathered by the CPU and copied, read
by the GPU as they are (zero-copy), and read compressed. Each is done without a cache, and with the rows of 1 % of the
nodes, those with the most edges, in the GPU's memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable, Iterable
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
Gather = Callable[[Tensor], Tensor]


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


class CachedRows:
    """Rows of a table, some of which are kept where they are wanted.

    Parameters
    ----------
    rows : Tensor
        Those that are kept, where results are wanted.
    nodes : Tensor
        Which they are.
    num_nodes : int
        In the graph.
    gather : callable
        Returns all other rows.
    """

    def __init__(self, rows: Tensor, nodes: Tensor, num_nodes: int, gather: Gather) -> None:
        self.rows, self.gather = rows, gather
        self.place = torch.full((num_nodes,), -1, device=rows.device)
        self.place[nodes.to(rows.device)] = torch.arange(len(nodes), device=rows.device)

    def __call__(self, nodes: Tensor) -> Tensor:
        """Return rows, in the order of `nodes`."""
        place = self.place[nodes.to(self.place.device)]
        out = self.rows[place.clamp(min=0)]
        missing = (place < 0).nonzero().view(-1)
        out[missing] = self.gather(nodes[missing.to(nodes.device)])
        return out


def attach_rows(gather: Gather) -> Transform:
    """Return a transform that puts gathered rows into a batch."""

    def attach(batch: Data) -> Data:
        batch.x = gather(batch.n_id)
        return batch

    return attach


def ways_on_cpu(x: Tensor, table: sb.CompressedTensor) -> dict[str, Transform]:
    """Return what puts features into batches in host memory."""
    # index_select is faster than x[nodes].
    raw = attach_rows(lambda nodes: x.index_select(0, nodes))
    return {"raw": raw, "compressed": FeatureStore({"x": table}).attach}


def ways_on_gpu(x: Tensor, table: sb.CompressedTensor, cached: Tensor, device: torch.device) -> dict[str, Transform]:
    """Return what puts features into batches on a GPU, the rows of some nodes cached there and none."""
    compressed = table.cuda(device)
    zero_copy = sb.compress(x, codec="raw", packing="slotted").cuda(device)

    def gather_and_copy(nodes: Tensor) -> Tensor:
        rows = torch.empty(len(nodes), x.shape[1], dtype=x.dtype, pin_memory=True)
        return torch.index_select(x, 0, nodes, out=rows).to(device, non_blocking=True)

    gathers: dict[str, Gather] = {
        "CPU gather": gather_and_copy,
        "zero-copy": lambda nodes: zero_copy.gather(nodes.to(device)),
        "compressed": lambda nodes: compressed.gather(nodes.to(device)),
    }
    ways = {name: attach_rows(gather) for name, gather in gathers.items()}
    for name, gather in gathers.items():
        rows = CachedRows(x[cached].to(device), cached, len(x), gather)
        ways[f"{name}, {len(cached) / len(x):.0%} cached"] = attach_rows(rows)
    return ways


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
        self.device = next(model.parameters()).device
        self.optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        self.train = loader_of(data, data.train_mask, self._timed_attach, batch_size=batch_size, shuffle=True)
        self.test = loader_of(data, data.test_mask, self._timed_attach, batch_size=batch_size)
        self.losses: list[Tensor] = []  # one tensor for each epoch
        self.seconds: dict[str, list[float]] = {phase: [] for phase in PHASES}  # of each epoch
        self._gather_seconds = 0.0

    def _now(self) -> float:
        """Return the time at which the GPU, too, has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return perf_counter()

    def _timed_attach(self, batch: Data) -> Data:
        begin = self._now()
        batch = self.attach(batch)
        self._gather_seconds += self._now() - begin
        return batch

    def _step(self, batch: Data) -> Tensor:
        batch = batch.to(self.device)
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
        begin = self._now()
        for batch in self.train:
            loaded = self._now()
            losses.append(self._step(batch))
            compute_seconds += self._now() - loaded
        sample_seconds = self._now() - begin - self._gather_seconds - compute_seconds
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
            batch = batch.to(self.device)
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


def check_same(raw: Training, other: Training, features: str) -> None:
    """Exit with a message if a loss or a weight differs in any bit."""
    for epoch, (expected, losses) in enumerate(zip(raw.losses, other.losses, strict=True)):
        differ = (expected.view(torch.int32) != losses.view(torch.int32)).nonzero()
        if len(differ):
            step = int(differ[0])
            differing = f"{expected[step]} from raw features, {losses[step]} from others ({features})"
            raise SystemExit(f"epoch {epoch}, step {step}: loss {differing}")
    for (name, expected), weights in zip(raw.model.named_parameters(), other.model.parameters(), strict=True):
        if not torch.equal(expected.view(torch.int32), weights.view(torch.int32)):
            raise SystemExit(f"{name} differs after the last step ({features})")


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
    right.tick_params("x", rotation=30 if len(seconds) > 2 else 0)
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
    parser.add_argument("--device", type=torch.device, default="cpu", help="to train on: cpu, cuda, cuda:1")
    parser.add_argument("--cached", type=float, default=0.01, help="part of the nodes whose rows a GPU keeps")
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


def load(options: argparse.Namespace) -> Data:
    """Return the graph that the command line asks for, with its features."""
    if not options.planetoid:
        return made_up_graph(options.nodes, options.features, options.classes)
    # torch_geometric names the folder as it is asked, others in small letters.
    lower = options.name.lower()
    name = lower if (options.planetoid / lower).is_dir() else options.name
    return Planetoid(str(options.planetoid), name, split="full")[0]


def trainings_of(
    data: Data, options: argparse.Namespace, ways: dict[str, Transform], num_features: int
) -> dict[str, Training]:
    """Return a training for each way to put features into batches, all with the same weights."""
    trainings = {}
    for name, attach in ways.items():
        torch.manual_seed(options.seed)
        model = GraphSAGE(num_features, options.hidden, int(data.y.max()) + 1).to(options.device)
        trainings[name] = Training(data, attach, model, options.batch_size)
    return trainings


def main(arguments: list[str] | None = None) -> None:
    """Train in every way, compare, print."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS sums in an order of its own
    torch.use_deterministic_algorithms(True)
    data = load(options)
    x = data.x
    table = sb.compress(x, packing=options.packing)
    del data.x
    data.num_nodes = len(x)
    if options.device.type == "cuda":
        degree = torch.bincount(data.edge_index[0], minlength=len(x))
        cached = degree.topk(max(1, round(options.cached * len(x)))).indices
        ways = ways_on_gpu(x, table, cached, options.device)
    else:
        ways = ways_on_cpu(x, table)

    trainings = trainings_of(data, options, ways, x.shape[1])
    raw = next(iter(trainings.values()))
    for epoch in range(options.epochs):
        # In turns, so that what else the machine does meets all of them.
        for each in list(trainings.values())[:: 1 if epoch % 2 == 0 else -1]:
            each.run_epoch(options.seed + epoch)
        for name, each in trainings.items():
            check_same(raw, each, name)

    def row(title: str, values: Iterable[str]) -> str:
        return f"| {title} | {' | '.join(values)} |"

    seconds = {name: {phase: median(each.seconds[phase]) for phase in PHASES} for name, each in trainings.items()}
    print(row(f"{len(x):,} nodes, {data.num_edges:,} edges, {x.shape[1]:,} features", trainings))
    print("|---" * (len(trainings) + 1) + "|")
    tables = [table if name.startswith("compressed") else None for name in trainings]
    print(row("features, bytes", (f"{each.nbytes if each else x.nbytes:,}" for each in tables)))
    print(row("ratio", (f"{each.ratio:.1f}" if each else "1" for each in tables)))
    print(row("codec, packing", (f"{each.codec}, {each.packing}" if each else "–" for each in tables)))
    for phase in PHASES:
        print(row(f"{phase}, ms per epoch", (f"{each[phase] * 1e3:.1f}" for each in seconds.values())))
    print(row("accuracy on test nodes", (f"{each.accuracy(options.seed):.4f}" for each in trainings.values())) + "\n")
    sampler, threads = type(raw.train.node_sampler).__name__, f"threads: {options.threads}"
    print(f"Batches of {options.batch_size}, drawn by {sampler}; {threads}; medians of {options.epochs} epochs.")
    num_losses = sum(len(losses) for losses in raw.losses)
    print(f"All {num_losses} losses are the same to the last bit, and the weights after the last step.")
    if options.chart:
        draw_chart(options.chart, {"raw": x.nbytes, "compressed": table.nbytes}, seconds)


if __name__ == "__main__":
    main()
