"""`EmbeddingBagCollection`: the tables of a model, looked up in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InvalidArgumentError
from ._arguments import Bags, as_bags
from ._embedding import EmbeddingBag, run


class EmbeddingBagCollection(nn.Module):
    """Embedding bags by the name of their feature, looked up together: in one call, whose threads all tables share.

    On a GPU that is a launch for each kind of table (`stillbit.cuda.pool`). Bags that are trained, on several devices,
    or on tables that are not compressed are looked up one after the other.

    Parameters
    ----------
    bags : mapping of str to EmbeddingBag
        One for each feature; features may share one.

    Raises
    ------
    InvalidArgumentError
        If there is none, or one is something else.
    """

    def __init__(self, bags: Mapping[str, EmbeddingBag]) -> None:
        super().__init__()
        if not bags:
            raise InvalidArgumentError("a collection has a bag at least")
        for name, bag in bags.items():
            if not isinstance(bag, EmbeddingBag):
                raise InvalidArgumentError(
                    f"bags[{name!r}] is a {type(bag).__name__}, not a stillbit.torch.EmbeddingBag"
                )
        self.embedding_bags = nn.ModuleDict(bags)

    def forward(self, features: Mapping[str, Any]) -> dict[str, Tensor]:
        """Look up all features.

        Parameters
        ----------
        features : mapping of str to Tensor or tuple of Tensor
            What each bag is called with: ``input``, or ``(input, offsets)``, or ``(input, offsets, weights)``.

        Returns
        -------
        dict of str to Tensor
            Shape ``(bags, embedding_dim)`` of each feature, in the collection's order.

        Raises
        ------
        InvalidArgumentError
            If a feature is missing, or there is no bag for one.
        OutOfRangeError, UnsupportedError
            As by `EmbeddingBag.forward`.
        """
        bags = self._bags(features)
        if not _in_one_call(bags):
            return {name: bag(*_arguments(features[name])) for name, (bag, _) in bags.items()}
        requests = {name: bag._request(each, None) for name, (bag, each) in bags.items()}
        run(list(requests.values()))
        return {name: request.out for name, request in requests.items()}

    def concatenated(self, features: Mapping[str, Any]) -> Tensor:
        """Look up all features, side by side: ``torch.cat(list(forward(features).values()), dim=1)``, without copies.

        Parameters
        ----------
        features : mapping of str to Tensor or tuple of Tensor
            As of `forward`, with as many bags each.

        Returns
        -------
        torch.Tensor
            Shape ``(bags, sum of embedding_dim)``.

        Raises
        ------
        InvalidArgumentError
            If features do not have as many bags, or tables not one dtype; or as by `forward`.
        """
        bags = self._bags(features)
        counts = {name: each.num_bags for name, (_, each) in bags.items()}
        if len(set(counts.values())) > 1:
            raise InvalidArgumentError(f"features do not have as many bags each: {counts}")
        dtypes = {bag.dtype for bag, _ in bags.values()}
        if len(dtypes) > 1:
            raise InvalidArgumentError(f"tables do not have one dtype: {', '.join(map(str, dtypes))}")
        if not _in_one_call(bags):
            return torch.cat(list(self(features).values()), dim=1)
        widths = [bag.embedding_dim for bag, _ in bags.values()]
        device = next(iter(bags.values()))[0].device
        out = torch.empty((next(iter(counts.values())), sum(widths)), dtype=dtypes.pop(), device=device)
        columns = out.split(widths, dim=1)
        run([bag._request(each, part) for (bag, each), part in zip(bags.values(), columns)])
        return out

    def _bags(self, features: Mapping[str, Any]) -> dict[str, tuple[EmbeddingBag, Bags]]:
        if features.keys() != self.embedding_bags.keys():
            differ = ", ".join(sorted(features.keys() ^ set(self.embedding_bags.keys())))
            raise InvalidArgumentError(f"features and bags do not have the same names: {differ}")
        return {name: (bag, as_bags(bag, *_arguments(features[name]))) for name, bag in self.embedding_bags.items()}


def _in_one_call(bags: Mapping[str, tuple[EmbeddingBag, Bags]]) -> bool:
    """Say whether all are pooled as they are expanded, on one device, and nothing is being compiled."""
    if torch.compiler.is_compiling() or not all(bag._is_fused_for(each) for bag, each in bags.values()):
        return False
    return len({bag.device for bag, _ in bags.values()}) == 1


def _arguments(feature: Any) -> tuple[Any, Any, Any]:
    """Return input, offsets and weights of a feature; None for what it has not."""
    given = feature if isinstance(feature, tuple) else (feature,)
    if not 1 <= len(given) <= 3:
        raise InvalidArgumentError(f"a feature is input, offsets and weights, and this has {len(given)} parts")
    input, offsets, weights = (*given, None, None)[:3]
    return input, offsets, weights
