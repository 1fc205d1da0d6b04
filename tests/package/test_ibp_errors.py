"""What `stillbit.ibp` refuses, and that nothing was written then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stillbit as sb

torch = pytest.importorskip("torch")
import stillbit.ibp as ibp  # noqa: E402

from ibp_tables import partly_equal, same  # noqa: E402

TABLE = partly_equal((100, 24))
MASK, BITVAL = ibp.preprocess(TABLE)
PACKED = TABLE.clone()
BITMASK = ibp.compress_inplace(PACKED, MASK, BITVAL)
CONDENSED, OFFSETS = ibp.compress_condensed(TABLE, MASK, BITVAL)
CLUSTERS = torch.zeros(100, dtype=torch.int32)


def calls(**changed: Any) -> list[Callable[[], object]]:
    """Return a call of each function that takes what is changed, with all else as it should be."""
    given = {"dataset": TABLE, "mask": MASK, "bitval": BITVAL, "index_arr": None, "clusters": None, **changed}
    data, mask, bitval, index, clusters = given.values()
    target = data.clone() if isinstance(data, torch.Tensor) else data
    packed = PACKED if data is TABLE else data
    return [
        lambda: ibp.get_compress_size(data, mask, bitval, index, clusters=clusters),
        lambda: ibp.get_single_compress_len(data, mask, bitval, index, clusters=clusters),
        lambda: ibp.compress_inplace(data if data is not TABLE else target, mask, bitval, index, clusters=clusters),
        lambda: ibp.compress_condensed(data, mask, bitval, index, clusters=clusters),
        lambda: ibp.decompress_fetch(packed, mask, bitval, BITMASK, "cpu", None, index, clusters=clusters),
    ]


def refused(error: type[Exception], message: str, *functions: Callable[[], object]) -> None:
    for function in functions:
        with pytest.raises(error, match=message):
            function()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (TABLE.tolist(), "not a torch tensor"),
        (TABLE.numpy(), "not a torch tensor"),
        (TABLE.T, "not contiguous"),
        (TABLE[:, ::2], "not contiguous"),
        (torch.zeros(2, 3, 24, dtype=torch.int32), "must be 1-D or 2-D"),
        (torch.tensor(1), "must be 1-D or 2-D"),
        (torch.zeros(3, 24, dtype=torch.complex128), "1, 2, 4 or 8 bytes"),
        (torch.eye(24).to_sparse(), "layout"),
        (torch.zeros(3, 24, dtype=torch.complex64).conj(), "conjugated"),
    ],
)
def test_data(data: Any, message: str) -> None:
    functions = calls(dataset=data)
    refused(sb.InvalidArgumentError, message, *functions)
    for function in (ibp.preprocess, lambda table: ibp.preprocess_kmeans(table, 2)):
        refused(sb.InvalidArgumentError, "2-D" if "1-D" in message else message, lambda f=function: f(data))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mask": MASK[:-1], "bitval": BITVAL[:-1]}, "23 columns"),
        ({"mask": MASK.repeat(2), "bitval": BITVAL.repeat(2)}, "48 columns"),
        ({"mask": MASK[:-1]}, "23 columns"),
        ({"mask": MASK.long()}, "4 bytes"),
        ({"bitval": BITVAL.short()}, "4 bytes"),
        ({"mask": MASK.repeat(2)[::2]}, "not contiguous"),
        ({"mask": MASK[None], "bitval": BITVAL}, "shape"),
        ({"mask": MASK.expand(3, 24).clone(), "bitval": BITVAL.expand(3, 24).clone()}, "3 masks"),
        ({"mask": None}, "not a torch tensor"),
        ({"mask": torch.tensor(1, dtype=torch.int32)}, "1-D or 2-D"),
        ({"clusters": CLUSTERS[:-1]}, "number for each row"),
        ({"clusters": CLUSTERS.long()}, "number for each row"),
        ({"clusters": [0] * 100}, "not a torch tensor"),
        ({"index_arr": [1, 2]}, "not a torch tensor"),
        ({"index_arr": torch.tensor([[1]])}, "1-D"),
        ({"index_arr": torch.tensor([1.0])}, "not integers"),
        ({"index_arr": torch.tensor([True])}, "not integers"),
    ],
)
def test_masks_clusters_and_indices(changed: dict[str, Any], message: str) -> None:
    refused(sb.InvalidArgumentError, message, *calls(**changed))


@pytest.mark.parametrize("index", [[-1], [100], [5, 2**62], [0, 1, -(2**63)]])
def test_rows_that_are_not_there(index: list[int]) -> None:
    refused(sb.OutOfRangeError, "out of range: there are 100 rows", *calls(index_arr=torch.tensor(index)))
    packed = TABLE.clone()
    refused(IndexError, "index", lambda: ibp.compress_inplace(packed, MASK, BITVAL, torch.tensor([0, *index])))
    out = torch.zeros(len(index) + 1, 24, dtype=torch.int32)
    arguments = (PACKED, MASK, BITVAL, BITMASK, "cpu", None, torch.tensor([0, *index]))
    refused(IndexError, "index", lambda: ibp.decompress_fetch(*arguments, output_tensor=out))
    assert same(packed, TABLE) and not out.any()


@pytest.mark.parametrize("cluster", [-1, 1, 2**31 - 1])
def test_clusters_that_are_not_there(cluster: int) -> None:
    clusters = CLUSTERS.clone()
    clusters[42] = cluster
    refused(sb.OutOfRangeError, f"cluster {cluster} of row 42", *calls(clusters=clusters))
    for index in [torch.tensor([1, 42])]:
        refused(sb.OutOfRangeError, "of row 42", *calls(clusters=clusters, index_arr=index))
    ibp.get_compress_size(TABLE, MASK, BITVAL, torch.tensor([1]), clusters=clusters)  # looks at no other


def test_devices() -> None:
    there = torch.device("meta")
    refused(sb.UnsupportedError, "device meta", *calls(dataset=TABLE.to(there)))
    for name in ["mask", "bitval"]:
        refused(sb.UnsupportedError, f"{name} is on the device meta", *calls(**{name: MASK.to(there)}))
    refused(sb.UnsupportedError, "index_arr is on", *calls(index_arr=torch.tensor([1], device=there)))
    refused(sb.UnsupportedError, "clusters is on", *calls(clusters=CLUSTERS.to(there)))
    refused(
        NotImplementedError, "the output is on the device cuda",
        lambda: ibp.decompress_fetch(PACKED, MASK, BITVAL, BITMASK, torch.device("cuda")),
        lambda: ibp.decompress_fetch(PACKED, MASK, BITVAL, BITMASK, "cuda:1"),
    )  # fmt: skip
    for device in ["nowhere", None, 3.5]:
        refused(
            sb.InvalidArgumentError, "device", lambda d=device: ibp.decompress_fetch(PACKED, MASK, BITVAL, BITMASK, d)
        )


@pytest.mark.parametrize(
    "bitmask", [BITMASK[:-1], BITMASK.repeat(2), BITMASK.long(), BITMASK.bool(), BITMASK[None], [1, 2, 3, 4], None]
)
def test_bitmasks(bitmask: Any) -> None:
    message = "bitmask (has the shape|is a)"
    refused(sb.InvalidArgumentError, message, lambda: ibp.decompress_fetch(PACKED, MASK, BITVAL, bitmask, "cpu"))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (torch.zeros(99, 24, dtype=torch.int32), "shape"),
        (torch.zeros(2400, dtype=torch.int32), "shape"),
        (torch.zeros(100, 24), "dtype"),
        (torch.zeros(24, 100, dtype=torch.int32).T, "not contiguous"),
        (PACKED, "overlap"),
        ([], "not a torch tensor"),
    ],
)
def test_outputs(out: Any, message: str) -> None:
    refused(
        sb.InvalidArgumentError, message,
        lambda: ibp.decompress_fetch(PACKED, MASK, BITVAL, BITMASK, "cpu", output_tensor=out),
    )  # fmt: skip


def test_gradients() -> None:
    parameter = torch.nn.Parameter(TABLE.float())
    mask, bitval = ibp.preprocess(parameter)
    refused(sb.InvalidArgumentError, "gradient", lambda: ibp.compress_inplace(parameter, mask, bitval))
    bitmask = ibp.compress_inplace(parameter.data, mask, bitval)
    with torch.no_grad():
        packed = parameter.detach().clone()
    refused(
        sb.InvalidArgumentError, "gradient",
        lambda: ibp.decompress_fetch(packed, mask, bitval, bitmask, "cpu", output_tensor=parameter),
    )  # fmt: skip


def test_what_is_written_to_is_known_to_have_changed() -> None:
    table = TABLE.clone()
    out = torch.empty_like(table)
    before = table._version, out._version
    bitmask = ibp.compress_inplace(table, MASK, BITVAL)
    ibp.decompress_fetch(table, MASK, BITVAL, bitmask, "cpu", output_tensor=out)
    assert table._version > before[0] and out._version > before[1]
    with torch.inference_mode():
        assert same(ibp.decompress_fetch(table, MASK, BITVAL, bitmask, "cpu", output_tensor=TABLE.clone()), TABLE)


@pytest.mark.parametrize("threshold", [-0.01, 1.01, float("nan"), float("inf"), "many", [0.8]])
def test_thresholds(threshold: Any) -> None:
    refused(
        sb.InvalidArgumentError, "threshold",
        lambda: ibp.preprocess(TABLE, threshold), lambda: ibp.preprocess_kmeans(TABLE, 2, threshold),
    )  # fmt: skip


def test_numbers() -> None:
    for centroids in [0, -1, 2.5, "2", None]:
        refused(sb.InvalidArgumentError, "centroids", lambda c=centroids: ibp.preprocess_kmeans(TABLE, c))
    refused(sb.InvalidArgumentError, "seed", lambda: ibp.preprocess_kmeans(TABLE, 2, seed=-1))
    for total in [torch.zeros(2, dtype=torch.int64), torch.zeros(1, dtype=torch.int32), 0]:
        message = "compress_total (has the shape|is a)"
        refused(sb.InvalidArgumentError, message, lambda t=total: ibp.get_compress_size(TABLE, MASK, BITVAL, None, t))


def test_damaged_rows() -> None:
    sizes = ibp.get_compress_size(TABLE, MASK, BITVAL)
    rows = [int(sizes.argmin()), int((sizes < 96).nonzero()[-1])]
    for row in rows:
        damaged = PACKED.clone()
        damaged[row, 0] = 0  # no element takes part: their bits need more than the place of a row
        refused(
            sb.CorruptError, f"row {row} is malformed",
            lambda d=damaged: ibp.decompress_fetch(d, MASK, BITVAL, BITMASK, "cpu"),
            lambda d=damaged, r=row: ibp.decompress_fetch(d, MASK, BITVAL, BITMASK, "cpu", index_arr=torch.tensor([r])),
        )  # fmt: skip


def test_condensed_rows() -> None:
    def expand(**changed: Any) -> object:
        given = {"comp_dataset": CONDENSED, "mask": MASK, "bitval": BITVAL, "byte_offsets": OFFSETS, **changed}
        return ibp.decompress_condensed(**given)

    for changed in [
        {"comp_dataset": TABLE}, {"comp_dataset": CONDENSED.long()}, {"byte_offsets": OFFSETS.int()},
        {"byte_offsets": OFFSETS.tolist()}, {"byte_offsets": OFFSETS[None]}, {"mask": None}, {"mask": MASK[:-1]},
        {"output_tensor": CONDENSED}, {"clusters": CLUSTERS[:-1]},
    ]:  # fmt: skip
        refused(sb.InvalidArgumentError, "must be|have|has|not", lambda c=changed: expand(**c))
    for offsets in [OFFSETS + 1, OFFSETS.flip(0), OFFSETS - OFFSETS[0] - 1, OFFSETS * 0, OFFSETS + 2**62]:
        refused(sb.CorruptError, "row [0-9]+ is malformed", lambda o=offsets: expand(byte_offsets=o.contiguous()))
    refused(sb.CorruptError, "malformed", lambda: expand(comp_dataset=CONDENSED[:-1]))
    refused(sb.OutOfRangeError, "there are 100 rows", lambda: expand(index_arr=torch.tensor([100])))


def test_shared_files(tmp_path: Path) -> None:
    path = tmp_path / "features.bin"
    refused(sb.IoError, "features.bin: No such file", lambda: ibp.read_shared(path, [3], torch.int32))
    refused(OSError, "Is a directory", lambda: ibp.read_shared(tmp_path, [3], torch.int32))
    for size in [11, 13]:
        path.write_bytes(bytes(size))
        refused(
            sb.InvalidArgumentError, f"it has {size} bytes, a tensor of that shape 12",
            lambda: ibp.read_shared(path, [3], torch.int32),
        )  # fmt: skip
