"""Work on several units, or requests to a store, at the same time, within a window of bytes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tvbank.layout import fingerprint

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: Bytes of units that may be under way at once; a larger unit is worked on alone.
WINDOW = 2**26

#: Bytes of units that are requested together from a remote store.
TOGETHER = WINDOW // 2

#: A unit of fewer entries is encoded by one core, others at the same time by the others.
LARGE = 2**21


def all_cores() -> ThreadPoolExecutor:
    """Threads for all cores, for functions that release the interpreter's lock."""
    return ThreadPoolExecutor(os.cpu_count() or 1)


def hashed_ahead(pool: Executor, arrays: Iterable[NDArray[np.generic]]) -> Iterator[str]:
    """The fingerprint of each of some arrays, computed on a pool while later ones are read."""
    return run_ahead(
        arrays, lambda array: pool.submit(fingerprint, array).result, lambda array: array.nbytes
    )


def together(parallel: int, jobs: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """Run jobs that wait for a store, at most ``parallel`` at once; results in the jobs' order."""
    if parallel == 1 or len(jobs) < 2:
        return [job() for job in jobs]
    with ThreadPoolExecutor(min(parallel, len(jobs))) as pool:
        return list(pool.map(lambda job: job(), jobs))


def grouped(sized: Iterable[tuple[str, int]], limit: int) -> list[tuple[str, ...]]:
    """Divide names, in order, into groups of at most ``limit`` bytes; a larger one stands alone."""
    groups: list[list[str]] = []
    left = 0
    for name, size in sized:
        if not groups or size > left:
            groups.append([])
            left = limit
        groups[-1].append(name)
        left -= size
    return [tuple(group) for group in groups]


def run_ahead(
    items: Iterable[_Item],
    start: Callable[[_Item], Callable[[], _Result]],
    size: Callable[[_Item], int],
) -> Iterator[_Result]:
    """Start items in order, and yield their results in order while later items are worked on.

    Args:
        items: what to work on.
        start: begins the work on an item, for example on threads of ``all_cores``, and returns a
            function that waits for its result.
        size: bytes that an item takes until its result has been used.
    """
    pending: deque[tuple[int, Callable[[], _Result]]] = deque()
    waiting = 0
    for item in items:
        needed = size(item)
        while pending and waiting + needed > WINDOW:
            waiting -= pending[0][0]
            yield pending.popleft()[1]()  # no variable holds the result: it may be large
        pending.append((needed, start(item)))
        waiting += needed
    while pending:
        yield pending.popleft()[1]()
