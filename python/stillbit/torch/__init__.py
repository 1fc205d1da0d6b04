"""Embedding tables and gathers for torch: modules to drop in, optimisers, and operators for ``torch.compile``.

>>> import torch, stillbit as sb, stillbit.torch as sbt
>>> bag = sbt.EmbeddingBag.from_module(torch.nn.EmbeddingBag(1000, 64, mode="sum"))
>>> bag(torch.tensor([[1, 2], [3, 4]])).shape
torch.Size([2, 64])

Frozen tables are data: looking rows up is not differentiable, `gather` never is, and results require no gradient but
for ``per_sample_weights``. Tables that are to be trained say so (``trainable=True``).

`save_on_cpu_compressed` keeps what training saves for the backward pass compressed.
"""

from __future__ import annotations

from ._activations import save_on_cpu_compressed
from ._collection import EmbeddingBagCollection
from ._embedding import Embedding, EmbeddingBag
from ._gather import gather
from ._optimizers import SparseAdam, SparseSGD
from ._swap import Swaps, compress_embeddings
from ._tables import Table
from ._training import TableParameter

__all__ = [
    "Embedding",
    "EmbeddingBag",
    "EmbeddingBagCollection",
    "SparseAdam",
    "SparseSGD",
    "Swaps",
    "Table",
    "TableParameter",
    "compress_embeddings",
    "gather",
    "save_on_cpu_compressed",
]
