"""Every Python program in the README and on the pages of docs/ runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = [
    pytest.param(program, id=f"{page.name}-{i}")
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for i, program in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]
OPTIONAL = ["torch", "torch_geometric", "torchrec", "transformers", "accelerate"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in OPTIONAL:
        if re.search(rf"^ *(import|from) (stillbit\.)?{package}\b", program, re.MULTILINE):
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "program", "exec"), {"__name__": "program"})
