"""What was measured, as Markdown and as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from measure import Result

Results = dict[str, dict[str, "Result"]]  # by table, then by compressor


def print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |")


def print_table(results: Results, title: str, cell: str) -> None:
    """Print a line for each table and a column for each compressor; of a line, the best is bold."""
    names = list(next(iter(results.values())))
    print(f"\n{title}\n")
    print_row("table", *names)
    print_row(*["---"] * (len(names) + 1))
    for table, by_name in results.items():
        values = [CELLS[cell](by_name[name], by_name["memcpy"]) for name in names]
        best = max(value for name, value in zip(names, values, strict=True) if name != "memcpy")
        texts = [f"{value:.3f}" if "ratio" in cell else f"{value:.3g}" for value in values]
        print_row(
            table,
            *(
                f"**{text}**" if value == best and name != "memcpy" else text
                for name, value, text in zip(names, values, texts, strict=True)
            ),
        )


# Tables that compress less are drawn on a linear scale.
DENSE = 3

CELLS = {
    "ratio": lambda result, copy: result.ratio,
    "whole ratio": lambda result, copy: result.whole_ratio,
    "compress": lambda result, copy: result.speeds[0] / copy.speeds[0],
    "decompress": lambda result, copy: result.speeds[1] / copy.speeds[1],
    "gather": lambda result, copy: result.speeds[2] / copy.speeds[2],
}


def print_all(results: Results) -> None:
    """Print five tables: two of ratios, three of speeds as multiples of a copy's."""
    print_table(results, "Ratio, as rows are gathered from it (peers: blocks of 64 KiB):", "ratio")
    print_table(results, "Ratio where nothing is gathered (peers: each matrix in one):", "whole ratio")
    print_table(results, "Compress, x memcpy of the same bytes:", "compress")
    print_table(results, "Decompress, x memcpy of the same bytes:", "decompress")
    print_table(results, "Gather of 1,000 random rows, x numpy's take of the raw ones:", "gather")


def draw(results: Results, path: Path) -> None:
    """Draw ratio and gather speed: a line for each table, a mark for each compressor.

    Tables that nobody makes three times smaller stand above, on a scale of their own.
    """
    from matplotlib.figure import Figure

    names = [name for name in next(iter(results.values())) if name != "memcpy"]
    best = {table: max(by_name[name].ratio for name in names) for table, by_name in results.items()}
    groups = [[table for table in results if (best[table] < DENSE) == dense] for dense in (True, False)]
    groups = [group for group in groups if group]
    figure = Figure(figsize=(11, 1.8 + 0.32 * len(results)), layout="constrained")
    rows = figure.subplots(
        len(groups), 2, sharey="row", squeeze=False, height_ratios=[len(group) + 0.6 for group in groups]
    )
    for number, (group, axes) in enumerate(zip(groups, rows, strict=True)):
        for name, marker in zip(names, "DopXsv^P*", strict=False):
            ours = name.startswith("stillbit")
            style = {"s": 52 if ours else 40, "marker": marker, "alpha": 0.85, "zorder": 3 if ours else 2}
            ratios = [results[table][name].ratio for table in group]
            gathers = [results[table][name].speeds[2] / results[table]["memcpy"].speeds[2] for table in group]
            axes[0].scatter(ratios, range(len(group)), label=name if number == 0 else None, **style)
            axes[1].scatter(gathers, range(len(group)), **style)
        axes[0].set_yticks(range(len(group)), group)
        axes[0].set_ylim(len(group) - 0.5, -0.5)
        axes[0].set_xscale("linear" if best[group[0]] < DENSE else "log")
        axes[1].set_xscale("log")
        for axis in axes:
            axis.grid(color="0.9")
            axis.set_axisbelow(True)
            axis.axvline(1, color="0.5", linewidth=1)
    rows[-1][0].set_xlabel("ratio (more is smaller)")
    rows[-1][1].set_xlabel("gather of 1,000 random rows, × a gather of raw rows")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=120)
