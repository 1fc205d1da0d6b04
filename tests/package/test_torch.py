"""Tensors of torch: in, out, and as operators in compiled programs."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import stillbit as sb

from tables import normal

torch = pytest.importorskip("torch")
import stillbit.torch as sbt  # noqa: E402

DTYPES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64",
    "uint16", "uint32", "uint64",
    "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float8_e4m3fnuz", "float8_e5m2fnuz",
]  # fmt: skip


def tensor_of(name: str = "float32", shape: tuple[int, ...] = (500, 24), seed: int = 0) -> torch.Tensor:
    if not hasattr(torch, name):
        pytest.skip(f"this torch has no {name}")
    generator = torch.Generator().manual_seed(seed)
    if name == "bool":
        return torch.randint(2, shape, generator=generator).bool()
    dtype = getattr(torch, name)
    width = torch.empty(0, dtype=dtype).element_size()
    return torch.randint(256, (*shape[:-1], shape[-1] * width), generator=generator).to(torch.uint8).view(dtype)


def assert_same(found: object, wanted: torch.Tensor) -> None:
    assert isinstance(found, torch.Tensor)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert torch.equal(found.view(torch.uint8), wanted.contiguous().view(torch.uint8))


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype(name: str) -> None:
    tensor = tensor_of(name)
    compressed = sb.compress(tensor)
    assert (compressed.dtype, compressed.like) == (tensor.dtype, "torch")
    assert_same(compressed.decompress(), tensor)
    rows = torch.tensor([499, 0, 0, 7])
    wanted = torch.stack([tensor[row] for row in rows.tolist()])  # indexing is not there for all dtypes
    assert_same(compressed.gather(rows), wanted)
    assert_same(compressed.gather(rows.int(), torch.empty_like(wanted)), wanted)


def test_kinds_of_results() -> None:
    array = normal()
    tensor = torch.from_numpy(array)
    for compressed, kind in [(sb.compress(array), np.ndarray), (sb.compress(tensor), torch.Tensor)]:
        for result in [compressed.gather([1]), compressed[1:3], compressed.decompress(), compressed[torch.tensor([1])]]:
            assert isinstance(result, kind)
        assert_same(compressed.torch(), tensor)
        assert compressed.numpy().tobytes() == array.tobytes()
        assert_same(compressed.gather([1], like="torch"), tensor[[1]])
        assert compressed.gather(torch.tensor([1]), np.empty((1, 16), np.float32)).tobytes() == array[1].tobytes()
        assert_same(compressed.gather(np.array([1]), torch.empty(1, 16)), tensor[[1]])


@pytest.mark.parametrize(
    "key", [0, -1, slice(3, 50, 7), [1, -2], torch.tensor([[3], [-500]]), torch.arange(500) % 3 == 0, torch.tensor(4)]
)
def test_brackets(key: object) -> None:
    tensor = tensor_of("bfloat16")
    assert_same(sb.compress(tensor)[key], tensor[key])


def test_tensors_that_lie_oddly() -> None:
    tensor = torch.randn(60, 50, dtype=torch.complex64)
    for view in [tensor.T, tensor[::2, ::3], tensor[:1].expand(9, 50), tensor.conj(), tensor.conj().imag]:
        assert_same(sb.compress(view).decompress(), view.resolve_conj().resolve_neg())
    parameter = torch.nn.Parameter(torch.randn(5, 5))
    assert_same(sb.compress(parameter).decompress(), parameter.detach())


def test_as_dtype() -> None:
    tensor = tensor_of("bfloat16")
    for as_dtype in ["bf16", torch.bfloat16]:
        assert_same(sb.compress(tensor.view(torch.int16), as_dtype=as_dtype).decompress(), tensor)


def test_changes_and_files(tmp_path: Path) -> None:
    tensor, rows = tensor_of("bfloat16"), tensor_of("bfloat16", (2, 24), seed=1)
    compressed = sb.compress(tensor)
    compressed.update(torch.tensor([3, 9], dtype=torch.int32), rows)
    compressed.append(rows)
    wanted = torch.cat([tensor, rows])
    wanted[[3, 9]] = rows
    assert_same(compressed.decompress(), wanted)
    sb.save_file({"x": compressed}, tmp_path / "t.safetensors")
    assert_same(sb.load_file(tmp_path / "t.safetensors", like="torch")["x"].decompress(), wanted)
    assert_same(pickle.loads(pickle.dumps(compressed)).decompress(), wanted)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (lambda: torch.empty(2, 16, dtype=torch.float64), "out has dtype torch.float64, the rows have torch.float32"),
        (lambda: torch.empty(3, 16), r"out has shape \(3, 16\), the result has \(2, 16\)"),
        (lambda: torch.empty(16, 2).T, "out is not contiguous"),
        (lambda: torch.empty(2, 16, requires_grad=True), "out requires a gradient"),
        (lambda: torch.empty(2, 16).to_sparse(), "out has the layout"),
        (lambda: torch.empty(2, 16, device="meta"), "out is on the device meta"),
    ],
)
def test_out_that_cannot_be_written(out: object, message: str) -> None:
    with pytest.raises(sb.Error, match=message):
        sb.compress(normal()).gather([1, 2], out())  # type: ignore[operator]


def test_what_is_not_supported() -> None:
    table = sb.compress(normal())
    for index in [torch.tensor([0.5]), torch.tensor([True]), torch.tensor([1], dtype=torch.uint64)]:
        with pytest.raises(sb.InvalidArgumentError, match="the index has dtype"):
            table.gather(index)
    with pytest.raises(sb.OutOfRangeError, match="-1"):
        table.gather(torch.tensor([-1]))
    for tensor in [
        torch.empty(3, device="meta"),
        torch.zeros(3, 3).to_sparse(),
        torch.zeros(3, dtype=torch.complex128),
    ]:
        with pytest.raises(sb.UnsupportedError):
            sb.compress(tensor)


def test_writing_is_seen_by_autograd() -> None:
    out = torch.zeros(2, 16)
    loss = (out * torch.ones(2, 16, requires_grad=True)).sum()
    sb.compress(normal()).gather([0, 1], out)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


TABLE = sb.compress(torch.from_numpy(normal()))


class Rows(torch.utils.data.Dataset):  # type: ignore[misc]
    def __len__(self) -> int:
        return len(TABLE)

    def __getitem__(self, i: int) -> torch.Tensor:
        return TABLE[i]


class Chunks(torch.utils.data.IterableDataset):  # type: ignore[misc]
    """A tensor that travels to workers with the data set."""

    def __init__(self, table: sb.CompressedTensor) -> None:
        self.table = table

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from self.table


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader(tmp_path: Path, method: str) -> None:
    wanted = TABLE.decompress()
    sb.save_file({"x": TABLE}, tmp_path / "t.safetensors")
    mapped = sb.load_file(tmp_path / "t.safetensors", like="torch")["x"]
    loader = torch.utils.data.DataLoader(Chunks(mapped), 100, num_workers=1, multiprocessing_context=method)
    assert torch.equal(torch.cat(list(loader)), wanted)
    if method == "fork":
        loader = torch.utils.data.DataLoader(Rows(), 100, num_workers=2, multiprocessing_context=method)
        assert torch.equal(torch.cat(list(loader)), wanted)


# The backend inductor would compile C++, which takes long; what it is given is what aot_eager is given.
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_program_without_a_graph_break(backend: str) -> None:
    tensor = torch.randn(300, 8)
    table = sb.compress(tensor, row_dims=1)

    @torch.compile(fullgraph=True, backend=backend)
    def double(index: torch.Tensor) -> torch.Tensor:
        return sbt.gather(table, index) * 2

    @torch.compile(fullgraph=True, backend=backend)
    def double_into(index: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        return sbt.gather(table, index, out) * 2

    for index in [torch.tensor([5, 299]), torch.arange(100), torch.tensor([[1], [2]])]:
        out = torch.empty(*index.shape, 8)
        assert torch.equal(double(index), tensor[index] * 2)
        assert torch.equal(double_into(index, out), tensor[index] * 2)
        assert torch.equal(out, tensor[index])


def test_compiled_program_on_several_tables() -> None:
    @torch.compile(fullgraph=True, backend="aot_eager")
    def double(table: sb.CompressedTensor, index: torch.Tensor) -> torch.Tensor:
        return sbt.gather(table, index) * 2

    for columns in [8, 9, 10]:
        tensor = torch.randn(300, columns)
        assert torch.equal(double(sb.compress(tensor), torch.tensor([3, 4])), tensor[[3, 4]] * 2)


def test_operators_keep_the_rules() -> None:
    index, out = torch.tensor([[5], [9]]), torch.empty(2, 1, 16)
    torch.library.opcheck(torch.ops.stillbit.gather.default, (TABLE._number, index))
    torch.library.opcheck(torch.ops.stillbit.gather_out.default, (TABLE._number, index, out))


def test_gathers_are_not_differentiable() -> None:
    weight = torch.randn(16, requires_grad=True)
    rows = sbt.gather(TABLE, torch.tensor([1, 2]))
    assert not rows.requires_grad
    (rows * weight).sum().backward()
    assert weight.grad is not None
    with pytest.raises(sb.InvalidArgumentError, match="not differentiable"):
        sbt.gather(TABLE, torch.tensor([1]), torch.empty(1, 16, requires_grad=True))


def test_tables_that_are_gone() -> None:
    with pytest.raises(sb.InvalidArgumentError, match="keep it alive"):
        torch.ops.stillbit.gather(2**40, torch.tensor([1]))


def test_results_are_on_the_cpu_whatever_the_default_device_is(tmp_path: Path) -> None:
    array = torch.arange(60.0).view(6, 10)
    tensor = sb.compress(array)
    sb.save_file({"x": tensor}, tmp_path / "x.safetensors")
    with torch.device("meta"):
        found = [tensor.torch(), sb.load_arrays(tmp_path / "x.safetensors", like="torch")["x"]]
        rows = tensor.gather([2])
    assert all(torch.equal(each, array) for each in found)
    assert torch.equal(rows, array[2:3])
