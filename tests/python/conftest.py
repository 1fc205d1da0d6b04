"""Fixtures that are shared by the tests in Python."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("helpers")

from helpers import REPOSITORY, Failure, Stillbit  # noqa: E402

DEFAULT_COMMAND = REPOSITORY / "build/release/src/cli/stillbit"


@pytest.fixture(scope="session")
def command() -> str:
    """Path of the ``stillbit`` command: what STILLBIT_COMMAND says, or the release build."""
    path = Path(os.environ.get("STILLBIT_COMMAND") or DEFAULT_COMMAND).absolute()
    if not os.access(path, os.X_OK) or path.is_dir():
        pytest.fail(f"no stillbit command at {path}: build it, or set STILLBIT_COMMAND to its path", pytrace=False)
    return str(path)


@pytest.fixture(scope="session")
def stillbit(command: str) -> Stillbit:
    """Run the command with some arguments; with ``check``, a failure fails the test and shows what was printed."""

    def run(*args: Any, check: bool = True) -> subprocess.CompletedProcess[str]:
        line = [command, *map(str, args)]
        result = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
        if check and result.returncode != 0:
            pytest.fail(f"{' '.join(line)}\nended with {result.returncode}:\n{result.stdout}{result.stderr}")
        return result

    return run


@pytest.fixture
def failure(stillbit: Stillbit, tmp_path: Path) -> Failure:
    """Runs a command that must fail, and returns its message. Nothing in the folder may change by it."""

    def contents() -> dict[Path, bytes | None]:
        return {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")}

    def run(*args: str | Path, status: int = 1, names: Iterable[str | Path] = ()) -> str:
        before = contents()
        result = stillbit(*args, check=False)
        assert result.returncode == status, (result.returncode, result.stdout, result.stderr)
        assert result.stdout == ""
        assert result.stderr.strip() != ""
        for name in names:
            assert str(name) in result.stderr
        assert contents() == before
        return result.stderr

    return run
