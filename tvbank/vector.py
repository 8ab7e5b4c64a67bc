"""The task vector: a fine-tune beside the base of a bank, tensor by tensor.

``Pairing`` is the one place that says which tensor of a checkpoint stands for which unit of the
layout. ``BaseModel`` holds the base against the layout's fingerprints; ``TaskVector`` sorts a
fine-tune's tensors into units, which a compressor gets, and tensors that are kept whole. Nothing is
subtracted here: a compressor takes the pair (base, tuned) of one unit at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, final

from numpy.typing import NDArray

from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.errors import BaseMismatchError, UnitMismatchError, name_units
from tvbank.layout import Layout, UnitRecord, WholeRecord, check_storable, fingerprint

#: Decides whether two specs (base, tuned) can be stored as entries.
Accepts = Callable[[TensorSpec, TensorSpec], bool]


@final
class Pairing:
    """The tensors of a checkpoint by the names of a layout.

    Of names that are tied in the layout, the checkpoint may have any one or all.

    Attributes:
        further: names that the checkpoint has and the layout has not.
    """

    def __init__(self, layout: Layout, checkpoint: Checkpoint) -> None:
        self._layout, self._checkpoint = layout, checkpoint
        self._tensors = {**checkpoint.tied, **{name: name for name in checkpoint.tensors}}
        known = {*(record.name for record in layout.records), *layout.tied}
        self.further = [name for name in self._tensors if name not in known]
        for record in layout.records:
            names = (record.name, *layout.aliases.get(record.name, ()))
            tensor = next((self._tensors[name] for name in names if name in self._tensors), None)
            if tensor is not None:
                self._tensors[record.name] = tensor

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def spec(self, name: str) -> TensorSpec:
        """Name in the checkpoint, dtype and shape of the tensor of a unit, or of a further name."""
        return self._checkpoint.tensors[self._tensors[name]]

    def read(self, name: str) -> NDArray[Any]:
        """The tensor's weights."""
        return self._checkpoint.read(self._tensors[name])

    def expect(self, names: Iterable[str]) -> None:
        """Say which are read next; see ``Checkpoint.expect``."""
        self._checkpoint.expect([self._tensors[name] for name in names])

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


@final
class BaseModel:
    """The base checkpoint of a bank, checked against the layout's fingerprints as it is read."""

    def __init__(self, layout: Layout, checkpoint: Checkpoint, keep_bytes: int = 0) -> None:
        """Compare names, shapes and element types; the weights are compared when they are read.

        Args:
            layout: of the bank.
            checkpoint: holds the weights; of tied names any one or all.
            keep_bytes: how much memory units may take that are kept, once checked, to be read
                again.

        Raises:
            BaseMismatchError: names the units that differ.
        """
        self._source = checkpoint.source
        self._pairing = Pairing(layout, checkpoint)
        self._records = {record.name: record for record in layout.records}
        self._kept: dict[str, NDArray[Any]] = {}
        self._bytes_left = keep_bytes
        wrong = [r.name for r in layout.records if not self._pairing.fits(r)]
        if wrong:
            raise self._mismatch(wrong, "missing, or of another shape or element type")

    def read(self, name: str) -> NDArray[Any]:
        """Read a unit and check its fingerprint.

        Raises:
            BaseMismatchError: names all units that differ, after reading the rest of the base.
        """
        array = self.read_unchecked(name)
        self.check(name, fingerprint(array))
        return array

    def read_unchecked(self, name: str) -> NDArray[Any]:
        """Read a unit whose fingerprint the caller passes to ``check`` before using the result.

        Units that are kept have been checked.
        """
        kept = self._kept.get(name)
        return self._pairing.read(name) if kept is None else kept

    def is_kept(self, name: str) -> bool:
        """Whether a unit has been checked and is in memory since."""
        return name in self._kept

    def keep(self, name: str, array: NDArray[Any]) -> None:
        """Keep a unit that has been checked, if it still fits; units kept before stay."""
        if name not in self._kept and array.nbytes <= self._bytes_left:
            self._bytes_left -= array.nbytes
            copy = array.copy()  # what is mapped may change with its file
            copy.flags.writeable = False
            self._kept[name] = copy

    def expect(self, names: Iterable[str]) -> None:
        """Say which units are read next; see ``Checkpoint.expect``."""
        self._pairing.expect(name for name in names if name not in self._kept)

    def check(self, name: str, sha256: str) -> None:
        """Compare a unit's fingerprint.

        Raises:
            BaseMismatchError: names all units that differ, after reading the rest of the base.
        """
        if sha256 != self._records[name].sha256:
            wrong = [
                record.name
                for record in self._records.values()
                if fingerprint(self.read_unchecked(record.name)) != record.sha256
            ]
            raise self._mismatch(wrong or [name], "other weights")

    def spec(self, record: UnitRecord | WholeRecord) -> TensorSpec:
        """Name in the checkpoint, dtype and shape of a unit."""
        return self._pairing.spec(record.name)

    def _mismatch(self, units: Sequence[str], how: str) -> BaseMismatchError:
        return BaseMismatchError(
            f"{self._source} is not the base this bank was built on ({how}: "
            f"{name_units(units)}); give that one",
            units,
        )


@final
class TaskVector:
    """A fine-tuned checkpoint beside the layout of its base.

    Attributes:
        source: where the checkpoint came from.
        units: units of the address space that the checkpoint has in the base's shape.
        whole: names of the tensors to keep whole, as the checkpoint calls them.
    """

    def __init__(
        self,
        layout: Layout,
        base: BaseModel,
        tuned: Checkpoint,
        accepts: Accepts,
        *,
        replace_mismatched: bool,
    ) -> None:
        """Sort the checkpoint's tensors; buffers are read and compared with the base's digests.

        Raises:
            UnitMismatchError: units of the base are missing, have another shape, or are tied in
                the base and differ here.
            CheckpointError: a tensor to keep whole has a name or a shape that is not allowed.
        """
        self.source = tuned.source
        self._pairing = Pairing(layout, tuned)
        missing = [unit.name for unit in layout.units if unit.name not in self._pairing]
        if missing:
            raise UnitMismatchError(
                f"{tuned.source} lacks {name_units(missing)} of the base; "
                "give a full checkpoint of the same model"
            )
        self.units: list[UnitRecord] = []
        refused: list[str] = []  # by the compressor
        replaced: list[str] = []  # of another shape, or not tied any more
        for unit in layout.units:
            spec = self.spec(unit.name)
            if spec.shape != unit.shape:
                replaced.append(unit.name)
            elif accepts(base.spec(unit), spec):
                self.units.append(unit)
            else:
                refused.append(unit.name)
        changed = [record.name for record in layout.whole if self._changed(record)]
        replaced += self._pairing.untied()
        if replaced and not replace_mismatched:
            raise UnitMismatchError(
                f"{tuned.source} does not fit the base (another shape, or tied in the base and "
                f"different here: {name_units(replaced)}); with replace_mismatched "
                "(--replace-mismatched) such units are kept whole"
            )
        self.whole = [*refused, *changed, *replaced, *self._pairing.further]
        for name in self.whole:
            check_storable(tuned.source, replace(self.spec(name), name=name))

    def spec(self, name: str) -> TensorSpec:
        """Dtype and shape of a unit in the checkpoint."""
        return self._pairing.spec(name)

    def expect(self, names: Iterable[str]) -> None:
        """Say which units are read next; see ``Checkpoint.expect``."""
        self._pairing.expect(names)

    def read(self, name: str) -> NDArray[Any]:
        """A unit's weights in the checkpoint."""
        return self._pairing.read(name)

    def _changed(self, record: WholeRecord) -> bool:
        """Whether a unit without deltas is in the checkpoint and differs from the base's."""
        if record.name not in self._pairing:
            return False
        return not (
            self._pairing.fits(record) and fingerprint(self.read(record.name)) == record.sha256
        )
