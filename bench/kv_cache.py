"""Ratios of the keys and values of a small transformer: ``python bench/kv_cache.py [COMMAND] [STEPS]``.

Trains a decoder of the usual kind (RMSNorm, rotary positions, SwiGLU, no biases) on the Python standard library's
sources, byte by byte, for a few minutes on a CPU, then lets it read text that it has not seen and compresses what its
cache holds in bf16: of every layer the keys (after rotation, as caches hold them) and the values, a row for each
token. Needs PyTorch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from statistics import geometric_mean

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYERS, HEADS, HEAD_SIZE, CONTEXT, BATCH = 4, 4, 64, 192, 8
SIZE = HEADS * HEAD_SIZE


def rotated(x: Tensor) -> Tensor:
    """Rotary positions of (…, tokens, HEAD_SIZE)."""
    half = HEAD_SIZE // 2
    angle = torch.arange(x.shape[-2])[:, None] * 10000.0 ** (-torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


class Layer(nn.Module):
    """Attention and a gated feed-forward net. Keeps the keys and values of its last call."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(SIZE), nn.RMSNorm(SIZE)
        self.qkv, self.out = nn.Linear(SIZE, 3 * SIZE, bias=False), nn.Linear(SIZE, SIZE, bias=False)
        self.up, self.down = nn.Linear(SIZE, 6 * SIZE, bias=False), nn.Linear(3 * SIZE, SIZE, bias=False)
        self.cache: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        heads = self.qkv(self.norm1(x)).view(batch, tokens, 3, HEADS, HEAD_SIZE).permute(2, 0, 3, 1, 4)
        query, key, value = rotated(heads[0]), rotated(heads[1]), heads[2]
        self.cache = (key.detach(), value.detach())
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, tokens, SIZE))
        gate, up = self.up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    """Predicts the next byte."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, SIZE)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm, self.head = nn.RMSNorm(SIZE), nn.Linear(SIZE, 256, bias=False)

    def forward(self, text: Tensor) -> Tensor:
        x = self.embedding(text)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def trained(text: Tensor, num_steps: int) -> Model:
    """Train on random pieces of a text."""
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=num_steps)
    for step in range(num_steps):
        starts = torch.randint(len(text) - CONTEXT - 1, (BATCH,))
        pieces = torch.stack([text[i : i + CONTEXT + 1] for i in starts]).long()
        loss = F.cross_entropy(model(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            print(f"step {step + 1}: {loss.item() / np.log(2):.2f} bits per byte", file=sys.stderr)
    return model


def main() -> None:
    """Train, fill the cache, compress it."""
    command = sys.argv[1] if len(sys.argv) > 1 else "stillbit"
    num_steps = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    torch.manual_seed(1)
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = torch.from_numpy(np.frombuffer(b"".join(f.read_bytes() for f in files), np.uint8).copy())
    unseen = len(text) // 20
    model = trained(text[:-unseen], num_steps)
    with torch.no_grad():
        model(text[-unseen:][: 64 * CONTEXT].view(64, CONTEXT).long())
    rows: dict[str, list[str]] = {}
    ratios: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "cache.npy", Path(folder) / "cache.safetensors"
        for number, layer in enumerate(model.layers):
            for kind, part in zip(("keys", "values"), layer.cache, strict=True):
                # (batch, heads, tokens, head size) → a row for each token
                cache = part.transpose(1, 2).reshape(-1, SIZE).to(torch.bfloat16)
                np.save(source, cache.contiguous().view(torch.uint16).numpy())
                for packing in ("packed", "slotted"):
                    line = [command, "compress", source, "-o", target, "--as", "BF16", "--packing", packing, "--json"]
                    said = subprocess.run(line, check=True, capture_output=True, text=True).stdout
                    subprocess.run([command, "verify", target, "--against", source], check=True, capture_output=True)
                    tensor = json.loads(said)["tensors"][0]
                    # The first layer's values depend on the byte alone, so its rows repeat: no measure of longer texts.
                    if number > 0:
                        ratios.setdefault(packing, []).append(tensor["ratio"])
                    rows.setdefault(f"layer {number}, {kind}", []).append(f"{tensor['ratio']:.3f} ({tensor['codec']})")
    print("| bf16 cache | packed | slotted |\n|---|---|---|")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")
    means = [geometric_mean(ratios[packing]) for packing in ("packed", "slotted")]
    print(f"| geometric mean, without layer 0 | {means[0]:.3f} | {means[1]:.3f} |")


if __name__ == "__main__":
    main()
