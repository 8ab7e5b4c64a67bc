"""The task vector of a fine-tune: which units changed how, and access to both versions of each.

Nothing is subtracted here: a compressor takes the pair (base, tuned) of one unit at a time.
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
class BaseModel:
    """The base checkpoint of a bank, checked against the layout's fingerprints as it is read.

    Of tensors that are tied in the layout, the checkpoint may have any one name or all.
    """

    def __init__(self, layout: Layout, checkpoint: Checkpoint, keep_bytes: int = 0) -> None:
        """Compare names, shapes and element types; the weights are compared when they are read.

        Args:
            layout: of the bank.
            checkpoint: holds the weights.
            keep_bytes: what units may take, once checked, that are kept for who reads them again.

        Raises:
            BaseMismatchError: names the units that differ.
        """
        self._layout, self._checkpoint = layout, checkpoint
        self._kept: dict[str, NDArray[Any]] = {}
        self._room = keep_bytes
        owners = {**checkpoint.tied, **{name: name for name in checkpoint.tensors}}

        def find(name: str) -> str:
            names = (name, *layout.aliases.get(name, ()))
            return next((owners[n] for n in names if n in owners), name)

        self._names = {record.name: find(record.name) for record in layout.records}
        wrong = [r.name for r in layout.records if self._spec(r.name) != (r.dtype, r.shape)]
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

        Those that are kept have been checked.
        """
        kept = self._kept.get(name)
        return self._checkpoint.read(self._names[name]) if kept is None else kept

    def is_kept(self, name: str) -> bool:
        """Whether a unit was checked before, and is in memory since."""
        return name in self._kept

    def keep(self, name: str, array: NDArray[Any]) -> None:
        """Keep a unit that has been checked, if there is room; those that came first stay."""
        if name not in self._kept and array.nbytes <= self._room:
            self._room -= array.nbytes
            copy = array.copy()  # what is mapped may change with its file
            copy.flags.writeable = False
            self._kept[name] = copy

    def expect(self, names: Iterable[str]) -> None:
        """Say which units are read next; see ``Checkpoint.expect``."""
        self._checkpoint.expect([self._names[name] for name in names if name not in self._kept])

    def check(self, name: str, sha256: str) -> None:
        """Compare a unit's fingerprint.

        Raises:
            BaseMismatchError: names all units that differ, after reading the rest of the base.
        """
        if sha256 != self._record_digest(name):
            wrong = [
                record.name
                for record in self._layout.records
                if fingerprint(self.read_unchecked(record.name)) != record.sha256
            ]
            raise self._mismatch(wrong or [name], "other weights")

    def spec(self, record: UnitRecord | WholeRecord) -> TensorSpec:
        """Name in the checkpoint, dtype and shape of a unit."""
        return self._checkpoint.tensors[self._names[record.name]]

    def _record_digest(self, name: str) -> str:
        if name in self._layout.by_name:
            return self._layout.by_name[name].sha256
        return self._layout.whole_by_name[name].sha256

    def _spec(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        spec = self._checkpoint.tensors.get(self._names[name])
        return None if spec is None else (spec.dtype, spec.shape)

    def _mismatch(self, units: Sequence[str], how: str) -> BaseMismatchError:
        return BaseMismatchError(
            f"{self._checkpoint.source} is not the base this bank was built on ({how}: "
            f"{name_units(units)}); give that one",
            units,
        )


@final
class TaskVector:
    """A fine-tuned checkpoint beside the layout of its base.

    Attributes:
        units: units of the address space that the checkpoint has in the base's shape.
        whole: names of the units to keep whole, as the checkpoint calls them.
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
        self._tuned, self._layout = tuned, layout
        self._owners = {**tuned.tied, **{name: name for name in tuned.tensors}}
        self._aliases = layout.aliases
        self._stored_as = {r.name: self._find(r.name) for r in layout.records}
        self._refuse_missing()
        self.units: list[UnitRecord] = []
        self.whole: list[str] = []
        mismatched: list[str] = []
        for unit in layout.units:
            spec = self.spec(unit.name)
            if spec.shape != unit.shape:
                mismatched.append(unit.name)
            elif accepts(base.spec(unit), spec):
                self.units.append(unit)
            else:
                self.whole.append(unit.name)
        for record in layout.whole:
            if self._stored_as[record.name] and self._changed(record.name, record.sha256):
                self.whole.append(record.name)
        mismatched += self._untied()
        if mismatched and not replace_mismatched:
            raise UnitMismatchError(
                f"{tuned.source} does not fit the base (another shape, or tied in the base and "
                f"different here: {name_units(mismatched)}); with replace_mismatched "
                "(--replace-mismatched) such units are kept whole"
            )
        known = {*self._stored_as, *layout.tied}
        self.whole += mismatched + [name for name in self._owners if name not in known]
        for name in self.whole:
            check_storable(tuned.source, replace(self.spec(name), name=name))

    @property
    def source(self) -> str:
        """Where the checkpoint came from."""
        return self._tuned.source

    def spec(self, name: str) -> TensorSpec:
        """Dtype and shape of a unit in the checkpoint."""
        return self._tuned.tensors[self._owners[self._stored_as.get(name) or name]]

    def expect(self, names: Iterable[str]) -> None:
        """Say which units are read next; see ``Checkpoint.expect``."""
        self._tuned.expect([self.spec(name).name for name in names])

    def read(self, name: str) -> NDArray[Any]:
        """A unit's weights in the checkpoint."""
        return self._tuned.read(self.spec(name).name)

    def _find(self, name: str) -> str | None:
        """The name under which the checkpoint has a unit: its own, or one it is tied to."""
        return next((n for n in (name, *self._aliases.get(name, ())) if n in self._owners), None)

    def _refuse_missing(self) -> None:
        missing = [unit.name for unit in self._layout.units if not self._stored_as[unit.name]]
        if missing:
            raise UnitMismatchError(
                f"{self._tuned.source} lacks {name_units(missing)} of the base; "
                "give a full checkpoint of the same model"
            )

    def _changed(self, name: str, sha256: str) -> bool:
        spec = self.spec(name)
        record = self._layout.whole_by_name[name]
        same_kind = (spec.dtype, spec.shape) == (record.dtype, record.shape)
        return not (same_kind and fingerprint(self.read(name)) == sha256)

    def _untied(self) -> list[str]:
        """Aliases of the base that are tensors of their own here, with other weights."""
        untied = []
        for alias, owner in self._layout.tied.items():
            stored = self._stored_as[owner]
            if alias not in self._owners or stored is None:
                continue
            if self._owners[alias] == self._owners[stored]:
                continue
            mine, theirs = self.spec(alias), self.spec(owner)
            same_kind = (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
            if not (same_kind and fingerprint(self.read(alias)) == fingerprint(self.read(owner))):
                untied.append(alias)
        return untied
