"""The stub in the repository is that of the module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import stillbit


def test_stub_is_the_module_s(tmp_path: Path) -> None:
    pytest.importorskip("nanobind.stubgen")
    stub = tmp_path / "_core.pyi"
    command = [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", "stillbit._core", "-o", str(stub)]
    subprocess.run(command, check=True, timeout=60)
    committed = Path(stillbit.__file__).with_name("_core.pyi")
    assert stub.read_text() == committed.read_text(), (
        f"make it anew: {' '.join(command[:-1])} python/stillbit/_core.pyi"
    )
