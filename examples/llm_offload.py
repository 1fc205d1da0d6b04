"""Run a language model that is too large for its device: ``python examples/llm_offload.py``.

Generates the same text in several ways: with weights and cache where the model runs, offloaded as they are by
accelerate and transformers, and offloaded by Stillbit, compressed. All must give the same tokens and the same logits,
to the last bit, or the program fails. Then it prints a Markdown table of what lies where in memory, and where the time
goes. The model is a small one, trained for a minute on the Python standard library's sources, unless ``--model`` names
a folder with a causal language model. Needs PyTorch, transformers and accelerate.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import accelerate
import stillbit.accelerate
import torch
import torch.nn.functional as F
from accelerate.hooks import AlignDevicesHook
from stillbit.transformers import KVCache
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, LlamaConfig

CONTEXT, BATCH = 128, 8  # of the training
PHASES = ["weights", "cache", "compute"]

Model = Any  # a transformers.PreTrainedModel


def sources() -> bytes:
    """Return the Python standard library's sources, one after the other."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return b"".join(file.read_bytes() for file in files)


def small_config(hidden: int, num_layers: int) -> LlamaConfig:
    """Return the config of a model of bytes."""
    return LlamaConfig(
        vocab_size=256,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=num_layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(hidden // 128, 1),
        bos_token_id=None,
        eos_token_id=None,
    )


def trained(config: LlamaConfig, text: Tensor, num_steps: int) -> Model:
    """Train a model on random pieces of a text."""
    model = AutoModelForCausalLM.from_config(config)
    if num_steps == 0:
        return model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=num_steps)
    for _ in range(num_steps):
        starts = torch.randint(len(text) - CONTEXT - 1, (BATCH,))
        pieces = torch.stack([text[i : i + CONTEXT + 1] for i in starts]).long()
        loss = F.cross_entropy(model(pieces[:, :-1]).logits.flatten(0, 1), pieces[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"trained for {num_steps} steps: {loss.item() / 0.6931:.2f} bits per byte\n")
    return model


def small_model(options: argparse.Namespace) -> tuple[Callable[[], Model], Tensor]:
    """Return what makes the small model, and a prompt of text that it has not seen."""
    text = torch.frombuffer(bytearray(sources()), dtype=torch.uint8)
    unseen = len(text) // 20
    config = small_config(options.hidden, options.layers)
    weights = trained(config, text[:-unseen], options.steps).to(options.dtype).state_dict()

    def make() -> Model:
        model = AutoModelForCausalLM.from_config(config).to(options.dtype)
        model.load_state_dict(weights)
        return model.eval()

    return make, text[-unseen:][: options.prompt_tokens].long()[None]


def model_of_folder(options: argparse.Namespace) -> tuple[Callable[[], Model], Tensor]:
    """Return what loads the model of a folder, and a prompt."""
    tokenizer = AutoTokenizer.from_pretrained(options.model, local_files_only=True)
    text = sources()[: 20 * options.prompt_tokens].decode(errors="replace")

    def make() -> Model:
        return AutoModelForCausalLM.from_pretrained(options.model, dtype=options.dtype, local_files_only=True).eval()

    return make, tokenizer(text, return_tensors="pt").input_ids[:, : options.prompt_tokens]


class Clock:
    """Notes when tokens come: a streamer of `generate`."""

    def __init__(self) -> None:
        self.times = [perf_counter()]

    def put(self, _: Tensor) -> None:
        self.times.append(perf_counter())

    def end(self) -> None:
        """Nothing is left to do."""


@dataclass
class Run:
    """One of the ways that are compared."""

    tokens: Tensor
    logits: Tensor
    nbytes: dict[str, int]  # of what lies in memory
    first_token: float  # seconds
    seconds: dict[str, float] = field(default_factory=dict)  # of a later token, by phase
    peak_nbytes: int = 0  # of the GPU's memory

    @property
    def tokens_per_second(self) -> float:
        return 1 / sum(self.seconds.values())


def generate(model: Model, cache: Any, ids: Tensor, num_tokens: int, waited: Callable[[], dict[str, float]]) -> Run:
    """Generate greedily; `waited` says how long the model has waited so far, by phase."""
    clock = Clock()
    # The waits until the first token are not the later tokens'.
    at_first: dict[str, float] = {}
    put = clock.put

    def note(tokens: Tensor) -> None:
        put(tokens)
        if len(clock.times) == 3:  # the prompt is put, too
            at_first.update(waited())

    clock.put = note  # type: ignore[method-assign]
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        past_key_values=cache,
        streamer=clock,
        do_sample=False,
        max_new_tokens=num_tokens,
        min_new_tokens=num_tokens,
        return_dict_in_generate=True,
        output_logits=True,
    )
    later = num_tokens - 1
    waits = {phase: (seconds - at_first[phase]) / later for phase, seconds in waited().items()}
    whole = (clock.times[-1] - clock.times[2]) / later
    seconds = {**waits, "compute": whole - sum(waits.values())}
    return Run(out.sequences.cpu(), torch.stack(out.logits).cpu(), {}, clock.times[2] - clock.times[0], seconds)


def cache_nbytes(cache: Any) -> int:
    """Return what a cache of transformers takes."""
    return sum(part.nbytes for layer in cache.layers for part in (layer.keys, layer.values) if part is not None)


def weights_nbytes(model: Model) -> int:
    """Return what a model's weights take."""
    return sum(parameter.nbytes for parameter in model.parameters())


def run_as_it_is(model: Model, ids: Tensor, options: argparse.Namespace) -> Run:
    """Generate with all in the device's memory."""
    model.to(options.device)
    cache = DynamicCache(config=model.config)
    run = generate(model, cache, ids, options.new_tokens, lambda: {"weights": 0.0, "cache": 0.0})
    run.nbytes = {"weights": weights_nbytes(model), "cache": cache_nbytes(cache), "buffers": 0}
    return run


@contextlib.contextmanager
def timed_hooks() -> Iterator[list[float]]:
    """Measure how long accelerate's hooks take to bring weights."""
    took = [0.0]
    method = AlignDevicesHook.pre_forward

    def pre_forward(self: Any, *arguments: Any, **named: Any) -> Any:
        begin = perf_counter()
        try:
            return method(self, *arguments, **named)
        finally:
            took[0] += perf_counter() - begin

    AlignDevicesHook.pre_forward = pre_forward
    try:
        yield took
    finally:
        AlignDevicesHook.pre_forward = method


def run_raw(model: Model, ids: Tensor, options: argparse.Namespace, offloading: bool = False) -> Run:
    """Generate with weights that accelerate offloads, and a cache that transformers does, where it can."""
    nbytes = weights_nbytes(model)
    buffer = max(sum(each.nbytes for each in module.parameters(recurse=False)) for module in model.modules())
    with timed_hooks() as took:
        accelerate.cpu_offload(model, torch.device(options.device))
        cache = DynamicCache(config=model.config, offloading=offloading)
        run = generate(model, cache, ids, options.new_tokens, lambda: {"weights": took[0], "cache": 0.0})
    kept = cache_nbytes(cache)
    expanded = 2 * kept // len(cache) if offloading else 0
    run.nbytes = {"weights": nbytes, "cache": kept, "buffers": buffer + expanded}
    return run


def run_stillbit(model: Model, ids: Tensor, options: argparse.Namespace) -> Run:
    """Generate with weights and a cache that rest compressed."""
    offload = stillbit.accelerate.cpu_offload(model, options.device, options.budget)
    cache = KVCache(config=model.config)

    def waited() -> dict[str, float]:
        return {"weights": offload.statistics.seconds_waited, "cache": sum(cache.seconds.values())}

    run = generate(model, cache, ids, options.new_tokens, waited)
    buffers = offload.ring_nbytes + cache.peak_working_nbytes
    run.nbytes = {
        "weights": offload.stored_nbytes + offload.resident_nbytes,
        "cache": cache.nbytes,
        "buffers": buffers,
    }
    return run


Way = Callable[[Model, Tensor, argparse.Namespace], Run]


def ways(device: str) -> dict[str, Way]:
    """Return what is compared on a device."""
    found: dict[str, Way] = {"as it is": run_as_it_is, "raw offload": run_raw}
    if torch.device(device).type == "cuda":
        found["raw offload, cache too"] = lambda *arguments: run_raw(*arguments, offloading=True)
    else:
        print("No GPU: DynamicCache(offloading=True), which needs one, is left out.\n")
    return {**found, "Stillbit": run_stillbit}


def measured(way: Way, make: Callable[[], Model], ids: Tensor, options: argparse.Namespace) -> Run:
    """Run a way with a model of its own."""
    on_gpu = torch.device(options.device).type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    run = way(make(), ids.to(options.device), options)
    run.peak_nbytes = torch.cuda.max_memory_allocated() if on_gpu else 0
    return run


def check_same(name: str, run: Run, expected: Run) -> None:
    """Exit with a message if a token or a bit of a logit differs."""
    if not torch.equal(run.tokens, expected.tokens):
        place = int((run.tokens != expected.tokens).nonzero()[0, 1])
        raise SystemExit(f"{name}: token {place} is {run.tokens[0, place]}, not {expected.tokens[0, place]}")
    same = run.logits.view(torch.uint8) == expected.logits.view(torch.uint8)
    if not same.all():
        raise SystemExit(f"{name}: a logit of token {int((~same).nonzero()[0, 0])} differs")


def draw_chart(path: Path, nbytes: dict[str, dict[str, int]], seconds: dict[str, dict[str, float]]) -> None:
    """Draw memory and time as bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, values, scale, title, unit in zip(
        figure.subplots(1, 2), [nbytes, seconds], [1e-6, 1e3], ["Memory", "A token"], ["MB", "ms"], strict=True
    ):
        bottom = [0.0] * len(values)
        for part in next(iter(values.values())):
            heights = [scale * each[part] for each in values.values()]
            axes.bar(list(values), heights, bottom=bottom, label=part)
            bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
        axes.set(title=title, ylabel=unit)
        axes.legend()
    figure.savefig(path, dpi=150)


def print_table(runs: dict[str, Run]) -> None:
    """Print what was measured."""

    def row(name: str, cell: Callable[[Run], str]) -> None:
        print(f"| {name} | {' | '.join(cell(run) for run in runs.values())} |")

    print(f"| | {' | '.join(runs)} |\n|---|{'---|' * len(runs)}")
    for part in ["weights", "cache", "buffers"]:
        row(f"{part}, bytes", lambda run, part=part: f"{run.nbytes[part]:,}")  # type: ignore[misc]
    row("all of these", lambda run: f"{sum(run.nbytes.values()):,}")
    if any(run.peak_nbytes for run in runs.values()):
        row("the GPU's memory at most", lambda run: f"{run.peak_nbytes:,}")
    row("first token, ms", lambda run: f"{run.first_token * 1e3:.0f}")
    row("later tokens, per second", lambda run: f"{run.tokens_per_second:.1f}")
    for phase in PHASES:
        label = "computing" if phase == "compute" else f"waiting for {'the ' if phase == 'cache' else ''}{phase}"
        row(f"of a token, {label}, ms", lambda run, phase=phase: f"{run.seconds[phase] * 1e3:.2f}")  # type: ignore[misc]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="with a causal language model and its tokenizer")
    group = parser.add_argument_group("a small model instead")
    group.add_argument("--hidden", type=int, default=256, help="its width, a multiple of 64")
    group.add_argument("--layers", type=int, default=6)
    group.add_argument("--steps", type=int, default=100, help="of its training")
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, help="where the model runs")
    parser.add_argument("--dtype", default="bfloat16", type=lambda name: getattr(torch, name), help="of the weights")
    parser.add_argument("--budget", type=int, help="bytes of the device that Stillbit may take for weights")
    parser.add_argument("--prompt-tokens", type=int, default=1500)
    parser.add_argument("--new-tokens", type=int, default=64, help="2 at least")
    parser.add_argument("--repeats", type=int, default=3, help="of each way; medians are shown")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--chart", type=Path, metavar="FILE.png", help="draw memory and time, with matplotlib")
    options = parser.parse_args(arguments)
    if options.chart and importlib.util.find_spec("matplotlib") is None:
        parser.error("--chart needs matplotlib: pip install matplotlib")
    if options.new_tokens < 2 or options.repeats < 1:
        parser.error("--new-tokens is 2 at least, --repeats 1")
    return options


def middle(runs: list[Run]) -> Run:
    """Return the run whose time for a token is the median, and the median time for the first token."""
    chosen = sorted(runs, key=lambda run: run.tokens_per_second)[len(runs) // 2]
    chosen.first_token = median(run.first_token for run in runs)
    return chosen


def main(arguments: list[str] | None = None) -> None:
    """Generate in all ways, compare, print."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    make, ids = model_of_folder(options) if options.model else small_model(options)
    compared = ways(options.device)
    runs: dict[str, list[Run]] = {name: [] for name in compared}
    for _ in range(options.repeats):
        for name, way in compared.items():  # in turns, so that what else the machine does meets all
            run = measured(way, make, ids, options)
            check_same(name, run, next(iter(runs.values()))[0] if runs["as it is"] else run)
            runs[name].append(run)
    medians = {name: middle(each) for name, each in runs.items()}
    print_table(medians)
    num_tokens, num_logits = options.new_tokens, medians["Stillbit"].logits.numel()
    print(f"\nA prompt of {ids.shape[1]:,} tokens, on {options.device}; threads: {options.threads}.")
    print(f"All {num_tokens} tokens and {num_logits:,} logits are the same to the last bit, in every way.")
    if options.chart:
        nbytes = {name: run.nbytes for name, run in medians.items()}
        draw_chart(options.chart, nbytes, {name: run.seconds for name, run in medians.items()})


if __name__ == "__main__":
    main()
