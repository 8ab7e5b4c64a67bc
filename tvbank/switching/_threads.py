"""Threads that share the work of one call; when the call ends, none of them is still at work.

The loops need no GIL, and run on the threads of torch's own operations where these can be had.
After an operation torch's threads wait for the next one at full speed for some milliseconds: a
thread of tvbank's would share their cores with them, and a new one waits until the system takes a
core from them, which is longer than a whole switch. So the loops are given to torch's threads, by
the function of the OpenMP runtime that compiled parallel loops call.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Generic, TypeVar, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.coding.decoding.table import FIRST, LAST, PART_COLUMNS
from tvbank.switching.loops.shares import Shared

Result = TypeVar("Result")

#: Function, its argument, number of threads: calls it once on each; returns when all are done.
Team = Callable[[int, int, int], None]

#: Fewer non-zeros than ``_LEAST`` are not worth a part of their own; fewer than ``_WORTH`` times as
#: many are not worth a second thread.
_LEAST, _WORTH = 5_000, 8
#: Parts for each thread, so that all threads end at about the same time.
_PARTS = 32

#: The OpenMP runtime of a forked process would wait for threads that only its parent has.
_PROCESS = os.getpid()
_NO_FLAGS = 0


def thread_count() -> int:
    """How many threads torch may use; ``torch.set_num_threads`` sets it for tvbank too."""
    return max(1, torch.get_num_threads())


def cut(
    counts: NDArray[np.int64], threads: int, orders: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Cut rows into parts of about the same number of non-zeros.

    Args:
        counts: int64 [rows], the non-zeros of each.
        threads: how many will take parts.
        orders: int64 [rows], ascending; rows with the same one stay together.

    Returns:
        int64 [parts, ``PART_COLUMNS``], with no rows of a previous record; at least one part, which
        is empty if there are no rows.
    """
    total = np.cumsum(counts)
    whole = int(total[-1]) if len(total) else 0
    wanted = min(_PARTS * threads, whole // _LEAST) if whole >= _WORTH * _LEAST else 1
    inner = np.searchsorted(total, whole * np.arange(1, wanted) // wanted, side="left") + 1
    if orders is not None and len(inner):
        inner = np.searchsorted(orders, orders[np.minimum(inner, len(orders) - 1)])
    edges = np.unique([0, *inner.tolist(), len(counts)])
    parts = np.zeros((max(1, len(edges) - 1), PART_COLUMNS), np.int64)
    parts[: len(edges) - 1, FIRST], parts[: len(edges) - 1, LAST] = edges[:-1], edges[1:]
    return parts


class _Job(Generic[Result]):
    """A function on a thread of its own, which can be called off before it begins.

    The thread is a bare one: ``threading.Thread.start`` waits until the thread runs, while here
    the caller should be at work of its own by then. No lock is held that an interrupt could leave
    locked: ``setdefault`` is atomic, and the first to enter its claim decides whether the
    function is called.
    """

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function = function
        self._claim: dict[str, str] = {}
        self._ended = threading.Event()
        self._results: list[Result] = []
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin, if the system has a thread to spare."""
        with suppress(RuntimeError):
            _thread.start_new_thread(self._run, ())

    def call_off(self) -> None:
        """Return when the function has ended, or will never begin; may be called again."""
        if self._claim.setdefault("by", "caller") == "worker":
            self._ended.wait()

    def results(self) -> list[Result]:
        """What the function returned, unless it raised; nothing if it was called off."""
        if self._error is not None:
            raise self._error
        return self._results

    def _run(self) -> None:
        if self._claim.setdefault("by", "worker") == "worker":
            try:
                self._results.append(self._function())
            except BaseException as error:
                self._error = error
            finally:
                self._ended.set()


@final
class Crew:
    """Threads that share the work of one call after the other."""

    def __init__(self) -> None:
        self._jobs: list[_Job[Any]] = []

    def share(self, function: Callable[[int], Result], threads: int) -> list[Result]:
        """Call a function on several threads that take parts of some work until none is left.

        The first call is on this thread. Once it has returned there is nothing left to do, and
        threads that have not begun by then are called off: the call does not wait for threads that
        a busy machine has not started.

        Args:
            function: takes the number of its thread.
            threads: how many, at least 1.

        Returns:
            What the function returned, for each call that took place.
        """
        self.rest()
        jobs: list[_Job[Result]] = [_Job(partial(function, n)) for n in range(1, threads)]
        self._jobs = [*jobs]
        try:
            for job in jobs:
                job.start()
            first = function(0)
        finally:
            self.rest()
        return [first, *(result for job in jobs for result in job.results())]

    def run(self, shared: Shared) -> list[tuple[int, int]]:
        """Run a loop on several threads: torch's own if they can be had.

        Returns:
            What each thread's loop returned; nothing of threads that came too late.

        Raises:
            MemoryError: there was not enough memory.
        """
        self.rest()
        if shared.threads == 1:
            _call(shared)
        elif team := torch_team():
            team(shared.function, shared.argument, shared.threads)
        else:
            self.share(lambda _: _call(shared), shared.threads)
        return shared.results()

    def rest(self) -> None:
        """Wait until no thread is at work, whatever interrupted the last call."""
        for job in self._jobs:
            job.call_off()
        self._jobs = []


_Function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _call(shared: Shared) -> None:
    _Function(shared.function)(shared.argument)


def torch_team() -> Team | None:
    """What runs a function of C on torch's threads.

    ``None`` where they cannot be had: on other systems, with other builds of torch, and in a
    process that was forked.
    """
    return _find_team() if os.getpid() == _PROCESS else None


@cache
def _find_team() -> Team | None:
    openmp: Any = torch.backends.openmp
    if sys.platform != "linux" or not openmp.is_available():
        return None
    try:
        # Loaded already; the runtime is among the libraries that it depends on.
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        parallel = library.GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    parallel.restype = None

    def run(function: int, argument: int, threads: int) -> None:
        parallel(function, argument, threads, _NO_FLAGS)

    return run
