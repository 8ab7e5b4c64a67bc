"""Stores of bytes under keys: the one interface through which a bank is read and written.

=================  ==========================================================================
``_storage.py``    the interface, and what stores without tags share
``_open.py``       from a path or URL to a store
``local.py``       a folder, and the lock that keeps other writers out
``memory.py``      this process's memory
``objects.py``     S3, Google, Azure, HTTP, through obstore; ``_explain.py`` its errors
``by_fsspec.py``   whatever else fsspec reaches; ``by_icechunk.py`` an Icechunk session
``zipped.py``      one zip file on another store
=================  ==========================================================================

Only the packages that a bank's place needs are imported.
"""

from tvbank.storage._open import Location, open_storage
from tvbank.storage._storage import (
    ByteRange,
    ObjectNotFoundError,
    ReadOnlyStorage,
    Storage,
    StoredObject,
)
from tvbank.storage.local import LocalStorage
from tvbank.storage.memory import MemoryStorage

__all__ = [
    "ByteRange",
    "LocalStorage",
    "Location",
    "MemoryStorage",
    "ObjectNotFoundError",
    "ReadOnlyStorage",
    "Storage",
    "StoredObject",
    "open_storage",
]
