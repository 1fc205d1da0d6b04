"""Checks who may include whom: each room of src/ may include only what stands below it (docs/design.md)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# A room may include itself, the rooms named here, and the public headers.
ALLOWED = {
    "core": set(),
    "io": {"core"},
    "cpu": {"core"},
    "fields": {"core"},
    "warp": {"core"},
    "cuda": {"core", "warp"},
    "format": {"core"},
    "statistics": {"core", "cpu", "cuda", "warp"},
    "codecs": {"core", "cpu", "cuda", "fields", "format", "pooling", "statistics", "warp"},
    "published": {"core", "cpu", "statistics", "codecs"},
    "packings": {"core", "format", "codecs"},
    "pooling": {"core", "cpu"},
    "planner": {"core", "cpu", "format", "statistics", "codecs", "packings"},
    "analysis": {"core", "format", "codecs"},
    "api": {"core", "io", "cpu", "format", "statistics", "codecs", "packings", "planner"},
    "bags": {"core", "cpu", "pooling", "api"},
    "gpu": {"core", "cuda", "statistics", "warp", "codecs", "api"},
    "files": {"analysis", "core", "io", "cpu", "format", "statistics", "planner", "api"},
    "tiers": {"core", "io", "cpu", "format", "codecs", "packings", "api"},
    # The command and its report are users of the public API like any other.
    "report": set(),
    "cli": {"report"},
}
DEVICE_ONLY = re.compile(r"\bthreadIdx\b|\b__shfl|\basm\b")


def problems(path: Path) -> list[str]:
    """Return what is wrong with one source file."""
    parts = path.relative_to(ROOT / "src").parts
    room, found = parts[0], []
    text = path.read_text()
    for include in re.findall(r'#include "([^"]+)"', text):
        target = include.split("/")
        if target[0] != room and target[0] not in ALLOWED[room]:
            found.append(f"{path}: {room} must not include {include}")
        if target[0] == "cuda" and room not in {"cuda", "gpu"} and path.suffix not in {".cu", ".cuh"}:
            found.append(f"{path}: only .cu and .cuh files include {include}")
        if room == "codecs" and target[0] == "codecs" and len(target) > 2 and len(parts) > 2 and target[1] != parts[1]:
            found.append(f"{path}: a codec must not include another: {include}")
    if path.suffix not in {".cu", ".cuh"} and DEVICE_ONLY.search(text):
        found.append(f"{path}: device code belongs into .cu and .cuh files")
    return found


def main() -> None:
    """Check all sources; exit with 1 when a rule is broken."""
    sources = [p for p in (ROOT / "src").rglob("*") if p.suffix in {".cpp", ".hpp", ".inl", ".cu", ".cuh"}]
    found = [problem for path in sorted(sources) for problem in problems(path)]
    for header in (ROOT / "include").rglob("*.hpp"):
        if re.search(r'#include "', header.read_text()):
            found.append(f"{header}: a public header must not include an internal one")
    print("\n".join(found) or f"{len(sources)} files keep the include rules")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
