"""Objects that a writer finds in place: they count only if they are what was recorded.

The key of an immutable object says what it should hold. What a disk, a tool or a person made of it
since, only its bytes say: a writer that means to leave an object as it is reads it first.
"""

from __future__ import annotations

from collections.abc import Iterable

from tvbank.bank.documents import ObjectRecord, record_of
from tvbank.bank.snapshot import read_stored
from tvbank.errors import CorruptionError, StorageError
from tvbank.storage import Storage


def is_sound(storage: Storage, key: str, record: ObjectRecord) -> bool:
    """Whether an object is there and has its size and digest; all of it is read.

    What the store cannot read (a bad block, a pipe in its place) is not sound either.
    """
    try:
        read_stored(storage, key, record)
    except (CorruptionError, StorageError):
        return False
    return True


def mend(storage: Storage, objects: Iterable[tuple[str, bytes]]) -> int:
    """Write those objects anew that are missing or damaged; their number.

    Args:
        storage: holds the bank.
        objects: key, and what should be there.

    Raises:
        StorageError: the store refused.
    """
    mended = 0
    for key, data in objects:
        if not is_sound(storage, key, record_of(data)):
            storage.put(key, data)
            mended += 1
    return mended
