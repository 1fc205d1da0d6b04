"""Compressed checkpoints and compressed caches for transformers.

Importing this registers the method that the config of a compressed checkpoint names, so that ``from_pretrained`` reads
it.

>>> from stillbit.transformers import KVCache, load
>>> model = AutoModelForCausalLM.from_pretrained("model-compressed")
>>> state = load("model-compressed")
>>> tokens = model.generate(**prompt, past_key_values=KVCache(config=model.config))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .loading import load, load_into
from .quantizer import StillbitConfig, StillbitQuantizer

if TYPE_CHECKING:
    from .kv_cache import KVCache

__all__ = ["KVCache", "StillbitConfig", "StillbitQuantizer", "load", "load_into"]


def __getattr__(name: str) -> Any:
    """Import `KVCache` when it is asked for: it needs a younger transformers than the rest."""
    if name == "KVCache":
        from .kv_cache import KVCache

        return KVCache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
