"""The task vector: a fine-tune beside the base of a bank, tensor by tensor.

``Pairing`` is the one place that says which tensor of a checkpoint stands for which unit of the
layout. ``BaseModel`` holds the base against the layout's fingerprints; ``TaskVector`` sorts a
fine-tune's tensors into units, which a compressor gets, and tensors that are kept whole. Nothing is
subtracted here: a compressor takes the pair (base, tuned) of one unit at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, final

from numpy.typing import NDArray

from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.dtypes import ELEMENT_TYPES
from tvbank.errors import BaseMismatchError, UnitMismatchError, name_units
from tvbank.evidence import could_leave_domain, is_bare_difference, is_vector
from tvbank.layout import Layout, UnitRecord, WholeRecord, check_storable, fingerprint
from tvbank.tensor_names import is_buffer, is_constant, is_tie, remedy_for_names

#: Decides whether two specs (base, tuned) can be stored as entries.
Accepts = Callable[[TensorSpec, TensorSpec], bool]

#: Units whose numbers are looked at to tell a fine-tune from a difference, and their largest size.
_SAMPLE_UNITS = 8
_SAMPLE_BYTES = 2**22

#: Share of the parameters that is not kept whole for its element type without a word.
_MUCH = 0.05


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

        Reads tensors that may be copies of a unit.
        """
        known = {*(record.name for record in self._layout.records), *self._layout.tied}
        units = {self._tensors[r.name] for r in self._layout.records if r.name in self}
        return [
            name
            for name, tensor in self._tensors.items()
            if name not in known and tensor not in units and not self._is_copy(name, units)
        ]

    def _is_copy(self, name: str, units: Collection[str]) -> bool:
        """Whether a further name is the unit that libraries tie to it, stored a second time."""
        if not is_tie(name):
            return False
        spec, mine = self.spec(name), ""
        for unit in units:
            theirs = self._checkpoint.tensors[unit]
            if (theirs.dtype, theirs.shape) == (spec.dtype, spec.shape) and spec.size > 1:
                mine = mine or fingerprint(self.read(name))
                if fingerprint(self._checkpoint.read(unit)) == mine:
                    return not _is_constant(self.read(name))
        return False

    def is_buffer(self, name: str) -> bool | None:
        """Whether a unit is a buffer, if the checkpoint knows; see ``Checkpoint.is_buffer``."""
        return self._checkpoint.is_buffer(self._tensors.get(name, name))

    def remedy(self, missing: Collection[str]) -> str:
        """What to do about names that the checkpoint lacks."""
        known = {*(record.name for record in self._layout.records), *self._layout.tied}
        return remedy_for_names(missing, set(self._tensors) - known)

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
            how = "missing, or of another shape or element type"
            if not any(name in self._pairing for name in wrong):
                how = f"missing; {self._pairing.remedy(wrong)}"
            raise self._mismatch(wrong, how)

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

    def is_buffer(self, name: str) -> bool | None:
        """Whether a unit is a buffer, if the checkpoint knows; see ``Checkpoint.is_buffer``."""
        return self._pairing.is_buffer(name)

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
        units: units of the address space that become entries.
        whole: names of the tensors to keep whole, as the checkpoint calls them.
        remark: what the user should know of how they are stored; mostly nothing.
    """

    def __init__(
        self,
        layout: Layout,
        base: BaseModel,
        tuned: Checkpoint,
        accepts: Accepts,
        *,
        lossy: bool,
        replace_mismatched: bool,
    ) -> None:
        """Sort the checkpoint's tensors; buffers are read and compared with the base's.

        Args:
            layout: of the bank.
            base: the base's weights.
            tuned: the fine-tune.
            accepts: whether the compressor can store a unit of some element types as entries.
            lossy: whether its entries are not exact: then buffers that have changed, such as
                running variances, are kept whole.
            replace_mismatched: whether units of another shape are kept whole instead of refused.

        Raises:
            UnitMismatchError: units of the base are missing, have another shape or hold integers
                in place of floats, or are tied in the base and differ here; or the weights are not
                those of a fine-tune but a difference from the base.
            CheckpointError: a tensor to keep whole has a name or a shape that is not allowed.
        """
        self.source, self._layout, self._base = tuned.source, layout, base
        self._pairing = Pairing(layout, tuned)
        self._names = {record.name for record in layout.records}
        self._of_base = self._absent()
        self._refuse_integers()
        self.units: list[UnitRecord] = []
        refused: list[UnitRecord] = []  # by the compressor
        replaced: list[str] = []  # of another shape, or not tied any more
        for unit in layout.units:
            spec = self.spec(unit.name)
            if spec.shape != unit.shape:
                replaced.append(unit.name)
            elif accepts(base.spec(unit), spec):
                self.units.append(unit)
            else:
                refused.append(unit)
        buffers = self._buffers() if lossy else set()
        self.units = [unit for unit in self.units if unit.name not in buffers]
        changed = [record.name for record in layout.whole if self._changed(record)]
        replaced += self._pairing.untied()
        if replaced and not replace_mismatched:
            raise UnitMismatchError(
                f"{tuned.source} does not fit the base (another shape, or tied in the base and "
                f"different here: {name_units(replaced)}); with replace_mismatched "
                "(--replace-mismatched) such units are kept whole"
            )
        self._refuse_difference()
        self.remark = self._remark(refused)
        kept = [unit.name for unit in layout.units if unit in refused or unit.name in buffers]
        self.whole = [*kept, *changed, *replaced, *self._pairing.further()]
        for name in self.whole:
            check_storable(tuned.source, replace(self.spec(name), name=name))

    def spec(self, name: str) -> TensorSpec:
        """Dtype and shape of a unit in the checkpoint."""
        record = self._of_base.get(name)
        return self._pairing.spec(name) if record is None else self._base.spec(record)

    def expect(self, names: Iterable[str]) -> None:
        """Say which units are read next; see ``Checkpoint.expect``."""
        self._pairing.expect(name for name in names if name not in self._of_base)

    def read(self, name: str) -> NDArray[Any]:
        """A unit's weights in the checkpoint."""
        if name in self._of_base:
            return self._base.read_unchecked(name)
        return self._pairing.read(name)

    def _absent(self) -> dict[str, UnitRecord | WholeRecord]:
        """Units that the checkpoint lacks and need not have: the base's stand for them."""
        absent = {r.name: r for r in self._layout.records if r.name not in self._pairing}
        missing = [name for name, r in absent.items() if not is_constant(self._base.spec(r))]
        if missing:
            raise UnitMismatchError(
                f"{self.source} lacks {name_units(missing)} of the base; "
                f"{self._pairing.remedy(missing)}"
            )
        return absent

    def _refuse_integers(self) -> None:
        wrong = [
            record.name
            for record in self._layout.records
            if ELEMENT_TYPES[record.dtype].is_float
            and ELEMENT_TYPES[self.spec(record.name).dtype].is_integer
        ]
        if wrong:
            raise UnitMismatchError(
                f"{self.source} has {self.spec(wrong[0]).dtype} where the base has floats "
                f"({name_units(wrong)}): masks or quantised weights are no fine-tune; give the "
                "weights themselves, dequantised"
            )

    def _buffers(self) -> set[str]:
        """Units that are no parameters by their names or numbers, and differ from the base's."""
        known, vectors = [], []
        for unit in self.units:
            said = (self._pairing.is_buffer(unit.name), self._base.is_buffer(unit.name))
            if True in said or (said == (None, None) and is_buffer(unit.name, self._names)):
                known.append(unit)
            elif is_vector(unit.shape):
                vectors.append(unit)
        self._expect_both([unit.name for unit in (*known, *vectors)])
        found = {unit.name for unit in known if self._changed(unit)}
        for unit in vectors:
            base, tuned = self._base.read_unchecked(unit.name), self.read(unit.name)
            if could_leave_domain(base, tuned):
                found.add(unit.name)
        for name in found:  # nothing else compares the base's with the bank's
            self._base.read(name)
        return found

    def _refuse_difference(self) -> None:
        """Refuse a task vector that was taken for a fine-tune, by a sample of the units."""
        some = [unit for unit in self.units if unit.name not in self._of_base]
        bytes_of = {u.name: self._base.spec(u).nbytes for u in some}
        some.sort(key=lambda u: (bytes_of[u.name] > _SAMPLE_BYTES, len(u.shape) < 2))
        few = [u.name for u in some if bytes_of[u.name] <= _SAMPLE_BYTES] or [
            u.name for u in sorted(some, key=lambda u: u.size)[:1]
        ]
        chosen = few[:: -(-len(few) // _SAMPLE_UNITS)] if few else []
        self._expect_both(chosen)
        if is_bare_difference((self._base.read_unchecked(n), self.read(n)) for n in chosen):
            raise UnitMismatchError(
                f"{self.source} looks like a difference from the base, not like a fine-tune: its "
                f"weights are far smaller than the base's (for instance {name_units(chosen[:1])}); "
                "add the base's weights to it first, and give the sum"
            )

    def _expect_both(self, names: Sequence[str]) -> None:
        self._base.expect(names)
        self.expect(names)

    def _remark(self, refused: Sequence[UnitRecord]) -> str:
        """What to say if much is kept whole for its element type alone."""
        size = sum(unit.size for unit in refused)
        share = size / max(1, self._layout.parameters)
        if share < _MUCH:
            return ""
        theirs, ours = self.spec(refused[0].name).dtype, refused[0].dtype
        return (
            f"{self.source}: {share:.0%} of the parameters are kept whole, since they are {theirs} "
            f"and the base's are {ours}: cast the fine-tune to {ours} first, choose a lossy "
            f"method, or make a bank of a base in {theirs}"
        )

    def _changed(self, record: UnitRecord | WholeRecord) -> bool:
        """Whether a unit is in the checkpoint and differs from the base's."""
        if record.name not in self._pairing:
            return False
        return not (
            self._pairing.fits(record) and fingerprint(self.read(record.name)) == record.sha256
        )


def _weights_of(record: UnitRecord | WholeRecord) -> tuple[object, ...]:
    return record.sha256, record.dtype, record.shape


def _is_constant(array: NDArray[Any]) -> bool:
    """Whether all entries are equal: then having them says nothing."""
    flat = array.reshape(-1)
    return bool((flat == flat[:1]).all())
