"""Which tensors of a fine-tune become entries, and which are kept whole.

Nothing is subtracted here: a compressor takes the pair (base, tuned) of one unit at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import final

from tvbank.checkpoint import TensorSpec
from tvbank.dtypes import ELEMENT_TYPES
from tvbank.errors import UnitMismatchError, name_units
from tvbank.layout import UnitRecord, check_storable
from tvbank.naming.meanings import is_buffer
from tvbank.vector.evidence import could_leave_domain, is_bare_difference, is_vector
from tvbank.vector.fine_tune import FineTune

#: Decides whether two specs (base, tuned) can be stored as entries.
Accepts = Callable[[TensorSpec, TensorSpec], bool]

#: Units whose numbers are looked at to tell a fine-tune from a difference, and their largest size.
_SAMPLE_UNITS = 8
_SAMPLE_BYTES = 2**22

#: Share of the parameters that is not kept whole for its element type without a word.
_MUCH = 0.05


@final
@dataclass(frozen=True)
class TaskVector:
    """What is stored of a fine-tune.

    Attributes:
        fine_tune: holds the weights.
        units: of the address space, which become entries.
        whole: names of the tensors to keep whole, as the checkpoint calls them.
        remark: what the user should know of how they are stored; mostly nothing.
    """

    fine_tune: FineTune
    units: Sequence[UnitRecord]
    whole: Sequence[str]
    remark: str = ""


def sort_tensors(
    fine_tune: FineTune, accepts: Accepts, *, lossy: bool, replace_mismatched: bool
) -> TaskVector:
    """Sort a fine-tune's tensors; buffers and a sample are read and compared with the base's.

    Args:
        fine_tune: beside its base.
        accepts: whether the compressor can store a unit of some element types as entries.
        lossy: whether its entries are not exact: then buffers that have changed, such as running
            variances, are kept whole.
        replace_mismatched: whether units of another shape are kept whole instead of refused.

    Raises:
        UnitMismatchError: units have another shape or hold integers in place of floats, or are tied
            in the base and differ here; or the weights are not those of a fine-tune but a
            difference from the base.
        BaseMismatchError: a buffer of the base is not the bank's.
        CheckpointError: a tensor to keep whole has a name or a shape that is not allowed.
    """
    layout, base, source = fine_tune.layout, fine_tune.base, fine_tune.source
    _refuse_integers(fine_tune)
    units: list[UnitRecord] = []
    refused: list[UnitRecord] = []  # by the compressor
    replaced: list[str] = []  # of another shape, or not tied any more
    for unit in layout.units:
        spec = fine_tune.spec(unit.name)
        if spec.shape != unit.shape:
            replaced.append(unit.name)
        elif accepts(base.spec(unit), spec):
            units.append(unit)
        else:
            refused.append(unit)
    buffers = _buffers(fine_tune, units) if lossy else set()
    units = [unit for unit in units if unit.name not in buffers]
    changed = [record.name for record in layout.whole if fine_tune.has_changed(record)]
    replaced += fine_tune.pairing.untied()
    if replaced and not replace_mismatched:
        raise UnitMismatchError(
            f"{source} does not fit the base (another shape, or tied in the base and "
            f"different here: {name_units(replaced)}); with replace_mismatched "
            "(--replace-mismatched) such units are kept whole"
        )
    _refuse_difference(fine_tune, [*units, *refused])
    apart = buffers.union(unit.name for unit in refused)
    kept = [unit.name for unit in layout.units if unit.name in apart]
    whole = [*kept, *changed, *replaced, *fine_tune.pairing.further()]
    for name in whole:
        check_storable(source, replace(fine_tune.spec(name), name=name))
    return TaskVector(fine_tune, units, whole, _remark(fine_tune, refused))


def _refuse_integers(fine_tune: FineTune) -> None:
    wrong = [
        record.name
        for record in fine_tune.layout.records
        if ELEMENT_TYPES[record.dtype].is_float
        and ELEMENT_TYPES[fine_tune.spec(record.name).dtype].is_integer
    ]
    if wrong:
        raise UnitMismatchError(
            f"{fine_tune.source} has {fine_tune.spec(wrong[0]).dtype} where the base has floats "
            f"({name_units(wrong)}): masks or quantised weights are no fine-tune; give the "
            "weights themselves, dequantised"
        )


def _buffers(fine_tune: FineTune, units: Collection[UnitRecord]) -> set[str]:
    """Units that are no parameters by their names or numbers, and differ from the base's."""
    names = {record.name for record in fine_tune.layout.records}
    known, vectors = [], []
    for unit in units:
        said = (fine_tune.pairing.is_buffer(unit.name), fine_tune.base.is_buffer(unit.name))
        if True in said or (said == (None, None) and is_buffer(unit.name, names)):
            known.append(unit)
        elif is_vector(unit.shape):
            vectors.append(unit.name)
    fine_tune.expect([*(unit.name for unit in known), *vectors])
    fine_tune.base.expect(vectors)
    found = {unit.name for unit in known if fine_tune.has_changed(unit)}
    found.update(name for name in vectors if could_leave_domain(*fine_tune.read_early(name)))
    fine_tune.base.expect(found.difference(vectors))
    for name in found:  # nothing else compares the base's with the bank's
        fine_tune.base.read(name)
    return found


def _refuse_difference(fine_tune: FineTune, units: Collection[UnitRecord]) -> None:
    """Refuse a task vector that was taken for a fine-tune, by the smallest matrix and others."""
    some = [
        unit
        for unit in units
        if unit.name not in fine_tune.absent
        and ELEMENT_TYPES[fine_tune.spec(unit.name).dtype].is_float
    ]
    some.sort(key=lambda unit: (len(unit.shape) < 2, unit.size))
    few = [u.name for u in some if u is some[0] or fine_tune.base.spec(u).nbytes <= _SAMPLE_BYTES]
    chosen = few[:: max(1, -(-len(few) // _SAMPLE_UNITS))]
    if is_bare_difference(map(fine_tune.read_early, chosen)):
        raise UnitMismatchError(
            f"{fine_tune.source} looks like a difference from the base, not like a fine-tune: its "
            f"weights are far smaller than the base's (for instance {name_units(chosen[:1])}); "
            "add the base's weights to it first, and give the sum"
        )


def _remark(fine_tune: FineTune, refused: Sequence[UnitRecord]) -> str:
    """What to say if much is kept whole for its element type alone."""
    size = sum(unit.size for unit in refused)
    share = size / max(1, fine_tune.layout.parameters)
    if share < _MUCH:
        return ""
    theirs, ours = fine_tune.spec(refused[0].name).dtype, refused[0].dtype
    return (
        f"{fine_tune.source}: {share:.0%} of the parameters are kept whole, since they are "
        f"{theirs} and the base's are {ours}: cast the fine-tune to {ours} first, choose a lossy "
        f"method, or make a bank of a base in {theirs}"
    )
