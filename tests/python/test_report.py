"""What `report` writes: one page whose numbers are those of `inspect --json`, whatever is in the file."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import (
    CODECS,
    PACKINGS,
    SHARED_FILES,
    Failure,
    Stillbit,
    Tensor,
    info_of,
    make_array_for,
    make_bf16,
    make_tensor,
    names_in,
    save_npy,
    write_bytes,
    write_tensors,
    zoo,
)

SAME = ("name", "dtype", "shape", "codec", "packing", "raw_bytes", "stored_bytes", "metadata_bytes", "ratio")
HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    "<!--<script>",
    "<img src=x onerror='window.hacked = 1'>",
    "\"quotes\" 'of' `all` {{model}} {{script}} kinds & &lt; ${window.hacked = 1}",
    "control \x00 \x01 \x1b[31m \x7f \r\n characters",
    "\u202eright to left\u2028 and a line",
    "\\u003c/script\\u003e",
    "",
    "x" * 10_000,
    "Ünïcödé 張量 🧊",
]


def model_of(page: Path) -> dict[str, Any]:
    """The JSON in a page, read as a browser does: up to the first end of the element."""
    text = page.read_bytes().decode()
    found = re.search(r'<script id="model" type="application/json">(.*?)</script', text, re.DOTALL)
    assert found is not None
    model = json.loads(found.group(1))
    assert isinstance(model, dict)
    return model


def report(stillbit: Stillbit, source: Path, *options: str) -> dict[str, Any]:
    """Write a report beside a file, and check what holds of all."""
    page = source.with_name("report.html")
    assert stillbit("report", source, "-o", page, *options).stdout == ""
    model = model_of(page)
    for tensor in model["tensors"]:
        assert sum(tensor["bits"].values()) == 8 * tensor["stored_bytes"], tensor["name"]
        assert all(count >= 0 for count in tensor["bits"].values())
        assert 0 <= tensor["sampled_bytes"] <= tensor["raw_bytes"]
        if tensor["raw_bytes"] > 0:
            invariance = tensor["invariance"]
            assert len(invariance["shares"]) == invariance["num_bits"] * invariance["num_parts"]
            assert invariance["num_parts"] * invariance["columns_per_part"] >= invariance["num_columns"]
            assert sum(count for _, count, _ in tensor["exponents"]["uses"]) > 0
    first = [tensor for tensor in model["tensors"] if tensor["same_as"] is None]
    assert model["stored_bytes"] == sum(tensor["stored_bytes"] for tensor in first)
    assert model["raw_bytes"] == sum(tensor["raw_bytes"] for tensor in model["tensors"])
    return model


def check_against_inspect(stillbit: Stillbit, model: dict[str, Any], compressed: Path) -> None:
    info = info_of(stillbit("inspect", compressed, "--json"))
    assert model["stored_bytes"] == info["stored_bytes"]
    assert model["raw_bytes"] == info["raw_bytes"]
    assert len(model["tensors"]) == len(info["tensors"])
    for shown, said in zip(model["tensors"], info["tensors"], strict=True):
        assert {key: shown[key] for key in SAME} == {key: said[key] for key in SAME}
        assert shown["prices"] == said.get("prices", {})


def check(stillbit: Stillbit, source: Path, *options: str) -> None:
    """Of a file and of what compressing makes of it the report says what `inspect` says of the latter."""
    compressed = source.with_name("compressed.safetensors")
    stillbit("compress", source, "-o", compressed, *options)
    after = report(stillbit, compressed)
    assert after["is_compressed"]
    assert after["file_bytes"] == compressed.stat().st_size
    check_against_inspect(stillbit, after, compressed)
    transfers = [tensor["transfer_ratio"] for tensor in info_of(stillbit("inspect", compressed, "--json"))["tensors"]]
    assert [tensor["transfer_ratio"] for tensor in after["tensors"]] == transfers
    before = report(stillbit, source, *options)
    assert not before["is_compressed"]
    # The planner's prices are exact where it prices the whole tensor; 8 MiB of one.
    if all(tensor["raw_bytes"] <= 1 << 20 for tensor in before["tensors"]):
        check_against_inspect(stillbit, before, compressed)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("codec", CODECS)
def test_numbers_are_those_of_inspect(stillbit: Stillbit, tmp_path: Path, codec: str, packing: str) -> None:
    tensors = {}
    for descr, dtype in [("<f4", "F32"), ("<f2", "F16"), ("<i8", "I64"), ("|u1", "U8")]:
        for shape in [(500, 60), (90_000,), (3, 4, 5)]:
            array = make_array_for(codec, descr, shape)
            tensors[f"{dtype} {shape}"] = Tensor(dtype, shape, array.tobytes())
    tensors["bf16"] = make_bf16((300, 128))
    tensors["the same"] = tensors["bf16"]
    check(stillbit, write_tensors(tmp_path / "x.safetensors", tensors), "--codec", codec, "--packing", packing)


def test_every_dtype_and_shape(stillbit: Stillbit, tmp_path: Path) -> None:
    check(stillbit, write_tensors(tmp_path / "x.safetensors", zoo()))


def test_row_dims(stillbit: Stillbit, tmp_path: Path) -> None:
    check(stillbit, write_tensors(tmp_path / "x.safetensors", {"t": make_bf16((40, 6, 50))}), "--row-dims", "2")


def test_repeated_rows(stillbit: Stillbit, tmp_path: Path) -> None:
    rows = make_array_for("escape", "<f4", (50, 64))
    source = save_npy(tmp_path / "x.npy", rows[np.random.default_rng(1).integers(0, 50, 2000)])
    check(stillbit, source)
    (tensor,) = report(stillbit, source)["tensors"]
    assert tensor["num_repeats"] == 1950
    assert tensor["bits"]["map"] > 0


@pytest.mark.parametrize("source", SHARED_FILES or [None], ids=lambda source: source.stem if source else "none")
def test_shared_data(stillbit: Stillbit, tmp_path: Path, source: Path | None) -> None:
    if source is None:
        pytest.skip("no shared data beside the repository")
    options = ["--as", "BF16"] if "bf16" in source.stem else ["--as", "F8_E4M3"] if "fp8" in source.stem else []
    check(stillbit, Path(shutil.copy(source, tmp_path)), *options)


def test_a_sample_of_a_large_tensor_says_so(stillbit: Stillbit, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", make_array_for("escape", "<f4", (6000, 1024)))
    check(stillbit, source)
    (before,) = report(stillbit, source)["tensors"]
    (after,) = report(stillbit, tmp_path / "compressed.safetensors")["tensors"]
    assert before["is_estimate"] and not after["is_estimate"]
    assert before["sampled_bytes"] < before["raw_bytes"] / 4
    assert before["stored_bytes"] == pytest.approx(after["stored_bytes"], rel=0.01)
    # Parts of rows are estimates, of different tiles; what a mantissa takes is not.
    assert before["bits"]["values"] == pytest.approx(after["bits"]["values"], rel=0.001)


def test_the_bound_is_the_entropy_of_exponents(stillbit: Stillbit, tmp_path: Path) -> None:
    tensor = make_bf16((200, 100))
    (shown,) = report(stillbit, write_tensors(tmp_path / "x.safetensors", {"w": tensor}))["tensors"]
    exponents = np.frombuffer(tensor.data, np.uint16) >> 7 & 0xFF
    values, counts = np.unique(exponents, return_counts=True)
    shares = counts / counts.sum()
    assert shown["exponents"]["entropy_bits"] == pytest.approx(-(shares * np.log2(shares)).sum())
    assert shown["exponents"]["rest_bits"] == 8
    uses = [[int(value), int(count)] for value, count in zip(values, counts, strict=True)]
    assert [use[:2] for use in shown["exponents"]["uses"]] == uses


def test_links_have_the_rates_that_are_stated(stillbit: Stillbit, tmp_path: Path) -> None:
    links = report(stillbit, save_npy(tmp_path / "x.npy", np.zeros(3, np.float32)))["links"]
    rates = {link["name"]: round(link["bytes_per_second"] / 1e9, 2) for link in links}
    assert rates == {"PCIe 3.0 x16": 15.75, "PCIe 4.0 x16": 31.51, "PCIe 5.0 x16": 63.02, "NVLink-C2C": 450}


def test_hostile_names_stay_text(stillbit: Stillbit, tmp_path: Path) -> None:
    metadata = {name: name for name in HOSTILE}
    source = write_tensors(tmp_path / "x.safetensors", {name: make_tensor("U8", (20, 9)) for name in HOSTILE}, metadata)
    model = report(stillbit, source)
    assert [tensor["name"] for tensor in model["tensors"]] == HOSTILE
    assert model["metadata"] == metadata
    hostile, plain = (tmp_path / "report.html").read_bytes().decode(), tmp_path / "plain.npy"
    report(stillbit, save_npy(plain, np.zeros(3, np.uint8)))
    ordinary = (tmp_path / "report.html").read_bytes().decode()
    # All that they add is in the strings of the JSON.
    for mark in ["<script", "</script", "<!--", "<img", "\u2028", "\u202e"]:
        assert hostile.count(mark) == ordinary.count(mark), mark
    check(stillbit, source)


def test_names_of_files_that_are_no_text(stillbit: Stillbit, tmp_path: Path) -> None:
    source = tmp_path / "<b>\udcff&.npy"
    save_npy(source, np.zeros((5, 5), np.float32))
    page = tmp_path / "report.html"
    subprocess.run([stillbit("--version").args[0], "report", source, "-o", page], check=True)
    assert model_of(page)["file"] == "<b>\ufffd&.npy"


def test_nothing_is_loaded_from_elsewhere(stillbit: Stillbit, tmp_path: Path) -> None:
    report(stillbit, save_npy(tmp_path / "x.npy", np.zeros((5, 5), np.float32)))
    text = (tmp_path / "report.html").read_bytes().decode()
    assert "default-src 'none'" in text
    assert re.findall(r"<(?:link|script|img|iframe)[^>]+(?:src|href)=(?!\"data:)", text) == []
    assert "@import" not in text and "url(" not in text
    assert "{{" not in text.split('<script id="model"')[0]


def test_the_same_page_whatever_the_threads(stillbit: Stillbit, tmp_path: Path) -> None:
    source = write_tensors(tmp_path / "x.safetensors", zoo())
    report(stillbit, source, "--threads", "1")
    page = (tmp_path / "report.html").read_bytes()
    report(stillbit, source, "--threads", "7")
    assert (tmp_path / "report.html").read_bytes() == page


def test_shards(stillbit: Stillbit, tmp_path: Path) -> None:
    parts = {"one.safetensors": {"a": make_bf16((50, 60))}, "two.safetensors": {"b": make_tensor("F32", (70, 80))}}
    for name, tensors in parts.items():
        write_tensors(tmp_path / name, tensors)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    model = report(stillbit, index)
    assert [tensor["name"] for tensor in model["tensors"]] == ["a", "b"]
    check(stillbit, index)


def test_failures_name_the_file_and_leave_nothing(stillbit: Stillbit, failure: Failure, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("an older report")
    source = write_tensors(tmp_path / "x.safetensors", {"weights": make_bf16((64, 64))})
    failure("report", tmp_path / "none.npy", "-o", page, names=["none.npy"])
    failure("report", write_bytes(tmp_path / "bad.safetensors", b"{"), "-o", page, names=["bad.safetensors"])
    failure("report", source, "-o", tmp_path / "no folder" / "report.html", names=["no folder"])
    failure("report", source, "-o", page, "--as", "F32", names=["x.safetensors", "weights"])
    failure("report", source, "-o", page, "--row-dims", "65", status=2)
    failure("report", source, "-o", tmp_path / "report.pdf", status=2)
    failure("report", source, status=2)
    damaged = tmp_path / "damaged.safetensors"
    stillbit("compress", source, "-o", damaged, "--codec", "escape", "--packing", "slotted")
    damaged.write_bytes(damaged.read_bytes()[:-1024] + b"\x7f" * 1024)
    failure("report", damaged, "-o", page, names=["damaged.safetensors", "weights", "malformed"])
    assert page.read_text() == "an older report"


def test_only_the_page_is_written(stillbit: Stillbit, tmp_path: Path) -> None:
    source = save_npy(tmp_path / "x.npy", np.zeros((5, 5), np.float32))
    report(stillbit, source)
    report(stillbit, source)
    assert names_in(tmp_path) == {"x.npy", "report.html"}
