"""Arguments that make no sense end with status 2."""

from pathlib import Path

import pytest
from helpers import Failure, make_array, save_npy


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["unknown"],
        ["inspect"],
        ["inspect", "x.npy", "--unknown"],
        ["inspect", "x.npy", "y.npy"],
        ["compress"],
        ["compress", "x.npy"],
        ["compress", "x.npy", "-o"],
        ["compress", "-o", "y.safetensors"],
        ["compress", "x.npy", "-o", "y.npy"],
        ["compress", "x.npy", "-o", "y"],
        ["compress", "x.npy", "-o", ""],
        ["compress", "x.npy", "-o", ".safetensors.bak"],
        ["compress", "x.npy", "-o", "y.safetensors", "--codec", "zip"],
        ["compress", "x.npy", "-o", "y.safetensors", "--codec", ""],
        ["compress", "x.npy", "-o", "y.safetensors", "--objective", "size"],
        ["compress", "x.npy", "-o", "y.safetensors", "--objective", ""],
        ["compress", "x.npy", "-o", "y.safetensors", "--packing", "loose"],
        ["compress", "x.npy", "-o", "y.safetensors", "--as", "F99"],
        ["compress", "x.npy", "-o", "y.safetensors", "--row-dims", "-1"],
        ["compress", "x.npy", "-o", "y.safetensors", "--row-dims", "65"],
        ["compress", "x.npy", "-o", "y.safetensors", "--row-dims", "two"],
        ["compress", "x.npy", "-o", "y.safetensors", "--threads", "0"],
        ["compress", "x.npy", "-o", "y.safetensors", "--threads", "-1"],
        ["compress", "x.npy", "-o", "y.safetensors", "--threads", "99999999999999999999"],
        ["compress", "x.npy", "-o", "y.safetensors", "-o", "z.safetensors"],
        ["compress", "x.npy", "-o", "y.safetensors", "--against", "x.npy"],
        ["decompress", "y.safetensors"],
        ["decompress", "y.safetensors", "-o", "x.npz"],
        ["decompress", "y.safetensors", "-o", "x.safetensors.index.json"],
        ["decompress", "y.safetensors", "-o", "x.npy", "--codec", "ibp"],
        ["decompress", "y.safetensors", "-o", "x.npy", "--json"],
        ["verify"],
        ["verify", "y.safetensors", "--against"],
        ["verify", "y.safetensors", "-o", "x.npy"],
    ],
    ids=" ".join,
)
def test_usage(failure: Failure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    save_npy(tmp_path / "x.npy", make_array("<f4", (2, 3)))
    failure(*args, status=2)
