"""``follow``: a live model that keeps up with the newest version in a bank."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, final

from tvbank.bank.bank import Bank, as_bank
from tvbank.bank.task import Task
from tvbank.errors import CorruptionError, StorageError
from tvbank.naming import Names
from tvbank.storage import Location

if TYPE_CHECKING:
    import torch

    from tvbank.switching import Switch

#: How often a version is looked for anew, since what it is made of was removed meanwhile.
_TRIES = 3

#: Seconds between two looks, by default.
EVERY = 5.0


@dataclass(frozen=True)
class FollowReport:
    """One look at a bank.

    Attributes:
        version: the newest, which the model or file has now; None while there is none.
        before: the version that it had; None for the base, or for no file.
        route: how it got there: ``steps`` from where it was, ``base`` over an anchor, or ``none``
            if there was nothing to do.
        tasks: what was read, in order.
        bytes: stored bytes of these.
        seconds: how long it took.
    """

    version: str | None
    before: str | None
    route: str
    tasks: tuple[str, ...] = ()
    bytes: int = 0
    seconds: float = 0.0


def settled(
    bank: Bank, bring: Callable[[str | None], FollowReport], prefix: str | None
) -> FollowReport:
    """See what is new, and bring a model or file there; again if it was removed meanwhile.

    Args:
        bank: an open bank.
        bring: does it, given the newest version.
        prefix: see ``Bank.newest``.
    """
    for tried in range(_TRIES):
        bank.refresh()
        try:
            return bring(bank.newest(prefix))
        except CorruptionError:  # of a generation that is gone, or damaged
            if tried == _TRIES - 1 or not bank.refresh():
                raise
    raise AssertionError("every try returns or raises")


def report_of(
    before: str | None, task: Task, read: tuple[Task, ...], shared: bool, begun: float
) -> FollowReport:
    """What was read to come to a version.

    Args:
        before: the version that was there.
        task: the version that is there now.
        read: the tasks that were read for it.
        shared: whether it went on from where it was.
        begun: when it began, by ``time.monotonic``.
    """
    return FollowReport(
        task.name, before, "steps" if shared else "base", tuple(each.name for each in read),
        sum(each.stored_bytes for each in read), time.monotonic() - begun,
    )  # fmt: skip


@final
class Follower:
    """Keeps a live model at the newest version in a bank, by a switch of its own.

    All bytes of a version are read and compared with their digests before the model is touched; if
    one cannot be read, or turns out to be wrong, the model has the version before. Between versions
    of a chain only the steps between them are read and written; where the chain begins anew, the
    anchor is.

    Attributes:
        switch: of the model; ``switch.off()`` gives the base back.
        bank: the bank that is followed.
        prefix: what the names of versions begin with.
    """

    def __init__(self, switch: Switch, bank: Bank, prefix: str | None) -> None:
        """Use ``tvbank.follow``."""
        self.switch, self.bank, self.prefix = switch, bank, prefix
        self._held: tuple[tuple[str, str], ...] = ()
        self._stop = threading.Event()

    @property
    def version(self) -> str | None:
        """The version that the model has; None for the base."""
        return self._held[-1][0] if self._held else None

    def update(self) -> FollowReport:
        """Look once, and bring the model to the newest version.

        Raises:
            UsageError: others have written to the weights; or several series and no prefix.
            CorruptionError, StorageError: the version cannot be read; the model keeps its own.
        """
        return settled(self.bank, self._bring, self.prefix)

    def _bring(self, name: str | None) -> FollowReport:
        begun, before = time.monotonic(), self.version
        if name is None:
            return FollowReport(None, before, "none")
        task = self.bank[name]
        path = tuple((each.name, each.revision) for each in task.lineage)
        active = self.switch.active == before
        if path == self._held and active:
            return FollowReport(name, before, "none", seconds=time.monotonic() - begun)
        common = 0
        for ours, theirs in zip(self._held if active else (), path, strict=False):
            if ours != theirs:
                break
            common += 1
        self._change(name, before)
        self._held = path
        return report_of(before, task, task.lineage[common:], common > 0, begun)

    def _change(self, name: str, before: str | None) -> None:
        """Change the model to a version; to the one before if that cannot be."""
        try:
            self.switch.to(name)
        except BaseException:
            if before is not None and self.switch.active != before:
                held, self._held = self._held, ()
                self.switch.to(before)
                self._held = held
            raise

    def run(
        self,
        every: float = EVERY,
        report: Callable[[FollowReport | StorageError], object] = lambda _report: None,
    ) -> None:
        """Look again and again until ``stop`` is called, on another thread or in ``report``.

        Args:
            every: seconds between two looks.
            report: is given what each look that changed something found, and errors of the store,
                after which it is looked again.

        Raises:
            TvbankError: as ``update``, but for a store that did not answer.
        """
        self._stop.clear()
        while True:
            try:
                found: FollowReport | StorageError = self.update()
            except StorageError as error:
                found = error
            if isinstance(found, StorageError) or found.route != "none":
                report(found)
            if self._stop.wait(every):
                return

    def stop(self) -> None:
        """End ``run`` after the look that is under way."""
        self._stop.set()

    def close(self) -> None:
        """Stop, give the model the base back, and let go of it."""
        self.stop()
        self.switch.close()
        self._held = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def follow(
    model: torch.nn.Module,
    bank: Bank | Location,
    *,
    prefix: str | None = None,
    names: Names | None = None,
) -> Follower:
    """Bring a live model to the newest version in a bank, and keep it there.

    Args:
        model: holds the bank's base; see ``tvbank.attach``.
        bank: an open bank, or its place.
        prefix: what the names of versions begin with; see ``Bank.newest``.
        names: the model's name for each of the bank's, if no way is found; see ``tvbank.attach``.

    Returns:
        The follower; the model has the newest version, if there is one. ``update()`` looks once
        more, ``run()`` again and again.

    Raises:
        BaseMismatchError, UsageError, CheckpointError: as ``tvbank.attach``.
        CorruptionError, StorageError: the version cannot be read.
    """
    from tvbank.switching import attach

    opened = as_bank(bank)
    follower = Follower(attach(model, opened, names=names), opened, prefix)
    try:
        follower.update()
    except BaseException:
        follower.close()
        raise
    return follower
