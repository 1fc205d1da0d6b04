"""Stillbit beside what people would use otherwise: ``python bench/peers [FOLDER] [-o FILE.json] [--chart FILE.png]``.

The same tables through zstd, lz4, Blosc2, pcodec, ZipNN, memcpy and Stillbit, one thread each, in one run: ratio,
compress, decompress, and a gather of 1,000 random rows, for which a peer expands the blocks that hold them. Prints
Markdown tables. Without a folder of ``.npy`` files, tables are made here. What is installed is measured:
``pip install stillbit zstandard lz4 blosc2 pcodec zipnn matplotlib``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import data
import measure
import peers

import tables


def results_of(parts: list[data.Table], name: str) -> dict[str, measure.Result]:
    """Return what each compressor made of a table, by its name."""
    ours = {
        "stillbit": {},
        "stillbit, slotted": {"packing": "slotted"},
        "stillbit, slotted, speed": {"packing": "slotted", "objective": "speed"},
        "stillbit, smallest": {"objective": "smallest"},
    }
    results = {label: measure.Result() for label in ("memcpy", *ours)}
    codecs = peers.installed()
    for part in parts:
        results["memcpy"] += measure.raw(part)
        for label, options in ours.items():
            results[label] += measure.stillbit(part, options)
        for peer, module, label in codecs:
            results.setdefault(label, measure.Result())
            results[label] += measure.peer(peer(module, part.elements), part)
    print(f"{name}: done", file=sys.stderr)
    return results


def main() -> None:
    """Measure, print, and draw where a file is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="of .npy files; without one, tables are made")
    parser.add_argument("-o", "--output", type=Path, help="all numbers, as JSON")
    parser.add_argument("--chart", type=Path, help="a picture of ratio and gather speed (PNG or SVG; needs matplotlib)")
    parser.add_argument("--megabytes", type=int, default=64, help="of each table that is made (default: 64)")
    arguments = parser.parse_args()

    sources = data.from_folder(arguments.folder) if arguments.folder else data.made_up(arguments.megabytes << 20)
    if not sources:
        sys.exit(f"no .npy files in {arguments.folder}: nothing measured")
    results = {name: results_of(parts, name) for name, parts in sources.items()}
    tables.print_all(results)
    for name in peers.missing():
        print(f"\nNot installed, not measured: {name}.")
    if arguments.output:
        arguments.output.write_text(json.dumps(results, default=vars, indent=1) + "\n")
    if arguments.chart:
        tables.draw(results, arguments.chart)


if __name__ == "__main__":
    main()
