"""Ctrl-C during long calls: KeyboardInterrupt within about a second, and nothing half done."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import stillbit as sb

ROWS = np.random.default_rng(0).standard_normal((100_000, 256)).astype(np.float32)


@pytest.fixture(autouse=True)
def signals_raise() -> Iterator[None]:
    """Programs that a script starts in the background ignore Ctrl-C; here it has to arrive."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


def interrupt(call: Callable[[], object]) -> float:
    """Repeat a call until Ctrl-C, which comes soon; return the seconds that it then took."""
    sent = 0.0

    def send() -> None:
        nonlocal sent
        time.sleep(0.3)
        sent = time.perf_counter()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    with pytest.raises(KeyboardInterrupt):
        thread.start()
        while True:
            call()
    took = time.perf_counter() - sent
    thread.join()
    return took


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("interrupted")
    np.save(path / "raw.npy", ROWS)
    sb.compress_file(path / "raw.npy", path / "packed.safetensors")
    return path


CALLS: dict[str, Callable[[Path, sb.CompressedTensor, np.ndarray], object]] = {
    "compress": lambda folder, table, out: sb.compress(ROWS, num_threads=2),
    "plan": lambda folder, table, out: sb.plan(ROWS),
    "decompress": lambda folder, table, out: table.decompress(out),
    "verify": lambda folder, table, out: table.verify(),
    "load_file": lambda folder, table, out: sb.load_file(folder / "packed.safetensors", mmap=False),
    "verify_file": lambda folder, table, out: sb.verify_file(folder / "packed.safetensors", progress=True),
    "compress_file": lambda folder, table, out: sb.compress_file(folder / "raw.npy", folder / "new.safetensors"),
    "decompress_file": lambda folder, table, out: sb.decompress_file(folder / "packed.safetensors", folder / "x.npy"),
    "save_file": lambda folder, table, out: sb.save_file({"x": table}, folder / "new.safetensors"),
    "compress_to_file": lambda folder, table, out: sb.compress_to_file(
        {"x": [ROWS[:60_000], ROWS[60_000:]]}, folder / "new.safetensors"
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_ctrl_c(name: str, folder: Path) -> None:
    tensor = sb.load_file(folder / "packed.safetensors")["raw"]
    out = np.empty_like(ROWS)
    took = interrupt(lambda: CALLS[name](folder, tensor, out))
    assert took < 2
    # A file that an earlier round has finished may be there; what is there is whole, and nothing is beside it.
    names = {path.name for path in folder.iterdir()} - {"raw.npy", "packed.safetensors"}
    assert names <= {"new.safetensors", "x.npy"}
    if "new.safetensors" in names:
        sb.verify_file(folder / "new.safetensors")
    for left in names:
        (folder / left).unlink()
    assert np.array_equal(tensor.decompress(out), ROWS)


def test_an_exception_of_another_signal_comes_out() -> None:
    class Alarm(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Alarm

    old = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Alarm):
            while True:
                sb.compress(ROWS)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
