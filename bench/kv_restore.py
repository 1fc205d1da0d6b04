"""Size of a compressed KV cache, and the time to restore it: ``python bench/kv_restore.py``.

Trains a small Llama on the Python standard library's sources, byte by byte, for some minutes on a CPU (or takes the
model of a folder), lets it read text that it has not seen, and measures, after comparing every bit: what
`stillbit.transformers.KVCache` takes, tails and all; how long one thread takes to expand a layer to where attention
reads it, beside a copy of the same layer as it is; and the time to compress. Needs PyTorch and transformers.
"""

from __future__ import annotations

import argparse
import sysconfig
from collections.abc import Callable
from pathlib import Path
from statistics import geometric_mean, median
from time import thread_time
from typing import Any

import torch
import torch.nn.functional as F
from stillbit.transformers import KVCache
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache, LlamaConfig

CONTEXT, BATCH = 1024, 2  # of the training


def trained(text: Tensor, num_steps: int) -> Any:
    """Train a decoder of four layers on random pieces of a text."""
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = AutoModelForCausalLM.from_config(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=num_steps)
    for step in range(num_steps):
        starts = torch.randint(len(text) - CONTEXT - 1, (BATCH,))
        pieces = torch.stack([text[i : i + CONTEXT + 1] for i in starts]).long()
        loss = F.cross_entropy(model(pieces[:, :-1]).logits.flatten(0, 1), pieces[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            print(f"step {step + 1}: {loss.item() / 0.6931:.2f} bits per byte", flush=True)
    return model


def filled(model: Any, cache: Any, text: Tensor) -> Any:
    """Let a model read a text."""
    with torch.no_grad():
        model(text, past_key_values=cache, logits_to_keep=1)
    return cache


def seconds(function: Callable[[], None], repeats: int) -> float:
    """Return the median time of a call: of the one thread that does it all, so that other programs count less."""
    times = []
    for _ in range(repeats):
        begin = thread_time()
        function()
        times.append(thread_time() - begin)
    return median(times)


def print_ratios(cache: KVCache) -> None:
    """Print what of a cache is compressed, and how well."""
    print("| compressed tokens | keys | values |\n|---|---|---|")
    ratios = []
    for number, layer in enumerate(cache.layers):
        stores = layer.stores
        own = [(s.length - s.tail.shape[2]) * s.token_nbytes / s.compressed_nbytes for s in stores]
        ratios += own if number else []
        codecs = [next(s.tables()).codec for s in stores]
        print(f"| layer {number} | {' | '.join(f'{r:.3f} ({c})' for r, c in zip(own, codecs, strict=True))} |")
    print(f"\ngeometric mean, without layer 0: {geometric_mean(ratios):.3f}")
    tail = cache.layers[0].stores[0].tail.shape[2]
    print(f"whole cache: {cache.raw_nbytes:,} → {cache.nbytes:,} bytes, {cache.ratio:.3f}; tail of {tail} tokens")


def print_times(cache: KVCache, expected: DynamicCache, repeats: int) -> None:
    """Print how long it takes to restore a layer, and to copy it as it is."""
    restore, copy = [], []
    for layer, raw in zip(cache.layers, expected.layers, strict=True):
        outs = cache.ring.take((object(),), layer.stores, 0)
        for out, part in zip(outs, (raw.keys, raw.values), strict=True):
            assert torch.equal(out.view(torch.int16), part.view(torch.int16))
        for _ in range(repeats):  # in turns
            restore.append(seconds(lambda layer=layer: cache.ring.take((object(),), layer.stores, 0), 1))
            copy.append(seconds(lambda outs=outs, raw=raw: (outs[0].copy_(raw.keys), outs[1].copy_(raw.values)), 1))
    nbytes = cache.raw_nbytes / len(cache.layers)
    for name, took in [("restore", restore), ("copy", copy)]:
        speed = f"{median(took) * 1e3:.2f} ms, {nbytes / median(took) / 1e9:.2f} GB/s"
        print(f"{name} a layer of {nbytes / 1e6:.1f} MB: {speed}")
    print(f"restore / copy: {median(copy) / median(restore):.2f} × its speed")
    print(f"compress, the prompt: {cache.raw_nbytes / cache.seconds['compress'] / 1e9:.2f} GB/s, plans included")


def main() -> None:
    """Train or load, fill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "--model", type=Path, help="a folder with a Llama of bytes: trained and kept there if it is none"
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.manual_seed(1)
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = torch.frombuffer(bytearray(b"".join(f.read_bytes() for f in files)), dtype=torch.uint8)
    unseen = len(text) // 20
    if options.model and options.model.is_dir():
        model = AutoModelForCausalLM.from_pretrained(options.model)
    else:
        model = trained(text[:-unseen], options.steps)
        if options.model:
            model.save_pretrained(options.model)
    model = model.to(torch.bfloat16).eval()
    prompt = text[-unseen:][: options.batch * options.tokens].view(options.batch, -1).long()
    torch.set_num_threads(1)
    cache = filled(model, KVCache(model.config, chunk_length=options.chunk, num_threads=0, prefetch=False), prompt)
    print_ratios(cache)
    print_times(cache, filled(model, DynamicCache(config=model.config), prompt), options.repeats)


if __name__ == "__main__":
    main()
