"""Real tensors, where they lie beside the repository: each comes back bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from helpers import CODECS, PACKINGS, SHARED_FILES, Stillbit, assert_same, info_of

if not SHARED_FILES:
    pytest.skip("no real tensors lie beside the repository", allow_module_level=True)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("source", SHARED_FILES, ids=lambda path: path.stem)
def test_round_trip(stillbit: Stillbit, tmp_path: Path, source: Path, packing: str) -> None:
    compressed, expanded = tmp_path / "compressed.safetensors", tmp_path / "expanded.npy"
    info = info_of(stillbit("compress", source, "-o", compressed, "--packing", packing, "--json"))
    stillbit("verify", compressed, "--against", source)
    stillbit("decompress", compressed, "-o", expanded)

    original, found = np.load(source), np.load(expanded)
    assert_same(found, original)
    (tensor,) = info["tensors"]
    assert (tensor["name"], tensor["packing"]) == (source.stem, packing)
    # What does not become smaller is stored as it is, behind a header.
    assert tensor["stored_bytes"] <= original.nbytes + 256


@pytest.fixture(scope="module")
def all_of_them(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shared") / "all.safetensors"
    safetensors.numpy.save_file({source.stem: np.load(source) for source in SHARED_FILES}, path)
    return path


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("codec", CODECS[1:])
def test_every_codec(stillbit: Stillbit, tmp_path: Path, all_of_them: Path, codec: str, packing: str) -> None:
    compressed = tmp_path / "compressed.safetensors"
    options = ["--codec", codec, "--packing", packing]
    info = info_of(stillbit("compress", all_of_them, "-o", compressed, "--json", *options))
    stillbit("verify", compressed, "--against", all_of_them)
    assert {codec} <= {tensor["codec"] for tensor in info["tensors"]} <= {codec, "raw"}
