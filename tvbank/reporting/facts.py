"""What a report says: plain data, which ``.json()`` writes and ``.html()`` shows.

Where something is not known (the base was not at hand, a router keeps no examples), the field is
None, and ``remarks`` say why.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final


@final
@dataclass(frozen=True)
class UnitFacts:
    """One unit as one task stores it; of a task with a parent, its own steps from the parent.

    Attributes:
        unit: its name.
        shape: of the unit.
        layer: the first number in its name; None if there is none.
        module: its name with ``*`` in that number's place.
        nonzeros: entries that are stored; all of them for a product.
        density: share of the entries that are stored.
        bits: stored bits an entry, checksums included.
        norm: ‖τ̂‖, the Euclidean norm of what is stored; None where that takes a base that is not
            at hand.
        relative: ‖τ̂‖ over ‖W‖, the norm of the base's weights.
        error: ‖restored less fine-tune‖ over ‖fine-tune less base‖; None without the fine-tune.
        trimmed: share of the stored entries that TIES would trim at the report's density.
        masks: frames by mask encoding; of a product nothing.
        values: frames by value encoding.
    """

    unit: str
    shape: tuple[int, ...]
    layer: int | None
    module: str
    nonzeros: int
    density: float
    bits: float
    norm: float | None = None
    relative: float | None = None
    error: float | None = None
    trimmed: float | None = None
    masks: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, int] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class EncodingCosts:
    """Encodings of one kind of section, of one task.

    Attributes:
        frames: how many frames of the task have each encoding, by name.
        measured: frames of which all encodings were counted: some of the task's, evenly spread.
        chosen: bytes of those frames' sections as they are stored.
        costs: bytes of the same sections in each encoding, by name; None if it cannot hold one.
    """

    frames: Mapping[str, int]
    measured: int
    chosen: int
    costs: Mapping[str, int | None]


@final
@dataclass(frozen=True)
class Trimmed:
    """What TIES would trim of a task vector.

    The threshold is found to one part in 128: entries whose magnitudes share their upper 15 bits
    with it count as kept.

    Attributes:
        density: share of all entries, zeros counted, that TIES keeps.
        threshold: the least magnitude that is kept; 0 if all stored entries are.
        entries: stored entries that are trimmed.
        share: of the stored entries.
        energy: share of ‖τ̂‖² that lies in them.
    """

    density: float
    threshold: float
    entries: int
    share: float
    energy: float


@final
@dataclass(frozen=True)
class ExtraFacts:
    """A tensor that a task keeps whole.

    Attributes:
        name: of the tensor.
        dtype: its element type.
        shape: of the tensor.
        stored_bytes: of it in the bank.
        stands_for: ``"unit"`` of the base, ``"buffer"`` of the base, or ``"new"``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    stored_bytes: int
    stands_for: str


@final
@dataclass(frozen=True)
class ProductFacts:
    """A unit that is a product of two thin matrices, as an adapter has it.

    Attributes:
        unit: its name.
        rank: of the product.
        dtype: of the factors.
        scale: that the product is multiplied by.
        stored_bytes: of the factors.
    """

    unit: str
    rank: int
    dtype: str
    scale: float
    stored_bytes: int


@final
@dataclass(frozen=True)
class TaskFacts:
    """One task.

    Attributes:
        name: of the task.
        revision: SHA-256 of its document.
        element: ``float32`` for differences, ``int32`` for the steps of an exact task.
        compressor: name and parameters of what made it.
        metadata: what was given when it was added.
        features: of the format, which a reader must know.
        lineage: the tasks that lead from the base to it, itself the last.
        stored_bytes: of all its objects.
        checkpoint_bytes: of the fine-tune as a checkpoint: the base's units, and what is kept whole
            in their place or beside them.
        bits_per_parameter: stored bits over the parameters that it covers.
        nonzeros: entries that it stores.
        norm: ‖τ̂‖ over all units; None if it is not known of one.
        error: as ``UnitFacts.error``, over all units.
        masks: its mask encodings; None if it has no frames.
        values: its value encodings.
        ties: what TIES would trim, by density; empty if that is not known.
        units: one a unit of the base that it has entries for.
        extras: what it keeps whole.
        products: units that are products.
        adapter: what it was made from, if from an adapter.
    """

    name: str
    revision: str
    element: str
    compressor: Mapping[str, Any]
    metadata: Mapping[str, Any]
    features: tuple[str, ...]
    lineage: tuple[str, ...]
    stored_bytes: int
    checkpoint_bytes: int
    bits_per_parameter: float
    nonzeros: int
    norm: float | None
    error: float | None
    masks: EncodingCosts | None
    values: EncodingCosts | None
    ties: tuple[Trimmed, ...]
    units: tuple[UnitFacts, ...]
    extras: tuple[ExtraFacts, ...]
    products: tuple[ProductFacts, ...]
    adapter: Mapping[str, Any]


@final
@dataclass(frozen=True)
class PairFacts:
    """Two tasks beside each other, over the units that both have frames for.

    Attributes:
        first: name of one.
        second: name of the other.
        common: entries that both store.
        overlap: ``common`` over the entries that at least one stores; None if none does.
        chance: what ``overlap`` would be if each unit's entries were drawn independently.
        agreement: share of the common entries with the same sign.
        cosine: of the two vectors; None where that takes a base that is not at hand.
    """

    first: str
    second: str
    common: int
    overlap: float | None
    chance: float | None
    agreement: float | None
    cosine: float | None


@final
@dataclass(frozen=True)
class RouterFacts:
    """One router.

    Attributes:
        name: of the router.
        tasks: that it knows.
        missing: those that the bank lacks.
        replaced: those of which the bank has another revision by now.
        at: where in the model its features are taken.
        keys: what inputs are compared with: examples, or centres.
        width: of a feature.
        stored_bytes: of the router.
        rejects: whether it tells inputs of no known task.
        confusion: held-out examples, rows by their task and columns by the task that they would go
            to, the last column rejected; None if it cannot be known.
        right: share of the held-out examples that would go to their own task.
        rejected: share of them that would be rejected.
        remark: what is not known, and why.
    """

    name: str
    tasks: tuple[str, ...]
    missing: tuple[str, ...]
    replaced: tuple[str, ...]
    at: tuple[str, ...]
    keys: int
    width: int
    stored_bytes: int
    rejects: bool
    confusion: tuple[tuple[int, ...], ...] | None
    right: float | None
    rejected: float | None
    remark: str


class Facts:
    """What every report does: ``html`` and ``json``."""

    #: Of tvbank that made the report.
    version: str

    def json(self) -> str:
        """All of it as one JSON document; numbers that are not finite are ``null``."""
        return json.dumps(_plain(dataclasses.asdict(self)), indent=1)  # type: ignore[call-overload]

    def html(self) -> str:
        """All of it as one page: no network, its script and its pictures inside."""
        from tvbank._lazy import from_above

        made: str = from_above("reporting.page", "page_of")(self)
        return made


@final
@dataclass(frozen=True)
class Report(Facts):
    """What is in a bank, made by ``tvbank.report``.

    Attributes:
        location: of the bank.
        generation: of its catalog.
        version: of tvbank that made the report.
        base_units: units of the base.
        base_buffers: its tensors that no task has entries for.
        parameters: entries of the units.
        base_bytes: of the units.
        stored_bytes: of all tasks and routers that the report is about.
        density: at which ``UnitFacts.trimmed`` is counted.
        tasks: in alphabetical order.
        pairs: of tasks.
        routers: in alphabetical order.
        remarks: what could not be known, and what would tell.
    """

    location: str
    generation: int
    version: str
    base_units: int
    base_buffers: int
    parameters: int
    base_bytes: int
    stored_bytes: int
    density: float
    tasks: tuple[TaskFacts, ...]
    pairs: tuple[PairFacts, ...]
    routers: tuple[RouterFacts, ...]
    remarks: tuple[str, ...]


@final
@dataclass(frozen=True)
class UnitChange:
    """What a fine-tune changed of one unit.

    Attributes:
        unit: its name in the old checkpoint.
        shape: of the unit.
        layer: as ``UnitFacts.layer``.
        module: as ``UnitFacts.module``.
        size: its entries.
        changed: share of the entries that have other bits.
        norm: ‖W‖ of the old weights; None if they are not finite.
        change: ‖ΔW‖; likewise.
        relative: ‖ΔW‖ over ‖W‖; None if W is zero.
        rank: effective rank of ΔW: e to the entropy of its singular values over their sum; None
            for what is no matrix, or has not changed.
        most: the largest rank that ``rank`` could be: of what was looked at, at most 2,048 rows and
            256 columns, evenly spread.
    """

    unit: str
    shape: tuple[int, ...]
    layer: int | None
    module: str
    size: int
    changed: float
    norm: float | None
    change: float | None
    relative: float | None
    rank: float | None
    most: int | None


@final
@dataclass(frozen=True)
class Change(Facts):
    """What a fine-tune changed, made by ``tvbank.reporting.compare``.

    Attributes:
        old: where the old checkpoint is.
        new: where the new one is.
        version: of tvbank that made the report.
        sentence: all of it in plain words.
        parameters: entries of the units that both have.
        changed: share of them that have other bits.
        relative: ‖ΔW‖ over ‖W‖ of all of them.
        rank_share: median over the matrices that have changed of ``rank`` over ``most``.
        units: in the order of the old checkpoint.
        whole: names of tensors that only the new checkpoint has, or has in another shape or
            element type, or that are no floats and differ.
        remarks: what was found of the names.
    """

    old: str
    new: str
    version: str
    sentence: str
    parameters: int
    changed: float
    relative: float | None
    rank_share: float | None
    units: tuple[UnitChange, ...]
    whole: tuple[str, ...]
    remarks: tuple[str, ...]


def _plain(value: Any) -> Any:
    """The same with nothing that JSON lacks."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and value - value != 0:  # NaN, or infinite
        return None
    return value
