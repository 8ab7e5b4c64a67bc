"""A model with a switch attached: where the base's units are, and whether others changed them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import final

import torch

from tvbank.errors import BaseMismatchError, UsageError, name_some
from tvbank.layout import Layout, fingerprint
from tvbank.naming import Names, Part, locate
from tvbank.naming.prefixes import names_of_units
from tvbank.switching._bindings import Bindings
from tvbank.switching._memory import Target, element_type, targets_of
from tvbank.switching._places import Place, identity, links_of, places_of
from tvbank.switching._sizes import Sizes
from tvbank.switching._threads import thread_count
from tvbank.switching._unfit import cause_of_missing
from tvbank.switching._watches import Watches


@final
class AttachedModel:
    """A model whose weights are those of a bank's base.

    Attributes:
        layout: of the base.
        places: the entries of the model's state dict by name, as they were when attached.
        located: where the model has what the bank names.
        remarks: what is worth knowing of how the model holds the base.
        targets: the memory that all units live in.
        bindings: where the units live.
        watches: what is expected at the places of the base's units, and of swapped heads.
        sizes: what the model says of the shapes of its weights.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        layout: Layout,
        prefix: str | None,
        names: Names | None = None,
    ) -> None:
        """Find the base's units in a model and check that it is the base.

        Raises:
            BaseMismatchError: units are missing, have other shapes, element types or weights.
            UsageError: several prefixes fit, or tensors overlap in memory.
            CheckpointError: a tensor that has no plain memory to read.
        """
        self.layout, self.places, self.sizes = layout, places_of(model), Sizes(model)
        try:
            tensors = {name: place.tensor for name, place in self.places.items()}
            whole = layout.whole_by_name
            self.located = locate(
                names_of_units(layout), model, tensors, prefix=prefix, names=names, optional=whole,
                shapes={record.name: record.shape for record in layout.records},
            )  # fmt: skip
        except BaseMismatchError as error:
            if cause := cause_of_missing(model):
                raise BaseMismatchError(f"{error}; {cause}", error.units) from None
            raise
        self.targets, self._by_unit = targets_of(layout, self.places, self.located.parts)
        check_base(layout, self._by_unit)
        self.bindings = Bindings(layout, self._by_unit)
        self.remarks = (*self.located.remarks, *_said_of_types(self.targets))
        pieces = (piece for target in self.bindings.targets for piece in target.pieces)
        written = {id(t): t for t in (piece.places[0].tensor for piece in pieces)}
        self._tensors = list(written.values())
        watched = [place for target in self.targets for place in target.places]
        self._watched = frozenset(place.name for place in watched)
        above = {
            place.name[:end]
            for place in watched
            for end, letter in enumerate(place.name)
            if letter == "."
        }
        self.watches = Watches(watched, (link for link in links_of(model) if link.path in above))
        self._shared: dict[object, list[Place]] = {}
        for place in self.places.values():
            self._shared.setdefault(identity(place.tensor), []).append(place)
        own = (self.located.parts.get(record.name, ()) for record in layout.records)
        self.owners = frozenset(part.name for parts in own for part in parts)

    def homes(self, name: str) -> Sequence[Target]:
        """The memory that a unit of the base lives in; none if the model lacks it."""
        return self._by_unit[name]

    def find(self, name: str) -> list[tuple[Place, Part]]:
        """Where the model has a unit that a task keeps whole; nowhere if it lacks it.

        Returns:
            The places: mostly one; if the unit is split, one of each of its parts.
        """
        parts = self.located.find(name, self.places)
        there = all(part.name in self.places for part in parts)
        return [(self.places[part.name], part) for part in parts] if there else []

    def names_of(self, name: str) -> tuple[str, ...]:
        """The model's names of what a unit, an alias or a head of a task goes to."""
        if name in self._by_unit:
            return tuple(p.name for target in self._by_unit[name] for p in target.places)
        return tuple(p.name for place, _ in self.find(name) for p in self.sharing(place))

    def sharing(self, place: Place) -> list[Place]:
        """All places that share a place's memory in the base, itself among them."""
        return next(group for group in self._shared.values() if place in group)

    def check_places(self) -> None:
        """Check that the model still has the tensors that were attached.

        Raises:
            UsageError: some were replaced, moved, cast or resized; names them.
        """
        if moved := self.watches.moved():
            raise UsageError(
                f"{name_some(moved)} of the model was replaced, resized, or moved to another "
                "device or element type since it was attached; nothing was changed. Give it the "
                "base's weights and attach to it again"
            )

    def check_unwritten(self, active: object) -> None:
        """Check that nobody else has written to the weights, as far as it can be seen.

        While the model is the base, a write may have left every weight as it was: that is no fault.

        Raises:
            UsageError: weights were written to while tasks were active; names them.
            BaseMismatchError: the weights are no longer the base's; names the units.
        """
        if not (written := self.watches.written()):
            return
        if active is not None:
            raise UsageError(
                f"{name_some(written)} of the model was written to while {active!r} was active; "
                "switching would overwrite some of that. Save what you need, then call "
                "off(force=True), which puts back the entries that the switch has changed"
            )
        # Of what was written unseen, samples show a part only: then all units are compared.
        only = None if self.watches.sampled() else set(written)
        check_base(self.layout, self._by_unit, only)
        self.watches.mark([])

    def expect(self, places: list[Place]) -> None:
        """Watch some places, and expect there what is there now."""
        if places:
            self.watches.add(places)

    def expect_base(self, places: list[Place]) -> None:
        """Expect what is at some places now, and no longer watch those that are not the base's."""
        if places:
            self.watches.drop(places)
            self.watches.add(place for place in places if place.name in self._watched)

    def mark(self, overlook: Collection[str] = ()) -> None:
        """Tell torch that the weights were written to, and expect them as they are now.

        Args:
            overlook: names of places that others have written to, to be noticed later.
        """
        self.watches.mark(self._tensors, overlook)


def _said_of_types(targets: Sequence[Target]) -> list[str]:
    """How much of a model is in a wider element type than the base."""
    kinds = Counter((t.stored, element_type(t.tensor)) for t in targets if t.is_wider)
    return [
        f"{count} of the base's units are {stored} in the bank and {here} in the model: tasks are "
        f"added in {stored}, so that the weights are those of the exported file"
        for (stored, here), count in kinds.items()
    ]


def check_base(
    layout: Layout, by_unit: Mapping[str, Sequence[Target]], only: Collection[str] | None = None
) -> None:
    """Compare the fingerprints of the units that a model has.

    Args:
        layout: of the base.
        by_unit: the targets of every unit by its name.
        only: names of places; by default all are compared.

    Raises:
        BaseMismatchError: names all units that differ.
        CheckpointError: a tensor that has no plain memory to read.
    """
    pairs = [
        (record, target)
        for record in layout.records
        for target in by_unit[record.name]
        if only is None or any(place.name in only for place in target.places)
    ]

    def differs(number: int) -> bool:
        record, target = pairs[number]
        return fingerprint(target.weights()) != record.sha256

    with ThreadPoolExecutor(thread_count()) as pool:  # hashing releases the GIL
        differing = list(pool.map(differs, range(len(pairs))))
    wrong = [record.name for (record, _), bad in zip(pairs, differing, strict=True) if bad]
    if wrong:
        raise BaseMismatchError(
            f"the model is not the base this bank was built on: {name_some(wrong)} of the bank's "
            f"{len(layout.records)} units have other weights; load the base's weights into it",
            wrong,
        )
