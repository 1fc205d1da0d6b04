"""How fast a compressed checkpoint is loaded, beside safetensors' raw one: from the page cache, into memory of its own.

    python bench/load_checkpoint.py [--megabytes 1024] [--threads 2] [--repeats 7] [--data FOLDER] [--folder FOLDER]

The checkpoint is a model's as they are: bf16 weights, normally distributed with a scale for each matrix, in the shapes
of Llama with 24 layers; or, with --data, the bf16 tensors of a folder of .npy files (u16 bit patterns), repeated. Every
round loads each way once, in turn, and the medians are compared. Each way has a process of its own, which gives what it
has allocated back to the system before it loads again, so that all get new memory, as a program does that loads a
model once, and no way finds memory as another one left it. Before that all tensors are compared.

Raw is the fastest of three: safetensors' own tensors, which are views of the mapped file, copied by as many threads, a
tensor each; the same copied one after the other, each by torch's threads; and the file read by `readinto` into one
buffer.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import safetensors.torch
import stillbit as sb
import stillbit.transformers
import torch


def made_up(megabytes: int) -> dict[str, torch.Tensor]:
    """Weights of a model of about that size."""
    generator = torch.Generator().manual_seed(0)
    hidden, layers = 896, 24
    hidden = round(hidden * (megabytes / 660) ** 0.5 / 64) * 64
    shapes = {"model.embed_tokens.weight": (32_000, hidden)}
    for layer in range(layers):
        for name, rows, columns in [
            ("self_attn.q_proj", hidden, hidden),
            ("self_attn.k_proj", hidden // 4, hidden),
            ("self_attn.v_proj", hidden // 4, hidden),
            ("self_attn.o_proj", hidden, hidden),
            ("mlp.gate_proj", 5 * hidden, hidden),
            ("mlp.up_proj", 5 * hidden, hidden),
            ("mlp.down_proj", hidden, 5 * hidden),
        ]:
            shapes[f"model.layers.{layer}.{name}.weight"] = (rows, columns)
        shapes[f"model.layers.{layer}.input_layernorm.weight"] = (hidden,)
    scale = {name: 0.02 * (1 + i % 5 / 4) for i, name in enumerate(shapes)}
    return {
        name: (torch.randn(shape, generator=generator) * scale[name]).to(torch.bfloat16)
        for name, shape in shapes.items()
    }


def of_folder(folder: Path, megabytes: int) -> dict[str, torch.Tensor]:
    """The bf16 tensors of a folder, again and again."""
    parts = [torch.from_numpy(np.load(path)).view(torch.bfloat16) for path in sorted(folder.glob("w_*_bf16__*.npy"))]
    rounds = max(1, (megabytes << 20) // sum(part.nbytes for part in parts))
    # Rows are turned, so that no two tensors are equal and stored once.
    return {f"{i}.{j}": part.roll(i, 0).contiguous() for i in range(rounds) for j, part in enumerate(parts)}


def copied_by_threads(path: Path, threads: int) -> dict[str, torch.Tensor]:
    torch.set_num_threads(1)
    views = safetensors.torch.load_file(path)
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(views, pool.map(torch.Tensor.clone, views.values()), strict=True))


def copied_by_torch(path: Path, threads: int) -> dict[str, torch.Tensor]:
    torch.set_num_threads(threads)
    return {name: view.clone() for name, view in safetensors.torch.load_file(path).items()}


def read_into(path: Path, threads: int) -> dict[str, torch.Tensor]:
    buffer = torch.empty(path.stat().st_size, dtype=torch.uint8)
    view = memoryview(buffer.numpy())
    step = -(-len(view) // threads)

    def read(begin: int) -> None:
        with path.open("rb", buffering=0) as file:
            file.seek(begin)
            part = view[begin : begin + step]
            while part:
                part = part[file.readinto(part) :]

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, range(0, len(view), step)))
    header = int.from_bytes(view[:8], "little")
    entries = json.loads(bytes(view[8 : 8 + header]))
    entries.pop("__metadata__", None)
    return {
        name: buffer[8 + header :][slice(*entry["data_offsets"])].view(torch.bfloat16).view(entry["shape"])
        for name, entry in entries.items()
    }


def ways(raw: Path, packed: Path, threads: int) -> dict[str, Callable[[], dict[str, torch.Tensor]]]:
    """Return what is compared."""
    return {
        "safetensors, a thread a tensor": lambda: copied_by_threads(raw, threads),
        "safetensors, torch's threads": lambda: copied_by_torch(raw, threads),
        "read": lambda: read_into(raw, threads),
        "stillbit": lambda: stillbit.transformers.load(packed, num_threads=threads),
        "stillbit, unverified": lambda: stillbit.transformers.load(packed, num_threads=threads, verify=False),
    }


def serve(connection: Connection, name: str, raw: Path, packed: Path, threads: int) -> None:
    """Load in one way, whenever asked to, and say how long it took; first, that it gives what the file holds."""
    load = ways(raw, packed, threads)[name]
    tensors, found = safetensors.torch.load_file(raw), load()
    differ = [
        key
        for key, tensor in tensors.items()
        if not torch.equal(found[key].view(torch.int16), tensor.view(torch.int16))
    ]
    del tensors, found
    connection.send(differ)
    while connection.recv():
        ctypes.CDLL(None).malloc_trim(0)
        begin = time.perf_counter()
        found = load()
        connection.send(time.perf_counter() - begin)
        del found


def measured(raw: Path, packed: Path, threads: int, repeats: int) -> dict[str, list[float]]:
    """Return the seconds that each way takes, each in a process of its own, in turns."""
    context = multiprocessing.get_context("spawn")
    connections = {}
    for name in ways(raw, packed, threads):
        connections[name], other = context.Pipe()
        context.Process(target=serve, args=(other, name, raw, packed, threads), daemon=True).start()
    for name, connection in connections.items():
        if differ := connection.recv():
            raise SystemExit(f"{name}: {differ[0]} differs")
    seconds: dict[str, list[float]] = {name: [] for name in connections}
    for _ in range(repeats):
        for name, connection in connections.items():
            connection.send(True)
            seconds[name].append(connection.recv())
    for connection in connections.values():
        connection.send(False)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folder", type=Path, help="of the two files, which are used again if they are there")
    parser.add_argument("--prepare", action="store_true", help="only make the files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        raw, packed = folder / "raw.safetensors", folder / "packed.safetensors"
        if not packed.exists():
            made = of_folder(options.data, options.megabytes) if options.data else made_up(options.megabytes)
            safetensors.torch.save_file(made, raw)
            sb.compress_file(raw, packed)
        if options.prepare:
            return
        num_bytes = sum(tensor.nbytes for tensor in safetensors.torch.load_file(raw).values())
        num_tensors = len(safetensors.torch.load_file(raw))
        ratio = raw.stat().st_size / packed.stat().st_size
        seconds = measured(raw, packed, options.threads, options.repeats)
    speeds = {name: num_bytes / statistics.median(times) / 1e9 for name, times in seconds.items()}
    best = max(speed for name, speed in speeds.items() if not name.startswith("stillbit"))
    print(f"{num_bytes / 1e6:.0f} MB in {num_tensors} tensors, file ratio {ratio:.3f}, {options.threads} threads")
    for name, speed in speeds.items():
        print(f"{name:32s} {speed:6.2f} GB/s  {speed / best:5.2f} x the fastest raw load")


if __name__ == "__main__":
    main()
