"""Files: written, mapped, read, converted; and tensors that go to other processes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import stillbit as sb

from tables import assert_same, compress_mapped, normal, table

FILE = "t.safetensors"


@pytest.mark.parametrize("mmap", [True, False])
def test_save_and_load(tmp_path: Path, mmap: bool) -> None:
    arrays = {"a": normal(), "b.ü": table((3, 4, 5), "i2"), "": table((), "f8")}
    tensors = {name: sb.compress(array) for name, array in arrays.items()}
    sb.save_file({**tensors, "again": tensors["a"]}, tmp_path / FILE, {"by": "me"})
    loaded = sb.load_file(str(tmp_path / FILE), mmap=mmap)
    assert list(loaded) == [*arrays, "again"]
    for name, array in arrays.items():
        assert_same(loaded[name].numpy(), array)
        loaded[name].verify()
    if not mmap:
        loaded["a"].update([1], normal((1, 16), seed=9))
        assert_same(loaded["a"][1], normal((1, 16), seed=9)[0])

    info = sb.inspect_file(tmp_path / FILE)
    assert [tensor.name for tensor in info.tensors] == list(loaded)
    assert info.tensors[1].shape == (3, 4, 5) and info.tensors[1].dtype == "I16"
    assert info.metadata == {"by": "me"}
    assert info.ratio == info.raw_bytes / info.stored_bytes
    sb.verify_file(tmp_path / FILE)


def test_all_tensors_in_one_call(tmp_path: Path) -> None:
    """Small ones, some of several tasks, empty ones, a scalar, and one that is stored once for two."""
    arrays = {f"small {i}": normal((1 + i % 7, 16), seed=i % 150) for i in range(300)}
    arrays |= {
        "large": normal((3000, 257)),
        "empty": table((0, 3)),
        "scalar": table((), "f8"),
        "words": table((9,), "u2"),
    }
    source = tmp_path / "raw.safetensors"
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    safetensors_numpy.save_file(arrays, source)
    sb.compress_file(source, tmp_path / FILE)
    for options in [{}, {"num_threads": 3}, {"num_threads": 1, "verify": False}]:
        loaded = sb.load_arrays(tmp_path / FILE, **options)
        assert set(loaded) == set(arrays)
        for name, array in arrays.items():
            assert_same(loaded[name], array)
    one, other = loaded["small 1"], loaded["small 151"]
    assert one.shape != other.shape or not np.shares_memory(one, other)
    assert list(loaded) == list(sb.load_file(tmp_path / FILE))


def test_what_cannot_be_expanded_is_named(tmp_path: Path) -> None:
    sb.save_file({f"t{i}": sb.compress(normal(seed=i), packing="packed") for i in range(9)}, tmp_path / FILE)
    data = bytearray((tmp_path / FILE).read_bytes())
    data[-300] ^= 1
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(sb.CorruptError, match=f'{FILE}: tensor "t8"'):
        sb.load_arrays(tmp_path / FILE)
    (tmp_path / FILE).write_bytes(data[:-64])
    with pytest.raises(sb.CorruptError, match=FILE):
        sb.load_arrays(tmp_path / FILE)
    with pytest.raises(sb.IoError, match="absent"):
        sb.load_arrays(tmp_path / "absent.safetensors")
    with pytest.raises(sb.InvalidArgumentError, match="like"):
        sb.load_arrays(tmp_path / FILE, like="jax")
    np.save(tmp_path / "raw.npy", normal())
    with pytest.raises(sb.InvalidArgumentError, match="not a compressed file"):
        sb.load_arrays(tmp_path / "raw.npy")


def test_row_dims_survive(tmp_path: Path) -> None:
    array = table((5, 1, 7))
    for row_dims in range(4):
        tensor = compress_mapped(array, tmp_path / FILE, row_dims=row_dims)
        assert tensor.row_shape == array.shape[3 - row_dims :]
        assert_same(tensor.numpy(), array)


def test_convert_files(tmp_path: Path) -> None:
    source, packed, back = tmp_path / "x.npy", tmp_path / FILE, tmp_path / "back.npy"
    np.save(source, normal())
    info = sb.compress_file(source, packed, objective="speed", num_threads=1)
    assert info.tensors[0].codec in info.tensors[0].prices and info.tensors[0].packing == "packed"
    sb.decompress_file(packed, back)
    assert_same(np.load(back), normal())
    sb.verify_file(packed, against=source)
    np.save(source, normal(seed=1))
    with pytest.raises(sb.MismatchError, match="x"):
        sb.verify_file(packed, against=source)
    assert sb.inspect_file(source).tensors[0].codec is None


def test_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    source, packed = tmp_path / "x.npy", tmp_path / FILE
    np.save(source, normal())
    sb.compress(normal(), progress=True)
    sb.compress_file(source, packed, progress=True)
    sb.decompress_file(packed, tmp_path / "back.npy", progress=True)
    sb.verify_file(packed, progress=True)
    shown = capsys.readouterr().err
    assert all(what in shown for what in ["compressing", "decompressing", "verifying"])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.safetensors"
    calls: list[Callable[[], object]] = [
        lambda: sb.load_file(missing),
        lambda: sb.inspect_file(missing),
        lambda: sb.verify_file(missing),
        lambda: sb.decompress_file(missing, tmp_path / "out.npy"),
        lambda: sb.save_file({}, tmp_path / "nowhere" / FILE),
    ]
    for call in calls:
        with pytest.raises(OSError, match="missing.safetensors|nowhere") as caught:
            call()
        assert isinstance(caught.value, sb.Error)

    compress_mapped(normal(), tmp_path / FILE)
    data = bytearray((tmp_path / FILE).read_bytes())
    data[-100] ^= 1
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(sb.CorruptError, match=FILE):
        sb.verify_file(tmp_path / FILE)
    with pytest.raises(sb.CorruptError, match="x"):
        sb.load_file(tmp_path / FILE, mmap=False)
    with pytest.raises(sb.CorruptError):
        sb.load_file(tmp_path / FILE)["x"].verify()
    (tmp_path / FILE).write_bytes(data[:50])
    with pytest.raises(sb.CorruptError, match=FILE):
        sb.load_file(tmp_path / FILE)


def test_save_says_what_is_wrong(tmp_path: Path) -> None:
    tensor = sb.compress(normal())
    with pytest.raises(sb.InvalidArgumentError, match="'a'.*ndarray"):
        sb.save_file({"a": normal()}, tmp_path / FILE)  # type: ignore[dict-item]
    with pytest.raises(sb.InvalidArgumentError, match="metadata"):
        sb.save_file({"a": tensor}, tmp_path / FILE, {"n": 1})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        sb.load_file(3)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_of_a_tensor_in_memory(protocol: int) -> None:
    tensor = sb.compress(normal())
    tensor.update([3], normal((1, 16), seed=1))
    copied = pickle.loads(pickle.dumps(tensor, protocol))
    assert_same(copied.numpy(), tensor.numpy())
    copied.update([3], normal((1, 16)))  # and is a tensor of its own
    assert not np.array_equal(copied[3], tensor[3])
    buffers: list[pickle.PickleBuffer] = []
    if protocol >= 5:
        header = pickle.dumps(tensor, protocol, buffer_callback=buffers.append)
        assert len(header) < 500
        assert_same(pickle.loads(header, buffers=buffers).numpy(), tensor.numpy())
    assert_same(copy.deepcopy(tensor).numpy(), tensor.numpy())


def test_pickle_of_a_mapped_tensor_is_its_name(tmp_path: Path) -> None:
    tensor = compress_mapped(normal(), tmp_path / FILE)
    data = pickle.dumps(tensor)
    assert len(data) < 500
    assert_same(pickle.loads(data).numpy(), normal())
    compress_mapped(normal((5, 5)), tmp_path / FILE)
    with pytest.raises(sb.MismatchError, match='tensor "x"'):
        pickle.loads(data)
    (tmp_path / FILE).unlink()
    with pytest.raises(sb.IoError, match=FILE):
        pickle.loads(data)


def _sum_of(tensor: sb.CompressedTensor) -> float:
    return float(tensor.gather(np.arange(len(tensor))).astype(np.float64).sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(tmp_path: Path, method: str) -> None:
    tensors = [sb.compress(normal()), compress_mapped(normal(), tmp_path / FILE)]
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(_sum_of, tensors) == [_sum_of(tensor) for tensor in tensors]


def test_decompress_compares_the_checksum_if_asked(tmp_path: Path) -> None:
    for codec in ("raw", "escape", "window"):
        array = (normal((3000, 200)) * 0.02).astype(np.float32)
        sb.save_file({"x": sb.compress(array, codec=codec, packing="packed")}, tmp_path / "x.safetensors")
        t = sb.load_file(tmp_path / "x.safetensors")["x"]
        assert t.codec == codec
        for num_threads in (1, 2):
            assert_same(t.decompress(verify=True, num_threads=num_threads), array)
            t._handle.verify_stored(num_threads)
        del t
        raw = bytearray((tmp_path / "x.safetensors").read_bytes())
        raw[-1000] ^= 1
        (tmp_path / "x.safetensors").write_bytes(raw)
        t = sb.load_file(tmp_path / "x.safetensors")["x"]
        t.decompress()
        with pytest.raises(sb.CorruptError, match="checksum"):
            t.decompress(verify=True)
        with pytest.raises(sb.CorruptError, match="the stored bytes do not have their checksum"):
            t._handle.verify_stored(1)
    changed = sb.compress(array, packing="slotted")
    changed.update([0], array[1:2])
    assert_same(changed.decompress(verify=True)[:1], array[1:2])  # there is no checksum to compare
