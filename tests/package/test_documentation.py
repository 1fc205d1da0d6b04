"""Every program in docs/python.md, docs/ibp.md and the README's part on Python runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = [
    pytest.param(program, id=f"{page}-{i}")
    for page in ["README.md", "docs/python.md", "docs/ibp.md"]
    for i, program in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL))
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ["torch", "torch_geometric"]:
        if f"import {package}\n" in program or f"from {package}." in program:
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "program", "exec"), {"__name__": "program"})
