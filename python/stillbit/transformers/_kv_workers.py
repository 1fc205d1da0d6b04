"""Threads that compress and expand, beside the one that computes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Job:
    """Calls of one function, done by workers and, once it waits, by the caller as well.

    Parameters
    ----------
    function : callable
        Takes one item.
    items : iterable
        In the order in which they are begun.
    """

    def __init__(self, function: Callable[[Any], Any], items: Iterable[Any]) -> None:
        self._function = function
        self._todo = deque(enumerate(items))
        self._results: list[Any] = [None] * len(self._todo)
        self.futures: list[Future[None]] = []

    def __len__(self) -> int:
        return len(self._results)

    def run(self) -> None:
        """Do what nobody has begun."""
        while True:
            try:
                number, item = self._todo.popleft()
            except IndexError:
                return
            self._results[number] = self._function(item)

    def wait(self) -> list[Any]:
        """Help, wait for the rest, and return all results; raise what a call raised."""
        try:
            self.run()
            for future in self.futures:
                future.result()
        except BaseException:  # Ctrl-C among them: nobody may write to memory that is used again
            self.discard()
            raise
        return self._results

    def discard(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._todo.clear()
        for future in self.futures:
            future.exception()


class Workers:
    """A few threads, started when they are first needed. Copies have threads of their own.

    Parameters
    ----------
    num_threads : int
        0: the caller does everything itself, when it waits.
    """

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return Workers, (self.num_threads,)

    def start(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Job:
        """Begin calls of a function."""
        job = Job(function, items)
        if self._process != os.getpid():  # a fork has no threads but its own
            self._pool, self._process = None, os.getpid()
        if self._pool is None and self.num_threads:
            self._pool = ThreadPoolExecutor(self.num_threads, "stillbit-kv")
        if self._pool is not None:
            job.futures = [self._pool.submit(job.run) for _ in range(min(self.num_threads, len(job)))]
        return job

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Return the results of calls of a function."""
        items = list(items)
        if len(items) == 1:
            return [function(items[0])]
        return self.start(function, items).wait()
