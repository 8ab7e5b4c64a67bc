"""Stores of bytes under keys: the one interface through which a bank is read and written.

=================  ==========================================================================
``_storage.py``    the interface, and what stores without tags share
``_open.py``       from a path or URL to a store
``_shown.py``      what of URLs, and of other libraries' errors, may be shown
``local.py``       a folder; ``folder_lock.py`` keeps other writers out, ``lock_file.py`` where
                   the file system has no locks; ``_forks.py`` locks between threads
``memory.py``      this process's memory
``objects.py``     S3, Google, Azure, HTTP, through obstore: ``_client.py`` makes its clients,
                   ``_aws.py`` finds credentials, ``_answers.py`` takes what arrives,
                   ``_explain.py`` says what its errors mean, ``_conditions.py`` proves that
                   writers cannot overwrite each other
``hub.py``         a repository of the Hugging Face hub at one commit, through ``objects.py``;
                   ``_hub_places.py`` what its URLs name, and the user's token
``_own.py``        stores that users made themselves, with credentials of their own
``by_fsspec.py``   whatever else fsspec reaches; ``by_icechunk.py`` an Icechunk session
``zipped.py``      one zip file on another store
=================  ==========================================================================

Only the packages that a bank's place needs are imported.
"""

from tvbank.storage._hub_places import Repository, hub_endpoint, hub_token, parse_hub_url
from tvbank.storage._open import Location, is_url, local_file, open_storage, split_url
from tvbank.storage._shown import redact, redact_url, refuse_credentials, words_of
from tvbank.storage._storage import (
    ByteRange,
    LosesWritesError,
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
    "LosesWritesError",
    "MemoryStorage",
    "ObjectNotFoundError",
    "ReadOnlyStorage",
    "Repository",
    "Storage",
    "StoredObject",
    "hub_endpoint",
    "hub_token",
    "is_url",
    "local_file",
    "open_storage",
    "parse_hub_url",
    "redact",
    "redact_url",
    "refuse_credentials",
    "split_url",
    "words_of",
]
