"""What was compressed comes back, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import stillbit as sb

from tables import DTYPES, SHAPES, assert_same, normal, table


@pytest.mark.parametrize("packing", ["slotted", "packed"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype: str, packing: str) -> None:
    array = table(dtype=dtype)
    tensor = sb.compress(array, packing=packing)
    assert (tensor.dtype, tensor.packing) == (array.dtype, packing)
    assert_same(tensor.decompress(), array)
    assert_same(tensor.gather([999, 0, 0, 5]), array[[999, 0, 0, 5]])
    tensor.verify()


@pytest.mark.parametrize("row_dims", [0, 1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape(shape: tuple[int, ...], row_dims: int) -> None:
    array = table(shape, "i4")
    if 0 < len(shape) < row_dims:
        with pytest.raises(sb.InvalidArgumentError, match="row_dims"):
            sb.compress(array, row_dims=row_dims)
        return
    tensor = sb.compress(array, row_dims=row_dims)
    row_dims = min(row_dims, len(shape))
    outer, row_shape = shape[: len(shape) - row_dims], shape[len(shape) - row_dims :]
    assert (tensor.shape, tensor.ndim, tensor.row_dims, tensor.row_shape) == (shape, len(shape), row_dims, row_shape)
    assert tensor.num_rows == int(np.prod(outer, dtype=int))
    assert tensor.raw_nbytes == array.nbytes
    assert_same(tensor.numpy(), array)
    rows = np.arange(tensor.num_rows)[::-1]
    assert_same(tensor.gather(rows), array.reshape(tensor.num_rows, *row_shape)[rows])


@pytest.mark.parametrize("codec", ["raw", "ibp", "window", "escape", "sparse", "dictionary", "rans", "auto"])
def test_every_codec(codec: str) -> None:
    array = np.where(np.random.default_rng(1).random((500, 64)) < 0.1, np.float32(1.5), np.float32(0))
    tensor = sb.compress(array, codec=codec)
    assert codec in (tensor.codec, "auto")
    assert_same(tensor.numpy(), array)


@pytest.mark.parametrize("objective", ["storage", "transfer", "speed", "smallest"])
def test_every_objective(objective: str) -> None:
    assert_same(sb.compress(normal(), objective=objective).numpy(), normal())


def test_every_pattern_of_16_bits() -> None:
    array = np.random.default_rng(0).permutation(65536).astype(np.uint16).reshape(256, 256)
    for codec in ["escape", "window", "auto"]:
        assert_same(sb.compress(array.view(np.float16), codec=codec).numpy(), array.view(np.float16))


def test_arrays_that_lie_oddly() -> None:
    array = table((60, 50), "f8")
    unaligned = np.frombuffer(b"x" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)
    for view in [array.T, array[::-2, ::3], np.asfortranarray(array), np.broadcast_to(array[:1], (9, 50)), unaligned]:
        assert_same(sb.compress(view).numpy(), view.copy())


@pytest.mark.parametrize("num_threads", [1, 2])
def test_threads(num_threads: int) -> None:
    array = table((20000, 64))
    tensor = sb.compress(array, num_threads=num_threads)
    rows = np.random.default_rng(0).integers(0, len(array), 30000)
    assert_same(tensor.decompress(num_threads=num_threads), array)
    assert_same(tensor.gather(rows, num_threads=num_threads), array[rows])


def test_as_dtype_with_integers_in_place_of_bf16() -> None:
    bits = (normal().view(np.uint32) >> 16).astype(np.uint16)
    for name in ["bf16", "BF16", "bfloat16"]:
        tensor = sb.compress(bits, as_dtype=name)
        assert tensor.dtype_name == "BF16"
        out = np.empty_like(bits)
        assert_same(tensor.decompress(out), bits)
        assert tensor.decompress().tobytes() == bits.tobytes()


@pytest.mark.parametrize(
    "name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float8_e4m3fnuz", "float8_e5m2fnuz"]
)
def test_types_of_ml_dtypes(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, name))
    array = table((300, 32), f"u{dtype.itemsize}").view(dtype)
    tensor = sb.compress(array)
    assert tensor.dtype == dtype
    assert_same(tensor.numpy(), array)
    assert_same(tensor.gather([5, 1], np.empty((2, 32), dtype)), array[[5, 1]])


def test_figures() -> None:
    array = np.zeros((10000, 64), np.float32)
    tensor = sb.compress(array)
    assert tensor.nbytes < tensor.raw_nbytes == array.nbytes
    assert tensor.ratio == tensor.raw_nbytes / tensor.nbytes
    assert tensor.transfer_ratio > 1
    assert tensor.codec in tensor.prices
    assert min(tensor.prices.values()) <= tensor.nbytes
    assert len(tensor) == 10000
    assert "(10000, 64)" in repr(tensor) and "F32" in repr(tensor)
    assert_same(np.asarray(tensor), array)
