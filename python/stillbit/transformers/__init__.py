"""Compressed checkpoints and compressed caches for transformers.

Importing this registers the method that the config of a compressed checkpoint names, so that ``from_pretrained`` reads
it.

>>> from stillbit.transformers import KVCache, load
>>> model = AutoModelForCausalLM.from_pretrained("model-compressed")
>>> state = load("model-compressed")
>>> tokens = model.generate(**prompt, past_key_values=KVCache(config=model.config))
"""

from __future__ import annotations

from .kv_cache import KVCache
from .loading import load, load_into
from .quantizer import StillbitConfig, StillbitQuantizer

__all__ = ["KVCache", "StillbitConfig", "StillbitQuantizer", "load", "load_into"]
