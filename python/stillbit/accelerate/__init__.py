"""Models whose weights rest compressed, and are expanded layer by layer while they run.

>>> import stillbit.accelerate
>>> offload = stillbit.accelerate.cpu_offload(model, "cuda", budget=8 << 30)
>>> model.generate(**inputs)  # the same tokens, to the last bit of the logits
>>> offload.remove()
"""

from __future__ import annotations

from ._mapping import CompressedWeights
from ._offload import Offload, cpu_offload

__all__ = ["CompressedWeights", "Offload", "cpu_offload"]
