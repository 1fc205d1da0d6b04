"""Compressed files that were cut, changed or mixed are rejected."""

import itertools
import os
import random
import struct
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    PACKINGS,
    Failure,
    Stillbit,
    Tensor,
    info_of,
    make_array,
    make_bf16,
    make_tensor,
    read_tensors,
    write_tensors,
)


def results_of(command: str, files: list[Path]) -> list[subprocess.CompletedProcess[str]]:
    """Verifies many files, as many at once as there are processors."""

    def verify(file: Path) -> subprocess.CompletedProcess[str]:
        args: list[str | Path] = [command, "verify", file, "--threads", "1"]
        return subprocess.run(args, capture_output=True, text=True, errors="replace", check=False)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(verify, files))


def survivors(command: str, folder: Path, damaged: dict[str, bytes]) -> list[tuple[str, int, str]]:
    """Files that verify does not reject in the right way: with status 1 and a message that names them."""
    files = []
    for label, content in damaged.items():
        files.append(folder / f"{label}.safetensors")
        files[-1].write_bytes(content)
    return [
        (file.name, result.returncode, result.stderr)
        for file, result in zip(files, results_of(command, files), strict=True)
        if result.returncode != 1 or str(file) not in result.stderr
    ]


@pytest.fixture
def small(stillbit: Stillbit, tmp_path: Path) -> Callable[[str], bytes]:
    """A compressed file of a few hundred bytes with encoded rows and with raw ones."""

    def compress(packing: str) -> bytes:
        rows = np.zeros((40, 16), np.uint32)
        rows[:, :3] = make_array("<u4", (40, 3))
        tensors = {"ibp": Tensor("U32", rows.shape, rows.tobytes()), "raw": make_tensor("U8", (3,))}
        source = write_tensors(tmp_path / "small.safetensors", tensors, {"author": "me"})
        info = info_of(
            stillbit(
                *("compress", source, "-o", tmp_path / "packed.safetensors"),
                *("--codec", "ibp", "--packing", packing, "--json"),
            )
        )
        assert [tensor["codec"] for tensor in info["tensors"]] == ["ibp", "raw"]
        return (tmp_path / "packed.safetensors").read_bytes()

    return compress


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_truncation(command: str, small: Callable[[str], bytes], tmp_path: Path, packing: str) -> None:
    whole = small(packing)
    assert survivors(command, tmp_path, {str(size): whole[:size] for size in range(len(whole))}) == []


@pytest.mark.parametrize("packing", PACKINGS)
def test_flipped_bits(command: str, small: Callable[[str], bytes], tmp_path: Path, packing: str) -> None:
    whole = small(packing)
    rng = random.Random(1)
    damaged = {}
    for at in rng.sample(range(len(whole)), 300):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.randrange(8)
        damaged[str(at)] = bytes(flipped)
    assert survivors(command, tmp_path, damaged) == []


@pytest.mark.parametrize("packing", PACKINGS)
def test_appended_and_missing_bytes(command: str, small: Callable[[str], bytes], tmp_path: Path, packing: str) -> None:
    whole = small(packing)
    middle = len(whole) // 2
    damaged = {
        "one byte more": whole + b"\0",
        "twice": whole + whole,
        "byte missing": whole[:middle] + whole[middle + 1 :],
        "byte put in": whole[:middle] + b"\0" + whole[middle:],
        "zeros in the middle": whole[: -(len(whole) // 4)] + bytes(len(whole) // 4),
    }
    assert survivors(command, tmp_path, damaged) == []


def test_payload_of_another_file(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    """What the header says of a tensor must be what its payload says."""
    contents = []
    for i, shape in enumerate([(20, 30), (30, 20)]):
        array = np.random.default_rng(i).integers(0, 256, shape, np.uint8)
        source = write_tensors(tmp_path / "x.safetensors", {"weights": Tensor("U8", shape, array.tobytes())})
        stillbit("compress", source, "-o", tmp_path / f"{i}.safetensors")
        contents.append((tmp_path / f"{i}.safetensors").read_bytes())
    first, second = contents
    assert len(first) == len(second)
    data_begin = 8 + struct.unpack_from("<Q", first)[0]
    mixed = tmp_path / "mixed.safetensors"
    mixed.write_bytes(first[:data_begin] + second[data_begin:])
    assert 'tensor "weights"' in failure("verify", mixed, names=[mixed])
    assert 'tensor "weights"' in failure("decompress", mixed, "-o", tmp_path / "out.npy", names=[mixed])


def test_damaged_tensor_is_named(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    tensors = {f"layer.{i}": make_bf16((50, 64), i) for i in range(3)}
    source, packed = write_tensors(tmp_path / "x.safetensors", tensors), tmp_path / "packed.safetensors"
    for packing, name in itertools.product(PACKINGS, tensors):
        stillbit("compress", source, "-o", packed, "--packing", packing)
        payload = read_tensors(packed)[0][f"{name}.stillbit"].data
        content = bytearray(packed.read_bytes())
        content[content.index(payload) + len(payload) // 2] ^= 16
        packed.write_bytes(content)
        assert f'tensor "{name}"' in failure("verify", packed, names=[packed])
        assert f'tensor "{name}"' in failure("decompress", packed, "-o", tmp_path / "out.safetensors", names=[packed])
