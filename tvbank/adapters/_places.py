"""Which unit of a layout a module's tensors are for: by name, whatever prefix either side has."""

from __future__ import annotations

from collections.abc import Collection
from typing import final

from tvbank.errors import UnitMismatchError, name_some
from tvbank.layout import Layout, UnitRecord


@final
class Places:
    """Units by the names that an adapter uses, which it has of a live model."""

    def __init__(self, layout: Layout, names: Collection[str], source: str, said: str) -> None:
        """Find the prefix that fits all names.

        Args:
            layout: of the base.
            names: of parameters that the adapter changes.
            source: the adapter, for messages.
            said: of which base it says it is, as the end of a message.

        Raises:
            UnitMismatchError: the base lacks units; names them.
        """
        self._layout, self._source, self._said = layout, source, said
        self._known = {record.name: record.name for record in layout.records} | dict(layout.tied)
        self._strip, self._add = self._prefixes(names)
        missing = [name for name in names if name not in self]
        if missing:
            raise UnitMismatchError(
                f"{source} does not fit the base: it changes {name_some(missing)}, which the base "
                f"lacks{said}: give an adapter of this base, or a bank of the adapter's"
            )

    def _prefixes(self, names: Collection[str]) -> tuple[str, str]:
        """What to take from the adapter's names and what to put before them."""
        if not names or all(name in self._known for name in names):
            return "", ""
        first = next(iter(names))
        parts = first.split(".")
        for count in range(1, len(parts)):
            strip = ".".join(parts[:count]) + "."
            if all(n.startswith(strip) and n.removeprefix(strip) in self._known for n in names):
                return strip, ""
        for known in self._known:
            if known.endswith("." + first):
                add = known.removesuffix(first)
                if all(add + name in self._known for name in names):
                    return "", add
        return "", ""

    def __contains__(self, name: str) -> bool:
        return self._renamed(name) in self._known

    def _renamed(self, name: str) -> str:
        return self._add + name.removeprefix(self._strip)

    def name(self, name: str) -> str:
        """What the bank calls a parameter; an alias of a tied unit, or what it lacks, stays one."""
        renamed = self._renamed(name)
        return renamed if renamed in self._known else name

    def unit(self, name: str) -> UnitRecord:
        """The unit of a parameter; the one that owns it, if it is tied.

        Raises:
            UnitMismatchError: the base has no float weights there.
        """
        owner = self._known[self._renamed(name)]
        unit = self._layout.by_name.get(owner)
        if unit is None:
            record = self._layout.whole_by_name[owner]
            raise UnitMismatchError(
                f"{self._source} changes {name!r}, which in the base holds {record.dtype} "
                f"{list(record.shape)}: the base is quantised, and an adapter adds to its floats: "
                f"make a bank of the base as it was before that{self._said}"
            )
        return unit
