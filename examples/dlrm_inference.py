"""Serve a recommender from compressed embedding tables: ``python examples/dlrm_inference.py``.

A DLRM (Naumov et al., "Deep Learning Recommendation Model for Personalization and Recommendation Systems", 2019) is
trained briefly on made-up clicks, whose categories are skewed as those of users are, and its tables are cast to what
they are served in. Then it is served from raw tables, from compressed ones, and from compressed ones whose hot rows are
raw. All outputs must be the same to the last bit, or the program fails. It prints a Markdown table of what the tables
take in memory and how fast rows are looked up.
Needs PyTorch.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import stillbit as sb
import stillbit.torch as sbt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_DENSE = 13  # as in the click logs that DLRMs are usually trained on
MIN_ROWS = 1000  # of tables in tiers; others are compressed
DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}

Features = dict[str, tuple[Tensor, Tensor]]  # of each table: row numbers, and where each bag begins


class Batch(NamedTuple):
    """What is known of some impressions, and which of them were clicked."""

    dense: Tensor  # (impressions, NUM_DENSE)
    features: Features
    clicked: Tensor  # (impressions,)

    @property
    def num_lookups(self) -> int:
        """Rows that are looked up."""
        return sum(len(input) for input, _ in self.features.values())


class Clicks:
    """Makes up impressions. Each feature is a bag of categories: the k-th most frequent has a share like k^-skew.

    Every category and every dense number makes a click more or less probable, in a way that stays hidden.

    Parameters
    ----------
    rows : list of int
        Categories of each feature.
    bag_size : int
        The most categories that an impression has of a feature; it has one at least.
    skew : float
        0: all categories are as frequent.
    seed : int
        Decides everything.
    """

    def __init__(self, rows: list[int], bag_size: int, skew: float, seed: int) -> None:
        self.bag_size = bag_size
        self.draw = torch.Generator().manual_seed(seed)
        self.names = [f"feature {i}" for i in range(len(rows))]
        # Rows do not lie in the order of their frequency.
        self.row_of_rank = [torch.randperm(num, generator=self.draw) for num in rows]
        shares = [torch.arange(1, num + 1, dtype=torch.float64).pow(-skew).cumsum(0) for num in rows]
        self.reaches = [share / share[-1] for share in shares]
        self.effects = [torch.randn(num, generator=self.draw) for num in rows]
        self.dense_effects = torch.randn(NUM_DENSE, generator=self.draw)

    def batch(self, size: int) -> Batch:
        """Return so many impressions, never the same again."""
        dense = torch.randn(size, NUM_DENSE, generator=self.draw)
        score = dense @ self.dense_effects / NUM_DENSE**0.5
        features = {}
        for name, row_of_rank, reach, effect in zip(
            self.names, self.row_of_rank, self.reaches, self.effects, strict=True
        ):
            sizes = torch.randint(1, self.bag_size + 1, (size,), generator=self.draw)
            offsets = sizes.cumsum(0) - sizes
            ranks = torch.searchsorted(
                reach, torch.rand(int(sizes.sum()), generator=self.draw, dtype=torch.float64), right=True
            )
            input = row_of_rank[ranks.clamp(max=len(row_of_rank) - 1)]
            bag_of = torch.repeat_interleave(torch.arange(size), sizes)
            score += torch.zeros(size).index_add(0, bag_of, effect[input]) / (sizes * len(self.names)).sqrt()
            features[name] = input, offsets
        return Batch(dense, features, torch.bernoulli(torch.sigmoid(score - 1), generator=self.draw))


class RawBags(nn.ModuleDict):
    """Tables as they are."""

    def forward(self, features: Features) -> dict[str, Tensor]:
        """Look up all features, one after the other."""
        return {name: bag(*features[name]) for name, bag in self.items()}


class DLRM(nn.Module):
    """Dense features pass a network, categories their tables; dot products between all of them pass another network.

    Parameters
    ----------
    bags : Module
        Looks up all features.
    num_features : int
        Of categories.
    dim : int
        Of the rows of all tables.
    """

    def __init__(self, bags: nn.Module, num_features: int, dim: int) -> None:
        super().__init__()
        self.bags = bags
        self.bottom = nn.Sequential(nn.Linear(NUM_DENSE, 128), nn.ReLU(), nn.Linear(128, dim), nn.ReLU())
        num_products = num_features * (num_features + 1) // 2
        self.top = nn.Sequential(nn.Linear(dim + num_products, 128), nn.ReLU(), nn.Linear(128, 1))
        self.register_buffer("pairs", torch.tril_indices(num_features + 1, num_features + 1, -1))

    def forward(self, dense: Tensor, features: Features) -> Tensor:
        """Return for each impression how likely a click is, as a logit."""
        first = self.bottom(dense)
        vectors = torch.stack([first, *(each.float() for each in self.bags(features).values())], dim=1)
        products = torch.bmm(vectors, vectors.mT)[:, self.pairs[0], self.pairs[1]]
        return self.top(torch.cat([first, products], dim=1)).squeeze(1)


def train(model: DLRM, clicks: Clicks, steps: int, batch_size: int) -> list[float]:
    """Train tables and networks, and return the losses."""
    tables = list(model.bags.parameters())
    networks = [*model.bottom.parameters(), *model.top.parameters()]
    optimizers = [torch.optim.SparseAdam(tables, lr=0.01), torch.optim.Adam(networks, lr=0.002)]
    losses = []
    for _ in range(steps):
        batch = clicks.batch(batch_size)
        loss = F.binary_cross_entropy_with_logits(model(batch.dense, batch.features), batch.clicked)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(float(loss.detach()))
    return losses


class Served(NamedTuple):
    """One of the ways to serve that are compared."""

    bags: nn.Module
    nbytes: int  # of the tables
    look_up_seconds: list[float]  # of each batch
    answer_seconds: list[float]  # of each batch: looking up, and the networks


def served(bags: nn.Module, nbytes: int) -> Served:
    """Return a way to serve that has served nothing."""
    return Served(bags, nbytes, [], [])


@torch.no_grad()
def serve(model: DLRM, way: Served, batch: Batch) -> Tensor:
    """Answer a batch from the tables of one way; keep the time."""
    model.bags = way.bags
    begin = perf_counter()
    way.bags(batch.features)
    way.look_up_seconds.append(perf_counter() - begin)
    begin = perf_counter()
    answers = model(batch.dense, batch.features)
    way.answer_seconds.append(perf_counter() - begin)
    return answers


def ways_to_serve(raw: RawBags, options: argparse.Namespace) -> dict[str, Served]:
    """Return the ways to serve, by name."""
    compressed = {
        name: sbt.EmbeddingBag.from_module(bag, packing=options.packing, objective=options.objective)
        for name, bag in raw.items()
    }
    tiered = dict(compressed)
    for name, bag in compressed.items():
        if bag.num_embeddings >= MIN_ROWS:
            table = sb.TieredTable(bag.table, fast_nbytes=int(options.fast * raw[name].weight.nbytes))
            tiered[name] = sbt.EmbeddingBag(table, mode=bag.mode)
    return {
        "raw": served(raw, sum(bag.weight.nbytes for bag in raw.values())),
        **{
            name: served(sbt.EmbeddingBagCollection(bags), sum(bag.nbytes for bag in bags.values()))
            for name, bags in [("compressed", compressed), ("tiers", tiered)]
        },
    }


def hit_rate(way: Served) -> str:
    """Return which part of lookups found their row raw in the fast tier, where there is one."""
    found = [
        bag.table.statistics() for bag in way.bags.modules() if isinstance(getattr(bag, "table", None), sb.TieredTable)
    ]
    if not found:
        return "–"
    return f"{sum(each.fast.num_lookups for each in found) / sum(each.num_lookups for each in found):.3f}"


def check_same(answers: dict[str, Tensor], number: int) -> None:
    """Exit with a message if an answer differs in any bit."""
    expected = answers["raw"]
    for name, found in answers.items():
        differ = (expected.view(torch.int32) != found.view(torch.int32)).nonzero()
        if len(differ):
            place = int(differ[0])
            differing = f"{expected[place]} from raw tables, {found[place]} from {name} ones"
            raise SystemExit(f"batch {number}, impression {place}: {differing}")


def draw_chart(path: Path, columns: dict[str, dict[str, float]]) -> None:
    """Draw memory and speed as bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, (title, values) in zip(figure.subplots(1, len(columns)), columns.items(), strict=True):
        bars = axes.bar(list(values), list(values.values()), color=["tab:gray", "tab:blue", "tab:green"])
        axes.bar_label(bars, fmt="%.3g")
        axes.set_title(title)
    figure.savefig(path, dpi=150)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    clicks = parser.add_argument_group("clicks")
    clicks.add_argument("--rows", type=int, nargs="+", default=[200_000] * 2 + [50_000] * 2 + [5_000] * 4)
    clicks.add_argument("--bag-size", type=int, default=8, help="the most categories of a feature")
    clicks.add_argument("--skew", type=float, default=1.05, help="0: all categories are as frequent")
    parser.add_argument("--dim", type=int, default=64, help="numbers in a row")
    parser.add_argument("--dtype", choices=list(DTYPES), default="bf16", help="that tables are served in")
    parser.add_argument("--packing", choices=["slotted", "packed"], default="slotted", help="of compressed tables")
    parser.add_argument(
        "--objective",
        choices=["speed", "storage", "transfer"],
        default="speed",
        help="what compressed tables are best in: rows are looked up fastest, or tables are smallest",
    )
    parser.add_argument(
        "--fast", type=float, default=0.05, help="part of the raw tables that is kept raw in a fast tier"
    )
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--batches", type=int, default=30, help="to serve")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--chart", type=Path, metavar="FILE.png", help="draw memory and speed, with matplotlib")
    options = parser.parse_args(arguments)
    if options.chart and importlib.util.find_spec("matplotlib") is None:
        parser.error("--chart needs matplotlib: pip install matplotlib")
    return options


def trained(options: argparse.Namespace, clicks: Clicks) -> tuple[DLRM, list[float]]:
    """Return a model that was trained, with tables as they are served, and its losses."""
    torch.manual_seed(options.seed)
    raw = RawBags(
        {
            name: nn.EmbeddingBag(
                num, options.dim, mode="sum", sparse=True, _weight=torch.randn(num, options.dim) / 100
            )
            for name, num in zip(clicks.names, options.rows, strict=True)
        }
    )
    model = DLRM(raw, len(options.rows), options.dim)
    losses = train(model, clicks, options.steps, options.batch_size)
    raw.to(DTYPES[options.dtype]).requires_grad_(False)
    return model.eval(), losses


def main(arguments: list[str] | None = None) -> None:
    """Train, serve in all ways, compare, print."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    clicks = Clicks(options.rows, options.bag_size, options.skew, options.seed)
    model, losses = trained(options, clicks)
    ways = ways_to_serve(model.bags, options)
    lookups = []
    for number in range(options.batches):
        batch = clicks.batch(options.batch_size)
        lookups.append(batch.num_lookups)
        # In turns, so that what else the machine does meets all of them.
        names = list(ways)[:: 1 if number % 2 == 0 else -1]
        check_same({name: serve(model, ways[name], batch) for name in names}, number)

    print(f"| {len(options.rows)} tables, {sum(options.rows):,} rows of {options.dim} | {' | '.join(ways)} |")
    print("|---|" + "---|" * len(ways))
    rows: dict[str, Callable[[Served], str]] = {
        "tables, bytes": lambda way: f"{way.nbytes:,}",
        "of raw": lambda way: f"{way.nbytes / ways['raw'].nbytes:.3f}",
        "million lookups/s": lambda way: f"{median(lookups) / median(way.look_up_seconds) / 1e6:.2f}",
        "impressions/s, networks included": lambda way: f"{options.batch_size / median(way.answer_seconds):,.0f}",
    }
    rows["of rows found raw in the fast tier"] = hit_rate
    for title, cell in rows.items():
        print(f"| {title} | {' | '.join(cell(way) for way in ways.values())} |")
    about = f"{options.dtype}, skew {options.skew}, batches of {options.batch_size}, threads: {options.threads}"
    print(f"\n{about}; medians of {options.batches} batches of some {median(lookups):,.0f} lookups.")
    tenth = max(1, len(losses) // 10)
    fell = f"from {sum(losses[:tenth]) / tenth:.4f} to {sum(losses[-tenth:]) / tenth:.4f}" if losses else "not at all"
    print(f"Training: {len(losses)} steps, in which the loss fell {fell}.")
    print(f"All {options.batches * options.batch_size} answers are the same to the last bit.")
    if options.chart:
        memory = {name: way.nbytes / 1e6 for name, way in ways.items()}
        speed = {name: median(lookups) / median(way.look_up_seconds) / 1e6 for name, way in ways.items()}
        draw_chart(options.chart, {"Tables, MB": memory, "Million lookups a second": speed})


if __name__ == "__main__":
    main()
