"""All tensors of a compressed file at once: shapes and dtypes by name, and one call that expands any of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from . import _core
from ._kinds import Shape
from ._sharded import INDEX_SUFFIX, check_parts, read_index
from .errors import CorruptError


class Entry(NamedTuple):
    """A tensor of a file."""

    dtype_name: str
    shape: Shape
    nbytes: int
    file: str  # of an index: the shard
    parts: list[tuple[int, int]]  # the tensor, or its parts along the first dimension: number in the file, bytes


class WholeFile:
    """A compressed file, or the index of several, whose tensors are expanded many at a time.

    There is no object for each tensor, and Python's lock is released once: both take as long as expanding a small one.

    Parameters
    ----------
    path : str or os.PathLike
        As of `load_file`.

    Raises
    ------
    IoError, CorruptError, InvalidArgumentError
        As `load_file`.
    """

    def __init__(self, path: Any) -> None:
        self._core = _core.CompressedFile(Path(path))
        self.entries = {
            name: Entry(dtype, shape, nbytes, file, [(number, nbytes)])
            for number, (name, dtype, shape, nbytes, file) in enumerate(self._core.entries)
        }
        if str(path).endswith(INDEX_SUFFIX):
            self._join(Path(path), read_index(Path(path))[0])

    def expand(
        self, outs: Iterable[tuple[str, int]], *, num_threads: int = 0, verify: bool = True, are_new: bool = False
    ) -> None:
        """Expand tensors into memory of the CPU.

        Parameters
        ----------
        outs : iterable of (str, int)
            Names, and addresses of as many bytes as the tensors have.
        num_threads : int
            0 for all processors.
        verify : bool
            Compare checksums.
        are_new : bool
            The memory is new to the process: its pages are asked for many at a time.

        Raises
        ------
        CorruptError
            Naming file and tensor; the memory then holds anything.
        """
        outputs = []
        for name, address in outs:
            for number, nbytes in self.entries[name].parts:
                outputs.append((number, address, nbytes))
                address += nbytes
        self._core.decompress(outputs, are_new, verify, num_threads)

    def _join(self, path: Path, parts: dict[str, list[str]]) -> None:
        """Make one tensor of those that an index has in parts."""
        if not parts:
            return
        check_parts(path, parts, {name: (entry.shape or (0,))[0] for name, entry in self.entries.items()})
        for name, of in parts.items():
            some = [self.entries.pop(part) for part in of]
            if len({(entry.dtype_name, entry.shape[1:]) for entry in some}) > 1:
                raise CorruptError(f"{path}: the parts of tensor {name!r} differ in shape or dtype")
            shape = (sum(entry.shape[0] for entry in some), *some[0].shape[1:])
            whole = [part for entry in some for part in entry.parts]
            self.entries[name] = Entry(some[0].dtype_name, shape, sum(each.nbytes for each in some), str(path), whole)
