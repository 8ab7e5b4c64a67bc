"""A fine-tune beside the base: which of its tensors become entries, and which are kept whole.

Nothing is subtracted here: a compressor takes the pair (base, tuned) of one unit at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, final

from numpy.typing import NDArray

from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.dtypes import ELEMENT_TYPES
from tvbank.errors import UnitMismatchError, name_units
from tvbank.layout import Layout, UnitRecord, WholeRecord, check_storable, fingerprint
from tvbank.vector.base_model import BaseModel
from tvbank.vector.evidence import could_leave_domain, is_bare_difference, is_vector
from tvbank.vector.names import is_buffer, is_constant
from tvbank.vector.pairing import Pairing

#: Decides whether two specs (base, tuned) can be stored as entries.
Accepts = Callable[[TensorSpec, TensorSpec], bool]

#: Units whose numbers are looked at to tell a fine-tune from a difference, and their largest size.
_SAMPLE_UNITS = 8
_SAMPLE_BYTES = 2**22

#: Share of the parameters that is not kept whole for its element type without a word.
_MUCH = 0.05


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
