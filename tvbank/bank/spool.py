"""Objects that wait to be published: in memory while they are few, else in a temporary file.

A revision is named by its content, so nothing can be written under its name before all is known.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, final

from tvbank.errors import StorageError

_MEMORY_BYTES = 64 * 2**20


@final
class Spool:
    """Keys and bytes, documents first, else in the order they were added; a context manager."""

    def __init__(self, memory_bytes: int = _MEMORY_BYTES) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(memory_bytes)  # noqa: SIM115
        self._places: dict[str, tuple[int, int]] = {}
        self._size = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_error: object) -> None:
        with suppress(OSError):  # what a full disk did not take is of no use any more
            self._file.close()

    def add(self, key: str, data: bytes) -> None:
        """Append an object.

        Raises:
            StorageError: the disk of the temporary file is full.
        """
        try:
            self._file.seek(self._size)
            self._file.write(data)
            self._file.flush()  # here, not when it is read back or closed
        except OSError as error:
            raise StorageError(
                f"cannot write {len(data)} bytes to a temporary file: {error.strerror or error}; "
                "free some room, or set TMPDIR to a larger disk"
            ) from error
        self._places[key] = (self._size, len(data))
        self._size += len(data)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        # Some stores take an array's chunks only once they have its document.
        places = sorted(self._places.items(), key=lambda place: not place[0].endswith("zarr.json"))
        for key, (offset, size) in places:
            try:
                self._file.seek(offset)
                data = self._file.read(size)
            except OSError as error:
                raise StorageError(
                    f"cannot read a temporary file back: {error.strerror or error}"
                ) from error
            yield key, data
