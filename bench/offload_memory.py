"""What a model takes in memory, and how long a token takes, raw and with its weights at rest, on a CPU.

    python bench/offload_memory.py [--layers 12] [--hidden 1024] [--vocabulary 32000] [--tokens 4] [--threads 2]

A Llama of bf16 weights, normally distributed; every way is a process of its own, which builds the model from the same
file and feeds it one token at a time. Memory is what the system says of the process (VmRSS, RssAnon, and the most of
the former from when raw weights are there), with Python, torch and transformers, of which a model without weights says
how much they take. All logits have to be the same. With --folder the model's files go there, and are used again if they
are there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

WAYS = ["nothing", "raw", "accelerate", "compressed here", "mapped", "mapped, half stays", "in memory"]


def config(options: argparse.Namespace) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        hidden_size=options.hidden,
        intermediate_size=11 * options.hidden // 4,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 64,
        num_key_value_heads=options.hidden // 256,
        vocab_size=options.vocabulary,
    )


def memory() -> dict[str, int]:
    """Return MB."""
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    return {line[0].rstrip(":"): int(line[1]) // 1024 for line in lines if line[0] in ("VmRSS:", "RssAnon:", "VmHWM:")}


def forget_peak() -> None:
    """Let VmHWM count from here on."""
    Path("/proc/self/clear_refs").write_text("5")


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """Make a model, and compress it."""
    import stillbit as sb
    from transformers import AutoModelForCausalLM

    if (folder / "packed").exists():
        return
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config(options), dtype=torch.bfloat16).save_pretrained(folder / "raw")
    sb.compress_file(folder / "raw", folder / "packed")


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Print what one way takes."""
    import accelerate
    import stillbit.accelerate
    import stillbit.transformers
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    way = options.way
    torch.set_num_threads(options.threads)
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config(options), dtype=torch.bfloat16).eval()
    packed, offload = folder / "packed/model.safetensors", None
    raw_nbytes = sum(parameter.numel() * 2 for parameter in model.parameters())
    if way in ("raw", "accelerate", "compressed here"):
        model.load_state_dict(stillbit.transformers.load(packed), assign=True)
        forget_peak()
    if way == "accelerate":
        accelerate.cpu_offload(model, "cpu")
    elif way == "compressed here":
        offload = stillbit.accelerate.cpu_offload(model, "cpu")
    elif way.startswith("mapped"):
        budget = raw_nbytes // 2 if "half" in way else None
        offload = stillbit.accelerate.cpu_offload(model, "cpu", budget, weights=packed)
    elif way == "in memory":
        tensors = stillbit.load_file(packed, mmap=False)
        offload = stillbit.accelerate.cpu_offload(model, "cpu", weights=tensors, resident=True)
        del tensors
    found: dict[str, Any] = {"way": way, "raw_nbytes": raw_nbytes}
    if way != "nothing":
        digest, seconds = hashlib.sha256(), []
        with torch.inference_mode():
            for token in range(options.tokens + 1):
                begin = time.perf_counter()
                logits = model(torch.tensor([[token + 5]]), use_cache=False).logits
                seconds.append(time.perf_counter() - begin)
                digest.update(logits.float().numpy().tobytes())
        found |= {"seconds": median(seconds[1:]), "logits": digest.hexdigest()}
    if offload is not None:
        found["device_nbytes"] = offload.device_nbytes
        found["waited"] = offload.statistics.seconds_waited
    print(json.dumps(found | memory()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=1024, help="a multiple of 256")
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--prepare", action="store_true", help="only make the model's files")
    options = parser.parse_args()
    if options.way:
        measure(options.folder, options)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        prepare(folder, options)
        if options.prepare:
            return
        results = []
        for way in WAYS:
            arguments = ["--way", way, "--folder", str(folder)]
            for name in ("layers", "hidden", "vocabulary", "tokens", "threads"):
                arguments += [f"--{name}", str(getattr(options, name))]
            done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    if len({result["logits"] for result in results if "logits" in result}) != 1:
        raise SystemExit("logits differ")
    print(f"{results[0]['raw_nbytes'] / 1e6:.0f} MB of weights, {options.threads} threads; logits are the same")
    print(f"{'way':20s} {'RSS':>6s} {'anonymous':>10s} {'peak RSS':>9s} {'weights':>8s} {'ms a token':>11s}")
    for one in results:
        weights = f"{one['device_nbytes'] / 1e6:.0f}" if "device_nbytes" in one else "-"
        token = f"{one['seconds'] * 1e3:.0f}" if "seconds" in one else "-"
        print(f"{one['way']:20s} {one['VmRSS']:6d} {one['RssAnon']:10d} {one['VmHWM']:9d} {weights:>8s} {token:>11s}")


if __name__ == "__main__":
    main()
