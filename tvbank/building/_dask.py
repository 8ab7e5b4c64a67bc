"""Workers of a dask.distributed cluster, which runs a job again elsewhere if its worker is lost."""

from __future__ import annotations

import importlib
import itertools
import time
import uuid
from typing import Any, final

from tvbank._version import __version__
from tvbank.building._jobs import Failed, Job, run_job
from tvbank.building._workers import TRIES, Lost, Outcome, Workers
from tvbank.errors import StorageError, UsageError
from tvbank.storage import redact_url

#: Seconds to wait for the scheduler, and then for its first worker.
_PATIENCE = 30

#: Seconds after which the number of the workers' threads is asked for again.
_FRESH = 2.0


@final
class DaskWorkers(Workers):
    """All workers that a scheduler has, now or later; a job takes one thread."""

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            UsageError: dask.distributed is missing, or the address is none.
            StorageError: no scheduler answers there, or it has no workers.
        """
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError as error:
            raise UsageError(
                f"--scheduler needs dask.distributed: pip install 'tvbank[dask]' ({error})"
            ) from error
        if "@" in address:  # nor would the scheduler know what to do with it
            raise UsageError(
                f"{redact_url(address)}: the address of a scheduler holds no user or password"
            )
        self._address = address
        self._name = f"tvbank-{uuid.uuid4().hex}"
        self._tickets: dict[str, int] = {}
        self._submitted = itertools.count()
        try:
            self._client: Any = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
        except ValueError as error:
            raise UsageError(f"{address} is no address of a scheduler: {error}") from error
        except OSError as error:
            raise StorageError(
                f"no scheduler answers at {address}: start one with `dask scheduler`"
            ) from error
        try:
            self._client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            self._client.close()
            raise StorageError(
                f"the scheduler at {address} has no workers: start some, `dask worker {address}`"
            ) from error
        self._ended: Any = distributed.as_completed(loop=self._client.loop)
        self._slots, self._asked = 1, 0.0

    @property
    def slots(self) -> int:
        """See ``Workers.slots``; changes as workers come and go."""
        if time.monotonic() - self._asked > _FRESH:
            try:
                self._slots = max(1, sum(self._client.nthreads().values()))
            except OSError as error:
                raise self._gone() from error
            self._asked = time.monotonic()
        return self._slots

    def submit(self, ticket: int, job: Job) -> None:
        """See ``Workers.submit``."""
        # A scheduler that has not yet forgotten a key gives what it made of that one before.
        key = f"{self._name}-{next(self._submitted)}"
        self._tickets[key] = ticket
        future = self._client.submit(
            run_job, job, 1, __version__, key=key, pure=False, retries=TRIES - 1
        )
        self._ended.add(future)

    def wait(self) -> tuple[int, Outcome]:
        """See ``Workers.wait``."""
        future = next(self._ended)
        ticket = self._tickets.pop(future.key)
        if future.status == "cancelled":
            raise self._gone()
        try:
            outcome: Any = future.result()
        except Exception as error:  # whatever a worker raised, or dask for a worker that is lost
            if future.status in ("cancelled", "lost"):
                raise self._gone() from error
            return ticket, Lost(f"{type(error).__name__}: {error}")
        finally:
            future.release()
        return ticket, outcome if isinstance(outcome, bytes | Failed) else Lost(repr(outcome))

    def close(self) -> None:
        """See ``Workers.close``."""
        self._client.close(timeout=5)

    def _gone(self) -> StorageError:
        return StorageError(
            f"the scheduler at {self._address} is gone: start it and build again; what was encoded "
            "is kept"
        )
