"""The programs in examples/, run or loaded."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def said_by(*line: object) -> str:
    """Run a program, which has to succeed, and return what it printed."""
    done = subprocess.run([sys.executable, *map(str, line)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(path: Path) -> ModuleType:
    """Return a program as a module; nothing of it has run."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
