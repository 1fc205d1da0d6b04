"""Layers of `KVCache`: what transformers' dynamic layers do, on compressed tokens."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from time import perf_counter
from typing import Any, cast

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from ..errors import InvalidArgumentError
from ._kv_modes import on_plain_tensors
from ._kv_ring import Ring, expand
from ._kv_store import Options, Store

# Each state of each layer has a number of its own, so that what was expanded in advance is known to be of it.
_states = itertools.count()


class CompressedLayer(DynamicLayer):
    """Full attention: all tokens are kept.

    Parameters
    ----------
    options : Options
        Of the cache.
    ring : Ring
        Of the cache.
    """

    # Not the base's __init__: it sets keys and values, which are computed here.
    def __init__(self, options: Options, ring: Ring) -> None:
        self.options = options
        self.ring = ring
        self.stores: tuple[Store, Store] | None = None
        self.is_initialized = False
        self.compress_seconds = 0.0
        self.state = next(_states)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take batch, heads, sizes, dtypes and device from the first states."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.stores = (Store(key_states, self.options), Store(value_states, self.options))
        self.is_initialized = True

    @property
    def keys(self) -> Tensor | None:
        """All of them, expanded into new memory: (batch, heads, tokens, size)."""
        return None if self.stores is None else expanded(self.stores[0])

    @property
    def values(self) -> Tensor | None:
        """As `keys`."""
        return None if self.stores is None else expanded(self.stores[1])

    @property
    def num_held(self) -> int:
        """Tokens that are in memory."""
        return 0 if self.stores is None else self.stores[0].length

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add tokens; return all of them, in memory that is used again two layers later.

        Parameters
        ----------
        key_states, value_states : torch.Tensor
            Of shape (batch, heads, new tokens, size).

        Raises
        ------
        InvalidArgumentError
            If they do not continue those that there are, or require a gradient.
        """
        if torch.is_grad_enabled() and (key_states.requires_grad or value_states.requires_grad):
            raise InvalidArgumentError(
                "keys that require a gradient cannot be compressed: run the model under torch.no_grad()"
            )
        return self._update((key_states, value_states))

    @on_plain_tensors
    def _update(self, states: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        full = self._with(states)
        self._append(states)
        return full

    def _with(self, states: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return what is held, and new tokens behind it."""
        if self.stores is None:
            self.lazy_initialization(*states)
        stores = cast("tuple[Store, Store]", self.stores)
        for store, new, what in zip(stores, states, ["keys", "values"]):
            store.check(new, what)
        if states[0].shape[2] != states[1].shape[2]:
            raise InvalidArgumentError(f"there are {states[0].shape[2]} keys for {states[1].shape[2]} values")
        held = self.num_held
        if held == 0:
            return states[0].contiguous(), states[1].contiguous()
        full = self.ring.take((self.state,), stores, states[0].shape[2])
        for out, new in zip(full, states):
            out[:, :, held:].copy_(new)
        return full

    def _append(self, states: tuple[Tensor, Tensor]) -> None:
        begin = perf_counter()
        for store, new in zip(cast("tuple[Store, Store]", self.stores), states):
            store.append(new, self.ring.workers)
        self.compress_seconds += perf_counter() - begin
        self._changed()

    def _changed(self) -> None:
        self.state = next(_states)

    def restore(self, stores: tuple[Store, Store], num_tokens: int) -> None:
        """Hold what a file held, instead of nothing.

        Parameters
        ----------
        stores : tuple of Store
            Keys and values.
        num_tokens : int
            That were seen.
        """
        self.lazy_initialization(stores[0].tail, stores[1].tail)
        self.stores = stores

    def get_seq_length(self) -> int:
        """Return how many tokens were seen."""
        return self.num_held

    def offload(self) -> None:
        """Compress the tail, too: for a cache that is not going to be used for a while."""
        self._each(lambda store: store.compress_tail(self.ring.workers))

    def prefetch(self) -> None:
        """Begin to expand, for one new token."""
        if self.stores is not None:
            self.ring.expect((self.state,), self.stores, 1)

    def reset(self) -> None:
        """Forget everything."""
        self.stores = None
        self.is_initialized = False
        self.compress_seconds = 0.0
        self._changed()

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens.

        Parameters
        ----------
        tokens_to_remove : int
            Their number, negated, as transformers has it.
        """
        if tokens_to_remove > 0:
            raise InvalidArgumentError(f"crop takes a negative number of tokens to remove, not {tokens_to_remove}")
        if tokens_to_remove < 0:
            self._each(lambda store: store.drop_last(-tokens_to_remove))

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Give each place of the batch the tokens of another one."""
        self._pick(lambda places: places.index_select(0, beam_idx.cpu()))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each sequence of the batch; compressed tokens are shared, not copied."""
        self._pick(lambda places: places.repeat_interleave(repeats))

    def batch_select_indices(self, indices: Any) -> None:
        """Keep some sequences of the batch."""
        self._pick(lambda places: places[indices.cpu() if isinstance(indices, Tensor) else indices])

    def _pick(self, pick: Callable[[Tensor], Tensor]) -> None:
        if self.stores is None or self.get_seq_length() == 0:
            return
        picked = pick(torch.arange(self.stores[0].tail.shape[0]))
        if picked.dim() != 1:
            raise InvalidArgumentError(f"indices have shape {tuple(picked.shape)}, not one dimension")
        index = picked.tolist()
        self._each(lambda store: store.select(index))

    @on_plain_tensors
    def _each(self, change: Callable[[Store], None]) -> None:
        self.ring.forget()
        for store in self.stores or ():
            change(store)
        self._changed()


class CompressedSlidingLayer(CompressedLayer):
    """Sliding-window and chunked attention: the last tokens are kept.

    Parameters
    ----------
    options, ring
        As of `CompressedLayer`.
    sliding_window : int
        Tokens that one attends to, itself included.
    """

    is_sliding = True

    def __init__(self, options: Options, ring: Ring, sliding_window: int) -> None:
        super().__init__(options, ring)
        self.sliding_window = sliding_window
        self.cumulative_length = 0
        self.record_past = False
        self._sliding_window_tensor = torch.tensor(sliding_window)  # which iterating over a cache yields

    def restore(self, stores: tuple[Store, Store], num_tokens: int) -> None:
        """As of `CompressedLayer`."""
        super().restore(stores, num_tokens)
        self.cumulative_length = num_tokens

    def activate_past_recording(self) -> None:
        """Keep more than the window until `crop` is called, which may then take tokens back."""
        self.record_past = True

    @on_plain_tensors
    def _update(self, states: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        full = self._with(states)
        new = states[0].shape[2]
        self.cumulative_length += new
        if self.record_past:
            self._append(states)
            visible = self.sliding_window - 1 + new
            return full[0][:, :, -visible:], full[1][:, :, -visible:]
        # What leaves the window goes first, so that it is not compressed.
        kept = self.sliding_window - 1
        self._keep(max(kept - new, 0))
        self._append((states[0][:, :, max(new - kept, 0) :], states[1][:, :, max(new - kept, 0) :]))
        return full

    def _keep(self, num_tokens: int) -> None:
        surplus = self.num_held - num_tokens
        if surplus > 0:
            self._each(lambda store: store.drop_first(surplus))

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many tokens attention sees, and which is the first."""
        offset = max(self.cumulative_length - self.sliding_window + 1, 0)
        return self.cumulative_length - offset + query_length, offset

    def get_seq_length(self) -> int:
        """Return how many tokens were seen, those that left the window among them."""
        return self.cumulative_length

    def get_max_length(self) -> int:
        """Return the window's length."""
        return self.sliding_window

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.cumulative_length = 0

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens, and those that are kept beyond the window.

        Parameters
        ----------
        tokens_to_remove : int
            Their number, negated. Once the window is full, `activate_past_recording` must have been called before.
        """
        if self.cumulative_length < self.sliding_window:
            super().crop(tokens_to_remove)
            self.cumulative_length = self.num_held
            return
        if not self.record_past:
            raise InvalidArgumentError(
                "a sliding window that is full cannot be cropped, unless activate_past_recording was called before"
            )
        super().crop(tokens_to_remove)
        self.cumulative_length += tokens_to_remove
        self._keep(self.sliding_window - 1)


@on_plain_tensors
def expanded(store: Store) -> Tensor:
    """Return keys or values in new memory."""
    batch, heads, _, size = store.tail.shape
    out = store.tail.new_empty((batch, heads, store.length, size))
    for part in store.parts(out):
        expand(part)
    store.put_tail(out)
    return out
