"""Ratios of every .npy file in a folder, as a Markdown table: ``python bench/ratios.py FOLDER [COMMAND]``.

Files named ``name__00.npy``, ``name__01.npy`` … are parts of one model and make one line. Every file is decompressed
and compared with its original before its ratio counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path


def measured(command: str, source: Path, packing: str, folder: Path) -> dict[str, float]:
    """Return what ``compress --json`` says of a file, once its round trip was found exact."""
    target = folder / "compressed.safetensors"
    line = [command, "compress", str(source), "-o", str(target), "--packing", packing, "--codec", "ibp", "--json"]
    report = subprocess.run(line, check=True, capture_output=True, text=True).stdout
    subprocess.run([command, "verify", target, "--against", source], check=True, capture_output=True)
    tensor: dict[str, float] = json.loads(report)["tensors"][0]
    return tensor


def main() -> None:
    """Print the table."""
    folder = Path(sys.argv[1])
    command = sys.argv[2] if len(sys.argv) > 2 else "build/release/src/cli/stillbit"
    groups: dict[str, list[Path]] = defaultdict(list)
    for source in sorted(folder.glob("*.npy")):
        groups[source.stem.split("__")[0]].append(source)
    if not groups:
        sys.exit(f"no .npy files in {folder}: nothing measured")
    print("| arrays | packed, rows alone | packed, all | slotted, all |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for name, sources in groups.items():
            sums = {}
            for packing in ("packed", "slotted"):
                tensors = [measured(command, source, packing, Path(scratch)) for source in sources]
                raw, stored, metadata = (
                    sum(tensor[key] for tensor in tensors) for key in ("raw_bytes", "stored_bytes", "metadata_bytes")
                )
                sums[packing] = raw / stored, raw / (stored - metadata)
            print(f"| {name} | {sums['packed'][1]:.3f} | {sums['packed'][0]:.3f} | {sums['slotted'][0]:.3f} |")


if __name__ == "__main__":
    main()
