"""The routers of a bank as a mapping; what lists them needs nothing that reads one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, final

from tvbank.bank.documents import Catalog
from tvbank.storage import Storage

if TYPE_CHECKING:
    from tvbank.routing import Router


@final
class NamedRouters(Mapping[str, "Router"]):
    """The routers of a bank by name; nothing is read before one is asked for."""

    def __init__(self, storage: Storage, catalog: Catalog) -> None:
        self._storage, self._catalog = storage, catalog

    def __getitem__(self, name: str) -> Router:
        """Read a router; errors as of ``Bank.router``."""
        from tvbank.bank.routers import StoredRouter

        return StoredRouter(self._storage, self._catalog, name).load()

    def __contains__(self, name: object) -> bool:
        return name in self._catalog.routers

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._catalog.routers))

    def __len__(self) -> int:
        return len(self._catalog.routers)

    def __repr__(self) -> str:
        return f"<routers {', '.join(map(repr, self))}>" if self else "<no routers yet>"
