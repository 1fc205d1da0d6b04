"""Rows that are rewritten and added, also while others read."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import stillbit as sb

from tables import assert_same, compress_mapped, normal, table


def test_update() -> None:
    array = normal()
    tensor = sb.compress(array)
    rows = normal((3, 16), seed=1)
    tensor.update([5, 900, 5], rows)
    array[[5, 900, 5]] = rows
    tensor.update(np.array([7], np.int32), rows[:1])
    array[7] = rows[0]
    tensor.update(8, rows[1])
    array[8] = rows[1]
    assert_same(tensor.numpy(), array)
    tensor.compact()
    tensor.verify()
    assert_same(tensor.numpy(), array)


@pytest.mark.parametrize("shape", [(10, 16), (0, 16), (4, 3, 5)], ids=str)
def test_append(shape: tuple[int, ...]) -> None:
    array, more = table(shape), table((7, *shape[1:]), seed=1)
    tensor = sb.compress(array)
    tensor.append(more[:3])
    tensor.append(more[3:])
    assert_same(tensor.numpy(), np.concatenate([array, more]))
    assert tensor.shape == (shape[0] + 7, *shape[1:]) and len(tensor) == shape[0] + 7
    assert_same(tensor[-1], more[-1])


def test_rows_that_do_not_fit() -> None:
    tensor = sb.compress(normal())
    for rows, message in [
        (normal((2, 15)), "rows have shape"),
        (normal((3, 16)), "rows have shape"),
        (normal((2, 16)).astype(np.float64), "rows have dtype float64"),
        ([1.0], "rows is a list"),
    ]:
        with pytest.raises(sb.InvalidArgumentError, match=message):
            tensor.update([0, 1], rows)
    with pytest.raises(sb.InvalidArgumentError, match=r"rows have shape \(16,\), not \(n, 16\)"):
        tensor.append(normal((16,)))
    with pytest.raises(sb.OutOfRangeError, match="-1"):
        tensor.update([-1], normal((1, 16)))


def test_tensors_that_cannot_change(tmp_path: Path) -> None:
    for tensor, message in [
        (sb.compress(normal(), packing="packed"), "packed"),
        (compress_mapped(normal(), tmp_path / "t.safetensors"), "mmap"),
    ]:
        for change in [lambda t: t.update([0], normal((1, 16))), lambda t: t.append(normal((1, 16)))]:
            with pytest.raises(sb.InvalidArgumentError, match=message):
                change(tensor)


def test_readers_beside_a_writer() -> None:
    array = normal((2000, 64))
    tensor = sb.compress(array)
    stop = threading.Event()
    faults: list[str] = []

    def read() -> None:
        index = np.arange(0, 2000, 7)
        while not stop.is_set():
            if not np.array_equal(tensor.gather(index), array[index]):
                faults.append("a row changed")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for i in range(200):
        tensor.append(normal((20, 64), seed=i))
        tensor.update(np.arange(2000), array)
    stop.set()
    for reader in readers:
        reader.join()
    assert not faults
    assert len(tensor) == 6000
