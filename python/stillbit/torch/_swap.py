"""`compress_embeddings`: the embeddings of a model, swapped for compressed ones."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from ..errors import InvalidArgumentError
from ..tensor import CompressedTensor
from ._embedding import POOLED, Embedding, EmbeddingBag, on_table
from ._tables import compressed

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Swap(NamedTuple):
    """An embedding that was swapped.

    Attributes
    ----------
    names : tuple of str
        Where it is in the model: at several places, where they share it or its weight.
    raw_nbytes, nbytes : int
        Bytes of the weight, and of the compressed table.
    codec : str
        How the table is coded.
    """

    names: tuple[str, ...]
    raw_nbytes: int
    nbytes: int
    codec: str


class Swaps(NamedTuple):
    """What `compress_embeddings` did.

    Attributes
    ----------
    swapped : list of Swap
        In the model's order.
    left_alone : dict of str to str
        Embeddings that are as they were, by name, and why.
    """

    swapped: list[Swap]
    left_alone: dict[str, str]

    @property
    def raw_nbytes(self) -> int:
        """Bytes of the weights that were swapped."""
        return sum(each.raw_nbytes for each in self.swapped)

    @property
    def nbytes(self) -> int:
        """Bytes of the tables that stand in their places."""
        return sum(each.nbytes for each in self.swapped)

    def __str__(self) -> str:
        lines = [
            f"{', '.join(each.names)}: {each.raw_nbytes} bytes in {each.nbytes} ({each.codec})" for each in self.swapped
        ]
        return "\n".join(lines + [f"{name}: left alone, {why}" for name, why in self.left_alone.items()])


def compress_embeddings(model: nn.Module, min_rows: int = 1000, *, trainable: bool = False, **options: Any) -> Swaps:
    """Swap the embeddings of a model for compressed ones, in place; results stay the same, to the last bit.

    Swapped are `torch.nn.Embedding` and `torch.nn.EmbeddingBag` themselves, not classes made of them. Left alone, each
    with its reason, are those whose weight another module has, too (a tied output layer), whose rows are few, which
    would not become smaller, or which do what a table cannot. Embeddings that share a weight share its table.

    Parameters
    ----------
    model : torch.nn.Module
        Is changed. Weights are freed one by one as their tables are made.
    min_rows : int
        Embeddings with fewer are left alone.
    trainable : bool
        Whether the tables are to be trained.
    **options
        Of `stillbit.compress`: ``packing="packed"`` makes tables smaller, lookups slower, and training impossible. The
        objective is that of `EmbeddingBag`.

    Returns
    -------
    Swaps
        What was swapped, with bytes before and after, and what was not.

    Raises
    ------
    InvalidArgumentError
        If the model is an embedding itself: use ``from_module``.
    """
    if isinstance(model, (nn.Embedding, nn.EmbeddingBag)):
        raise InvalidArgumentError("the model is an embedding itself, and nothing holds it: use from_module")
    swaps = Swaps([], {})
    for modules in _by_weight(model).values():
        names = tuple(name for each in modules for name in each)
        why = _reason(model, names, min_rows, trainable)
        table = None if why else _smaller(model.get_submodule(names[0]).weight, options, trainable)
        if table is None:
            swaps.left_alone.update(dict.fromkeys(names, why or "it would not become smaller"))
            continue
        for each in modules:
            _swap(model, each, table, trainable)
        swaps.swapped.append(Swap(names, table.raw_nbytes, table.nbytes, table.codec))
    return swaps


def _by_weight(model: nn.Module) -> dict[Any, list[list[str]]]:
    """Return the names of each embedding, of those together that share a weight."""
    groups: dict[Any, dict[int, list[str]]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
            groups.setdefault(_place(module.weight), {}).setdefault(id(module), []).append(name)
    return {place: list(modules.values()) for place, modules in groups.items()}


def _place(weight: Tensor) -> Any:
    """Return what is the same for two parameters if they are one, or lie in the same memory."""
    return weight.data_ptr() or id(weight)


def _reason(model: nn.Module, names: tuple[str, ...], min_rows: int, trainable: bool) -> str | None:
    """Say why embeddings that share a weight are left alone; None where nothing speaks against it."""
    place = _place(model.get_submodule(names[0]).weight)
    for owner, module in model.named_modules(remove_duplicate=False):
        for own, parameter in module.named_parameters(recurse=False):
            if owner not in names and _place(parameter) == place:
                return f"its weight is also {owner}.{own}" if owner else f"its weight is also {own}"
    modules = [model.get_submodule(name) for name in names]
    for module in modules:
        why = _reason_of(module, min_rows, trainable)
        if why:
            return why
    return None if len({(each.weight.shape, each.weight.dtype) for each in modules}) == 1 else "its weight is a view"


def _reason_of(module: Any, min_rows: int, trainable: bool) -> str | None:
    weight = module.weight
    if type(module) not in (nn.Embedding, nn.EmbeddingBag):
        return f"it is a {type(module).__name__}, a class of its own"
    if module.num_embeddings < min_rows:
        return f"it has fewer than {min_rows} rows"
    if module.max_norm is not None:
        return "it has max_norm, by which rows are rewritten as they are looked up"
    if any(getattr(module, hooks) for hooks in _HOOKS) or "forward" in vars(module):
        return "it has hooks"
    if weight.device.type not in ("cpu", "cuda") or (trainable and weight.is_cuda):
        return f"its weight is on {weight.device}"
    if trainable and module.scale_grad_by_freq:
        return "it has scale_grad_by_freq, which sparse gradients do not"
    if isinstance(module, nn.EmbeddingBag) and weight.dtype not in POOLED:
        return f"rows of {weight.dtype} cannot be pooled"
    return None


def _smaller(weight: Tensor, options: dict[str, Any], trainable: bool) -> CompressedTensor | None:
    """Return a weight compressed; None if that does not make it smaller."""
    table = compressed(weight, options, is_trained=trainable)
    return table if table.nbytes < table.raw_nbytes else None


def _swap(model: nn.Module, names: list[str], table: CompressedTensor, trainable: bool) -> None:
    """Put a module on the table where an embedding is."""
    module = model.get_submodule(names[0])
    kind = Embedding if isinstance(module, nn.Embedding) else EmbeddingBag
    new = on_table(kind, module, table, trainable)
    for name in names:
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, new)
