"""Work that runs ahead of who takes its results, as far as a window of bytes allows."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: Bytes of units that may wait for the one before them; a larger unit is worked on alone.
WINDOW = 2**26

#: Bytes of units that are asked for together, where they come over a network.
TOGETHER = WINDOW // 2

#: Units of fewer entries are the work of one core, beside others.
LARGE = 2**21


def all_cores() -> ThreadPoolExecutor:
    """Threads for all cores; what they run lets go of the interpreter's lock."""
    return ThreadPoolExecutor(os.cpu_count() or 1)


def together(parallel: int, jobs: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """What jobs come to, in their order; so many of them at once wait for a store to answer."""
    if parallel == 1 or len(jobs) < 2:
        return [job() for job in jobs]
    with ThreadPoolExecutor(min(parallel, len(jobs))) as pool:
        return list(pool.map(lambda job: job(), jobs))


def grouped(sized: Iterable[tuple[str, int]], limit: int) -> list[tuple[str, ...]]:
    """Names in order, in groups of at most so many bytes; what is larger stands alone."""
    groups: list[list[str]] = []
    room = 0
    for name, size in sized:
        if not groups or size > room:
            groups.append([])
            room = limit
        groups[-1].append(name)
        room -= size
    return [tuple(group) for group in groups]


def run_ahead(
    items: Iterable[_Item],
    start: Callable[[_Item], Callable[[], _Result]],
    size: Callable[[_Item], int],
) -> Iterator[_Result]:
    """Start items in order and yield what they come to, while later ones are under way.

    Args:
        items: what to work on.
        start: begins the work on an item, as on threads of ``all_cores``, and returns a function
            that waits for its result.
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
