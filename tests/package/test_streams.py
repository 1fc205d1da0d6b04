"""Tensors that are larger than memory: mapped, or in chunks that are walked twice."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import stillbit as sb

from tables import DTYPES, assert_same, normal, table

FILE = "t.safetensors"


class Chunks:
    """An iterable that starts again."""

    def __init__(self, array: np.ndarray, length: int) -> None:
        self.array, self.length, self.walks = array, length, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        self.walks += 1
        for begin in range(0, len(self.array), self.length):
            yield self.array[begin : begin + self.length]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("packing", ["packed", "slotted"])
def test_chunks_are_the_tensor(tmp_path: Path, dtype: str, packing: str) -> None:
    for shape in [(700, 33), (50, 3, 4), (3, 40_000), (4000, 1)]:
        array = table(shape, dtype)
        source = Chunks(array, 97)
        info = sb.compress_to_file({"x": source}, tmp_path / FILE, {"by": "me"}, packing=packing)
        assert source.walks in (2, 3)  # once more where it did not become smaller
        assert info.metadata == {"by": "me"} and info.tensors[0].packing == packing
        sb.verify_file(tmp_path / FILE)
        assert_same(sb.load_file(tmp_path / FILE)["x"].numpy(), array)


def test_row_dims_of_chunks(tmp_path: Path) -> None:
    array = table((60, 5, 7))
    for row_dims in range(3):
        sb.compress_to_file({"x": [array[:7], array[7:]]}, tmp_path / FILE, row_dims=row_dims)
        tensor = sb.load_file(tmp_path / FILE)["x"]
        assert tensor.row_shape == array.shape[3 - row_dims :]
        assert_same(tensor.numpy(), array)
    with pytest.raises(sb.InvalidArgumentError, match="row_dims"):
        sb.compress_to_file({"x": [array]}, tmp_path / FILE, row_dims=3)


def test_every_kind_of_source(tmp_path: Path) -> None:
    array = normal((3000, 16))
    np.save(tmp_path / "x.npy", array)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    copied = np.load(tmp_path / "x.npy", mmap_mode="c")
    copied[0] = 3  # in private memory: it must not be given back
    arrays = {"array": array, "mapped": mapped, "copied": copied, "view": mapped[100:900], "tied": mapped}
    sb.compress_to_file(arrays, tmp_path / FILE)
    assert sb.inspect_file(tmp_path / FILE).stored_bytes < 3.5 * array.nbytes  # tied ones are stored once
    for name, tensor in sb.load_file(tmp_path / FILE).items():
        assert_same(tensor.numpy(), np.asarray(arrays[name]))
    sources = {
        **arrays,
        "backwards": mapped[::-1],
        "fortran": np.asfortranarray(array),
        "list": [array[:10], array[10:]],
        "function": lambda: (array[i : i + 1000] for i in range(0, 3000, 1000)),
        "whole": lambda: array,
        "no rows": array[:0],
    }
    sb.compress_to_file(sources, tmp_path / FILE)
    loaded = sb.load_file(tmp_path / FILE)
    assert list(loaded) == list(sources)
    for name, tensor in loaded.items():
        wanted = {**arrays, "backwards": array[::-1], "no rows": array[:0]}.get(name, array)
        assert_same(tensor.numpy(), np.ascontiguousarray(wanted))
    assert copied[0, 0] == 3


def test_a_plan_for_chunks(tmp_path: Path) -> None:
    array = normal((3000, 16))
    plan = sb.plan(array[:100], codec="window", packing="packed", num_rows=3000)
    for source in (array, [array]):
        info = sb.compress_to_file({"x": source}, tmp_path / FILE, plan=plan)
        assert info.tensors[0].codec == "window"
        assert_same(sb.load_file(tmp_path / FILE)["x"].numpy(), array)
    with pytest.raises(sb.InvalidArgumentError, match="plan"):
        sb.compress_to_file({"x": [array[:, :3]]}, tmp_path / FILE, plan=plan)
    with pytest.raises(sb.InvalidArgumentError, match="plan"):
        sb.compress_to_file({"x": [array]}, tmp_path / FILE, plan=plan, codec="ibp")


def test_bf16_and_torch(tmp_path: Path) -> None:
    bits = table((300, 16), "u2")
    sb.compress_to_file({"x": [bits[:7], bits[7:]]}, tmp_path / FILE, as_dtype="bf16")
    assert sb.inspect_file(tmp_path / FILE).tensors[0].dtype == "BF16"
    torch = pytest.importorskip("torch")
    rows = torch.randn(500, 8).bfloat16()
    sb.compress_to_file({"x": lambda: rows.split(64), "t": rows.t()}, tmp_path / FILE)
    loaded = sb.load_file(tmp_path / FILE, like="torch")
    assert torch.equal(loaded["x"].torch(), rows) and torch.equal(loaded["t"].torch(), rows.t())


def test_what_is_no_source(tmp_path: Path) -> None:
    array = normal()
    for source, said in [
        (iter([array]), "walked twice"),
        ((chunk for chunk in [array]), "walked twice"),
        (3, "int"),
        ("file.npy", "str"),
        (lambda: 3, "int"),
        ([], "no chunk"),
        ([3], "chunk 0 of 'x' is a int"),
        ([array, array.astype(np.float64)], "chunk 1 of 'x' has F64"),
        ([array, array[:, :3]], r"chunk 1 of 'x'.*\(3,\)"),
        ([np.array(3.0)], "no dimensions"),
        ([array[:, :0]], "no bytes"),
        ([array.astype(">f4")], "big-endian"),
    ]:
        with pytest.raises(sb.Error, match=said) as caught:
            sb.compress_to_file({"x": source}, tmp_path / FILE)
        assert isinstance(caught.value, (ValueError, NotImplementedError))
    assert not list(tmp_path.iterdir())


def test_a_second_walk_that_differs(tmp_path: Path) -> None:
    array = normal()
    for other in (array + 1, array[1:], np.concatenate([array, array]), array[::-1], None):
        walks = iter([[array], [] if other is None else [other]])
        with pytest.raises((sb.MismatchError, sb.InvalidArgumentError), match="second pass|no chunk"):
            sb.compress_to_file({"x": lambda walks=walks: next(walks)}, tmp_path / FILE)
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_source_s_own(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("what was there")
    walks = []

    def broken() -> Iterator[np.ndarray]:
        walks.append(1)
        yield normal()
        if len(walks) == 2:
            raise KeyError("it broke")

    with pytest.raises(KeyError, match="it broke"):
        sb.compress_to_file({"x": broken}, tmp_path / FILE)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).read_text() == "what was there"


def test_progress_of_chunks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    sb.compress_to_file({"x": [normal()]}, tmp_path / FILE, progress=True)
    assert "compressing" in capsys.readouterr().err


MEASURE = """
import resource, sys
import numpy as np, stillbit as sb
how, raw, out = sys.argv[1:]
mapped = np.load(raw, mmap_mode="r")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source = {"mapped": mapped, "backwards": mapped[::-1], "chunks": lambda: (
    np.array(mapped[i : i + 10_000]) for i in range(0, len(mapped), 10_000))}[how]
sb.compress_to_file({"x": source}, out)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize("how", ["mapped", "backwards"])
@pytest.mark.parametrize("twice", [False, True])
def test_memory_does_not_grow_with_the_table(tmp_path: Path, how: str, twice: bool) -> None:
    """A table of 512 MiB, half of which may be the other half again."""
    raw = tmp_path / "x.npy"
    rows = np.lib.format.open_memmap(raw, "w+", np.float32, (1 << 19, 256))
    block = normal((1 << 14, 256))
    for number in range(32):
        rows[number << 14 : (number + 1) << 14] = block + np.float32(number % 16 if twice else number)
    rows.flush()
    del rows
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    command = [sys.executable, "-c", MEASURE, how, str(raw), str(tmp_path / FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    if before < 2**19:  # KiB: a child's peak starts at its parent's
        assert int(done.stdout) < 300 << 20
