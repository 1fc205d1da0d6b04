"""Rows by number, into new memory and given memory, and by what stands in brackets."""

from __future__ import annotations

import numpy as np
import pytest
import stillbit as sb

from tables import assert_same, normal, table

ARRAY = table((100, 8))
TENSOR = sb.compress(ARRAY)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4"])
def test_index_of_any_integer_type(dtype: str) -> None:
    index = np.array([99, 0, 0, 7], dtype)
    assert_same(TENSOR.gather(index), ARRAY[index])
    assert_same(TENSOR[index], ARRAY[index])


def test_index_of_any_shape() -> None:
    for index in [
        7,
        [1, 2],
        [],
        [[1, 2], [3, 4]],
        range(5),
        np.arange(100)[::-3],
        np.zeros((2, 0, 3), int),
        np.int8(3),
    ]:
        assert_same(TENSOR.gather(index), ARRAY[np.asarray(index, int)])


@pytest.mark.parametrize(
    "key",
    [0, -1, np.int32(5), slice(None), slice(10, 2, -3), slice(-3, None), slice(5, 5), [1, -2], [], [[0], [-1]],
     np.array([-100, 99]), np.array(3), np.arange(100) % 3 == 0, np.zeros(100, bool)],
    ids=str,
)  # fmt: skip
def test_brackets(key: object) -> None:
    assert_same(TENSOR[key], np.asarray(ARRAY[key]))


@pytest.mark.parametrize("row_dims", [0, 1, 2])
@pytest.mark.parametrize("key", [1, -1, slice(1, None), [0, -1], [[0], [1]], np.array([True, False])], ids=str)
def test_brackets_along_the_first_of_several_dimensions(key: object, row_dims: int) -> None:
    array = table((2, 3, 4))
    assert_same(sb.compress(array, row_dims=row_dims)[key], np.asarray(array[key]))


@pytest.mark.parametrize("key", [100, -101, [0, 100], np.array([-101])], ids=str)
def test_brackets_out_of_range(key: object) -> None:
    with pytest.raises(IndexError, match=r"index (100|-101) is out of range"):
        TENSOR[key]


@pytest.mark.parametrize("key", [None, 1.5, [1.5], "x", ..., (1, 2), True, np.ones(99, bool), np.ones((100, 8), bool)])
def test_brackets_of_something_else(key: object) -> None:
    with pytest.raises(sb.InvalidArgumentError, match="index|mask"):
        TENSOR[key]


def test_one_row_is_not_read_in_parts() -> None:
    with pytest.raises(sb.InvalidArgumentError, match="row_dims=0"):
        sb.compress(ARRAY.reshape(-1))[0]


def test_iteration_ends() -> None:
    assert_same(np.stack(list(TENSOR)), ARRAY)


def test_out() -> None:
    out = np.empty((2, 8), np.float32)
    assert TENSOR.gather([3, 1], out) is out
    assert_same(out, ARRAY[[3, 1]])
    whole = np.empty_like(ARRAY)
    assert TENSOR.decompress(whole) is whole
    assert_same(whole, ARRAY)


def read_only() -> np.ndarray:
    array = np.empty((2, 8), np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty((2, 8), np.float64), "out has dtype float64, the rows have float32"),
        (np.empty((2, 8), np.uint32), "out has dtype uint32"),
        (np.empty((3, 8), np.float32), r"out has shape \(3, 8\), the result has \(2, 8\)"),
        (np.empty(16, np.float32), r"out has shape"),
        (np.empty((8, 2), np.float32).T, "out is not contiguous"),
        (np.empty((2, 16), np.float32)[:, ::2], "out is not contiguous"),
        (read_only(), "out is read-only"),
        ([0.0] * 16, "out is a list"),
    ],
)
def test_out_that_cannot_be_written(out: object, message: str) -> None:
    with pytest.raises(sb.InvalidArgumentError, match=message):
        TENSOR.gather([3, 1], out)


@pytest.mark.parametrize("index", [[-1], [0, 100], np.array([2**40]), np.array([-(2**31)], np.int32)])
def test_rows_that_do_not_exist(index: object) -> None:
    out = np.full((len(index), 8), 7, np.float32)  # type: ignore[arg-type]
    with pytest.raises(sb.OutOfRangeError, match=str(np.asarray(index)[-1])):
        TENSOR.gather(index, out)
    assert (out == 7).all()


@pytest.mark.parametrize("index", [[0.5], [True], "x", np.ones(100, bool), np.array([2**63], np.uint64), (1, 2)])
def test_index_of_something_else(index: object) -> None:
    with pytest.raises(sb.InvalidArgumentError, match="index"):
        TENSOR.gather(index)


def test_other_arguments() -> None:
    for num_threads in [-1, 1.5, "2"]:
        with pytest.raises(sb.InvalidArgumentError, match="num_threads"):
            TENSOR.gather([0], num_threads=num_threads)  # type: ignore[arg-type]
    with pytest.raises(sb.InvalidArgumentError, match="like"):
        TENSOR.gather([0], like="jax")


def test_compress_says_what_is_wrong() -> None:
    array = normal()
    for options, message in [
        ({"codec": "zip"}, 'unknown codec "zip": it is one of auto, raw, ibp'),
        ({"codec": 3}, "codec is a word, not 3"),
        ({"packing": "loose"}, 'unknown packing "loose"'),
        ({"objective": "fame"}, 'unknown objective "fame"'),
        ({"row_dims": 3}, "row_dims 3"),
        ({"row_dims": -1}, "row_dims"),
        ({"row_dims": 2**40}, "row_dims"),
        ({"as_dtype": "f7"}, 'unknown dtype "f7"'),
        ({"as_dtype": "bf16"}, "as_dtype BF16 has 2 bytes"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            sb.compress(array, **options)
        assert isinstance(caught.value, sb.Error)
    with pytest.raises(sb.InvalidArgumentError, match="x is a list"):
        sb.compress([1.0, 2.0])
    for unsupported in [np.zeros(3, "U4"), np.zeros(3, "c16"), np.zeros(3, ">f4"), np.ma.masked_array([1.0], [True])]:
        with pytest.raises(NotImplementedError):
            sb.compress(unsupported)
