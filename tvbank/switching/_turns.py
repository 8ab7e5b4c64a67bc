"""Whose turn it is: calls of one switch come one after the other, and blocks keep it to their end.

A block belongs to the thread, and under ``asyncio`` to the task, that began it. It may be
ended elsewhere: generators and exit stacks are also closed by other threads, and by the collector
of garbage. No lock is held while the code inside a block runs.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

from tvbank.errors import UsageError

if TYPE_CHECKING:
    from tvbank.switching._change import Request

#: Seconds between looks at whether a block can still come to its end.
_LOOK = 0.2


class Held:
    """What only the frame of a block holds: when it is gone, so is the block."""

    __slots__ = ("__weakref__",)


@final
class Block:
    """One ``with switch(...)`` block.

    It ends when ``Turns.end`` is called; but at the latest when its frame is gone, so that no
    interruption leaves it open.

    Attributes:
        before: what the model was; ``None`` until the block has begun.
        overlapped: whether it ended before another one that began within it.
    """

    def __init__(self, held: Held) -> None:
        """A block of this thread, and of this task of ``asyncio`` if there is one."""
        self._held = weakref.ref(held)
        self.before: Request | None = None
        self.overlapped = False
        self.ended = threading.Event()
        self._thread, task = threading.current_thread(), _current_task()
        self._task = None if task is None else weakref.ref(task)

    @property
    def is_abandoned(self) -> bool:
        """Whether it can no longer come to its end by itself."""
        return self._held() is None

    def is_mine(self) -> bool:
        """Whether the caller is within the block, as far as can be told."""
        mine = self._thread is threading.current_thread()
        return mine and (self._task is None or self._task() in (None, _current_task()))

    def problem(self) -> str | None:
        """Why waiting for its end could take forever, if it could."""
        if not self._thread.is_alive():
            return "the thread that began it has ended"
        if self._thread is threading.current_thread() and not self.is_mine():
            return "it belongs to another task of asyncio, on this thread"
        return None

    def wait(self) -> None:
        """Wait for the end.

        Raises:
            UsageError: it might never come.
        """
        while not self.ended.is_set() and not self.is_abandoned:
            if problem := self.problem():
                raise UsageError(
                    f"a block, with switch(...), is still open, and {problem}: end it first (leave "
                    "the block, close the generator or exit stack that holds it), or give it up "
                    "with off(force=True)"
                )
            self.ended.wait(_LOOK)


@final
class Turns:
    """The calls and the open blocks of one switch."""

    def __init__(self) -> None:
        self._lock: Any = threading.RLock()
        self._blocks: list[Block] = []

    @contextmanager
    def take(self, force: bool = False) -> Iterator[Request | None]:
        """Wait until no block of others is open; until the end, no other call is at work.

        Args:
            force: whether blocks whose end cannot be waited for are given up.

        Yields:
            What the model was before a block that was left without being ended: it is to become
            that first. ``None`` if there was none.

        Raises:
            UsageError: the end of a block cannot be waited for.
        """
        while True:
            with self._lock:
                if force:
                    self._blocks = [block for block in self._blocks if not block.problem()]
                others = [b for b in self._blocks if not (b.is_abandoned or b.is_mine())]
                if not others:
                    yield self._sweep()
                    return
            others[0].wait()

    def begin(self, block: Block) -> None:
        """Open a block; the caller has the turn."""
        self._blocks = [*self._blocks, block]

    @contextmanager
    def end(self, block: Block) -> Iterator[Request | None]:
        """End a block, on any thread; it may have ended, or never begun.

        Yields:
            What the model is to become now; ``None`` to leave it as it is.
        """
        # The collector of garbage may end a block in the middle of a call of the same thread.
        within_a_call = self._lock._is_owned()
        try:
            with self._lock:
                self._sweep(block)
                after = self._close(block)
                yield None if within_a_call else after
        finally:
            block.ended.set()

    def _sweep(self, but: Block | None = None) -> Request | None:
        """Close all abandoned blocks; returns as ``_close``."""
        after = None
        for block in self._blocks[::-1]:
            if block.is_abandoned and block is not but:
                after = self._close(block) or after
        return after

    def _close(self, block: Block) -> Request | None:
        """Take a block off the list; returns what the model is to become, if that follows."""
        if block not in self._blocks:
            return None
        inner = self._blocks[self._blocks.index(block) + 1 :]
        if inner:  # the model stays what the inner blocks need, and comes back with them
            block.overlapped, inner[0].before = True, block.before
        self._blocks = [other for other in self._blocks if other is not block]
        return None if inner else block.before


def _current_task() -> object | None:
    """The task of ``asyncio`` that runs on this thread."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return None
    task: object | None = asyncio.current_task()
    return task
