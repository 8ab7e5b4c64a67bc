"""Threads that share the work of one call, and are never left behind."""

from __future__ import annotations

import _thread
import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar, final

import torch

from tvbank.switching._team import torch_team
from tvbank.switching.loops.shares import Shared

Result = TypeVar("Result")


def thread_count() -> int:
    """How many threads torch may use; ``torch.set_num_threads`` sets it for tvbank too."""
    return max(1, torch.get_num_threads())


class _Job(Generic[Result]):
    """A function on a thread of its own, which can be called off before it begins.

    The thread is a bare one: ``threading.Thread.start`` waits until the thread runs, while here
    the caller should be at work of its own by then. The caller holds no lock that an interrupt
    could leave behind: whoever enters its claim first decides whether the function is called.
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
        threads that have not begun by then are called off: a machine that is busy elsewhere
        holds nothing up.

        Args:
            function: takes the number of its thread.
            threads: how many, at least 1.

        Returns:
            What the calls returned that took place.
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
        """Run a loop on all threads that it is shared by: torch's own if they can be had.

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
        """Wait until nobody is at work, whatever interrupted the last call."""
        for job in self._jobs:
            job.call_off()
        self._jobs = []


_Function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _call(shared: Shared) -> None:
    _Function(shared.function)(shared.argument)
