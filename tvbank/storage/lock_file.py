"""The lock of a folder whose file system has none that works: a file that only one can create.

The file says who holds the lock. The rule for one whose holder was killed: if that process ran on
this machine since it was started, and is no more, the file is removed; a holder on another machine
cannot be asked, so a writer that has waited ``PATIENCE`` seconds for one and the same holder is
refused, and told which file to remove if that holder is known to be gone.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import final

import msgspec

from tvbank.errors import StorageError

LOCK_FILE = ".lock"

#: Created, likewise by one only, while the file of a holder that is gone is removed.
BREAKING_FILE = ".lock.breaking"

#: Seconds that a writer waits for one and the same holder.
PATIENCE = 600.0

#: Seconds of the longest pause before the file is looked at again.
_PAUSE = 0.05

#: More bytes than any such file has.
_MOST_BYTES = 4096


class _Holder(msgspec.Struct, frozen=True):
    """Who holds a lock: ``machine`` and ``started`` tell processes of equal number apart."""

    host: str
    machine: str
    pid: int
    started: str
    since: str
    token: str


@final
class LockFile:
    """One turn at being the only writer of a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        self._breaking = folder / BREAKING_FILE
        since = datetime.now(UTC).isoformat(timespec="seconds")
        self._holder = _Holder(
            socket.gethostname(), _machine(), os.getpid(), _started(os.getpid()), since,
            secrets.token_hex(16),
        )  # fmt: skip

    def take(self) -> None:
        """Wait until nobody has the lock, and take it.

        Raises:
            OSError: the system refused.
            StorageError: one holder, which may be gone, has it for too long.
        """
        text = msgspec.json.encode(self._holder)
        seen, since = None, time.monotonic()
        while not _create(self._path, text):
            found = _read(self._path)
            holder = _parse(found)
            if holder is not None and _is_gone(holder):
                self._remove(found)
                continue
            if found != seen:
                seen, since = found, time.monotonic()
            elif time.monotonic() - since > PATIENCE:
                raise StorageError(self._refusal(holder))
            time.sleep(random.uniform(0, _PAUSE))

    def give_back(self) -> None:
        """Remove the file, if it is this one's."""
        holder = _parse(_read(self._path))
        if holder is not None and holder.token == self._holder.token:
            with suppress(OSError):
                os.unlink(self._path)

    def _remove(self, text: bytes | None) -> None:
        """Remove the file of a holder that is gone, unless another writer has done so meanwhile."""
        if not _create(self._breaking, b""):
            time.sleep(random.uniform(0, _PAUSE))  # another writer is at it
            return
        try:
            if _read(self._path) == text:
                os.unlink(self._path)
        finally:
            os.unlink(self._breaking)

    def _refusal(self, holder: _Holder | None) -> str:
        who = "a writer that left no name"
        if holder is not None:
            who = f"process {holder.pid} of {holder.host!r}, since {holder.since!r}"
        return (
            f"{who}, holds its lock, and its file system has none of its own that ends with its "
            f"holder: if that no longer runs, remove {LOCK_FILE!r}, and {BREAKING_FILE!r} if it is "
            "there, from the folder"
        )


def _create(path: Path, text: bytes) -> bool:
    """Create a file, if there is nothing of that name."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, text)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)
    return True


def _read(path: Path) -> bytes | None:
    """What the file says; nothing if there is none, or something that is no file."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return None
    try:
        return os.read(descriptor, _MOST_BYTES)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _parse(text: bytes | None) -> _Holder | None:
    try:
        return msgspec.json.decode(text or b"", type=_Holder)
    except msgspec.MsgspecError:
        return None


def _is_gone(holder: _Holder) -> bool:
    """Whether the holder is a process of this machine that has ended."""
    if not holder.machine or holder.machine != _machine() or holder.pid <= 0:
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's process; a number that none can have
        return False
    started = _started(holder.pid)
    return bool(started) and started != holder.started


def _machine() -> str:
    """Tells apart machines, their restarts, and containers whose processes do not see each other.

    Empty where the system does not say: then no holder is taken to be gone.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process began, as the system counts; empty where it does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
