"""The one interface through which a build hands out jobs; worker processes of this machine.

Each process is started, fed and replaced by a thread of its own. It is a program of its own
(``_worker.py``), neither forked, which stores do not survive, nor spawned by ``multiprocessing``,
which would run the caller's script again.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from tvbank._atomic import cannot_write
from tvbank._imports import environment_of_child, import_path
from tvbank._version import __version__
from tvbank.building._jobs import Failed, Job
from tvbank.building._worker import receive, send


@dataclass(frozen=True)
class Lost:
    """A job that was tried as often as allowed: what went wrong at last."""

    reason: str


#: How a job ended: its packed result, an error of its own, or no way to do it.
Outcome = bytes | Failed | Lost

#: How often a job is tried: workers may be killed, and stores may refuse for a while.
TRIES = 3


class Workers(ABC):
    """Do jobs, in any order; a context manager.

    A job whose worker died, or raised, is done again elsewhere, ``TRIES`` times in all.
    """

    @property
    @abstractmethod
    def slots(self) -> int:
        """Jobs that are done at once; results beyond twice as many should not be waited for."""

    @abstractmethod
    def submit(self, ticket: int, job: Job) -> None:
        """Begin a job under a number of its own."""

    @abstractmethod
    def wait(self) -> tuple[int, Outcome]:
        """The next job that has ended: its number, and how.

        Raises:
            StorageError: the scheduler is gone.
        """

    @abstractmethod
    def close(self) -> None:
        """Give up what is not done yet, and let go of the workers."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


_Ticket = tuple[int, Job] | None


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """What workers write for themselves lies here.

    Raises:
        StorageError: no folder can be made.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="tvbank-build-", ignore_cleanup_errors=True)
    except OSError as error:
        raise cannot_write(Path(tempfile.gettempdir()), error) from error


@final
class LocalWorkers(Workers):
    """A number of processes; the machine's cores are shared out among them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._threads = max(1, (os.cpu_count() or 1) // count)
        self._jobs: queue.SimpleQueue[_Ticket] = queue.SimpleQueue()
        # A thread waits until its result is taken, so that few are in memory.
        self._ended: queue.Queue[tuple[int, Outcome]] = queue.Queue(1)
        self._closing = threading.Event()
        self._processes: set[subprocess.Popen[bytes]] = set()
        # Workers are killed in the end, and cannot remove what they fetched.
        self._temporary = _temporary_folder()
        self._feeders = [threading.Thread(target=self._feed, daemon=True) for _ in range(count)]
        for feeder in self._feeders:
            feeder.start()

    @property
    def slots(self) -> int:
        """See ``Workers.slots``."""
        return self._count

    def submit(self, ticket: int, job: Job) -> None:
        """See ``Workers.submit``."""
        self._jobs.put((ticket, job))

    def wait(self) -> tuple[int, Outcome]:
        """See ``Workers.wait``."""
        return self._ended.get()

    def close(self) -> None:
        """See ``Workers.close``."""
        self._closing.set()
        for _ in self._feeders:
            self._jobs.put(None)
        for process in list(self._processes):
            process.kill()
        while any(feeder.is_alive() for feeder in self._feeders):
            with suppress(queue.Empty):
                self._ended.get(timeout=0.01)
        self._temporary.cleanup()

    def _feed(self) -> None:
        process: subprocess.Popen[bytes] | None = None
        while (ticket := self._jobs.get()) is not None and not self._closing.is_set():
            number, job = ticket
            outcome: Outcome = Lost("")
            for _ in range(TRIES):
                if self._closing.is_set():
                    break
                if process is None:
                    process = self._start()
                outcome, process = self._try(process, job)
                if not isinstance(outcome, Lost):
                    break
            self._ended.put((number, outcome))
        if process is not None:
            self._end(process)

    def _try(
        self, process: subprocess.Popen[bytes], job: Job
    ) -> tuple[Outcome, subprocess.Popen[bytes] | None]:
        """How a job ended, and the process if it is still there."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            packed = pickle.dumps(job, pickle.HIGHEST_PROTOCOL)
            send(process.stdin, (_home_of(job), packed, self._threads, __version__))
            outcome: Any = receive(process.stdout)
        except (EOFError, OSError):
            status = self._end(process)
            how = f"signal {-status}" if status < 0 else f"status {status}"
            reason = f"its worker process ended with {how}"
            if status == -9:
                reason += " (killed, perhaps for want of memory: try fewer workers)"
            return Lost(reason), None
        return (outcome if isinstance(outcome, bytes | Failed) else Lost(outcome)), process

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tvbank.building._worker"],
            env=environment_of_child() | {"TMPDIR": self._temporary.name},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._processes.add(process)
        if self._closing.is_set():
            process.kill()
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        status = process.wait()
        self._processes.discard(process)
        return status


def _home_of(job: Job) -> str:
    """The folder of a job's compressor, if workers would not look there; nothing otherwise.

    A program may have a compressor in a module of its own in the current folder. That folder is no
    worker's import path; it is looked into only while the job is unpacked.
    """
    compressor = getattr(getattr(job, "tuned", None), "compressor", None)
    package = sys.modules.get(type(compressor).__module__.partition(".")[0])
    file = getattr(package, "__file__", None)
    if file is None:
        return ""
    home = str(Path(file).absolute().parents[1 if hasattr(package, "__path__") else 0])
    withheld = {os.path.abspath(path) for path in sys.path} - set(import_path())
    return home if home in withheld else ""
