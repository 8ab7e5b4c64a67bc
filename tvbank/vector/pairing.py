"""Which tensor of a checkpoint stands for which unit of a layout: the one place that says so."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, final

from numpy.typing import NDArray

from tvbank.checkpoint import Checkpoint, TensorSpec, is_constant_array, is_tie
from tvbank.layout import Layout, UnitRecord, WholeRecord, fingerprint
from tvbank.naming.causes import cause_of_lack

#: Bytes of tensors that were read early and are still to be read.
_EARLY_BYTES = 2**26


@final
class Pairing:
    """The tensors of a checkpoint by the names of a layout.

    Of names that are tied in the layout, the checkpoint may have any one or all. A name that only
    one of the two knows is an alias where it shares its memory with a unit, or has a unit's weights
    and one of the names under which libraries tie (``lm_head``): then it is that unit.
    """

    def __init__(self, layout: Layout, checkpoint: Checkpoint) -> None:
        self._layout, self._checkpoint = layout, checkpoint
        self._tensors = {**checkpoint.tied, **{name: name for name in checkpoint.tensors}}
        for record in layout.records:
            names = (record.name, *layout.aliases.get(record.name, ()))
            tensor = next((self._tensors[name] for name in names if name in self._tensors), None)
            if tensor is not None:
                self._tensors[record.name] = tensor
        self._pair_copies()
        self._early: dict[str, NDArray[Any]] = {}
        self._early_bytes = 0

    def _pair_copies(self) -> None:
        """Pair units that the base has twice, once under a name that libraries tie.

        A checkpoint may list such a pair once: files leave tied names out.
        """
        absent = [record for record in self._layout.records if record.name not in self]
        twins: dict[tuple[object, ...], list[str]] = {}
        for record in self._layout.records if absent else ():
            if record.name in self:
                twins.setdefault(_weights_of(record), []).append(record.name)
        for record in absent:
            for twin in twins.get(_weights_of(record), ()):
                if len(record.shape) > 1 and (is_tie(record.name) or is_tie(twin)):
                    self._tensors[record.name] = self._tensors[twin]

    def further(self) -> list[str]:
        """Names that the checkpoint has and the layout has not, without aliases of its units.

        Of names that libraries tie, and of the units that they may be copies of, each is read once.
        """
        known = {*(record.name for record in self._layout.records), *self._layout.tied}
        units = {self._tensors[r.name] for r in self._layout.records if r.name in self}
        names = [n for n, tensor in self._tensors.items() if n not in known and tensor not in units]
        copies = self._copies([name for name in names if is_tie(name)], units)
        return [name for name in names if name not in copies]

    def _copies(self, names: Collection[str], units: Collection[str]) -> set[str]:
        """Which of some further names are a unit, stored a second time."""
        prints: dict[tuple[str, tuple[int, ...]], set[str]] = {}
        for spec in map(self.spec, names):
            prints[spec.dtype, spec.shape] = set()
        for unit in units:
            spec = self._checkpoint.tensors[unit]
            if (same := prints.get((spec.dtype, spec.shape))) is not None:
                same.add(fingerprint(self._checkpoint.read(unit)))
        copies = set()
        for name in names:
            spec, array = self.spec(name), self.read(name)
            if fingerprint(array) in prints[spec.dtype, spec.shape] and not is_constant_array(
                array
            ):
                copies.add(name)
        return copies

    def is_buffer(self, name: str) -> bool | None:
        """Whether a unit is a buffer, if the checkpoint knows; see ``Checkpoint.is_buffer``."""
        return self._checkpoint.is_buffer(self._tensors.get(name, name))

    def remedy(self, missing: Collection[str], *, of_base: bool = False) -> str:
        """Why the checkpoint lacks units, and what to do about it; see ``cause_of_lack``."""
        known = {*(record.name for record in self._layout.records), *self._layout.tied}
        units = [r.name for r in self._layout.records if r.name in self and r.name not in missing]
        return cause_of_lack(missing, units, set(self._tensors) - known, of_base=of_base)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def spec(self, name: str) -> TensorSpec:
        """Name in the checkpoint, dtype and shape of the tensor of a unit, or of a further name."""
        return self._checkpoint.tensors[self._tensors[name]]

    def read(self, name: str) -> NDArray[Any]:
        """The tensor's weights."""
        tensor = self._tensors[name]
        early = self._early.pop(tensor, None)
        if early is None:
            return self._checkpoint.read(tensor)
        self._early_bytes -= early.nbytes
        return early

    def read_early(self, name: str) -> NDArray[Any]:
        """The weights of a tensor that is to be read again: until then they stay in memory.

        At most 64 MiB do.
        """
        tensor = self._tensors[name]
        early = self._early.get(tensor)
        if early is None:
            early = self._checkpoint.read(tensor)
            if self._early_bytes + early.nbytes <= _EARLY_BYTES:
                self._early_bytes += early.nbytes
                self._early[tensor] = early
        return early

    def expect(self, names: Iterable[str]) -> None:
        """Say which are read next; see ``Checkpoint.expect``."""
        tensors = (self._tensors[name] for name in names)
        self._checkpoint.expect([tensor for tensor in tensors if tensor not in self._early])

    def fits(self, record: UnitRecord | WholeRecord) -> bool:
        """Whether there is a tensor for a unit, of its shape and element type."""
        if record.name not in self:
            return False
        spec = self.spec(record.name)
        return (spec.dtype, spec.shape) == (record.dtype, record.shape)

    def untied(self) -> list[str]:
        """Aliases of the layout that are tensors of their own here, with other weights.

        Reads the tensors of those that are not tied here.
        """
        untied = []
        for alias, owner in self._layout.tied.items():
            if alias not in self or owner not in self:
                continue
            mine, theirs = self.spec(alias), self.spec(owner)
            if mine.name == theirs.name:
                continue
            same_kind = (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
            if not (same_kind and fingerprint(self.read(alias)) == fingerprint(self.read(owner))):
                untied.append(alias)
        return untied


def _weights_of(record: UnitRecord | WholeRecord) -> tuple[object, ...]:
    return record.sha256, record.dtype, record.shape
