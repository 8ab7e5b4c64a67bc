"""Which units of a layout a module's parameter is: by name, whatever either side calls it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import final

from tvbank.checkpoint import Checkpoint
from tvbank.errors import UnitMismatchError, name_some
from tvbank.layout import Layout, UnitRecord
from tvbank.naming import Window, units_of

#: Opens the base's checkpoint, which is asked for names only where they differ.
OpenBase = Callable[[], AbstractContextManager[Checkpoint]]


@final
class Places:
    """Units by the names that an adapter uses, which it has of a live model."""

    def __init__(
        self, layout: Layout, names: Collection[str], source: str, said: str, base: OpenBase
    ) -> None:
        """Find what all names stand for.

        Args:
            layout: of the base.
            names: of parameters that the adapter changes.
            source: the adapter, for messages.
            said: of which base it says it is, as the end of a message.
            base: opens the base.

        Raises:
            UnitMismatchError: the base lacks units; names them.
        """
        self._layout, self._source, self._said = layout, source, said
        self._known = {record.name: record.name for record in layout.records} | dict(layout.tied)
        self._made: dict[str, tuple[tuple[str, Window | None], ...]] = {}
        self._strip, self._add = self._prefixes(names)
        if any(name not in self for name in names):
            with base() as checkpoint:
                self._made = units_of(layout, names, checkpoint)
            self._strip = self._add = ""
        missing = [name for name in names if name not in self]
        if missing:
            raise UnitMismatchError(
                f"{source} does not fit the base: it changes {name_some(missing)}, which the base "
                f"lacks{said}: give an adapter of this base, or a bank of the adapter's (if it is "
                "a part of a tensor of the base's files, or has its rows in another order, merge "
                "the adapter with PEFT, merge_and_unload, and add the model)"
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
        return name in self._made or self._renamed(name) in self._known

    def _renamed(self, name: str) -> str:
        return self._add + name.removeprefix(self._strip)

    def name(self, name: str) -> str:
        """What the bank calls a parameter; an alias of a tied unit, or what it lacks, stays one."""
        made = self._made.get(name, ())
        if len(made) == 1 and made[0][1] is None and name not in self._known:
            return made[0][0]
        renamed = self._renamed(name)
        return renamed if renamed in self._known else name

    def units(self, name: str) -> list[tuple[UnitRecord, Window | None]]:
        """The units that a parameter is made of; the owner of a tied one.

        Each has the window of the parameter that it is, or ``None`` if it is all of it.

        Raises:
            UnitMismatchError: the base has no float weights there.
        """
        renamed = self._renamed(name)
        if renamed in self._known:
            return [(self._record(name, self._known[renamed]), None)]
        return [(self._record(name, unit), window) for unit, window in self._made[name]]

    def unit(self, name: str) -> UnitRecord:
        """The one unit of a parameter.

        Raises:
            UnitMismatchError: also if it is made of several units, or of a part of one.
        """
        made = self.units(name)
        if len(made) != 1 or made[0][1] is not None:
            raise self.fused(name)
        return made[0][0]

    def fused(self, name: str) -> UnitMismatchError:
        """The error for a parameter that is made of units as no adapter can follow."""
        return UnitMismatchError(
            f"{self._source} changes {name!r}, which transformers makes of several tensors of the "
            "base's files, not row by row: merge it with PEFT (merge_and_unload), and add the model"
        )

    def _record(self, name: str, owner: str) -> UnitRecord:
        unit = self._layout.by_name.get(owner)
        if unit is None:
            record = self._layout.whole_by_name[owner]
            raise UnitMismatchError(
                f"{self._source} changes {name!r}, which in the base holds {record.dtype} "
                f"{list(record.shape)}: the base is quantised, and an adapter adds to its floats: "
                f"make a bank of the base as it was before that{self._said}"
            )
        return unit
