"""Where output files go: links, permissions, odd names, and places that cannot be written."""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import Failure, Stillbit, assert_same, make_array, round_trip, save_npy

# Written


@pytest.mark.parametrize("make_link", [os.symlink, os.link])
def test_output_is_a_link(stillbit: Stillbit, tmp_path: Path, make_link: Callable[[Path, Path], None]) -> None:
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30)))
    target, link = tmp_path / "target.safetensors", tmp_path / "link.safetensors"
    target.write_bytes(b"old")
    make_link(target, link)
    stillbit("compress", source, "-o", link)
    stillbit("verify", link, "--against", source)
    if make_link is os.symlink:
        assert link.is_symlink()
        stillbit("verify", target, "--against", source)
    else:
        assert target.read_bytes() == b"old"


def test_output_is_a_link_to_nothing(stillbit: Stillbit, tmp_path: Path) -> None:
    """Written through, as every tool that opens its output does."""
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30)))
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "target.safetensors")
    stillbit("compress", source, "-o", tmp_path / "link.safetensors")
    assert (tmp_path / "link.safetensors").is_symlink()
    stillbit("verify", tmp_path / "target.safetensors", "--against", source)


def test_replaced_file_keeps_its_permissions(stillbit: Stillbit, tmp_path: Path) -> None:
    source, output = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30))), tmp_path / "y.safetensors"
    output.write_bytes(b"old")
    output.chmod(0o640)
    stillbit("compress", source, "-o", output)
    assert stat.S_IMODE(output.stat().st_mode) == 0o640


def test_new_file_has_the_permissions_of_new_files(stillbit: Stillbit, tmp_path: Path) -> None:
    source, output = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30))), tmp_path / "y.safetensors"
    stillbit("compress", source, "-o", output)
    assert output.stat().st_mode == source.stat().st_mode


def test_longest_file_name(stillbit: Stillbit, tmp_path: Path) -> None:
    """The temporary name beside the output must not need more letters than the file system has."""
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30)))
    output = tmp_path / ("n" * (255 - len(".safetensors")) + ".safetensors")
    stillbit("compress", source, "-o", output)
    stillbit("verify", output, "--against", source)


def test_file_names_with_odd_letters(stillbit: Stillbit, tmp_path: Path) -> None:
    folder = tmp_path / "a folder\nof 重み"
    folder.mkdir()
    array = make_array("<f4", (10, 30))
    assert_same(round_trip(stillbit, save_npy(folder / 'it\'s "x" 重み.npy', array))[0], array)


def test_relative_file_names(command: str, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30)))
    for args in (["compress", "x.npy", "-o", "y.safetensors"], ["decompress", "./y.safetensors", "-o", "z.npy"]):
        subprocess.run([command, *args], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert_same(np.load(tmp_path / "z.npy"), np.load(source))


def test_output_without_a_stem(stillbit: Stillbit, tmp_path: Path) -> None:
    """A file that is called `.safetensors`: written, or refused by name."""
    source = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30)))
    stillbit("compress", source, "-o", tmp_path / "packed.safetensors")
    result = stillbit("decompress", tmp_path / "packed.safetensors", "-o", tmp_path / ".safetensors", check=False)
    assert result.returncode == 0 or str(tmp_path / ".safetensors") in result.stderr


# Refused with status 1


@pytest.mark.parametrize("command_name", ["compress", "decompress"])
@pytest.mark.parametrize(
    "kind", ["no folder", "folder is a file", "a directory", "a directory with a file", "a pipe", "a link to itself"]
)
def test_output_that_cannot_be_written(
    stillbit: Stillbit, failure: Failure, tmp_path: Path, command_name: str, kind: str
) -> None:
    source, packed = save_npy(tmp_path / "x.npy", make_array("<f4", (10, 30))), tmp_path / "packed.safetensors"
    stillbit("compress", source, "-o", packed)
    output = tmp_path / "out.safetensors"
    if kind == "no folder":
        output = tmp_path / "none" / "out.safetensors"
    elif kind == "folder is a file":
        output = source / "out.safetensors"
    elif kind.startswith("a directory"):
        output.mkdir()
        if kind == "a directory with a file":
            (output / "kept").write_bytes(b"kept")
    elif kind == "a pipe":
        os.mkfifo(output)
    else:
        output.symlink_to(output)
    failure(command_name, source if command_name == "compress" else packed, "-o", output, names=[output])


def test_failure_leaves_the_old_output(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    """The fixture compares the folder before and after: here it holds an output to keep."""
    source, packed = save_npy(tmp_path / "x.npy", make_array("<f4", (100, 30))), tmp_path / "packed.safetensors"
    stillbit("compress", source, "-o", packed)
    (tmp_path / "old.safetensors").write_bytes(b"old")
    (tmp_path / "old.npy").write_bytes(b"old")
    content = bytearray(packed.read_bytes())
    content[-100] ^= 1
    packed.write_bytes(content)
    message = failure("decompress", packed, "-o", tmp_path / "old.npy", names=[packed])
    assert 'tensor "x"' in message
    failure("decompress", packed, "-o", tmp_path / "old.safetensors", names=[packed])
    failure("compress", tmp_path / "missing.npy", "-o", tmp_path / "old.safetensors")
