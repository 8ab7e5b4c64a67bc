"""Who may write to a folder: one thread of one process at a time.

``flock`` on the folder itself, so that a bank holds no file that zarr's tools would stumble over,
and the system gives the lock back when its holder dies. Whether it locks at all is tried each time,
with a second handle that must be refused; where it does not, ``lock_file.py`` takes over.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import final

from tvbank.storage.lock_file import LOCK_FILE, LockFile

#: Makes a missing folder.
Make = Callable[[Path], None]

#: Makes the exception for what the system refused.
Refusal = Callable[[OSError | ValueError], Exception]

if sys.platform == "win32":
    from filelock import FileLock

    @final
    class FolderLock:
        """A lock file in the folder, which Windows cannot lock itself."""

        def __init__(self, folder: Path, make: Make, refusal: Refusal) -> None:
            self._folder, self._make = folder, make
            self._file = FileLock(folder / LOCK_FILE)

        def hold(self) -> AbstractContextManager[object]:
            """Wait for the lock, and give it back at the end of the ``with`` block."""
            self._make(self._folder)
            return self._file

        def moved(self) -> str:
            """Nothing: Windows moves no folder in which a file is open."""
            return ""

else:
    import fcntl

    #: What the system answers where a file system has no locks, or none for folders.
    _NO_LOCKS = {
        errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EBADF, errno.EINVAL,
    }  # fmt: skip

    #: Folders, by device and number, that have been locked: where the system says later that it has
    #: no more locks, a lock file would not keep out those who have one.
    _proven: set[tuple[int, int]] = set()

    @final
    class FolderLock:
        """The lock of one folder.

        Args:
            folder: what is locked.
            make: makes it where it is missing.
            refusal: makes the exception for what the system refused.
        """

        def __init__(self, folder: Path, make: Make, refusal: Refusal) -> None:
            self.folder, self.make, self.refusal = folder, make, refusal
            self._threads = threading.local()

        def hold(self) -> _Hold:
            """A turn: wait for the lock, and give it back at the end of the ``with`` block.

            A thread that has a turn may take another within it.
            """
            return _Hold(self)

        def moved(self) -> str:
            """Why this thread must not change what the folder's path leads to, if so.

            Empty as long as that is the folder that was locked, or none is.
            """
            turn = self.turn
            if turn is None or not (turn.taken or turn.forked):
                return ""
            if turn.forked:
                return "this process was forked from one that was writing there"
            if _identity(self.folder) != turn.identity:
                return "the folder was moved, removed or replaced while it was written to"
            return ""

        @property
        def turn(self) -> _Hold | None:
            """This thread's own turn, the outermost."""
            found: weakref.ref[_Hold] | None = getattr(self._threads, "turn", None)
            return found() if found else None

        @turn.setter
        def turn(self, hold: _Hold | None) -> None:
            self._threads.turn = weakref.ref(hold) if hold else None

        @property
        def _held(self) -> int:
            """Turns that threads of this process have."""
            return sum(lock is self for lock, _turn in list(_descriptors.values()))

    class _Ended:
        """A turn that is over, or has not begun."""

        lock: FolderLock
        identity = (0, 0)
        forked = False
        _outer: _Ended | None = None
        _descriptor = -1
        _file: LockFile | None = None
        _made = False

        @property
        def taken(self) -> bool:
            """Whether the lock is held for it, by this process."""
            return self._descriptor >= 0 and not self.forked

        def __exit__(self, *_error: object) -> None:
            file, self._file = self._file, None
            descriptor, self._descriptor = self._descriptor, -1
            self.__class__ = _Ended
            if descriptor < 0:
                return
            try:
                if file is not None:
                    file.give_back()
                if self._made:  # if nothing came of what was to be written there
                    with suppress(OSError):
                        os.rmdir(self.lock.folder)
            finally:
                try:  # not by closing alone: a forked child has the handle, too
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
                except OSError:
                    pass
                finally:
                    if descriptor in _descriptors:
                        del _descriptors[descriptor]  # noqa: RUF051 - a call could be interrupted
                    os.close(descriptor)

    @final
    class _Hold(_Ended):
        """One turn; a context manager.

        Python may raise ``KeyboardInterrupt`` after every call that it makes. Here none is made
        between the ``try`` that takes the lock and the ``with`` block; a turn that an interrupt
        ended before ``__exit__`` could begin gives the lock back when it is forgotten.

        Attributes:
            identity: device and number of the folder that was locked.
            forked: whether this is a child's copy of a turn that its parent has.
        """

        def __init__(self, lock: FolderLock) -> None:
            self.lock = lock

        def __enter__(self) -> None:
            try:
                self._take()
            except (OSError, ValueError) as error:  # ValueError: the folder's path holds a NUL
                self.__exit__()
                raise self.lock.refusal(error) from error
            except BaseException:
                self.__exit__()
                raise

        def __del__(self) -> None:
            self.__exit__()

        def _take(self) -> None:
            turn = self.lock.turn
            if turn is not None and turn.taken:
                self._outer = turn  # which is kept until this one ends
                return
            folder = self.lock.folder
            while True:
                if not folder.is_dir():
                    self.lock.make(folder)
                    self._made = True
                self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                _descriptors[self._descriptor] = self.lock, weakref.ref(self)
                self.identity = _identity(self._descriptor)
                with suppress(FileNotFoundError):  # it was removed while this one waited
                    if not _locked(self._descriptor, folder):
                        self._file = LockFile(folder)
                        self._file.take()
                if _identity(folder) == self.identity:
                    break
                _Ended.__exit__(self)  # another folder took its place
                self.__class__ = _Hold
            self.lock.turn = self

    #: The open handles of locked folders, for forked children.
    _descriptors: dict[int, tuple[FolderLock, weakref.ref[_Hold]]] = {}

    def _locked(descriptor: int, folder: Path) -> bool:
        """Take the system's lock; false where there is none that keeps others out.

        A second handle must be refused: file systems exist that grant every lock.
        """
        identity = _identity(descriptor)
        second = -1
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            second = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _proven.add(identity)
            return True
        except OSError as error:
            none_left = error.errno == errno.ENOLCK and identity in _proven
            if error.errno not in _NO_LOCKS or none_left:
                raise
        finally:
            if second >= 0:
                os.close(second)
        return False

    def _identity(folder: Path | int) -> tuple[int, int]:
        """Device and number of a folder; zeros where there is none."""
        try:
            found = os.stat(folder)
        except OSError:
            return 0, 0
        return found.st_dev, found.st_ino

    def _leave_to_parent() -> None:
        """In a forked child: forget the locks of its parent without giving them back."""
        for descriptor, (_lock, turn) in _descriptors.items():
            os.close(descriptor)
            if hold := turn():
                hold.forked, hold._descriptor, hold._file = True, -1, None
        _descriptors.clear()

    os.register_at_fork(after_in_child=_leave_to_parent)
