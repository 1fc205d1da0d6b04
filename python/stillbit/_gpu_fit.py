"""Tensors on a GPU that come one after the other, compressed there: what crosses the link is compressed."""

from __future__ import annotations

from typing import Any

from ._compress import compress
from ._fit import FITS
from .cuda import Table
from .errors import InvalidArgumentError
from .tensor import CompressedTensor

SAMPLE_BYTES = 131_072  # so many leave the GPU as they are, once for a plan
CODECS = ("ibp", "window", "escape")  # that a GPU encodes with, and that make anything smaller
# A part of the rows' bytes, in which there is room for what of rows does not fit their slots. Of the sample nearly all
# rows do.
OVERFLOW = 32


def is_on_gpu(tensor: Any) -> bool:
    """Say whether a tensor is where a GPU can compress it."""
    return bool(tensor.is_cuda)


class GpuRows:
    """Rows that a GPU compressed, and expands.

    Parameters
    ----------
    table : stillbit.cuda.Table
        With a row for each.
    shape : tuple of int
        What they are seen as.
    """

    def __init__(self, table: Table, shape: tuple[int, ...]) -> None:
        self.table = table
        self.shape = shape

    @property
    def nbytes(self) -> int:
        """Bytes of the memory that they lie in, its room for tails included."""
        return self.table.device_nbytes if self.table.placement == "device" else self.table.pinned_nbytes

    @property
    def codec(self) -> str:
        """How they are compressed."""
        return self.table.codec

    def decompress(self) -> Any:
        """Expand them, on the GPU."""
        return self.table.decompress().view(self.shape)

    def host(self) -> CompressedTensor:
        """Return them compressed in the host's memory, as the CPU does it: packed."""
        rows = self.table.tensor().decompress(like="torch")
        return compress(rows.view(self.shape), packing="packed", row_dims=1)


class GpuFit:
    """How to compress rows on a GPU: learnt on a sample, and again where rows find no room.

    Parameters
    ----------
    codec, objective
        As of `compress`.
    placement : str
        Of the compressed rows, as of `stillbit.cuda.Table`.
    """

    def __init__(self, codec: str | None, objective: str, placement: str = "pinned") -> None:
        self._codec, self._objective, self._placement = codec, objective, placement
        self._template: CompressedTensor | None = None
        self._is_refused = False

    def compress(self, rows: Any, shape: tuple[int, ...] | None = None) -> GpuRows | None:
        """Compress rows on the GPU that they are on, and wait for it.

        Parameters
        ----------
        rows : torch.Tensor
            A matrix.
        shape : tuple of int, optional
            What they are seen as, where that is not a matrix.

        Returns
        -------
        GpuRows or None
            None where the GPU cannot, or should not: the best codec has no encoder there, nothing would become smaller,
            or rows differ so much from each other that they find no room.
        """
        table = None
        if self._template is not None:
            table = _written(self._template, rows, self._placement)
        if table is None and not self._is_refused:
            self._template = self._learnt(rows)
            self._is_refused = self._template is None
            if self._template is not None:
                table = _written(self._template, rows, self._placement)
        return None if table is None else GpuRows(table, tuple(rows.shape) if shape is None else shape)

    def _learnt(self, rows: Any) -> CompressedTensor | None:
        """Return a sample, compressed; None where the GPU cannot follow, or it is hardly smaller."""
        sample = rows[:: max(rows.nbytes // SAMPLE_BYTES, 1)].cpu()
        found = compress(sample, codec=self._codec, packing="slotted", objective=self._objective)
        return found if found.codec in CODECS and found.ratio * FITS >= 1 else None


def _written(template: CompressedTensor, rows: Any, placement: str) -> Table | None:
    """Return a table of the template's kind with these rows; None if they find no room."""
    row_nbytes = rows.shape[1] * rows.element_size()
    table = Table(
        template,
        rows.device,
        placement,
        capacity_rows=len(rows),
        overflow_nbytes=rows.nbytes // OVERFLOW + row_nbytes,
        empty=True,
    )
    table.append(rows)
    try:
        table.check()
    except InvalidArgumentError:  # no room
        return None
    return table
