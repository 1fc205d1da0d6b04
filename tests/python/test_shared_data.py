"""Real tensors, where they lie beside the repository: each comes back bit for bit."""

from pathlib import Path

import numpy as np
import pytest
from helpers import PACKINGS, REPOSITORY, Stillbit, assert_same, info_of

DATA = REPOSITORY.parent / "shared" / "data"
FILES = sorted(DATA.glob("*.npy"))

if not FILES:
    pytest.skip(f"no .npy files in {DATA}", allow_module_level=True)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("source", FILES, ids=lambda path: path.stem)
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
