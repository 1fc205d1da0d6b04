"""What the command writes, docs/reference_decoder reads: the specification is complete, and followed."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import xxhash
from helpers import CODECS, PACKINGS, REPOSITORY, SHARED_FILES, Stillbit, info_of

DECODER = REPOSITORY / "docs/reference_decoder"
GOLDEN = REPOSITORY / "tests/golden"
sys.path.insert(0, str(DECODER))

import container  # noqa: E402
import payload as payloads  # noqa: E402
import rows as packings  # noqa: E402

NAMES = {"bool": "BOOL", "float16": "F16", "float32": "F32", "float64": "F64", "complex64": "C64"}


def make_arrays() -> dict[str, np.ndarray]:
    """Make the arrays that every test of this file chooses from, by name."""
    rng = np.random.default_rng(20260605)

    def normals(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    def words_of_bf16(*shape: int) -> np.ndarray:
        return (normals(*shape).view(np.uint32) >> 16).astype(np.uint16)

    bag_of_words = np.where(rng.random((200, 1433)) < 0.01, 1, 0).astype(np.float32)
    some_noise = normals(300, 128)
    some_noise[::7] = rng.integers(0, 2**32, (43, 128), np.uint32).view(np.float32)
    few_outliers = np.tile(normals(1, 64), (500, 1))
    few_outliers[5:9] = normals(4, 64)
    few_outliers[70] = rng.integers(0, 2**32, 64, np.uint32).view(np.float32)
    return {
        "normals": normals(512, 256),
        "megabyte": normals(2048, 128),
        "uniform_noise": rng.integers(0, 256, (40, 300), np.uint8),
        "some_noise": some_noise,
        "few_outliers": few_outliers,
        "bag_of_words": bag_of_words,
        "bf16": words_of_bf16(300, 96),
        "int8": rng.normal(0, 9, (150, 200)).astype(np.int8),
        "int16": rng.integers(-900, 900, (150, 77)).astype(np.int16),
        "int64": rng.integers(0, 10**6, (64, 31)),
        "float16": rng.normal(size=(90, 50)).astype(np.float16),
        "float64": rng.normal(size=(100, 40)),
        "complex64": normals(60, 80).view(np.complex64),
        "bool": rng.random((200, 100)) < 0.1,
        "one_dimension": normals(5000),
        "three_dimensions": normals(6, 50, 40),
        "many_dimensions": normals(2, 1, 3, 2, 5, 16),
        "scalar": np.array(2.5, np.float32),
        "one_byte": np.array([7], np.uint8),
        "no_rows": normals(0, 10),
        "no_columns": normals(10, 0),
        "very_many_empty_rows": np.empty((2**40, 0), np.float32),
        "one_row": normals(1, 200),
        "short_rows": normals(1001, 10),
        "short_rows_one_tile": normals(101, 10),
        "shorter_rows": rng.integers(0, 1000, (3333, 1), np.uint16),
        "short_constant_rows": np.full((1003, 7), 1.5, np.float32),
        "zeros": np.zeros((130, 100), np.float32),
        "constant": np.full((129, 64), 0.1),
        "constant_scalar_rows": np.full(300, 3, np.int32),
        "repeated_rows": normals(17, 70)[rng.integers(0, 17, 150)],
        "equal_rows": np.repeat(normals(1, 90), 70, axis=0),
        "few_values": normals(12)[rng.integers(0, 12, (200, 40))],
        "categories": np.stack([rng.integers(0, most, 500) for most in (1, 2, 7, 300, 10**6)], axis=1),
        "misses": np.where(rng.random((300, 12)) < 0.02, rng.integers(0, 2**31, (300, 12)), 77).astype(np.int32),
        "row_scales": normals(60, 300) * np.exp2(rng.integers(-20, 20, (60, 1))).astype(np.float32),
        "column_scales": normals(300, 60) * np.exp2(rng.integers(-20, 20, 60)).astype(np.float32),
        "weights_of_f16": normals(80, 90).astype(np.float16).astype(np.float32),
        "tf_idf": np.where(rng.random((150, 400)) < 0.03, normals(150, 400), 0).astype(np.float32),
        "pruned": np.where(rng.random((90, 130)) < 0.4, words_of_bf16(90, 130), 0).astype(np.uint16),
        "background": np.where(rng.random((100, 150)) < 0.02, rng.integers(0, 2**16, (100, 150)), 1000),
    }


ARRAYS = make_arrays()


def dtype_name(array: np.ndarray) -> str:
    """Return what the format calls the dtype of an array."""
    name = array.dtype.name
    return NAMES.get(name, name.replace("uint", "U").replace("int", "I"))


def compress(stillbit: Stillbit, folder: Path, array: np.ndarray, *options: object) -> Path:
    """Compress an array with the command; the tensor's name is ``x``."""
    np.save(folder / "x.npy", array)
    stillbit("compress", folder / "x.npy", "-o", folder / "x.compressed.safetensors", *options)
    return folder / "x.compressed.safetensors"


def payloads_of(path: Path) -> list[bytes]:
    """Return the payloads of a file."""
    return list(container.read_container(path.read_bytes())[1].values())


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", ARRAYS)
def test_array(stillbit: Stillbit, tmp_path: Path, name: str, packing: str) -> None:
    array = ARRAYS[name]
    path = compress(stillbit, tmp_path, array, "--packing", packing)
    expected = (dtype_name(array), array.shape, array.tobytes())
    assert container.read_file(path) == {"x": expected}
    (payload,) = payloads_of(path)
    assert payloads.decode_payload(payload) == expected
    assert payloads.parse_header(payload).packing == packing


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("codec", CODECS[1:])
def test_codec(stillbit: Stillbit, tmp_path: Path, codec: str, packing: str) -> None:
    """Whatever codec is asked for; it is used for some of the arrays."""
    source, out = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    safetensors.numpy.save_file({name: a for name, a in ARRAYS.items() if a.dtype != np.complex64}, source)
    info = info_of(stillbit("compress", source, "-o", out, "--codec", codec, "--packing", packing, "--json"))
    tensors = container.read_file(out)
    for name, tensor in tensors.items():
        assert tensor == (dtype_name(ARRAYS[name]), ARRAYS[name].shape, ARRAYS[name].tobytes()), name
    used = [tensor["codec"] for tensor in info["tensors"]]
    assert set(used) <= {codec, "raw"}
    assert used.count(codec) >= 10


@pytest.mark.skipif(not SHARED_FILES, reason="no real tensors lie beside the repository")
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("codec", CODECS[1:])
def test_real_tensors(stillbit: Stillbit, tmp_path: Path, codec: str, packing: str) -> None:
    """The first rows of each tensor: this decoder is slow."""
    for path in SHARED_FILES:
        array = np.load(path, mmap_mode="r")
        array = np.ascontiguousarray(array[: max(1, 30_000 // max(1, array[:1].nbytes))])
        out = compress(stillbit, tmp_path, array, "--codec", codec, "--packing", packing)
        assert container.read_file(out) == {"x": (dtype_name(array), array.shape, array.tobytes())}, path


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("row_dims", [0, 1, 2, 3])
def test_row_dims(stillbit: Stillbit, tmp_path: Path, row_dims: int, packing: str) -> None:
    array = ARRAYS["three_dimensions"]
    path = compress(stillbit, tmp_path, array, "--packing", packing, "--row-dims", row_dims)
    assert container.read_file(path) == {"x": ("F32", array.shape, array.tobytes())}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("bf16", "BF16"), ("int8", "F8_E4M3"), ("int8", "F8_E5M2"), ("int8", "F8_E8M0"), ("int8", "F8_E4M3FNUZ"),
     ("int8", "F8_E5M2FNUZ")],
)  # fmt: skip
def test_other_dtype(stillbit: Stillbit, tmp_path: Path, name: str, dtype: str, packing: str) -> None:
    array = ARRAYS[name]
    path = compress(stillbit, tmp_path, array, "--packing", packing, "--as", dtype)
    assert container.read_file(path) == {"x": (dtype, array.shape, array.tobytes())}


@pytest.mark.parametrize("packing", PACKINGS)
def test_file_of_several_tensors(stillbit: Stillbit, tmp_path: Path, packing: str) -> None:
    names = ["normals", "short_rows", "bf16", "int8", "bool", "no_rows", "no_columns", "one_dimension", "zeros"]
    arrays = {f"layer.{i}.{name}": ARRAYS[name] for i, name in enumerate(names)}
    arrays |= {"tied": ARRAYS["normals"].copy(), "a “name”\t": ARRAYS["float64"], "": np.array(3.0)}
    safetensors.numpy.save_file(arrays, tmp_path / "in.safetensors", {"format": "np", "a\n“key”": "ü"})
    out = tmp_path / "out.safetensors"
    stillbit("compress", tmp_path / "in.safetensors", "-o", out, "--packing", packing)

    tensors = container.read_file(out)
    assert tensors == {name: (dtype_name(a), a.shape, a.tobytes()) for name, a in arrays.items()}
    assert len(payloads_of(out)) == len(arrays) - 1

    metadata, _ = container.read_container(out.read_bytes())
    assert json.loads(metadata["stillbit"])["metadata"] == {"format": "np", "a\n“key”": "ü"}
    assert metadata["format"] == "np"
    source = (tmp_path / "in.safetensors").read_bytes()
    header = json.loads(source[8 : 8 + int.from_bytes(source[:8], "little")])
    assert list(tensors) == sorted(arrays, key=lambda name: header[name]["data_offsets"])


@pytest.mark.parametrize(("name", "tag"), [("few_outliers", 1), ("some_noise", 2), ("zeros", 0)])
def test_tags_of_slots(stillbit: Stillbit, tmp_path: Path, name: str, tag: int) -> None:
    (payload,) = payloads_of(compress(stillbit, tmp_path, ARRAYS[name], "--packing", "slotted", "--codec", "ibp"))
    header = payloads.parse_header(payload)
    rows = payloads.split_sections(payload, header)[3]
    assert tag in rows[header.row_unit - 1 :: header.row_unit]


def test_rows_of_several_sizes_and_tiles(stillbit: Stillbit, tmp_path: Path) -> None:
    (payload,) = payloads_of(compress(stillbit, tmp_path, ARRAYS["some_noise"], "--codec", "ibp"))
    header = payloads.parse_header(payload)
    _, _, index, rows, overflow = payloads.split_sections(payload, header)
    kinds = [is_raw for _, is_raw in packings.packed_rows(header, index, rows, overflow)]
    assert header.index_bits > 0 and True in kinds and False in kinds

    (payload,) = payloads_of(compress(stillbit, tmp_path, ARRAYS["short_rows"]))
    assert 1 < payloads.parse_header(payload).num_rows < 1001


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.safetensors")), ids=lambda path: path.stem)
def test_golden_file(path: Path) -> None:
    array = np.load(GOLDEN / f"{path.stem.rpartition('_')[0]}.npy")
    ((_, shape, data),) = container.read_file(path).values()
    assert (shape, data) == (array.shape, array.tobytes())


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("invalid/*.safetensors")), ids=lambda path: path.stem)
def test_invalid_golden_file(path: Path) -> None:
    assert path.name in json.loads((GOLDEN / "invalid/expected.json").read_text())
    with pytest.raises(ValueError, match=r"^\w[\w. ]*: "):
        container.read_file(path)


def test_command_line(stillbit: Stillbit, tmp_path: Path) -> None:
    path = compress(stillbit, tmp_path, ARRAYS["short_rows"])
    result = subprocess.run([sys.executable, DECODER, path], capture_output=True, text=True, check=True)
    assert result.stdout == "x F32 1001x10 checksum ok\n"


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", ["few_outliers", "short_rows_one_tile", "scalar"])
def test_changed_byte(stillbit: Stillbit, tmp_path: Path, name: str, packing: str) -> None:
    """No change of one byte gives other data; only what the file says beside the tensors may change unseen."""
    array = ARRAYS[name][:75] if ARRAYS[name].ndim else ARRAYS[name]
    path = compress(stillbit, tmp_path, array, "--packing", packing)
    original = path.read_bytes()
    expected = container.read_file(path)
    rng = np.random.default_rng(1)
    data_start = 8 + int.from_bytes(original[:8], "little")
    inside = min(200, len(original) - data_start)
    accepted = 0
    for position in [*range(data_start), *(data_start + rng.choice(len(original) - data_start, inside, replace=False))]:
        changed = bytearray(original)
        changed[position] ^= rng.integers(1, 256)
        path.write_bytes(changed)
        try:
            assert container.read_file(path) == expected, position
        except ValueError:
            continue
        assert position < data_start, "a change of a payload must always be seen"
        accepted += 1
    assert accepted < 10


def test_cut_file(stillbit: Stillbit, tmp_path: Path) -> None:
    path = compress(stillbit, tmp_path, ARRAYS["scalar"])
    original = path.read_bytes()
    for size in range(len(original)):
        path.write_bytes(original[:size])
        with pytest.raises(ValueError, match=r"^\w[\w. ]*: "):
            container.read_file(path)


@pytest.mark.parametrize(
    ("offset", "layout", "value", "field"),
    [
        (0, "B", 0, "magic"),
        (8, "Q", 0, "payload_checksum"),
        (16, "H", 2, "version"),
        (18, "B", 19, "dtype"),
        (19, "B", 7, "codec"),
        (20, "B", 2, "packing"),
        (21, "B", 65, "rank"),
        (22, "B", 3, "row_dims"),
        (23, "B", 49, "index_bits"),
        (24, "Q", 0, "data_checksum"),
        (32, "Q", 2**63, "payload"),
        (40, "Q", 2**64 - 16, "payload"),
        (64, "Q", 2**20, "row_unit"),
        (72, "Q", 0, "tile_bytes"),
        (72, "Q", 102, "tile_bytes"),
        (80, "Q", 101, "num_repeats"),
        (88, "Q", 2**62, "shape"),
        (112, "B", 3, "view_bytes"),
        (113, "B", 9, "entry_bits"),
        (114, "H", 1, "reserved"),
        (116, "I", 0, "num_entries"),
        (116, "I", 65537, "num_entries"),
    ],
)
def test_broken_rule(stillbit: Stillbit, tmp_path: Path, offset: int, layout: str, value: int, field: str) -> None:
    """A field that breaks a rule is named, though the checksum of the payload is right."""
    (payload,) = payloads_of(compress(stillbit, tmp_path, ARRAYS["short_rows_one_tile"], "--codec", "ibp"))
    changed = bytearray(payload)
    struct.pack_into("<" + layout, changed, offset, value)
    if field != "payload_checksum":
        digest = xxhash.xxh3_64_intdigest(struct.pack("<Q", xxhash.xxh3_64_intdigest(changed[16:])))
        struct.pack_into("<Q", changed, 8, digest)
    with pytest.raises(ValueError, match=rf"^{field}: "):
        payloads.decode_payload(bytes(changed))


def file_of(stored: dict[str, bytes], manifest: object) -> bytes:
    """Put payloads and a manifest into a file, whether they fit together or not."""
    text = json.dumps(manifest)
    digest = f"{xxhash.xxh3_64_intdigest(text.encode()):016x}"
    header: dict[str, object] = {"__metadata__": {"stillbit": text, "stillbit.checksum": digest}}
    end = 0
    for key, payload in stored.items():
        header[key] = {"dtype": "U8", "shape": [len(payload)], "data_offsets": [end, end + len(payload)]}
        end += len(payload)
    header_text = json.dumps(header).encode()
    return struct.pack("<Q", len(header_text)) + header_text + b"".join(stored.values())


@pytest.mark.parametrize(
    ("manifest_change", "entry_change", "field"),
    [
        ({"version": 2}, {}, "version"),
        ({"metadata": {"a": 1}}, {}, "metadata"),
        ({"metadata": []}, {}, "metadata"),
        ({"tensors": None}, {}, "tensors"),
        ({"tensors": []}, {}, "payload"),
        ({}, {"name": "y"}, "name"),
        ({}, {"payload": "z.stillbit"}, "payload"),
        ({}, {"dtype": "I32"}, "dtype"),
        ({}, {"shape": [1]}, "shape"),
        ({}, {"codec": "ibp"}, "codec"),
        ({}, {"packing": "slotted"}, "packing"),
        ({}, {"packing": None}, "packing"),
    ],
)
def test_broken_manifest(
    stillbit: Stillbit, tmp_path: Path, manifest_change: dict[str, object], entry_change: dict[str, object], field: str
) -> None:
    """A rule for what stands beside the payloads is broken, though the checksum of the manifest is right."""
    (payload,) = payloads_of(compress(stillbit, tmp_path, ARRAYS["scalar"]))
    entry = {"name": "x", "payload": "x.stillbit", "dtype": "F32", "shape": [], "codec": "raw", "packing": "packed"}
    other = {**entry, "name": "y"}
    manifest = {"version": 1, "metadata": {}, "tensors": [entry, other]}
    path = tmp_path / "changed.safetensors"
    path.write_bytes(file_of({"x.stillbit": payload}, manifest))
    assert list(container.read_file(path)) == ["x", "y"]
    path.write_bytes(
        file_of({"x.stillbit": payload}, {**manifest, "tensors": [{**entry, **entry_change}, other], **manifest_change})
    )
    with pytest.raises(ValueError, match=rf"^{field}: "):
        container.read_file(path)
