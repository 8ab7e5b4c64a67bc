"""``report``: what is in a bank."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from itertools import combinations
from typing import Any

import numpy as np

from tvbank._progress import Counter, Listener, listener
from tvbank._version import __version__
from tvbank.bank.ahead import all_cores
from tvbank.bank.bank import Bank, as_bank
from tvbank.bank.task import Task
from tvbank.checkpoint import CheckpointSource, borrow_checkpoint
from tvbank.dtypes import DTYPES
from tvbank.errors import CheckpointError, TaskNotFoundError, UsageError, name_some
from tvbank.layout import Layout
from tvbank.naming import Names
from tvbank.reporting._measure import Measurement, Subject
from tvbank.reporting._places import place_of
from tvbank.reporting._routers import routers_of
from tvbank.reporting._totals import (
    DENSITIES,
    UnitTotals,
    finite,
    share,
    trimmed,
    trimmed_of,
    trimming,
)
from tvbank.reporting.facts import (
    ExtraFacts,
    PairFacts,
    ProductFacts,
    Report,
    TaskFacts,
    UnitFacts,
)
from tvbank.storage import Location
from tvbank.vector import BaseModel, FineTune, base_beside

#: At most so many tasks are compared in pairs: each takes the memory of a dense chunk.
PAIRED = 64


def report(
    bank: Bank | Location,
    *,
    tasks: Collection[str] | None = None,
    base: CheckpointSource | None = None,
    tuned: Mapping[str, CheckpointSource] | None = None,
    density: float = 0.2,
    names: Names | None = None,
    progress: Listener = None,
) -> Report:
    """Look into a bank: sizes, norms, encodings and their costs, overlaps, routers, provenance.

    Every frame is read and decoded once, chunk by chunk; the memory it takes is a few chunks for
    each task, however large the model. Nothing is written.

    Args:
        bank: an open bank, or its place.
        tasks: names of the tasks to look at, with all that they start from; by default all.
        base: the base's weights, checked against the bank's fingerprints; by default those that
            ``create`` was given, if they are still there. Without them some numbers are not known.
        tuned: the fine-tunes that tasks were made of, by name of the task: then what was lost is
            known. Needs the base.
        density: at which ``trimmed`` of each unit is counted, 0 < density <= 1.
        names: what the fine-tunes call each of the bank's names, if no way is found, and the base
            where its own lead nowhere: a mapping, or a function.
        progress: a ``Progress``, or a function that is called with entries done and in all.

    Raises:
        UsageError: an argument is out of its range, or fine-tunes were given without a base.
        TaskNotFoundError: the bank has no such task.
        BaseMismatchError: another base; names the units that differ.
        CheckpointError, UnitMismatchError: a fine-tune cannot be read, or is of another model.
        CorruptionError: what is stored is missing or damaged; says task, unit, byte range.
    """
    if not 0 < density <= 1:
        raise UsageError(f"density must be greater than 0 and at most 1, got {density!r}")
    opened, given = as_bank(bank), dict(tuned or {})
    chosen = _chosen(opened, tasks, given)
    layout, remarks = opened.layout, []
    with ExitStack() as stack:
        weights: BaseModel | None = None
        try:
            source = opened.base_source(base)
            weights = base_beside(layout, stack.enter_context(borrow_checkpoint(source)), names)
        except (UsageError, CheckpointError) as error:
            if base is not None:
                raise
            if given:
                raise UsageError(
                    f"fine-tunes are compared with the base's weights, which are missing: {error}"
                ) from (error)
            remarks.append(f"the base's weights are not at hand: {error}")
        subjects = _subjects(opened, chosen, weights, given, names, stack)
        paired = min(len(chosen), PAIRED)
        if paired < len(chosen):
            remarks.append(f"only the first {PAIRED} tasks are compared with each other")
        measured = Measurement(layout, subjects, weights, paired)
        with all_cores() as pool:
            counter = Counter(listener(progress, "entries"), layout.parameters, "entries")
            measured.run(pool, counter)
    facts = [
        _task_facts(layout, task, measured, number, density) for number, task in enumerate(chosen)
    ]
    remarks += _unknown(facts, weights is None)
    routers = routers_of(opened)
    return Report(
        location=opened.location,
        generation=opened.generation,
        version=__version__,
        base_units=len(layout.units),
        base_buffers=len(layout.whole),
        parameters=layout.parameters,
        base_bytes=layout.unit_bytes,
        stored_bytes=sum(t.stored_bytes for t in facts) + sum(r.stored_bytes for r in routers),
        density=float(density),
        tasks=tuple(sorted(facts, key=lambda each: each.name)),
        pairs=_pairs(layout, measured, chosen[:paired]),
        routers=routers,
        remarks=tuple(remarks),
    )


def _chosen(bank: Bank, tasks: Collection[str] | None, tuned: Collection[str]) -> list[Task]:
    """The tasks to look at and all that they start from; a parent comes before its children."""
    names = list(bank) if tasks is None else [tasks] if isinstance(tasks, str) else list(tasks)
    chosen: dict[str, Task] = {}
    for name in names:
        for each in bank[name].lineage:
            chosen.setdefault(each.name, bank[each.name])
    if wrong := [name for name in tuned if name not in chosen]:
        raise TaskNotFoundError(
            f"fine-tunes were given of tasks that are not looked at: {name_some(wrong)}; there are "
            f"{name_some(list(chosen))}"
        )
    return list(chosen.values())


def _subjects(
    bank: Bank,
    tasks: Sequence[Task],
    base: BaseModel | None,
    tuned: Mapping[str, CheckpointSource],
    names: Names | None,
    stack: ExitStack,
) -> list[Subject]:
    numbers = {task.name: number for number, task in enumerate(tasks)}
    subjects = []
    for task in tasks:
        fine_tune = None
        if base is not None and task.name in tuned:
            checkpoint = stack.enter_context(borrow_checkpoint(tuned[task.name]))
            fine_tune = FineTune(bank.layout, base, checkpoint, names=names, missing="base")
        parent = None if task.parent is None else numbers[task.parent]
        subjects.append(Subject(task.own_steps().by_shard(), parent, fine_tune))
    return subjects


def _unknown(facts: Sequence[TaskFacts], baseless: bool) -> list[str]:
    """Remarks that say why some numbers are missing."""
    remarks = []
    blind = [each.name for each in facts if each.norm is None]
    if blind and baseless:
        remarks.append(f"norms of exact tasks take the base's weights: {name_some(blind)}")
    elif blind:
        remarks.append(f"entries are not finite, so there is no norm: {name_some(blind)}")
    if adapters := [each.name for each in facts if each.products]:
        remarks.append(
            "units that are products have no frames: what TIES would trim of them, and what they "
            f"have in common with others, is not counted: {name_some(adapters)}"
        )
    if chained := [each.name for each in facts if len(each.lineage) > 1]:
        remarks.append(f"of tasks with a parent, their own steps count: {name_some(chained)}")
    return remarks


def _task_facts(
    layout: Layout, task: Task, measured: Measurement, number: int, density: float
) -> TaskFacts:
    totals = measured.units[number]
    own = {name: each for name, each in totals.items() if each.squares is None}
    parameters = layout.parameters
    trims = trimmed(own, parameters, DENSITIES) if len(own) == len(totals) else ()
    place = trimming(own, parameters, density) if trims else None
    units = tuple(
        _unit_facts(layout, name, each, measured.base_squares.get(name), bool(trims), place)
        for name, each in totals.items()
    )
    norms = [unit.norm for unit in units]
    lost = [each.apart for each in totals.values()]
    document = task.document
    extras = _extras(layout, task)
    replaced = {extra.name for extra in extras if extra.stands_for == "unit"}
    whole = sum(DTYPES[e.dtype].itemsize * math.prod(e.shape) for e in extras)
    kept = sum(
        unit.size * DTYPES[unit.dtype].itemsize
        for unit in layout.units
        if unit.name not in replaced
    )
    return TaskFacts(
        name=task.name,
        revision=task.revision,
        element=task.element,
        compressor=task.compressor,
        metadata=task.metadata,
        features=tuple(document.features),
        lineage=tuple(each.name for each in task.lineage),
        stored_bytes=task.stored_bytes,
        checkpoint_bytes=whole + kept,
        bits_per_parameter=task.bits_per_parameter,
        nonzeros=task.nonzeros,
        norm=None if None in norms else math.sqrt(math.fsum(n * n for n in norms if n)),
        error=None
        if None in lost or not lost
        else share(
            math.fsum(each for each in lost if each),
            math.fsum(each.wanted for each in totals.values()),
        ),
        masks=measured.masks[number].facts(),
        values=measured.values[number].facts(),
        ties=trims,
        units=units,
        extras=extras,
        products=tuple(
            ProductFacts(
                unit, record.rank, record.dtype, record.scale, task.products.stored_bytes(unit)
            )
            for unit in (() if task.parent else task.products)
            for record in [task.products.record(unit)]
        ),
        adapter=dict(document.adapter),
    )


def _unit_facts(
    layout: Layout,
    name: str,
    totals: UnitTotals,
    base_squares: float | None,
    has_ties: bool,
    place: int | None,
) -> UnitFacts:
    record, norm = layout.by_name[name], totals.norm
    layer, module = place_of(name)
    relative = None
    if norm is not None and base_squares:
        relative = finite(norm / math.sqrt(base_squares))
    return UnitFacts(
        unit=name,
        shape=record.shape,
        layer=layer,
        module=module,
        nonzeros=totals.nonzeros,
        density=totals.nonzeros / record.size if record.size else 0.0,
        bits=8 * totals.nbytes / record.size if record.size else 0.0,
        norm=norm,
        relative=relative,
        error=totals.error,
        trimmed=trimmed_of(totals, place) if has_ties else None,
        masks=dict(totals.masks.most_common()),
        values=dict(totals.values.most_common()),
    )


def _extras(layout: Layout, task: Task) -> tuple[ExtraFacts, ...]:
    objects = task.document.objects
    found = []
    for number, name in enumerate(task.extras):
        record = task.extras.record(name)
        prefix = f"extras/{number}/"
        stored = sum(each.size for key, each in objects.items() if key.startswith(prefix))
        known = "unit" if name in layout.by_name else "new"
        stands_for = "buffer" if name in layout.whole_by_name else known
        found.append(ExtraFacts(name, record.dtype, tuple(record.shape), stored, stands_for))
    return tuple(found)


def _pairs(layout: Layout, measured: Measurement, tasks: Sequence[Task]) -> tuple[PairFacts, ...]:
    found = []
    for first, second in combinations(range(len(tasks)), 2):
        common = int(measured.both[first, second])
        a, b = (_framed(measured, number) for number in (first, second))
        names = [name for name in a if name in b]
        counts = np.array([(a[n].nonzeros, b[n].nonzeros) for n in names], np.float64)
        sizes = np.array([layout.by_name[n].size for n in names], np.float64)
        counts = counts.reshape(-1, 2)
        either = float(counts.sum()) - common
        expected = float((counts.prod(1) / np.maximum(sizes, 1)).sum())
        apart = float(counts.sum()) - expected
        norms = [[each[n].norm for n in names] for each in (a, b)]
        found.append(
            PairFacts(
                first=tasks[first].name,
                second=tasks[second].name,
                common=common,
                overlap=common / either if either else None,
                chance=expected / apart if apart else None,
                agreement=int(measured.agree[first, second]) / common if common else None,
                cosine=_cosine(float(measured.dots[first, second]), norms),
            )
        )
    return tuple(found)


def _framed(measured: Measurement, number: int) -> dict[str, UnitTotals]:
    """The units of a task that have frames."""
    return {n: each for n, each in measured.units[number].items() if each.squares is None}


def _cosine(dot: float, norms: Sequence[Sequence[Any]]) -> float | None:
    if any(norm is None for each in norms for norm in each):
        return None
    lengths = [math.sqrt(math.fsum(norm * norm for norm in each)) for each in norms]
    return finite(dot / (lengths[0] * lengths[1])) if all(lengths) else None
