"""The task found: Auto-Switch, on a stream of inputs of all tasks in random order; and its cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray

import tvbank
from tools.bench.multitask._trial import Hits, Row, Trial, answered, averaged, stored_bytes
from tools.bench.realtasks import Inputs
from tvbank import AutoSwitch, Bank, Router, routing

_BATCH = 32
_MIXED = 4  # tasks


def passes(trial: Trial, auto: AutoSwitch, rounds: int) -> dict[str, float]:
    """Medians of ratios: batches of 32 of one task, and batches that mix four.

    Args:
        trial: where the batches come from.
        auto: a routed model.
        rounds: batches of each kind, each timed both ways in turn; 0 for none.
    """
    if not rounds:
        return {}
    plain = trial.family.model()
    chance = np.random.default_rng(0)
    names = list(trial.tests)
    ratios: dict[str, list[float]] = {"one task": [], "four tasks": []}
    for kind, count in (("one task", 1), ("four tasks", min(_MIXED, len(names)))):
        for number in range(rounds + 1):
            chosen = chance.choice(names, count, replace=False)
            if count == 1:  # a stream comes in stretches
                chosen = [names[number * len(names) // (rounds + 1)]]
            x = np.concatenate([trial.tests[name].x[: _BATCH // count] for name in chosen])
            inputs = trial.family.inputs(chance.permutation(x))
            theirs = _seconds(lambda inputs=inputs: trial.family.pooled(plain, inputs))
            ours = _seconds(lambda inputs=inputs: auto(inputs))
            if number:  # the first warms up
                ratios[kind].append(ours / theirs)
    return {kind: median(some) for kind, some in ratios.items()}


def _seconds(job: object) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        job()  # type: ignore[operator]
    return time.perf_counter() - start


#: Inputs a batch, by how many tasks a batch mixes; 0 stands for all.
_SIZES = {1: 32, 4: 64, 0: 256}

#: Centres a task of routers other than [F] Eq. 5's, and how many have a say.
_CENTRES = 5

#: Of [F] Eq. 19.
_PAPER_CENTRES = 20

_TRIMMED = {"minilm": "input_ids", "vit": None}

Say = Callable[[str], None]


@final
@dataclass(frozen=True)
class _Batch:
    """Inputs.

    Attributes:
        x: what the model takes.
        owners: the task of each.
        places: its number among the task's tests.
    """

    x: NDArray[Any]
    owners: NDArray[np.str_]
    places: NDArray[np.int64]


@final
@dataclass(frozen=True)
class Way:
    """A way to route.

    Attributes:
        method: its name in the table.
        router: one of ``routers``, or ``BY_VECTORS``.
        mode: of ``AutoSwitch``.
        tasks: how many a batch mixes, see ``_SIZES``. Papers measure a data set at a time.
        pool: whether all examples of a batch together tell which tasks are in it.
        once: whether one draw of the routers' examples has to do, as it takes so long.
        looks: tasks that an input may run under, see ``AutoSwitch``.
    """

    method: str
    router: str
    mode: Literal["sample", "top1"] = "top1"
    tasks: int = 0
    pool: bool = False
    once: bool = False
    looks: int = 1


#: The task vectors themselves tell; there is no router to store, nor examples to fit it to.
BY_VECTORS = "vectors"

_ONE = "pooled, one task a batch"
#: What is routed over every bank.
FEW = (
    Way(f"Auto-Switch, learned metric, {_ONE}", "learned", tasks=1, pool=True),
    Way(f"Auto-Switch, discriminant, {_ONE}", "discriminant", tasks=1, pool=True),
)
#: And over T-Switch's.
MORE = (
    Way("Auto-Switch, learned metric, top 1", "learned"),
    Way("Auto-Switch, learned metric, pooled, four a batch", "learned", tasks=4, pool=True),
    Way("Auto-Switch, discriminant, top 1", "discriminant"),
    Way("Auto-Switch, discriminant, two looks", "discriminant", looks=2),
    Way("Auto-Switch (Eq. 5)", "plain", "sample", once=True),
    Way("Auto-Switch, learned metric (Eq. 5)", "learned", "sample", once=True),
)

Routers = dict[str, Router]


def routers(trial: Trial, seed: int, say: Say) -> Routers:
    """[F] Eq. 5 and 19 at the last layer; the learned metric and LDA where the library puts them.

    Args:
        trial: whose training examples are drawn from.
        seed: of the draw, and of what the routers leave to chance.
        say: takes progress.
    """
    model, forward = trial.family.model(), _forward(trial)
    inputs = {name: trial.family.inputs(x) for name, x in trial.examples(seed).items()}
    given: dict[str, Any] = {"reject": None, "seed": seed}
    few = {"centres": _CENTRES, "neighbours": _CENTRES}
    fitted = routing.fit(model, inputs, forward=forward, **few, **given)
    recipe = fitted.router.recipe
    say(f"routing at {list(recipe.at)}, {recipe.pooling}: {fitted.chosen.accuracy:.4f} held out")

    def taken(**where: Any) -> dict[str, NDArray[np.float32]]:
        return {
            name: routing.features(model, some, forward=forward, **where)
            for name, some in inputs.items()
        }

    where = {"at": recipe.at, "pooling": recipe.pooling}
    return {
        "plain": Router.fit(taken(at=""), metric="euclidean", **given),
        "paper": Router.fit(taken(at=""), metric="paper", centres=_PAPER_CENTRES, **given),
        "learned": Router.fit(taken(**where), metric="learned", **few, **where, **given),
        "discriminant": fitted.router,
    }


def routed(
    trial: Trial, bank: Bank, label: str, way: Way, drawn: Mapping[int, Routers], timed: int
) -> Row:
    """Auto-Switch out of a bank, the mean over draws of the routers' examples.

    Args:
        trial: the fine-tunes.
        bank: of all tasks.
        label: of the bank, after the method's name.
        way: how to route.
        drawn: routers by seed.
        timed: batches of each kind to time.
    """
    rows = []
    for seed, found in list(drawn.items())[: 1 if way.once else None]:
        if way.router != BY_VECTORS:
            bank.add_router("router", found[way.router], replace=True)
        rows.append(_row(trial, tvbank.open(bank.location), label, way, seed, timed))
    return averaged(rows)


def _row(trial: Trial, bank: Bank, label: str, way: Way, seed: int, timed: int) -> Row:
    model = trial.family.model()
    hits: Hits = {name: np.zeros(len(some.y)) for name, some in trial.tests.items()}
    own: Hits = {name: np.zeros(len(some.y)) for name, some in trial.tests.items()}
    confusion: dict[str, dict[str, int]] = {name: {} for name in trial.tasks}
    total = again = 0
    router: Any = "router"
    if way.router == BY_VECTORS:
        router = tvbank.vector_router(model, bank)
    with AutoSwitch(
        model, bank, router, way.mode, forward=_forward(trial),
        trim=_TRIMMED[trial.family.name], pool=way.pool, looks=way.looks, surety=_surety(trial),
    ) as auto:  # fmt: skip
        for batch in _batches(trial, way.tasks, seed):
            features = auto(trial.family.inputs(batch.x))
            assert auto.last is not None
            total, again = total + len(batch.owners), again + auto.last.again
            leads = np.array([task or "(base)" for task in auto.last.tasks])
            for name in set(batch.owners.tolist()):
                rows = np.flatnonzero(batch.owners == name)
                places, task = batch.places[rows], trial.tasks[name]
                right = answered(
                    task, features[torch.from_numpy(rows)], trial.tests[name].y[places]
                )
                own[name][places] = right
                hits[name][places] = right * (leads[rows] == name)
                for lead in leads[rows].tolist():
                    confusion[name][lead] = confusion[name].get(lead, 0) + 1
        ratios = passes(trial, auto, timed)
    shares = [counts.get(name, 0) / sum(counts.values()) for name, counts in confusion.items()]
    setting, stored = "no examples", stored_bytes(bank)
    if way.router != BY_VECTORS:
        recipe = bank.router("router").recipe
        setting = f"{len(recipe.at)} places up to {recipe.at[-1] or 'the head'} ({recipe.pooling})"
        stored += bank.stored_router("router").stored_bytes
    return Row(
        way.method.replace("Auto-Switch", f"Auto-Switch{label}"),
        setting,
        hits,
        stored,
        passes=ratios,
        routed=float(np.mean(shares)),
        own_head=own,
        confusion=confusion,
        note=f"{again / total:.3f} of the inputs looked at twice" if way.looks > 1 else "",
    )


def _surety(trial: Trial) -> Callable[[Any, str], torch.Tensor]:
    """How sure a task's head is of the features that it is given."""

    def surety(features: torch.Tensor, name: str) -> torch.Tensor:
        task = trial.tasks[name]
        logits = features @ task.head_weight.T + task.head_bias
        return logits.softmax(1).amax(1)

    return surety


def _batches(trial: Trial, tasks: int, seed: int) -> list[_Batch]:
    """All tests in batches, in random order; each of as many tasks, in even numbers."""
    chance = np.random.default_rng(seed)
    names, size = list(trial.tests), _SIZES[tasks]
    tasks = min(tasks or len(names), len(names))
    piles = {name: chance.permutation(len(some.y)) for name, some in trial.tests.items()}
    batches: list[_Batch] = []
    while any(len(pile) for pile in piles.values()):
        # Those of which the most is left: none is left over alone.
        order = sorted(chance.permutation(names), key=lambda name: -len(piles[name]))
        parts = []
        for name in [str(name) for name in order[:tasks] if len(piles[name])]:
            taken, piles[name] = np.split(piles[name], [min(size // tasks, len(piles[name]))])
            parts.append(_Batch(trial.tests[name].x[taken], np.full(len(taken), name), taken))
        batches.append(_shuffled(parts, chance))
    return [batches[number] for number in chance.permutation(len(batches))]


def _shuffled(parts: Sequence[_Batch], chance: np.random.Generator) -> _Batch:
    order = chance.permutation(sum(len(part.owners) for part in parts))
    x, owners, places = (
        np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("x", "owners", "places")
    )
    return _Batch(x, owners, places)


def _forward(trial: Trial) -> Callable[[torch.nn.Module, Any], Any]:
    def forward(model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        return trial.family.pooled(model, inputs)

    return forward
