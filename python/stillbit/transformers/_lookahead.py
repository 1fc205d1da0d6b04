"""Tensors of compressed files one after the other, of which many are expanded at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._whole_file import WholeFile
from .loading import empty, expand_on_gpu, open_checkpoint, opened

# Expanded at once: enough for all threads to be busy, and little beside a model.
WINDOW_NBYTES = 64 << 20


class Lookahead:
    """Expands tensors in the order in which they are going to be asked for, some ahead; each is given once.

    Parameters
    ----------
    files : list of Path
        Compressed.

    Raises
    ------
    IoError, CorruptError, InvalidArgumentError
        If one cannot be read, breaks the format, or is not compressed.
    """

    def __init__(self, files: list[Path]) -> None:
        self._file_of: dict[str, Path] = {}
        self._wholes = {file: opened(file, WholeFile) for file in files}
        for file, whole in self._wholes.items():
            self._file_of |= dict.fromkeys(whole.entries, file)
        self._order: list[str] = []
        self._place_of: dict[str, int] = {}
        self._next = 0  # in the order: all before it were expanded, or are not going to be
        self._ready: dict[str, Tensor] = {}
        self._on_gpus: dict[Path, dict[str, Any]] = {}

    @property
    def names(self) -> list[str]:
        """Of all tensors."""
        return list(self._file_of)

    def expect(self, order: list[str]) -> None:
        """Say which tensors the CPU is going to expand, in which order."""
        self._order = order
        self._place_of = {name: place for place, name in enumerate(order)}

    def take(self, name: str, device: torch.device) -> Tensor:
        """Return a tensor in memory of its own, its checksum compared.

        Raises
        ------
        CorruptError
            If it, or one that was expanded with it, differs: the message names file and tensor.
        """
        if device.type == "cuda":
            return self._by_gpu(name, device)
        if name not in self._ready:
            self._expand(name)
        return self._ready.pop(name)

    def _expand(self, name: str) -> None:
        """Expand a tensor, and those of its file that come next."""
        file = self._file_of[name]
        entries = self._wholes[file].entries
        names, nbytes = [name], entries[name].nbytes
        place = self._place_of.get(name)
        if place is not None and place >= self._next:
            self._next = place + 1
            while self._next < len(self._order):
                following = self._order[self._next]
                if self._file_of[following] != file or nbytes + entries[following].nbytes > WINDOW_NBYTES:
                    break
                names.append(following)
                nbytes += entries[following].nbytes
                self._next += 1
        cpu = torch.device("cpu")
        outs = {each: empty(entries[each].dtype_name, entries[each].shape, cpu) for each in names}
        self._wholes[file].expand(((each, out.data_ptr()) for each, out in outs.items()), are_new=True)
        self._ready |= outs

    def _by_gpu(self, name: str, device: torch.device) -> Tensor:
        file = self._file_of[name]
        if file not in self._on_gpus:
            self._on_gpus[file] = open_checkpoint(file)
        tensor = self._on_gpus[file][name]
        out = empty(tensor.dtype_name, tensor.shape, device)
        expand_on_gpu(file, name, tensor, out, True)
        return out
