"""An advisory lock on a folder that the system releases when its holder dies.

POSIX systems lock the folder itself, so a bank holds nothing that zarr's tools would stumble over;
Windows cannot, and gets a lock file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

LOCK_FILE = ".lock"

if sys.platform == "win32":
    from filelock import FileLock

    class FolderLock(FileLock):
        """A lock file in the folder."""

        def __init__(self, folder: Path) -> None:
            super().__init__(folder / LOCK_FILE)

else:
    import fcntl

    class FolderLock:
        """``flock`` on the folder, counted, so that its holder may take it again."""

        def __init__(self, folder: Path) -> None:
            self._folder = folder
            self._held = 0
            self._descriptor = -1

        def acquire(self) -> None:
            """Wait for the lock.

            Raises:
                OSError: the folder cannot be opened or locked.
            """
            if not self._held:
                descriptor = os.open(self._folder, os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                except BaseException:
                    os.close(descriptor)
                    raise
                self._descriptor = descriptor
            self._held += 1

        def release(self) -> None:
            """Give the lock back, as often as it was taken."""
            self._held -= 1
            if not self._held:
                os.close(self._descriptor)
