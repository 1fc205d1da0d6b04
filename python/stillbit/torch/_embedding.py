"""`Embedding` and `EmbeddingBag`: torch's modules on a compressed table."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .. import _cuda_pool, _pool
from ..errors import InvalidArgumentError, UnsupportedError
from ..tensor import CompressedTensor
from ._arguments import Bags, as_bags, check_input
from ._module import TableModule
from ._pooling import check_first, pooled
from ._tables import from_file
from ._training import trained_bags, trained_rows

POOLED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # what torch pools

Module = TypeVar("Module", bound=TableModule)
Request = Any  # of _pool, or of _cuda_pool


class Embedding(TableModule):
    """`torch.nn.Embedding` whose table stays compressed: the same results, to the last bit.

    Parameters
    ----------
    table : torch.Tensor, numpy.ndarray or Table
        A matrix, in memory or mapped, which is compressed; or a table, of any dtype.
    padding_idx : int, optional
        The row whose gradient is left out in training; negative ones count from the end.
    max_norm : None
        Refused: rows would be rewritten as they are looked up.
    scale_grad_by_freq, sparse : bool
        About gradients, which frozen tables have none of. Those of trained ones are sparse always, and torch has no
        sparse gradients that are scaled.
    trainable : bool
        Let gradients be taken, of a table that is slotted, in memory: see `TableParameter`. What is yet to be
        compressed is, then.
    **options
        Of `stillbit.compress`, for what is yet to be compressed. Unless they say how rows are stored (codec, objective,
        packing, plan), tables of 16-bit floats are stored by the objective ``"speed"`` where it takes at most 8 % more
        memory than the smallest codec.

    Raises
    ------
    InvalidArgumentError
        If the table is no matrix, or cannot be trained and is to be; or an argument is not as described.
    UnsupportedError
        If `max_norm` is given.
    """

    def __init__(
        self,
        table: Any,
        *,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        trainable: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(table, padding_idx, max_norm, scale_grad_by_freq, sparse, trainable, options)

    @classmethod
    def from_module(cls, module: nn.Embedding, *, trainable: bool = False, **options: Any) -> Embedding:
        """Return a module that does what a `torch.nn.Embedding` does; its weight is compressed, and left as it is."""
        return _from_module(cls, nn.Embedding, module, trainable, options)

    @classmethod
    def from_file(cls, path: Any, name: str, **arguments: Any) -> Embedding:
        """Return a module on a tensor of a file, as `EmbeddingBag.from_file`."""
        return _from_file(cls, path, name, arguments)

    def forward(self, input: Tensor) -> Tensor:
        """Look up rows.

        Parameters
        ----------
        input : torch.Tensor
            Row numbers, int32 or int64, of any shape.

        Returns
        -------
        torch.Tensor
            Shape ``input.shape + (embedding_dim,)``.

        Raises
        ------
        OutOfRangeError
            If a number is no row; on a GPU `check` does.
        InvalidArgumentError
            If `input` is not as described, or elsewhere than the module.
        """
        check_input(input, self.device)
        if self._takes_gradients():
            return trained_rows(self.weight, input, self.padding_idx)
        if torch.compiler.is_compiling():
            return torch.ops.stillbit.embedding(self._number, input)
        return self._rows(input)


class EmbeddingBag(TableModule):
    """`torch.nn.EmbeddingBag` whose table stays compressed: the same results, to the last bit.

    Parameters
    ----------
    table : torch.Tensor, numpy.ndarray or Table
        A matrix of f16, bf16, f32 or f64, in memory or mapped, which is compressed; or a table.
    mode : str
        ``"sum"``, ``"mean"`` or ``"max"``.
    include_last_offset : bool
        Whether offsets say where the last bag ends.
    padding_idx : int, optional
        The row that is left out of bags, and of what a mean is divided by; negative ones count from the end.
    max_norm, scale_grad_by_freq, sparse, trainable, **options
        As of `Embedding`.

    Raises
    ------
    InvalidArgumentError, UnsupportedError
        As by `Embedding`; UnsupportedError also for other dtypes.
    """

    def __init__(
        self,
        table: Any,
        *,
        mode: str = "mean",
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        trainable: bool = False,
        **options: Any,
    ) -> None:
        if mode not in ("sum", "mean", "max"):
            raise InvalidArgumentError(f"mode is sum, mean or max, not {mode!r}")
        super().__init__(table, padding_idx, max_norm, scale_grad_by_freq, sparse, trainable, options)
        if self.dtype not in POOLED:
            raise UnsupportedError(f"rows of {self.dtype} cannot be pooled: torch pools f16, bf16, f32 and f64")
        self.mode = mode
        self.include_last_offset = bool(include_last_offset)

    @classmethod
    def from_module(cls, module: nn.EmbeddingBag, *, trainable: bool = False, **options: Any) -> EmbeddingBag:
        """Return a module that does what a `torch.nn.EmbeddingBag` does; its weight is compressed, and left as it is.

        Parameters
        ----------
        module : torch.nn.EmbeddingBag
            Whose ``max_norm`` is None.
        trainable : bool
            Whether the new one can be trained.
        **options
            Of `stillbit.compress`.
        """
        return _from_module(cls, nn.EmbeddingBag, module, trainable, options)

    @classmethod
    def from_file(cls, path: Any, name: str, **arguments: Any) -> EmbeddingBag:
        """Return a module on a tensor of a file.

        Parameters
        ----------
        path : str or os.PathLike
            A compressed file, or the index of several: the table is mapped. An ordinary safetensors file (the package
            safetensors reads it), or a .npy file: the tensor is compressed into memory.
        name : str
            Of the tensor. A .npy file has one without a name, and any will do.
        **arguments
            As of the class.

        Raises
        ------
        IoError, CorruptError
            If the file cannot be read.
        InvalidArgumentError
            If there is no such tensor, or an argument is not as described.
        """
        return _from_file(cls, path, name, arguments)

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        """Look up rows and pool them.

        Parameters
        ----------
        input : torch.Tensor
            Row numbers, int32 or int64: bag after bag in one dimension, or a bag in each row of two; or a nested tensor
            of bags (jagged).
        offsets : torch.Tensor, optional
            Where each bag begins in an `input` of one dimension: int32 or int64.
        per_sample_weights : torch.Tensor, optional
            A factor for each row, of the shape of `input` and the table's dtype; for sums only. Has a gradient.

        Returns
        -------
        torch.Tensor
            Shape ``(bags, embedding_dim)``; zeros for a bag without rows.

        Raises
        ------
        OutOfRangeError
            If a number is no row; on a GPU `check` does.
        InvalidArgumentError
            If an argument is not as described, or elsewhere than the module.
        UnsupportedError
            If there are weights, and the mode is not sum.
        """
        bags = as_bags(self, input, offsets, per_sample_weights)
        if self._takes_gradients():
            return trained_bags(self.weight, bags, self.mode, self.padding_idx)
        if bags.have_gradient() or torch.compiler.is_compiling():
            return torch.ops.stillbit.embedding_bag(self._number, *bags)
        return self._pooled(*bags)

    def _pooled(self, *arguments: Any) -> Tensor:
        bags = Bags(*arguments)
        if not self._is_fused():
            return pooled(self._rows, bags, self.mode, self.padding_idx, each_once=False)
        request = self._request(bags, None)
        run([request])
        return request.out

    def _is_fused(self) -> bool:
        """Say whether rows are pooled as they are expanded."""
        return isinstance(self.table, CompressedTensor)

    def _is_fused_for(self, bags: Bags) -> bool:
        """Say whether a lookup is that alone, without gradients."""
        return self._is_fused() and not self._takes_gradients() and not bags.have_gradient()

    def _request(self, bags: Bags, out: Tensor | None) -> Request:
        """Return what `run` does for bags."""
        input, offsets, weights, include_last_offset = bags
        if self._gpu is not None:  # which looks at offsets itself: reading one here would wait for it
            return _cuda_pool.Request(
                self._gpu, input, offsets, self.mode, weights, self.padding_idx, out, include_last_offset
            )
        check_first(offsets)
        return _pool.Request(
            self.table, input, offsets, self.mode, weights, self.padding_idx, out, include_last_offset, "torch"
        )

    def extra_repr(self) -> str:
        """Describe the module in one line."""
        about = f"{super().extra_repr()}, mode={self.mode!r}"
        return f"{about}, include_last_offset=True" if self.include_last_offset else about


def run(requests: list[Request]) -> None:
    """Do what requests of modules on one device ask for, in one call."""
    if isinstance(requests[0], _cuda_pool.Request):
        _cuda_pool.run(requests)
    else:
        _pool.run(requests, torch.get_num_threads())


def on_table(kind: type[Module], module: Any, table: Any, trainable: bool, **options: Any) -> Module:
    """Return a module of a kind that does on a table what one of torch's does on its weight."""
    arguments = {"mode": module.mode, "include_last_offset": module.include_last_offset} if kind is EmbeddingBag else {}
    make: Any = kind
    result: Module = make(
        table,
        padding_idx=module.padding_idx,
        max_norm=module.max_norm,
        scale_grad_by_freq=module.scale_grad_by_freq,
        sparse=module.sparse,
        trainable=trainable,
        **arguments,
        **options,
    )
    result.train(module.training)
    result.to(module.weight.device)
    return result


def _from_module(kind: type[Module], wanted: Any, module: Any, trainable: bool, options: dict[str, Any]) -> Module:
    if not isinstance(module, wanted):
        raise InvalidArgumentError(f"module is a {type(module).__name__}, not a torch.nn.{wanted.__name__}")
    return on_table(kind, module, module.weight, trainable, **options)


def _from_file(kind: type[Module], path: Any, name: str, arguments: dict[str, Any]) -> Module:
    make: Any = kind
    own = make.__init__.__kwdefaults__
    options = {key: value for key, value in arguments.items() if key not in own}
    table = from_file(path, name, options, is_trained=bool(arguments.get("trainable")))
    result: Module = make(table, **{key: arguments[key] for key in arguments if key in own})
    return result
