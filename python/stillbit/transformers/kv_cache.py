"""`KVCache`: keys and values of a model's past tokens, losslessly compressed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .._arguments import count
from ..errors import InvalidArgumentError, MissingPackageError, UnsupportedError
from . import _kv_files
from ._kv_layers import CompressedLayer, CompressedSlidingLayer
from ._kv_ring import Ring
from ._kv_store import Options
from ._kv_workers import Workers

try:
    from transformers.cache_utils import (
        DYNAMIC_LAYER_TYPE_MAPPING,
        Cache,
        DynamicCache,
        LinearAttentionCacheLayerMixin,
        get_layer_types_and_kwargs,
    )
except ImportError as error:
    raise MissingPackageError("KVCache needs transformers 5.23 or newer: pip install -U transformers") from error

__all__ = ["KVCache"]

SLIDING = ("sliding_attention", "chunked_attention")
AS_THEY_ARE = ("dummy", "linear_attention", "conv")  # nothing there that grows with the tokens


class KVCache(DynamicCache):
    """Keys and values of past tokens, all but the newest compressed; for ``generate(past_key_values=…)``.

    Attention gets the same tensors as from `transformers.DynamicCache`, to the last bit. Tokens are compressed in
    chunks, once there are enough of them beyond the tail, by a plan for each layer's keys and values that is learnt on
    the prompt, and learnt again when chunks stop fitting it. Before attention reads a layer it is expanded; meanwhile
    the next one is, into the second of two buffers that all layers share: so there are never more than two expanded
    layers, and the tensors that `update` returns are valid until two more layers were updated.

    Parameters
    ----------
    config : transformers.PreTrainedConfig
        The model's. Full, sliding-window and chunked attention are compressed; states of linear attention and of
        convolutions, which do not grow, are kept as they are.
    chunk_length : int
        Tokens that are compressed together.
    tail_length : int
        Tokens that stay as they are at least: the newest.
    codec, objective
        As of `stillbit.compress`.
    device : str or torch.device, optional
        Where compressed tokens are expanded from if the model is on a GPU: the host's pinned memory, or, with
        ``"cuda"``, the GPU's own. The host has a copy then, too, for `save`.
    prefetch : bool
        Whether to expand the next layer while the model computes with this one.
    num_threads : int
        That compress and expand on the CPU, beside the model's.

    Raises
    ------
    UnsupportedError
        If a layer is of another type, or the model has an encoder, too.
    """

    def __init__(
        self,
        config: Any,
        *,
        chunk_length: int = 256,
        tail_length: int = 32,
        codec: str | None = None,
        objective: str = "storage",
        device: Any = None,
        prefetch: bool = True,
        num_threads: int = 1,
    ) -> None:
        if count(chunk_length, "chunk_length") == 0:
            raise InvalidArgumentError("chunk_length is 0: a chunk has a token at least")
        rest = None if device is None or torch.device(device).type == "cpu" else torch.device(device)
        self.options = Options(chunk_length, count(tail_length, "tail_length"), codec, objective, rest)
        decoder = config.get_text_config(decoder=True)
        if getattr(config, "is_encoder_decoder", False):
            raise UnsupportedError(f"{type(config).__name__}: KVCache has no cross-attention of encoder-decoder models")
        types, arguments = get_layer_types_and_kwargs(decoder)
        shared = bool(getattr(decoder, "kv_sharing_modes", None))
        self.ring = Ring(Workers(count(num_threads, "num_threads")), prefetch, lasting=shared)
        layers = [self._layer(kind, own, decoder) for kind, own in zip(types, arguments)]
        Cache.__init__(self, layers=layers)
        self.fingerprint = _kv_files.fingerprint(decoder)

    @classmethod
    def load(cls, path: Any, config: Any, *, to: Any = "cpu", **options: Any) -> KVCache:
        """Return the cache that `save` wrote, for a model with the same weights.

        Parameters
        ----------
        path : str or os.PathLike
            Read whole; all checksums are checked.
        config : transformers.PreTrainedConfig
            The model's.
        to : str or torch.device
            Where the model is.
        **options
            Of `KVCache`, for tokens to come.

        Raises
        ------
        IoError, CorruptError
            If the file cannot be read, is truncated, or differs in a bit from what was written.
        MismatchError
            If it is of a model of another shape, or no cache.
        """
        cache = cls(config, **options)
        _kv_files.fill(path, cache, torch.device(to))
        return cache

    def save(self, path: Any, metadata: Mapping[str, str] | None = None) -> None:
        """Write all tokens to a file, compressed as they are; the tail as it is.

        Parameters
        ----------
        path : str or os.PathLike
            A safetensors file, written whole or not at all.
        metadata : mapping of str to str, optional
            Notes to keep in the file, such as the prompt and the model's name, which Stillbit does not know.

        Raises
        ------
        IoError
            If the file cannot be written.
        UnsupportedError
            If there are layers that are kept as they are, but for those without states.
        """
        _kv_files.save(path, self, metadata)

    def _layer(self, kind: str, own: dict[str, Any], config: Any) -> Any:
        if kind == "full_attention":
            return CompressedLayer(self.options, self.ring)
        if kind in SLIDING:
            return CompressedSlidingLayer(self.options, self.ring, own["sliding_window"])
        if kind in AS_THEY_ARE:
            return DYNAMIC_LAYER_TYPE_MAPPING[kind](**own)
        raise UnsupportedError(f"{type(config).__name__}: KVCache has no layers of type {kind!r}")

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add tokens to a layer; return all that attention sees.

        Parameters
        ----------
        key_states, value_states : torch.Tensor
            Of shape (batch, heads, new tokens, size).
        layer_idx : int
            The layer's number.

        Returns
        -------
        tuple of torch.Tensor
            Keys and values, of shape (batch, heads, tokens, size). Valid until two more layers were updated.
        """
        full: tuple[Tensor, Tensor] = self.layers[layer_idx].update(key_states, value_states, *args, **kwargs)
        self._expect_after(layer_idx, key_states.shape[-2])
        return full

    def _expect_after(self, layer_idx: int, new_tokens: int) -> None:
        """Begin to expand the layer that comes next; behind the last one, the first, for the next token."""
        for step in range(1, len(self.layers) + 1):
            number = (layer_idx + step) % len(self.layers)
            layer = self.layers[number]
            if isinstance(layer, CompressedLayer):
                guess = number <= layer_idx
                if layer.stores is not None and not (guess and self.ring.misled):
                    self.ring.expect((layer.state,), layer.stores, 1 if guess else new_tokens)
                return

    def prefetch(self, layer_idx: int, only_non_sliding: bool = True) -> None:
        """Begin to expand a layer; `update` does so by itself."""
        layer = self.layers[layer_idx % len(self.layers)]
        if not (only_non_sliding and getattr(layer, "is_sliding", False)):
            layer.prefetch()

    def offload(self, layer_idx: int, only_non_sliding: bool = True) -> None:
        """Compress a layer's tail, too, for a cache that is not going to be used for a while."""
        layer = self.layers[layer_idx]
        if isinstance(layer, CompressedLayer) and not (only_non_sliding and layer.is_sliding):
            layer.offload()

    def reset(self) -> None:
        """Forget everything, plans and measurements as well, and give the buffers back."""
        self.ring.forget()
        super().reset()
        self.ring.clear()

    @property
    def _compressed_layers(self) -> list[CompressedLayer]:
        return [layer for layer in self.layers if isinstance(layer, CompressedLayer)]

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept: compressed chunks, tails, and states that are kept as they are."""
        stored = sum(
            store.compressed_nbytes + store.tail.nbytes
            for layer in self._compressed_layers
            for store in layer.stores or ()
        )
        return int(stored) + self._state_nbytes

    @property
    def raw_nbytes(self) -> int:
        """Bytes of the same tokens in a `DynamicCache`."""
        held = [store for layer in self._compressed_layers for store in layer.stores or ()]
        return sum(store.length * store.token_nbytes for store in held) + self._state_nbytes

    @property
    def _state_nbytes(self) -> int:
        states: list[Any] = []
        for layer in self.layers:
            if isinstance(layer, LinearAttentionCacheLayerMixin):
                states += [*layer.conv_states.values(), *layer.recurrent_states.values()]
        return sum(int(state.nbytes) for state in states if state is not None)

    @property
    def ratio(self) -> float:
        """``raw_nbytes / nbytes``, tails included."""
        return self.raw_nbytes / self.nbytes if self.nbytes else 1.0

    @property
    def num_compressed(self) -> int:
        """Tokens that are compressed, in the layer that has most of them."""
        held = [store.length - store.tail.shape[2] for layer in self._compressed_layers for store in layer.stores or ()]
        return max(held, default=0)

    @property
    def peak_working_nbytes(self) -> int:
        """Most bytes that expanded layers took at a time, besides what `nbytes` counts."""
        return self.ring.peak_nbytes

    @property
    def seconds(self) -> dict[str, float]:
        """Time that the model waited: for layers to be ``"expand"``-ed, and to ``"compress"`` new tokens."""
        compressing = sum(layer.compress_seconds for layer in self._compressed_layers)
        return {"expand": self.ring.seconds, "compress": compressing}

    def __repr__(self) -> str:
        return (
            f"KVCache(layers={len(self)}, tokens={self.get_seq_length() if self.layers else 0}, "
            f"nbytes={self.nbytes:,}, ratio={self.ratio:.2f})"
        )
