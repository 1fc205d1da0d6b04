"""Input that cannot be read, or is not what the command takes, ends with status 1."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers import Failure, Stillbit, Tensor, make_array, make_tensor, save_npy, write_tensors


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors", "x.safetensors.index.json", "x.pt"])
@pytest.mark.parametrize("kind", ["missing", "directory", "below a file"])
def test_input_that_cannot_be_read(failure: Failure, tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    if kind == "directory":
        path.mkdir()
    elif kind == "below a file":
        (tmp_path / "file").touch()
        path = tmp_path / "file" / name
    failure("inspect", path, names=[path])
    failure("verify", path, names=[path])
    failure("compress", path, "-o", tmp_path / "out.safetensors", names=[path])
    failure("decompress", path, "-o", tmp_path / "out.npy", names=[path])


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors"])
def test_input_is_a_pipe(command: str, tmp_path: Path, name: str) -> None:
    """Refused, not waited for."""
    os.mkfifo(tmp_path / name)
    result = subprocess.run(
        [command, "inspect", tmp_path / name], capture_output=True, text=True, timeout=5, check=False
    )
    assert result.returncode == 1
    assert name in result.stderr


@pytest.mark.parametrize("args", [["inspect"], ["inspect", "--json"], ["compress", "-o", "out.safetensors"]])
def test_file_name_that_is_not_utf8(command: str, tmp_path: Path, args: list[str]) -> None:
    """The name becomes a tensor's, which must be UTF-8: the message still names the file."""
    path = os.fsencode(tmp_path) + b"/\xff.npy"
    with open(path, "wb") as file:
        np.save(file, make_array("<f4", (2, 3)))
    result = subprocess.run([command, args[0], path, *args[1:]], capture_output=True, cwd=tmp_path, check=False)
    assert result.returncode in (0, 1)
    assert result.returncode == 0 or path in result.stderr


def test_compressed_already(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30)))
    packed = tmp_path / "packed.safetensors"
    stillbit("compress", source, "-o", packed)
    failure("compress", packed, "-o", tmp_path / "twice.safetensors", names=[packed])
    failure("verify", packed, "--against", packed, names=[packed])


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors"])
def test_not_compressed(failure: Failure, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "x.npy":
        save_npy(path, make_array("<f4", (10, 30)))
    else:
        write_tensors(path, {"x": make_tensor("F32", (2, 3))})
    failure("decompress", path, "-o", tmp_path / "y.safetensors", names=[path])
    failure("verify", path, names=[path])


@pytest.mark.parametrize("tensors", [{}, {"a": Tensor("U8", (1,), b"a"), "b": Tensor("U8", (1,), b"b")}])
def test_npy_holds_one_tensor(stillbit: Stillbit, failure: Failure, tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    source, packed = write_tensors(tmp_path / "x.safetensors", tensors), tmp_path / "packed.safetensors"
    stillbit("compress", source, "-o", packed)
    failure("decompress", packed, "-o", tmp_path / "y.npy", names=[packed])
