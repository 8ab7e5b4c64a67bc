"""The sections of a page: those of a bank are here."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tvbank.errors import TvbankError
from tvbank.reporting._change_sections import change_sections
from tvbank.reporting._maps import Placed, unit_map
from tvbank.reporting.facts import Change, Facts, PairFacts, Report, RouterFacts, TaskFacts
from tvbank.reporting.figures import Bars, Form, Heat, Row, Section, Table, shape_of, shown

#: Tasks of which maps are drawn, at most: a page of hundreds of tasks would be tens of megabytes.
DRAWN = 16

#: Tasks of a router whose confusion is drawn, at most, and rows of a table of extremes.
_CONFUSED, _EXTREMES = 64, 20

#: What is shown of every unit: field, name, what it is, how it is written.
_OF_UNITS: tuple[tuple[str, str, str, Form], ...] = (
    ("density", "density", "Share of the unit's entries that the task stores.", "percent"),
    ("bits", "bits", "Stored bits for each entry of the unit, checksums included.", "number"),
    ("norm", "norm", "‖τ‖, the Euclidean norm of what is stored.", "number"),
    ("relative", "relative norm", "‖τ‖ over ‖W‖, the norm of the base's weights.", "percent"),
    ("error", "error", "‖restored less fine-tune‖ over ‖fine-tune less base‖. Entries that were "
     "drawn by chance are larger than they were, so that it may exceed 100 %.", "percent"),
    ("trimmed", "trimmed by TIES", "Share of the stored entries that TIES would trim.", "percent"),
)  # fmt: skip

#: What is shown of every pair.
_OF_PAIRS: tuple[tuple[str, str, str, Form, tuple[float, float] | None], ...] = (
    ("overlap", "overlap", "Entries that both store, over those that at least one stores.",
     "percent", None),
    ("chance", "overlap by chance", "What the overlap would be of independent entries.",
     "percent", None),
    ("agreement", "same sign", "Share of the common entries with the same sign; half of them "
     "would by chance.", "percent", (0.0, 1.0)),
    ("cosine", "cosine", "Of the angle between the two vectors.", "number", (-1.0, 1.0)),
)  # fmt: skip


def sections_of(facts: Facts) -> list[Section]:
    """What a page has, in its order."""
    if isinstance(facts, Report):
        found = [_summary(facts), _sizes(facts), _units(facts), _encodings(facts), _pairs(facts)]
        return [*found, _ties(facts), _routers(facts), _provenance(facts)]
    if isinstance(facts, Change):
        return change_sections(facts)
    raise TvbankError(f"a {type(facts).__name__} is not shown")


def _summary(report: Report) -> Section:
    checkpoints = sum(task.checkpoint_bytes for task in report.tasks)
    line = (
        f"{report.location}: {len(report.tasks)} tasks of one base of "
        f"{shown(report.parameters, 'count')} parameters. They take "
        f"{shown(report.stored_bytes, 'bytes')}"
    )
    if checkpoints:
        share = report.stored_bytes / checkpoints
        line += (
            f", {shown(share, 'percent')} of the {shown(checkpoints, 'bytes')} that as many "
            "checkpoints take"
        )
    facts = [
        ["generation", shown(report.generation, "count")],
        ["units of the base", shown(report.base_units, "count")],
        ["buffers of the base", shown(report.base_buffers, "count")],
        ["bytes of the base's units", shown(report.base_bytes, "bytes")],
        ["routers", shown(len(report.routers), "count")],
    ]
    remarks = [f"Note: {remark}." for remark in report.remarks]
    return Section("Summary", [f"{line}.", *remarks], tables=[Table("The bank", ["", ""], facts)])


def _sizes(report: Report) -> Section:
    names = [task.name for task in report.tasks]
    bars = Bars(
        "stored", "Stored bytes.", "Of each task, its documents and extras included.", "task",
        names, [float(task.stored_bytes) for task in report.tasks], "bytes",
    )  # fmt: skip
    rows = [
        [
            task.name,
            shown(task.stored_bytes, "bytes"),
            shown(task.checkpoint_bytes, "bytes"),
            shown(task.stored_bytes / task.checkpoint_bytes, "percent")
            if task.checkpoint_bytes
            else "-",
            f"{task.bits_per_parameter:.3f}",
            shown(task.nonzeros, "count"),
            shown(task.norm, "number"),
            shown(task.error, "percent"),
        ]
        for task in report.tasks
    ]
    columns = ["task", "stored", "as a checkpoint", "share", "bits a parameter", "entries",
               "‖τ‖", "error"]  # fmt: skip
    return Section("Sizes", figures=[bars], tables=[Table("Tasks", columns, rows)])


def _drawn(report: Report) -> tuple[list[tuple[int, TaskFacts]], str]:
    """The tasks that maps are drawn of, numbered, and what is said of the others."""
    numbered = list(enumerate(report.tasks))
    if len(numbered) <= DRAWN:
        return numbered, ""
    largest = sorted(numbered, key=lambda each: -each[1].stored_bytes)[:DRAWN]
    said = (
        f" Drawn are the {DRAWN} tasks of {len(numbered)} that take the most bytes; --task NAME "
        "draws others, and --json has the numbers of all."
    )
    return sorted(largest), said


def _units(report: Report) -> Section:
    tasks, said = _drawn(report)
    each = [(str(number), task.name, task.units) for number, task in tasks]
    if said:
        each.insert(0, ("mean", f"mean of all {len(report.tasks)}", ()))
    figures = []
    for key, who, units in each:
        for field, name, note, form in _OF_UNITS:
            numbered: list[tuple[Placed, float | None]]
            numbered = [(unit, getattr(unit, field)) for unit in units]
            if key == "mean":
                numbered = _means(report.tasks, field)
            extra = f" At a density of {report.density:g}." if field == "trimmed" else ""
            drawn = unit_map(
                f"units-{key}-{field}", f"{who}: {name}.", note + extra, numbered, form,
                "units", (("task", who), ("shown", name)),
            )  # fmt: skip
            if drawn is not None:
                figures.append(drawn)
    line = "A column is a layer, the first number in a unit's name; a row is what layers have."
    return Section("Units", [line + said], figures)


def _means(tasks: Sequence[TaskFacts], field: str) -> list[tuple[Placed, float | None]]:
    """Of each unit the mean over the tasks that have a number of it."""
    known: dict[str, tuple[Placed, list[float]]] = {}
    for unit in (unit for task in tasks for unit in task.units):
        if (value := getattr(unit, field)) is not None:
            known.setdefault(unit.unit, (unit, []))[1].append(value)
    return [(unit, math.fsum(values) / len(values)) for unit, values in known.values()]


def _encodings(report: Report) -> Section:
    tasks, said = _drawn(report)
    drawn = {number for number, _ in tasks}
    figures, rows = [], []
    for number, task in enumerate(report.tasks):
        for kind, costs in (("masks", task.masks), ("values", task.values)):
            if costs is None:
                continue
            for name, frames in costs.frames.items():
                rows.append([task.name, kind, name, shown(frames, "count")])
            if not costs.chosen or number not in drawn:
                continue
            others = {n: c / costs.chosen for n, c in costs.costs.items() if c is not None}
            figures.append(
                Bars(
                    f"encodings-{number}-{kind}",
                    f"{task.name}: {kind} in one encoding throughout.",
                    "Bytes over those of the encodings that were chosen, which are 1; of "
                    f"{costs.measured} frames of {sum(costs.frames.values())}, evenly spread.",
                    "encoding", list(others), list(others.values()), "number",
                    frozenset(costs.frames), "encodings",
                    (("task", task.name), ("section", kind)),
                )
            )  # fmt: skip
    tables = [Table("Frames by encoding", ["task", "section", "encoding", "frames"], rows, 3)]
    line = (
        "Every frame takes the smallest encoding of its mask and of its values. What else there is "
        "would have cost this much; encodings that cannot hold some frame are left out. Bars of "
        "another colour are of encodings that some frames have."
    )
    return Section("Encodings", [line + said], figures, tables if rows else [])


def _pairs(report: Report) -> Section:
    if not report.pairs:
        return Section("Overlap", ["There are no two tasks to compare."])
    names = list(dict.fromkeys(n for pair in report.pairs for n in (pair.first, pair.second)))
    by_names = {frozenset((pair.first, pair.second)): pair for pair in report.pairs}
    figures = []
    for field, title, note, form, bounds in _OF_PAIRS:
        values = [[_of_pair(by_names, one, two, field) for two in names] for one in names]
        if any(value is not None for row in values for value in row):
            figures.append(
                Heat(
                    f"pairs-{field}", f"{title.capitalize()}.", note, "task", "task", names, names,
                    values, form, "pairs", (("shown", title),), bounds,
                )
            )  # fmt: skip
    closest = [pair for pair in report.pairs if pair.overlap is not None]
    closest.sort(key=lambda pair: (-abs(pair.cosine or 0.0), -(pair.overlap or 0.0)))
    rows = [
        [pair.first, pair.second, *(shown(getattr(pair, field), form)
                                    for field, _title, _note, form, _bounds in _OF_PAIRS)]
        for pair in closest[:_EXTREMES]
    ]  # fmt: skip
    columns = ["task", "and", *(title for _field, title, _note, _form, _bounds in _OF_PAIRS)]
    title = "The closest pairs, by the cosine"
    tables = [Table(title, columns, rows, 2)] if len(closest) > _EXTREMES else []
    return Section("Overlap", ["Of units for which both tasks have frames."], figures, tables)


def _of_pair(
    pairs: Mapping[frozenset[str], PairFacts], one: str, two: str, field: str
) -> float | None:
    value: float | None = None if one == two else getattr(pairs[frozenset((one, two))], field)
    return value


def _ties(report: Report) -> Section:
    known = [task for task in report.tasks if task.ties]
    line = (
        "TIES keeps of each task the largest entries, up to a share of all parameters, and trims "
        "the rest before it merges. Thresholds are found to one part in 128."
    )
    if not known:
        return Section("What TIES would trim", [line, "It is not known of any task."])
    densities = [f"{trim.density:g}" for trim in known[0].ties]
    figures = [
        Heat(
            f"ties-{field}", title, note, "task", "density", [task.name for task in known],
            densities, [[getattr(trim, field) for trim in task.ties] for task in known], "percent",
            "ties", (("shown", name),), (0.0, 1.0),
        )
        for field, name, title, note in (
            ("share", "entries", "Entries trimmed.", "Share of those that the task stores."),
            ("energy", "energy", "Energy trimmed.", "Share of ‖τ‖² that lies in them."),
        )
    ]  # fmt: skip
    return Section("What TIES would trim", [line], figures)


def _routers(report: Report) -> Section:
    if not report.routers:
        return Section("Routers", ["The bank has none."])
    figures, rows, mistaken = [], [], []
    for number, router in enumerate(report.routers):
        rows.append(
            [
                router.name,
                ", ".join(name or "(before the classifier)" for name in router.at),
                shown(len(router.tasks), "count"),
                shown(router.keys, "count"),
                shown(router.stored_bytes, "bytes"),
                shown(router.right, "percent"),
                shown(router.rejected, "percent") if router.rejects else "never",
                "; ".join(
                    [router.remark]
                    + [f"the bank lacks {', '.join(router.missing)}"] * bool(router.missing)
                    + [f"replaced since: {', '.join(router.replaced)}"] * bool(router.replaced)
                ),
            ]
        )
        if router.confusion is not None and len(router.tasks) > _CONFUSED:
            mistaken += _mistakes(router)
        elif router.confusion is not None:
            shares: list[Row] = [[n / max(1, sum(row)) for n in row] for row in router.confusion]
            figures.append(
                Heat(
                    f"router-{number}", f"{router.name}: where examples go.",
                    "Of each task's held-out examples, the share that would go to a task.",
                    "task", "goes to", list(router.tasks), [*router.tasks, "rejected"], shares,
                    "percent", "routers", (("router", router.name),), (0.0, 1.0),
                )
            )  # fmt: skip
    columns = ["router", "features at", "tasks", "keys", "stored", "right", "rejected", "remarks"]
    tables = [Table("Routers", columns, rows, 2)]
    if mistaken:
        columns = ["router", "examples of", "go to", "how many", "of"]
        title = f"Confused most, of routers of more than {_CONFUSED} tasks"
        tables.append(Table(title, columns, mistaken, 3))
    return Section("Routers", (), figures, tables)


def _mistakes(router: RouterFacts) -> list[list[str]]:
    """The most frequent wrong answers of a router to held-out examples."""
    places = [*router.tasks, "rejected"]
    found = [
        (count, sum(row), router.tasks[at], places[to])
        for at, row in enumerate(router.confusion or ())
        for to, count in enumerate(row)
        if count and to != at
    ]
    found.sort(key=lambda each: (-each[0], each[2:]))
    return [
        [router.name, one, other, shown(count, "count"), shown(held, "count")]
        for count, held, one, other in found[:_EXTREMES]
    ]


def _provenance(report: Report) -> Section:
    rows = [
        [
            task.name,
            _json(task.compressor),
            " → ".join(["base", *task.lineage]),
            ", ".join(task.features) or "none",
            _json(task.metadata),
            _json(task.adapter),
            task.revision,
        ]
        for task in report.tasks
    ]
    columns = ["task", "compressor", "steps over", "features of the format", "metadata", "adapter",
               "revision"]  # fmt: skip
    tables = [Table("Where tasks come from", columns, rows, len(columns))]
    extras = [
        [t.name, e.name, e.stands_for, e.dtype, shape_of(e.shape), shown(e.stored_bytes, "bytes")]
        for t in report.tasks
        for e in t.extras
    ]
    if extras:
        columns = ["task", "tensor", "stands for", "type", "shape", "stored"]
        tables.append(Table("Kept whole: heads, buffers, replaced units", columns, extras, 5))
    tasks, said = _drawn(report)
    if products := [row for _, task in tasks for row in _products(task)]:
        columns = ["task", "unit", "type", "rank", "scale", "stored"]
        tables.append(Table("Products, as adapters have them", columns, products, 3))
    lines = [f"Products:{said}"] if products and said else ()
    return Section("Provenance", lines, (), tables)


def _products(task: TaskFacts) -> Iterator[list[str]]:
    for each in task.products:
        size = shown(each.stored_bytes, "bytes")
        yield [task.name, each.unit, each.dtype, str(each.rank), f"{each.scale:g}", size]


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if value else "-"
