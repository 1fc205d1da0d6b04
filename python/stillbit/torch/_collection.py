"""`EmbeddingBagCollection`: the tables of a model, looked up in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..errors import InvalidArgumentError
from ._embedding import EmbeddingBag


class EmbeddingBagCollection(nn.Module):
    """Embedding bags by the name of their feature, looked up together.

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
        if features.keys() != self.embedding_bags.keys():
            differ = ", ".join(sorted(features.keys() ^ set(self.embedding_bags.keys())))
            raise InvalidArgumentError(f"features and bags do not have the same names: {differ}")
        result = {}
        for name, bag in self.embedding_bags.items():
            arguments = features[name]
            result[name] = bag(*arguments) if isinstance(arguments, tuple) else bag(arguments)
        return result
