"""Ratios of every .npy file in a folder, as Markdown tables: ``python bench/ratios.py FOLDER [COMMAND]``.

Files named ``name__00.npy``, ``name__01.npy`` … are parts of one model and count as one array. Every file is
decompressed and compared with its original before its ratio counts. What ``uint16`` and ``uint8`` stand for is told
from the name: ``_bf16`` and ``_fp8``.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean

CODECS = ["ibp", "window", "escape", "sparse", "dictionary", "rans", "auto", "smallest"]
PACKINGS = ["packed", "slotted"]
NONE = "–"


@dataclass
class Sizes:
    """Of all parts of an array, in bytes."""

    raw: int = 0
    stored: int = 0
    metadata: int = 0
    codecs: set[str] = field(default_factory=set)

    @property
    def ratio(self) -> float:
        return self.raw / self.stored

    @property
    def ratio_of_rows(self) -> float:
        """Without masks, row index and headers."""
        return self.raw / (self.stored - self.metadata)


def options_of(codec: str) -> list[str]:
    """Return what asks for a codec, or for what the planner takes for files at rest."""
    return ["--objective", codec] if codec == "smallest" else ["--codec", codec]


class Command:
    """The ``stillbit`` command."""

    def __init__(self, path: str, folder: Path) -> None:
        self.path = path
        self.target = folder / "compressed.safetensors"

    def run(self, *args: str | Path) -> str:
        return subprocess.run([self.path, *args], check=True, capture_output=True, text=True).stdout

    def knows(self, codec: str) -> bool:
        """Wrong usage ends with 2, a file that is missing with 1."""
        line = [self.path, "compress", "/missing.npy", "-o", str(self.target), *options_of(codec)]
        return subprocess.run(line, capture_output=True, check=False).returncode == 1

    def add(self, sizes: Sizes, source: Path, codec: str, packing: str) -> None:
        """Count what ``compress --json`` says of a file, once its round trip was found exact."""
        dtype = dtype_of(source)
        read_as = ["--as", dtype] if dtype else []
        line = [
            "compress",
            str(source),
            "-o",
            str(self.target),
            "--packing",
            packing,
            *options_of(codec),
            "--json",
            *read_as,
        ]
        (tensor,) = json.loads(self.run(*line))["tensors"]
        self.run("verify", self.target, "--against", source)
        sizes.raw += tensor["raw_bytes"]
        sizes.stored += tensor["stored_bytes"]
        sizes.metadata += tensor["metadata_bytes"]
        sizes.codecs.add(tensor["codec"])


def dtype_of(source: Path) -> str | None:
    """Return what the elements are, where the file itself cannot say it."""
    name = source.stem.split("__")[0]
    if name.endswith("_bf16"):
        return "BF16"
    return "F8_E4M3" if name.endswith("_fp8") else None


def kind_of(name: str) -> str:
    """Return the kind of array that a name stands for: means are taken over arrays of one kind."""
    if name.startswith("gnn_"):
        return name
    if name.startswith("emb_"):
        return "embeddings, f32"
    if not name.startswith("w_"):
        return "others"
    if name in ("w_sdlora_f16", "w_facefull_tfl"):
        return "weights, f16"
    return "weights, " + next((dtype for dtype in ("bf16", "fp8") if name.endswith("_" + dtype)), "f32")


def npy_data(path: Path) -> bytes:
    """Return the elements of a .npy file: what lies behind its header."""
    file = path.read_bytes()
    size_format = "<H" if file[6] == 1 else "<I"
    begin = 8 + struct.calcsize(size_format)
    return file[begin + struct.unpack_from(size_format, file, 8)[0] :]


def zstd_ratio(sources: list[Path]) -> float | None:
    """Return the ratio of ``zstd -3``, each part by itself; nothing where the command is not installed."""
    if not shutil.which("zstd"):
        return None
    raw = stored = 0
    for source in sources:
        data = npy_data(source)
        raw += len(data)
        stored += len(subprocess.run(["zstd", "-3", "-q", "-c"], input=data, check=True, capture_output=True).stdout)
    return raw / stored


def text_of(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.3f}"


def print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print a line for each array and codec, and the means of each kind."""
    folder = Path(sys.argv[1])
    groups: dict[str, list[Path]] = defaultdict(list)
    for source in sorted(folder.glob("*.npy")):
        groups[source.stem.split("__")[0]].append(source)
    if not groups:
        sys.exit(f"no .npy files in {folder}: nothing measured")

    # Of each kind and codec the ratios of its arrays: packed, slotted, zstd.
    kinds: dict[tuple[str, str], list[tuple[float, float, float | None]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        command = Command(sys.argv[2] if len(sys.argv) > 2 else "build/release/src/cli/stillbit", Path(scratch))
        codecs = [codec for codec in CODECS if command.knows(codec)]
        print_row("array", "codec", "packed, rows alone", "packed, all", "slotted, all", "zstd -3")
        print_row(*["---"] * 6)
        for name, sources in groups.items():
            zstd = zstd_ratio(sources)
            for codec in codecs:
                packed, slotted = Sizes(), Sizes()
                for source in sources:
                    for packing, sizes in zip(PACKINGS, (packed, slotted), strict=True):
                        command.add(sizes, source, codec, packing)
                # What auto chose, and what a codec could not make smaller.
                used = " + ".join(sorted(packed.codecs | slotted.codecs))
                label = codec if used == codec else f"{codec}: {used}"
                ratios = (packed.ratio_of_rows, packed.ratio, slotted.ratio, zstd)
                print_row(name, label, *map(text_of, ratios))
                kinds[kind_of(name), codec].append((packed.ratio, slotted.ratio, zstd))

    print("\nGeometric means over the arrays of a kind, all that is stored:\n")
    print_row("kind", "arrays", "codec", "packed", "slotted", "zstd -3")
    print_row(*["---"] * 6)
    for (kind, codec), rows in sorted(kinds.items(), key=lambda item: (item[0][0], CODECS.index(item[0][1]))):
        columns = zip(*rows, strict=True)
        means = [None if None in column else geometric_mean(column) for column in columns]
        print_row(kind, str(len(rows)), codec, *map(text_of, means))
    if missing := [codec for codec in CODECS if codec not in codecs]:
        print(f"\nNot measured, since the command does not know them: {', '.join(missing)}.")
    if not shutil.which("zstd"):
        print("\nzstd is not installed: its column is empty.")


if __name__ == "__main__":
    main()
