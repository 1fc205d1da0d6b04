"""The Python interface of the published invariant bit packing, on the CPU: ``import stillbit.ibp as ibp``.

Names, arguments, results and the layout of compressed rows are those of the artifact of A. K. Kamath, A. Krishnamurthy,
M. Canini and S. Peter, "Reducing the GPU Memory Bottleneck with Lossless Compression for ML", EuroSys 2026; what is
keyword-only is new. Tensors are on the CPU, contiguous, and of any dtype with elements of 1, 2, 4 or 8 bytes: only
their bits matter. `stillbit.compress` makes tensors smaller than this does, and takes care of masks by itself.

>>> import torch, stillbit.ibp as ibp
>>> table = torch.randint(100, (1000, 64), dtype=torch.int32)
>>> mask, bitval = ibp.preprocess(table)
>>> packed = table.clone()
>>> bitmask = ibp.compress_inplace(packed, mask, bitval)
>>> torch.equal(ibp.decompress_fetch(packed, mask, bitval, bitmask, "cpu"), table)
True
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ._kinds import torch_kind

torch_kind()  # says so where torch is missing

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from . import _ibp  # noqa: E402
from ._arguments import count  # noqa: E402
from .errors import InvalidArgumentError, IoError  # noqa: E402

__all__ = [
    "compress",
    "compress_condensed",
    "compress_inplace",
    "decompress_condensed",
    "decompress_fetch",
    "get_compress_size",
    "get_single_compress_len",
    "preprocess",
    "preprocess_kmeans",
    "print_debug",
    "read_shared",
]

_debug = False


def print_debug(flag: bool) -> None:
    """Say whether `preprocess` and `preprocess_kmeans` print what they find, on standard output."""
    global _debug
    _debug = bool(flag)


def _threshold(threshold: Any) -> float | None:
    try:
        return None if threshold is None else float(threshold)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"threshold is a number from 0 to 1, or None, not {threshold!r}") from None


def _report(what: str, stored: int, rows: _ibp.Rows) -> None:
    if _debug:
        raw = rows.num_rows * rows.row_words * rows.word_bytes
        print(f"stillbit.ibp: {what}: {stored} of {raw} bytes ({100 * stored / max(1, raw):.2f} %)")


def preprocess(dataset: Tensor, threshold: float | None = None) -> tuple[Tensor, Tensor]:
    """Find the bits that are the same in most rows of each column.

    Parameters
    ----------
    dataset : torch.Tensor
        Shape (rows, columns).
    threshold : float, optional
        From 0 to 1: a bit is invariant when it has one value in more than this share of the rows, or in all of them.
        None tries 0.70, 0.75 … 1.00, and takes what makes the data smallest; nothing is invariant if none does.

    Returns
    -------
    mask, bitval : torch.Tensor
        Shape (columns,), integers as wide as the elements: invariant bits, and what they are.

    Raises
    ------
    InvalidArgumentError
        For a tensor of another kind, shape or width, or a threshold that is none.
    UnsupportedError
        If the tensor is not on the CPU.
    """
    rows = _ibp.rows_of(dataset, "dataset", (2,))
    mask = torch.zeros(rows.row_words, dtype=_ibp.WORD_DTYPES[rows.word_bytes])
    bitval = torch.zeros_like(mask)
    for found, stored in rows.core.ibp_find_masks(
        rows.native, _threshold(threshold), mask.data_ptr(), bitval.data_ptr()
    ):
        _report(f"threshold {found:.2f}", stored, rows)
    return mask, bitval


def preprocess_kmeans(
    dataset: Tensor, centroids: int, threshold: float | None = None, *, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Cluster rows by their bits, and find the invariant bits of each cluster.

    Rows go to the masks that store them in the fewest bytes, and masks are made anew of their rows, up to 10 times
    (Lloyd's iteration), from rows drawn at random.

    Parameters
    ----------
    dataset : torch.Tensor
        Shape (rows, columns).
    centroids : int
        Number of clusters, above 0. Those beyond the number of rows stay empty.
    threshold : float, optional
        As of `preprocess`; None takes the best for each cluster.
    seed : int
        Not negative. The same one gives the same clusters.

    Returns
    -------
    mask, bitval : torch.Tensor
        Shape (centroids, columns), integers as wide as the elements.
    clusters : torch.Tensor
        Shape (rows,), int32: the argument `clusters` of the other functions.

    Raises
    ------
    InvalidArgumentError, UnsupportedError
        As `preprocess`.
    """
    rows = _ibp.rows_of(dataset, "dataset", (2,))
    num_clusters = count(centroids, "centroids")
    if num_clusters == 0:
        raise InvalidArgumentError("centroids is 0: there must be a cluster")
    mask = torch.zeros(num_clusters, rows.row_words, dtype=_ibp.WORD_DTYPES[rows.word_bytes])
    bitval = torch.zeros_like(mask)
    clusters = torch.zeros(rows.num_rows, dtype=torch.int32)
    totals = rows.core.ibp_find_clusters(
        rows.native, num_clusters, _threshold(threshold), count(seed, "seed"), mask.data_ptr(), bitval.data_ptr(),
        clusters.data_ptr(),
    )  # fmt: skip
    for number, stored in enumerate(totals, 1):
        _report(f"{num_clusters} clusters, round {number}", stored, rows)
    return mask, bitval, clusters


def get_compress_size(
    dataset: Tensor,
    mask: Tensor,
    bitval: Tensor,
    index_arr: Tensor | None = None,
    compress_total: Tensor | None = None,
    *,
    clusters: Tensor | None = None,
) -> Tensor:
    """Return the bytes that each row takes, exactly as the compressing functions write it.

    Parameters
    ----------
    dataset : torch.Tensor
        Shape (rows, columns), or (columns,): one row.
    mask, bitval : torch.Tensor
        From `preprocess`, shape (columns,); or from `preprocess_kmeans`, shape (centroids, columns), with `clusters`.
        Elements as wide as the data's.
    index_arr : torch.Tensor, optional
        Row numbers, integers of shape (n,): which rows, in this order.
    compress_total : torch.Tensor, optional
        Shape (1,), int64: the sum of the sizes is added to it.
    clusters : torch.Tensor, optional
        From `preprocess_kmeans`, for all rows of the data.

    Returns
    -------
    torch.Tensor
        Shape (rows,) or (n,), int64. A row that would not shrink is stored raw, and has its own size.

    Raises
    ------
    OutOfRangeError
        For a row number or a cluster that does not exist.
    InvalidArgumentError
        For tensors of another kind, shape or width, or that are not contiguous.
    UnsupportedError
        For tensors that are not on the CPU.
    """
    rows = _ibp.rows_of(dataset, "dataset")
    masks = _ibp.masks_of(mask, bitval, clusters, rows)
    index = _ibp.index_of(index_arr)
    if compress_total is not None:
        _ibp.vector_of(compress_total, "compress_total", torch.int64, 1, "one number")
    sizes = torch.empty(index.count(rows.num_rows), dtype=torch.int64)
    rows.core.ibp_measure(rows.native, masks, index.native, sizes.data_ptr())
    if compress_total is not None:
        compress_total += sizes.sum()
    return sizes


def get_single_compress_len(
    dataset: Tensor,
    mask: Tensor,
    bitval: Tensor,
    index_arr: Tensor | None = None,
    *,
    clusters: Tensor | None = None,
) -> int:
    """Return the mean length of a compressed row, in elements, rounded down: the `comp_len` of `decompress_fetch`.

    Arguments and errors are those of `get_compress_size`. Of no rows it is 0.
    """
    sizes = get_compress_size(dataset, mask, bitval, index_arr, clusters=clusters)
    return int(sizes.sum()) // (sizes.numel() * dataset.element_size()) if sizes.numel() else 0


def compress_inplace(
    dataset: Tensor,
    mask: Tensor,
    bitval: Tensor,
    index_arr: Tensor | None = None,
    *,
    clusters: Tensor | None = None,
) -> Tensor:
    """Compress rows where they lie: each starts where it did, and zeros fill its place.

    Parameters
    ----------
    dataset : torch.Tensor
        Shape (rows, columns), or (columns,): one row. Its rows are overwritten.
    mask, bitval, clusters
        As of `get_compress_size`.
    index_arr : torch.Tensor, optional
        Row numbers, integers of shape (n,): the rows to compress. The others stay as they are. A row that is named
        twice is compressed once.

    Returns
    -------
    torch.Tensor
        Shape (⌈rows / 32⌉,), int32: bit i % 32 of word i / 32 says whether row i of the data is compressed.

    Raises
    ------
    OutOfRangeError, InvalidArgumentError, UnsupportedError
        As `get_compress_size`; also InvalidArgumentError for data that requires a gradient. Nothing was written then.
    """
    rows = _ibp.rows_of(dataset, "dataset")
    _ibp.check_written(dataset, "dataset")
    masks = _ibp.masks_of(mask, bitval, clusters, rows)
    index = _ibp.index_of(index_arr)
    bitmask = torch.zeros((rows.num_rows + 31) // 32, dtype=torch.int32)
    rows.core.ibp_compress_in_place(rows.native, masks, index.native, bitmask.data_ptr(), bitmask.numel())
    _ibp.written(dataset)
    return bitmask


def compress_condensed(
    dataset: Tensor,
    mask: Tensor,
    bitval: Tensor,
    index_arr: Tensor | None = None,
    *,
    clusters: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compress rows into new memory, back to back.

    Arguments and errors are those of `get_compress_size`.

    Returns
    -------
    comp_dataset : torch.Tensor
        One dimension, of the data's dtype.
    byte_offsets : torch.Tensor
        Shape (rows,) or (n,), int64: where each row ends, in bytes; the sums of `get_compress_size`. A row as long as
        a raw one is raw.
    """
    rows = _ibp.rows_of(dataset, "dataset")
    ends = get_compress_size(dataset, mask, bitval, index_arr, clusters=clusters).cumsum(0)
    total = int(ends[-1]) if ends.numel() else 0
    masks = _ibp.masks_of(mask, bitval, clusters, rows)
    index = _ibp.index_of(index_arr)
    condensed = torch.empty(total // rows.word_bytes, dtype=dataset.dtype)
    rows.core.ibp_compress_condensed(rows.native, masks, index.native, ends.data_ptr(), condensed.data_ptr(), total)
    return condensed, ends


compress = compress_condensed


def decompress_fetch(
    comp_dataset: Tensor,
    mask: Tensor,
    bitval: Tensor,
    bitmask: Tensor,
    device: torch.device | str,
    comp_len: int | None = None,
    index_arr: Tensor | None = None,
    nblks: int | None = None,
    nthds: int | None = None,
    imp: int | None = None,
    output_tensor: Tensor | None = None,
    *,
    clusters: Tensor | None = None,
) -> Tensor:
    """Expand rows that `compress_inplace` compressed.

    Parameters
    ----------
    comp_dataset : torch.Tensor
        Shape (rows, columns), or (columns,): one row.
    mask, bitval, clusters
        As of `get_compress_size`, and the same as when it was compressed.
    bitmask : torch.Tensor
        From `compress_inplace`, for these rows.
    device : torch.device or str
        Of the result: the CPU.
    comp_len, nblks, nthds, imp
        What a GPU reads ahead, and how it is used. The CPU takes no notice of them.
    index_arr : torch.Tensor, optional
        Row numbers, integers of shape (n,): which rows, in this order.
    output_tensor : torch.Tensor, optional
        Where to write: contiguous, of the data's dtype and the result's shape.

    Returns
    -------
    torch.Tensor
        Shape (rows, columns) or (n, columns): `output_tensor` where it is given.

    Raises
    ------
    CorruptError
        For a row whose bits do not fit its place; the output is partly written then.
    OutOfRangeError, InvalidArgumentError, UnsupportedError
        As `get_compress_size`; nothing was written then.
    """
    rows = _ibp.rows_of(comp_dataset, "comp_dataset")
    masks = _ibp.masks_of(mask, bitval, clusters, rows)
    words = (rows.num_rows + 31) // 32
    _ibp.vector_of(bitmask, "bitmask", torch.int32, words, f"a bit for each of {rows.num_rows} rows")
    index = _ibp.index_of(index_arr)
    shape = (index.count(rows.num_rows), rows.row_words)
    out = _ibp.output_of(output_tensor, device, comp_dataset, shape)
    rows.core.ibp_decompress_in_place(rows.native, masks, bitmask.data_ptr(), words, index.native, out.data_ptr())
    if output_tensor is not None:
        _ibp.written(out)
    return out


def decompress_condensed(
    comp_dataset: Tensor,
    mask: Tensor,
    bitval: Tensor,
    byte_offsets: Tensor,
    device: torch.device | str = "cpu",
    index_arr: Tensor | None = None,
    output_tensor: Tensor | None = None,
    *,
    clusters: Tensor | None = None,
) -> Tensor:
    """Expand rows that `compress_condensed` compressed; the artifact cannot.

    Parameters
    ----------
    comp_dataset, byte_offsets : torch.Tensor
        From `compress_condensed`.
    mask, bitval : torch.Tensor
        As of `get_compress_size`, and the same as when it was compressed.
    device, index_arr, output_tensor
        As of `decompress_fetch`; rows are numbered as they are stored.
    clusters : torch.Tensor, optional
        Of the rows as they are stored: ``clusters[index_arr]`` where an index chose them.

    Returns
    -------
    torch.Tensor
        Shape (rows, columns) or (n, columns): `output_tensor` where it is given.

    Raises
    ------
    CorruptError, OutOfRangeError, InvalidArgumentError, UnsupportedError
        As `decompress_fetch`.
    """
    condensed = _ibp.rows_of(comp_dataset, "comp_dataset", (1,))
    if not isinstance(byte_offsets, Tensor) or not isinstance(mask, Tensor) or mask.dim() == 0:
        raise InvalidArgumentError("byte_offsets and mask are torch tensors, and mask has columns")
    num_rows, row_words = byte_offsets.numel(), mask.shape[-1]
    _ibp.vector_of(byte_offsets, "byte_offsets", torch.int64, num_rows, "the end of each row")
    rows = replace(condensed, num_rows=num_rows, row_words=row_words)
    masks = _ibp.masks_of(mask, bitval, clusters, rows)
    index = _ibp.index_of(index_arr)
    out = _ibp.output_of(output_tensor, device, comp_dataset, (index.count(num_rows), row_words))
    rows.core.ibp_decompress_condensed(
        condensed.native, num_rows, row_words, masks, byte_offsets.data_ptr(), index.native, out.data_ptr()
    )
    if output_tensor is not None:
        _ibp.written(out)
    return out


def read_shared(filename: str | os.PathLike[str], shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Read a file of bare elements into a tensor in memory that processes can share.

    Parameters
    ----------
    filename : path
        Holds exactly the elements, in C order, and nothing else.
    shape : sequence of int
        Of the tensor.
    dtype : torch.dtype
        Of the tensor.

    Returns
    -------
    torch.Tensor
        On the CPU, in shared memory: handed to another process, it is not copied.

    Raises
    ------
    IoError
        If the file cannot be read.
    InvalidArgumentError
        If it has more or fewer bytes.
    """
    tensor = torch.empty(tuple(shape), dtype=dtype).share_memory_()
    num_bytes = tensor.numel() * tensor.element_size()
    try:
        with open(filename, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != num_bytes:
                raise InvalidArgumentError(
                    f"{os.fspath(filename)}: it has {size} bytes, a tensor of that shape {num_bytes}"
                )
            view = memoryview(tensor.reshape(-1).view(torch.uint8).numpy())
            done = 0
            while done < num_bytes:
                read = file.readinto(view[done:])
                if not read:
                    raise IoError(f"{os.fspath(filename)}: it ended after {done} of {num_bytes} bytes")
                done += read
    except OSError as error:
        if isinstance(error, IoError):
            raise
        raise IoError(f"{os.fspath(filename)}: {error.strerror}") from error
    return tensor
