"""All tasks in one model: task arithmetic, TIES, DARE; and a router that sends prompts to tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import torch

import tvbank
from tools.bench.gemma._alone import whole_of
from tools.bench.gemma._trial import Row, Trial
from tools.bench.realtasks.language.folder import inputs, score, score_rows

#: Scales of all task vectors, of which the best on validation examples is taken.
SCALES: Final = (0.3, 0.6, 1.0)
METHODS: Final[dict[str, Callable[[], Any]]] = {
    "task arithmetic": tvbank.TaskArithmetic,
    "ties": lambda: tvbank.Ties(density=0.2),
    "dare": lambda: tvbank.Dare(drop=0.9),
}
#: Tokens of a text that are known when its task is looked for.
PROMPT: Final = 16
#: Examples of each task that a router is fitted to.
_FITTED: Final = 64


def merged(trial: Trial, method: str) -> Iterator[Row]:
    """One model for all tasks, merged from the bank at the best of some scales."""
    rows: list[Row] = []

    def make() -> list[Row]:
        names = {}
        for task in trial.names:
            source = whole_of(trial, task) / "tuned.safetensors"
            names[task] = trial.stored(task, "exact", source, tvbank.Exact)[0].name
        model, best = trial.language.model(), (float("inf"), 0.0)
        for scale in SCALES:
            _merge_into(model, trial, names.values(), scale, method)
            tried = [
                score(model, trial.task(task), "validation", trial.run.validate).loss
                for task in trial.names
            ]
            best = min(best, (sum(tried), scale))
        _merge_into(model, trial, names.values(), best[1], method)
        found = [trial.tested(task, model) for task in trial.names]
        size = trial.language.base.stat().st_size // len(trial.names)
        return [
            Row(task, method, _all(trial), *each, size)
            for task, each in zip(trial.names, found, strict=True)
        ]

    for number, task in enumerate(trial.names):

        def one(number: int = number) -> Row:
            if not rows:
                rows.extend(make())
            return rows[number]

        yield trial.row(task, method, _all(trial), one)


def _merge_into(
    model: torch.nn.Module, trial: Trial, names: Collection[str], scale: float, method: str
) -> None:
    weights = dict.fromkeys(names, scale)
    state = tvbank.merge(trial.bank, weights, base=trial.language.base, method=METHODS[method]())
    model.load_state_dict(state, strict=False)


def routed(trial: Trial, form: str) -> Iterator[Row]:
    """Each test goes to the task that a router finds from its first tokens.

    Args:
        trial: the tasks.
        form: in which they are in the bank.
    """
    names = {f"{task}.{form}": task for task in trial.names}
    if missing := [name for name in names if name not in trial.bank]:
        trial.say(f"not routed, as the bank lacks {', '.join(missing)}")
        return
    router = f"prompts-{form}-{len(names)}"
    model = trial.language.model()
    if router not in trial.bank.routers:
        examples = {
            name: inputs(trial.task(task).rows("train", _FITTED)[0][:, :PROMPT])
            for name, task in names.items()
        }
        trial.bank.add_router(router, tvbank.routing.fit(model, examples, reject=None).router)
    with tvbank.AutoSwitch(model, trial.bank, router, mode="top1") as auto:
        for name, task in names.items():

            def make(name: str = name, task: str = task) -> Row:
                return _routed(trial, auto, model, name, task, form)

            yield trial.row(task, "routed", f"{form}, {_all(trial)}", make)


def _routed(
    trial: Trial, auto: tvbank.AutoSwitch, model: torch.nn.Module, name: str, task: str, form: str
) -> Row:
    """Tests one by one, grouped by where their prompts went."""
    x, counts = trial.task(task).rows("test", trial.tests)
    went = [auto.route(**inputs(row[None, :PROMPT])).tasks[0] for row in x]
    total, exact, tokens = 0.0, 0.0, int(counts.sum())
    for target in dict.fromkeys(went):
        rows = torch.tensor([place for place, other in enumerate(went) if other == target])
        auto.switch.to(target or {})
        found = score_rows(model, x[rows], counts[rows])
        total += found.loss * int(counts[rows].sum())
        exact += found.exact * len(rows)
    auto.switch.to({})
    trial.say(f"{task}: {went.count(name)} of {len(went)} prompts went to their task")
    size = trial.bank[name].stored_bytes
    return Row(task, "routed", f"{form}, {_all(trial)}", total / tokens, exact / len(x), size)


def _all(trial: Trial) -> str:
    return f"{len(trial.names)} tasks"
