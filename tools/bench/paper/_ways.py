"""Every row: which vectors, found by which router."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, final

from tools.bench.multitask import _routed
from tools.bench.multitask._switched import base_row
from tools.bench.multitask._trial import Row, Trial, averaged, stored_bytes, switched_hits
from tools.bench.paper._kept import Kept
from tools.bench.paper._settings import VECTORS, Run

_IN_TURN = "input by input"
_ONE = "batches of one task"
_VECTORS = _routed.BY_VECTORS


@final
@dataclass(frozen=True)
class Way:
    """A row of the table.

    Attributes:
        vectors: one of ``VECTORS``.
        routed: how the task is found; None where it is known.
    """

    vectors: str
    routed: _routed.Way | None = None


#: By name. What is "Eq." is the paper's; the rest is ours, at the places and with the metric that
#: ``routing.fit`` takes.
WAYS: Final[Mapping[str, Way]] = {
    "tuned": Way("exact"),
    "tswitch": Way("tswitch"),
    "auto-switch": Way(
        "tswitch", _routed.Way(f"Auto-Switch, Eq. 5, {_IN_TURN}", "plain", "sample")
    ),
    "lgs": Way("lgs"),
    "bas": Way("bas"),
    "flexswitch": Way("flexswitch"),
    "auto-flexswitch": Way(
        "flexswitch", _routed.Way(f"Auto-FlexSwitch, Eq. 19, {_IN_TURN}", "paper", "sample")
    ),
    "budget": Way("budget"),
    "budget-single": Way(
        "budget", _routed.Way(f"Budget, routed, {_IN_TURN}", "discriminant")
    ),
    "budget-looks": Way(
        "budget", _routed.Way(f"Budget, routed, {_IN_TURN}, two looks", "discriminant", looks=2)
    ),
    "budget-batches": Way(
        "budget", _routed.Way(f"Budget, routed, {_ONE}", "discriminant", tasks=1, pool=True)
    ),
    "tuned-vectors": Way("exact", _routed.Way(f"fine-tuned, by vectors, {_IN_TURN}", _VECTORS)),
    "budget-vectors": Way("budget", _routed.Way(f"Budget, by vectors, {_IN_TURN}", _VECTORS)),
    "sized": Way("sized"),
    "sized-vectors": Way("sized", _routed.Way(f"To a size, by vectors, {_IN_TURN}", _VECTORS)),
    "sized-vectors-batches": Way(
        "sized", _routed.Way(f"To a size, by vectors, {_ONE}", _VECTORS, tasks=1, pool=True)
    ),
    "sized-single": Way(
        "sized", _routed.Way(f"To a size, routed, {_IN_TURN}", "discriminant")
    ),
    "sized-looks": Way(
        "sized",
        _routed.Way(f"To a size, routed, {_IN_TURN}, two looks", "discriminant", looks=2),
    ),
    "sized-batches": Way(
        "sized",
        _routed.Way(f"To a size, routed, {_ONE}", "discriminant", tasks=1, pool=True),
    ),
}  # fmt: skip


def measure(
    trial: Trial, kept: Kept, names: Sequence[str], runs: Sequence[Run], timed: int
) -> Iterator[Row]:
    """The base's row, and one of each way, the mean over the runs' seeds.

    Args:
        trial: the tasks and which of their examples serve for what.
        kept: what an earlier run left.
        names: of ``WAYS``.
        runs: one for each seed.
        timed: batches of each kind to time; 0 for none.
    """
    facts = [sorted(trial.tasks), trial.routing, {n: len(e.y) for n, e in trial.tests.items()}]
    mark = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]
    yield kept.row(f"base {mark}", lambda: base_row(trial))
    drawn: dict[int, _routed.Routers] = {}
    for name in names:
        way = WAYS[name]
        label = VECTORS[way.vectors].label
        yield averaged([
            kept.row(
                f"{name}, {label(run)}, seed {run.seed} {mark}",
                partial(_row, trial, kept, way, run, drawn, timed),
            )
            for run in (runs if VECTORS[way.vectors].learned or way.routed else runs[:1])
        ])  # fmt: skip


def _row(
    trial: Trial, kept: Kept, way: Way, run: Run, drawn: dict[int, _routed.Routers], timed: int
) -> Row:
    vectors = VECTORS[way.vectors]
    bank = kept.bank(run, vectors)
    if way.routed is None:
        setting = run.size if vectors.sized else ""
        hits = switched_hits(trial, trial.tests, bank)
        return Row(vectors.method, setting, hits, stored_bytes(bank))
    if way.routed.router == _VECTORS:
        return _routed.routed(trial, bank, "", way.routed, {run.seed: {}}, timed)
    if run.seed not in drawn:
        drawn[run.seed] = _routed.routers(trial, run.seed, kept.say)
    found = {run.seed: drawn[run.seed]}
    return _routed.routed(trial, bank, "", way.routed, found, timed)
