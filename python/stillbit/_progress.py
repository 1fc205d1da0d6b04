"""Progress bars: the library counts, a thread here draws, so that nothing in the library waits for Python."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from . import _core

COMPRESS_PASSES = 3  # over a tensor's bytes, at most, as far as progress is concerned
_INTERVAL_SECONDS = 0.1


@contextmanager
def counting(show: bool, total: int | None, what: str) -> Iterator[_core.Counter | None]:
    """Show a bar while the body runs.

    Parameters
    ----------
    show : bool
        Otherwise nothing happens, and the counter is None.
    total : int, optional
        Bytes that the counter reaches at most, where that is known.
    what : str
        What is being done, for the bar's label.
    """
    if not show:
        yield None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        warnings.warn("progress=True shows nothing: tqdm is not installed", stacklevel=4)
        yield None
        return
    counter, done = _core.Counter(), threading.Event()
    with tqdm(total=total, desc=what, unit="B", unit_scale=True, leave=False) as bar:

        def draw() -> None:
            while not done.wait(_INTERVAL_SECONDS):
                bar.update(counter.num_bytes - bar.n)

        thread = threading.Thread(target=draw, daemon=True)
        thread.start()
        try:
            yield counter
        finally:
            done.set()
            thread.join()
        bar.update((counter.num_bytes if total is None else total) - bar.n)
