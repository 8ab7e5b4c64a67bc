"""The one interface through which a build hands out jobs, whoever does them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from tvbank.building._jobs import Failed, Job


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
            StorageError: whoever hands out the jobs is gone.
        """

    @abstractmethod
    def close(self) -> None:
        """Give up what is not done yet, and let go of the workers."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
