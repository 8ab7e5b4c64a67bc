"""Stores of bytes under keys: the one interface through which a bank is read and written."""

from tvbank.bank.storage._storage import ObjectNotFoundError, Storage, StoredObject
from tvbank.bank.storage.local import LocalStorage
from tvbank.bank.storage.memory import MemoryStorage

__all__ = ["LocalStorage", "MemoryStorage", "ObjectNotFoundError", "Storage", "StoredObject"]
