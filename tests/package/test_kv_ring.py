"""How `KVCache` expands layers ahead of their turn: in threads, and on streams of a GPU, which are played here."""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.23")

from stillbit.transformers import KVCache  # noqa: E402
from stillbit.transformers import _kv_ring as kv_ring  # noqa: E402
from stillbit.transformers._kv_workers import Workers  # noqa: E402


def filled(num_layers: int = 4, tokens: int = 60, **options: Any) -> tuple[KVCache, list[Any]]:
    """Return a cache of random tokens, and these."""
    sizes = {"vocab_size": 16, "hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
    config = transformers.LlamaConfig(**sizes, num_hidden_layers=num_layers)
    cache = KVCache(config, chunk_length=8, tail_length=4, **options)
    held = [[torch.randn(2, 2, tokens, 16) for _ in range(2)] for _ in range(num_layers)]
    for layer, kv in enumerate(held):
        cache.update(*kv, layer)
    return cache, held


def step(cache: KVCache, held: list[Any], layer: int, count: int = 1) -> None:
    """Add tokens to a layer, and check what comes back."""
    new = [torch.randn(2, 2, count, 16) for _ in range(2)]
    held[layer] = [torch.cat(pair, 2) for pair in zip(held[layer], new, strict=True)]
    for ours, theirs in zip(cache.update(*new, layer), held[layer], strict=True):
        assert torch.equal(ours, theirs)


@pytest.fixture
def expansions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which expansions were begun, and what became of them."""
    log: list[str] = []
    for name in ["start", "wait", "discard"]:
        method = getattr(kv_ring.Expansion, name)

        def noted(self: Any, *arguments: Any, name: str = name, method: Any = method) -> None:
            log.append(name)
            method(self, *arguments)

        monkeypatch.setattr(kv_ring.Expansion, name, noted)
    return log


def test_layers_are_expanded_ahead_also_those_of_the_next_token(expansions: list[str]) -> None:
    cache, held = filled()
    # The prompt's last layer already asked for the first one.
    assert expansions == ["start"]
    for _ in range(3):
        for layer in range(4):
            step(cache, held, layer)
    assert expansions == ["start", *["wait", "start"] * 12]
    assert not cache.ring.misled


def test_what_was_expanded_in_vain_is_not_tried_again(expansions: list[str]) -> None:
    cache, held = filled()
    cache.reorder_cache(torch.tensor([1, 0]))
    held = [[part[[1, 0]] for part in kv] for kv in held]
    assert expansions == ["start", "discard"]
    for _ in range(2):
        del expansions[:]
        for layer in range(4):
            step(cache, held, layer)
        assert expansions == ["start", *["wait", "start"] * 3, "wait"]  # nothing for the next token
    cache.reset()
    assert not cache.ring.misled and cache.peak_working_nbytes == 0


def test_another_number_of_tokens_than_expected(expansions: list[str]) -> None:
    cache, held = filled()
    for layer in range(4):
        step(cache, held, layer, count=5)
    assert expansions[:4] == ["start", "discard", "start", "wait"]


def test_nothing_ahead(expansions: list[str]) -> None:
    cache, held = filled(prefetch=False)
    for layer in range(4):
        step(cache, held, layer)
    assert expansions == ["start", "wait"] * 4
    cache.prefetch(2)
    assert expansions == ["start", "wait"] * 4


def test_a_layer_that_is_asked_for(expansions: list[str]) -> None:
    cache, held = filled()
    cache.prefetch(2)
    step(cache, held, 2)
    assert expansions == ["start", "discard", "start", "wait", "start"]


class Stream:
    """A stream that does its work at once, and notes its order."""

    device = torch.device("cpu")

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def wait_stream(self, other: Stream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")

    def record_event(self) -> str:
        self.log.append(f"{self.name} is noted")
        return f"event of {self.name}"

    def wait_event(self, event: str) -> None:
        self.log.append(f"{self.name} waits for {event}")


def test_streams_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    main, side = Stream("main", log), Stream("side", log)
    current = [main]

    @contextlib.contextmanager
    def on(stream: Stream) -> Iterator[None]:
        current.append(stream)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current[-1])
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(kv_ring.Ring, "_stream", lambda self, device, ahead: side if ahead else main)
    expand = kv_ring.expand
    monkeypatch.setattr(kv_ring, "expand", lambda part: (log.append(f"{current[-1].name} expands"), expand(part)))
    cache, held = filled(num_layers=2, tokens=12)  # a chunk each of keys and values
    ahead = ["side waits for main", "side expands", "side expands", "side is noted"]
    assert log == ahead
    step(cache, held, 0)
    assert log == [*ahead, "main waits for event of side", *ahead]
    cache.ring.forget()
    assert log[-1] == "main waits for event of side"  # before the buffer is written again
    del log[:]
    step(cache, held, 1)
    own = ["main waits for main", "main expands", "main expands", "main is noted", "main waits for event of main"]
    assert log[:5] == own


def test_workers_help_each_other() -> None:
    names: set[str] = set()
    gate = threading.Barrier(3, timeout=20)

    def work(number: int) -> int:
        gate.wait()  # passes only if three work at a time: two workers and the one who waits
        names.add(threading.current_thread().name)
        return number**2

    assert Workers(2).map(work, range(3)) == [0, 1, 4]
    assert len(names) == 3 and "MainThread" in names


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_a_call_that_fails(num_threads: int) -> None:
    def work(number: int) -> int:
        if number == 7:
            raise ValueError("seven")
        return number

    workers = Workers(num_threads)
    with pytest.raises(ValueError, match="seven"):
        workers.map(work, range(20))
    assert workers.map(work, range(5)) == [0, 1, 2, 3, 4]
    assert workers.map(work, []) == []
    assert copy.deepcopy(workers).map(work, [1, 2]) == [1, 2]


def test_after_an_interrupt_no_thread_is_at_work() -> None:
    gate, left = threading.Barrier(2, timeout=20), threading.Event()

    def work(_: int) -> None:
        gate.wait()
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        left.wait(0.2)
        left.set()

    with pytest.raises(KeyboardInterrupt):
        Workers(1).map(work, range(2))
    assert left.is_set()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_has_threads_of_its_own() -> None:
    workers = Workers(1)
    assert workers.map(abs, [-1, -2]) == [1, 2]
    child = os.fork()
    if child == 0:
        os._exit(0 if workers.map(abs, [-3, -4, -5]) == [3, 4, 5] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
