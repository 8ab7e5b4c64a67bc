"""Making an empty bank: the layout, then the first root document, once in a place."""

from __future__ import annotations

from collections.abc import Callable

from tvbank.bank.base_location import KEY as BASE_LOCATION
from tvbank.bank.documents import LAYOUT, ROOT, decode_layout, empty_catalog, encode_root
from tvbank.errors import BankExistsError, ConflictError
from tvbank.storage import Storage


def make_bank(storage: Storage, layout: bytes, note: Callable[[], None] = lambda: None) -> None:
    """Write a layout document, and a root document without tasks.

    Args:
        storage: an empty place.
        layout: the layout document.
        note: writes what else belongs there, before the root document.

    Raises:
        BankExistsError: there is a bank, or something else, at that place.
        StorageError: the store refused.
    """
    decode_layout(layout)  # never publish what cannot be read back
    catalog = encode_root(empty_catalog(layout))
    with storage.exclusive():
        refuse_occupied(storage)
        _put_layout(storage, layout)
        note()
        try:
            storage.put_if_unchanged(ROOT, catalog, None)
        except ConflictError as error:
            raise BankExistsError(f"{storage.location} already holds a bank") from error


def refuse_occupied(storage: Storage) -> None:
    """Allow an empty place, or one where a maker was killed before it was done.

    Raises:
        BankExistsError: anything else; says what is there.
        StorageError: the store refused, or can only be read.
    """
    storage.refuse_read_only()
    for found in storage.list():
        if found.key == ROOT:
            raise BankExistsError(f"{storage.location} already holds a bank")
        if found.key not in (LAYOUT, BASE_LOCATION) and ".tmp-" not in found.key:
            raise BankExistsError(
                f"{storage.location} is not empty (it has {found.key}): choose another place"
            )


def _put_layout(storage: Storage, document: bytes) -> None:
    """Write the layout; where nobody can be kept out, never over that of another maker."""
    if storage.locks:
        storage.put(LAYOUT, document)
        return
    try:
        storage.put_if_unchanged(LAYOUT, document, None)
    except ConflictError as error:
        if storage.get(LAYOUT, len(document)) != document:
            raise BankExistsError(
                f"{storage.location} has a {LAYOUT} of another base, whose bank is being made or "
                "was never finished: choose another place, or remove that object"
            ) from error
