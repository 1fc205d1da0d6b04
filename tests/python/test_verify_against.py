"""verify --against: any difference from the original is found and named."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from helpers import PACKINGS, Failure, Stillbit, Tensor, make_array, make_tensor, save_npy, write_tensors


def changed(array: np.ndarray, element: int) -> np.ndarray:
    copy = array.copy()
    copy.reshape(-1).view(np.uint8)[element * array.itemsize] ^= 1
    return copy


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("element", [0, 1, 37, 2999])
def test_against_other_values(stillbit: Stillbit, failure: Failure, tmp_path: Path, packing: str, element: int) -> None:
    array, packed = make_array("<f4", (100, 30)), tmp_path / "packed.safetensors"
    stillbit("compress", save_npy(tmp_path / "weights.npy", array), "-o", packed, "--packing", packing)
    other = save_npy(tmp_path / "other.npy", changed(array, element))
    message = failure("verify", packed, "--against", other, names=[packed])
    assert 'tensor "weights"' in message
    assert message.rstrip().endswith(f"element {element}")


def test_against_names_the_first_difference(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    """Also where threads find later ones first."""
    array, packed = make_array("<f4", (20000, 256)), tmp_path / "packed.safetensors"
    stillbit("compress", save_npy(tmp_path / "x.npy", array), "-o", packed)
    other = array.copy()
    other.reshape(-1)[[1000, 2_000_000, 5_000_000]] = 99
    message = failure("verify", packed, "--against", save_npy(tmp_path / "other.npy", other))
    assert message.rstrip().endswith("element 1000")


def test_against_another_zero(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    packed = tmp_path / "packed.safetensors"
    stillbit("compress", save_npy(tmp_path / "x.npy", np.zeros((3, 4), np.float32)), "-o", packed)
    failure("verify", packed, "--against", save_npy(tmp_path / "other.npy", -np.zeros((3, 4), np.float32)))


def test_against_itself_with_nan(stillbit: Stillbit, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", np.full((3, 4), np.nan, np.float32))
    stillbit("compress", source, "-o", tmp_path / "packed.safetensors")
    stillbit("verify", tmp_path / "packed.safetensors", "--against", source)


@pytest.mark.parametrize(
    "other",
    [
        make_array("<f4", (30, 100)),
        make_array("<f4", (3000,)),
        make_array("<f4", (99, 30)),
        make_array("<i4", (100, 30)),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_against_another_shape_or_dtype(
    stillbit: Stillbit, failure: Failure, tmp_path: Path, other: np.ndarray
) -> None:
    packed = tmp_path / "packed.safetensors"
    stillbit("compress", save_npy(tmp_path / "weights.npy", make_array("<f4", (100, 30))), "-o", packed)
    message = failure("verify", packed, "--against", save_npy(tmp_path / "other.npy", other), names=[packed])
    assert 'tensor "weights"' in message


@pytest.mark.parametrize("case", ["value", "name", "one more", "one less", "dtype", "shape", "swapped"])
def test_against_another_model(stillbit: Stillbit, failure: Failure, tmp_path: Path, case: str) -> None:
    a, b = make_tensor("U16", (5, 8), 1), make_tensor("U16", (5, 8), 2)
    other_b = Tensor("U16", b.shape, b.data[:20] + bytes([b.data[20] ^ 128]) + b.data[21:])
    others = {
        "value": {"a": a, "b": other_b},
        "name": {"a": a, "c": b},
        "one more": {"a": a, "b": b, "c": b},
        "one less": {"a": a},
        "dtype": {"a": a, "b": Tensor("I16", b.shape, b.data)},
        "shape": {"a": a, "b": Tensor("U16", (8, 5), b.data)},
        "swapped": {"a": b, "b": a},
    }
    packed = tmp_path / "packed.safetensors"
    stillbit("compress", write_tensors(tmp_path / "x.safetensors", {"a": a, "b": b}), "-o", packed)
    stillbit("verify", packed, "--against", write_tensors(tmp_path / "same.safetensors", {"b": b, "a": a}))
    other = write_tensors(tmp_path / "other.safetensors", others[case])
    message = failure("verify", packed, "--against", other, names=[packed])
    if case in ("value", "name", "dtype", "shape"):
        assert 'tensor "b"' in message
    if case == "value":
        assert message.rstrip().endswith("element 10")


def test_against_npy_of_one_tensor(stillbit: Stillbit, tmp_path: Path) -> None:
    """A .npy file has no name for its tensor."""
    array = make_array("<f4", (20, 30))
    safetensors.numpy.save_file({"model.weight": array}, tmp_path / "x.safetensors")
    stillbit("compress", tmp_path / "x.safetensors", "-o", tmp_path / "packed.safetensors")
    stillbit("verify", tmp_path / "packed.safetensors", "--against", save_npy(tmp_path / "other.npy", array))


@pytest.mark.parametrize("name", ["missing.npy", "folder.npy", "bad.npy", "bad.safetensors"])
def test_against_a_file_that_cannot_be_read(stillbit: Stillbit, failure: Failure, tmp_path: Path, name: str) -> None:
    packed = tmp_path / "packed.safetensors"
    stillbit("compress", save_npy(tmp_path / "x.npy", make_array("<f4", (3, 4))), "-o", packed)
    if name.startswith("folder"):
        (tmp_path / name).mkdir()
    elif name.startswith("bad"):
        (tmp_path / name).write_bytes(b"bad")
    failure("verify", packed, "--against", tmp_path / name, names=[tmp_path / name])
