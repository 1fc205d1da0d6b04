"""Compressed checkpoints for transformers.

Importing this registers the method that the config of a compressed checkpoint names, so that ``from_pretrained`` reads
it.

>>> import stillbit.transformers
>>> model = AutoModelForCausalLM.from_pretrained("model-compressed")
>>> state = stillbit.transformers.load("model-compressed")
"""

from __future__ import annotations

from .loading import load, load_into
from .quantizer import StillbitConfig, StillbitQuantizer

__all__ = ["StillbitConfig", "StillbitQuantizer", "load", "load_into"]
