"""A self-routing model beside its own forward pass: cost and accuracy, layer by layer.

    python -m tools.bench autoswitch --tasks FOLDER [--family minilm] [--bank BANK] [--json]

FOLDER is one of tools/bench/realtasks. Every row runs the same batches of test examples, of one
task and of four tasks in equal parts, in one process, one row after the other in every round, the
plain forward pass before and after them. Ratios are to that pass within the round, of wall-clock
time and of the processor's time (which a busy machine disturbs less; exact with --threads 1):
medians, and the tenth percentile, called quiet. "right" is the share of examples sent to their
task, "answers" the share that the task's own head then labels right; "known" is the bank's tasks
with every example's task known. Rows in which each example runs under one task count --more batches
beside the timed ones, which are only routed: what the tasks then answer is known.

Routers are fitted to --fit training examples of each task, cascades calibrated on --held others;
the pooled ones have the same stages, each of which has to be 0.9 sure.
The one at a place taps that place and two before it, summarised; the shallowest one means alone.
Without --bank the tasks are added by T-Switch at --drop; with --frozen N as if the embeddings and
the first N - 1 blocks had not been fine-tuned, which need not run twice then. A bank may hold more
tasks than FOLDER.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

import tvbank
from tools.bench import realtasks
from tools.bench._measure import options, report, tenth
from tvbank.routing import features
from tvbank.routing._features import variously_pooled
from tvbank.routing.cascade import Cascade

MIXED = 4

#: Modules whose outputs may be tapped, from the input to the output.
PLACES = {
    "minilm": ("embeddings", *(f"encoder.layer.{number}" for number in range(6))),
    "vit": ("patch", *(f"blocks.{number}" for number in range(6))),
}

#: What is measured of one batch: wall-clock seconds, processor's seconds.
Clock = tuple[float, float]


@dataclass
class Work:
    """One batch: token ids or images of examples, each one's task and label."""

    x: Any
    tasks: list[str]
    labels: list[int]


@dataclass
class Tally:
    """What became of one row's batches."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    deeper: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    answers: list[bool] = field(default_factory=list)


class Bench:
    """A family, a bank of its tasks, and routers at every place."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments = arguments
        self.family = realtasks.load(arguments.tasks, arguments.family)
        self.places = PLACES[arguments.family]
        if arguments.bank:
            self.bank = tvbank.open(arguments.bank)
        else:
            self.bank = tvbank.create(folder / "bank", base=self.family.base)
            for name, task in self.family.tasks.items():
                compressor = tvbank.TSwitch(drop=arguments.drop)
                self.bank.add(name, self._tuned(task.tuned), compressor)
        self.names = [name for name in self.family.tasks if name in self.bank]
        self.model = self.family.model()
        self.rng = np.random.default_rng(arguments.seed)
        fit, held = self._features()
        self.routers = [self._router(fit[place], place) for place in self.places]
        self.paper = tvbank.Router.fit(fit[""], metric="euclidean", reject=None)
        self.held = [held[place] for place in self.places]
        self.costs = self._costs()
        self.cascade = Cascade.cheapest(self.routers, self.costs, self.held, loss=arguments.loss)
        self.pooled = Cascade([stage.router for stage in self.cascade.stages])
        right = [self._right(r, h) for r, h in zip(self.routers, self.held, strict=True)]
        self.held_out_right = right
        self.best = int(np.argmax(right))

    def _tuned(self, path: Path) -> Any:
        """A fine-tune, its first modules as in the base if that is asked for."""
        if not self.arguments.frozen:
            return path
        base, tuned = load_file(self.family.base), load_file(path)
        frozen = tuple(
            f"{place}." for place in PLACES[self.arguments.family][: self.arguments.frozen]
        )
        return {name: base[name] if name.startswith(frozen) else tuned[name] for name in tuned}

    def _features(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of every place as its router taps it, and of the model's output: to fit, and held out."""
        at = ["", *self.places]
        fit: dict[str, Any] = {place: {} for place in at}
        held: dict[str, Any] = {place: {} for place in at}
        count = self.arguments.fit
        for name in self.names:
            x = self.family.tasks[name].x_train
            order = np.random.default_rng(0).permutation(len(x))[: count + self.arguments.held]
            inputs = self.family.inputs(x[order])
            plain, rich = variously_pooled(
                self.model, inputs, at, None, None, ("auto", "summary"), 64
            )
            for place in at:
                names, pooling = self._tapped(place) if place else ((place,), "auto")
                parts = plain if pooling == "auto" else rich
                part = np.concatenate([parts[at.index(each)] for each in names], 1)
                fit[place][name], held[place][name] = part[:count], part[count:]
        return fit, held

    def _tapped(self, place: str) -> tuple[tuple[str, ...], str]:
        """The modules that the router at a place taps, and how: those before it cost no more."""
        number = self.places.index(place)
        if not number:
            return (place,), "auto"
        before = sorted({0, number // 2, number})
        return tuple(self.places[each] for each in before), "summary"

    def _router(self, found: dict[str, Any], place: str) -> tvbank.Router:
        at, pooling = self._tapped(place)
        return tvbank.Router.fit(found, at=at, pooling=pooling, reject=None)

    def _right(self, router: tvbank.Router, held: dict[str, Any]) -> float:
        each = [router.top(held[name]) == k for k, name in enumerate(router.tasks)]
        return float(np.concatenate(each).mean())

    def _costs(self) -> list[float]:
        """Processor's seconds of the features of a batch at every place, the least of three."""
        inputs = self.family.inputs(self.work(self.names[:MIXED], 32).x)

        def once(router: tvbank.Router) -> float:
            start = time.process_time()
            features(self.model, inputs, router.recipe)
            return time.process_time() - start

        return [min(once(router) for _ in range(3)) for router in self.routers]

    def work(self, names: list[str], size: int) -> Work:
        """Test examples of some tasks in equal parts, in a random order."""
        x, tasks, labels = [], [], []
        for name in names:
            task = self.family.tasks[name]
            for row in self.rng.choice(len(task.x_test), size // len(names), replace=False):
                x.append(task.x_test[row])
                tasks.append(name)
                labels.append(int(task.y_test[row]))
        order = self.rng.permutation(len(x))
        return Work(
            np.stack([x[k] for k in order]), [tasks[k] for k in order], [labels[k] for k in order]
        )

    def forward(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        return self.family.pooled(model, batch)

    def rows(self) -> dict[str, Callable[[], tvbank.AutoSwitch]]:
        """What makes each row's self-routing model."""
        layers = {
            f"layer {number}: {place}": (self.routers[number], {"mode": "top1"})
            for number, place in enumerate(self.places)
        }
        best = self.routers[self.best]
        text = {"trim": "attention_mask"} if self.arguments.family == "minilm" else {}
        several = {
            "cascade": (self.cascade, {"mode": "top1"}),
            "cascade, pooled": (self.pooled, {"pool": True}),
            "first layer, pooled": (self.routers[0], {"pool": True}),
            "cascade, pooled, twin": (self.pooled, {"pool": True, "twin": True, **text}),
            f"layer {self.best}, per sample": (best, {"mode": "sample"}),
            f"layer {self.best}, per batch": (best, {"mode": "batch"}),
            "paper: last layer, per sample": (self.paper, {"mode": "sample"}),
            "paper: last layer, per batch": (self.paper, {"mode": "batch"}),
        }
        if text:
            several["cascade, trimmed"] = (self.cascade, {"mode": "top1", **text})
            several["cascade, pooled, trimmed"] = (self.pooled, {"pool": True, **text})
        wanted = self.arguments.only

        def maker(router: Any, options: dict[str, Any]) -> Callable[[], tvbank.AutoSwitch]:
            return lambda: tvbank.AutoSwitch(
                copy.deepcopy(self.model), self.bank, router, forward=self.forward, **options
            )

        return {
            name: maker(router, options)
            for name, (router, options) in {**layers, **several}.items()
            if not wanted or any(each in name for each in wanted)
        }


def clocked(job: Callable[[], Any]) -> tuple[Any, Clock]:
    wall, processor = time.perf_counter(), time.process_time()
    result = job()
    return result, (time.perf_counter() - wall, time.process_time() - processor)


@torch.no_grad()
def measure(bench: Bench, size: int, kind: str, rounds: int) -> dict[str, Tally]:
    """Rows by name; the first, ``known``, knows the tasks, the second is the plain pass."""
    autos = {name: make() for name, make in bench.rows().items()}
    known_model = bench.family.model()
    known = tvbank.attach(known_model, bench.bank)
    tallies: dict[str, Tally] = defaultdict(Tally)
    for auto in autos.values():
        auto.prefetch()
    known.prefetch(*bench.names)
    for number in range(rounds + 1):
        work = some_work(bench, size, kind)
        inputs = bench.family.inputs(work.x)
        clocks: dict[str, Clock] = {}
        plain = [clocked(lambda i=inputs: bench.forward(bench.model, i))[1]]
        outputs, clocks["known"] = clocked(lambda w=work: all_known(bench, known_model, known, w))
        results = {"known": (outputs, work.tasks)}
        for name, auto in autos.items():
            outputs, clocks[name] = clocked(lambda a=auto, i=inputs: a(i))
            results[name] = (outputs, list(auto.last.tasks))
        plain.append(clocked(lambda i=inputs: bench.forward(bench.model, i))[1])
        if number == 0:
            continue  # compiles, packs, warms up
        passes = [statistics.mean(each) for each in zip(*plain, strict=True)]
        tallies["plain"].wall.append(passes[0])
        tallies["plain"].processor.append(passes[1])
        for name, (wall, processor) in clocks.items():
            tally = tallies[name]
            tally.wall.append(wall / passes[0])
            tally.processor.append(processor / passes[1])
            score(bench, work, *results[name], tally)
            if name in autos:
                last = autos[name].last
                tally.runs.append(last.runs)
                tally.deeper.append(float((last.stages > 0).mean()))
    for _ in range(bench.arguments.more):
        work = some_work(bench, size, kind)
        inputs = bench.family.inputs(work.x)
        experts = Tally()
        score(bench, work, all_known(bench, known_model, known, work), work.tasks, experts)
        for name, auto in autos.items():
            if "per " not in name:  # each example runs under one task as it is
                right = [a == b for a, b in zip(auto.route(inputs).tasks, work.tasks, strict=True)]
                tallies[name].right += right
                tallies[name].answers += [
                    a and b for a, b in zip(right, experts.answers, strict=True)
                ]
        tallies["known"].right += experts.right
        tallies["known"].answers += experts.answers
    return tallies


def some_work(bench: Bench, size: int, kind: str) -> Work:
    """A batch of one task, or of four."""
    count = 1 if kind == "single" else MIXED
    first = int(bench.rng.integers(len(bench.names)))
    names = [bench.names[(first + step) % len(bench.names)] for step in range(count)]
    return bench.work(names, size)


def all_known(bench: Bench, model: torch.nn.Module, switch: Any, work: Work) -> torch.Tensor:
    """Outputs when every example's task is known."""
    tasks = np.array(work.tasks)
    outputs: torch.Tensor | None = None
    for name in dict.fromkeys(work.tasks):
        rows = np.flatnonzero(tasks == name)
        switch.to(name)
        part = bench.forward(model, bench.family.inputs(work.x[rows]))
        outputs = part.new_empty(len(tasks), part.shape[1]) if outputs is None else outputs
        outputs[torch.from_numpy(rows)] = part
    assert outputs is not None
    return outputs


def score(bench: Bench, work: Work, outputs: torch.Tensor, found: list[Any], tally: Tally) -> None:
    for output, task, wanted, label in zip(outputs, found, work.tasks, work.labels, strict=True):
        tally.right.append(task == wanted)
        head = bench.family.tasks[task] if task == wanted else None
        answer = head and int((output @ head.head_weight.T + head.head_bias).argmax()) == label
        tally.answers.append(bool(answer))


def switching(bench: Bench, rounds: int) -> dict[str, float]:
    """Milliseconds of the switch alone, medians: another task, and back to the base."""
    switch = tvbank.attach(copy.deepcopy(bench.model), bench.bank)
    switch.prefetch(*bench.names)
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds + 2):
        names = [bench.names[(number + step) % len(bench.names)] for step in range(2)]
        jobs: dict[str, Callable[[], None]] = {
            "base -> task": partial(switch.to, names[0]),
            "task -> task": partial(switch.to, names[1]),
            "task -> base": switch.off,
            "base -> two tasks": partial(switch.to, dict.fromkeys(names, 0.5)),
        }
        for name, job in jobs.items():
            times[name].append(1e3 * clocked(job)[1][0])
        switch.off()
    return {name: statistics.median(each[2:]) for name, each in times.items()}


def rows_of(tallies: dict[str, Tally]) -> Iterator[dict[str, Any]]:
    """The table of a batch: every row but the plain pass, which all ratios are to."""
    for name, tally in tallies.items():
        if name == "plain":
            continue
        yield {
            "row": name,
            "ratio": statistics.median(tally.wall),
            "quiet": tenth(tally.wall),
            "CPU ratio": statistics.median(tally.processor),
            "quiet CPU": tenth(tally.processor),
            "runs": statistics.mean(tally.runs) if tally.runs else None,
            "deeper": statistics.mean(tally.deeper) if tally.deeper else None,
            "right": statistics.mean(tally.right),
            "answers": statistics.mean(tally.answers),
        }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--family", default="minilm", choices=PLACES)
    parser.add_argument("--bank")
    parser.add_argument("--drop", type=float, default=0.9)
    parser.add_argument("--frozen", type=int, default=0, help="modules that tasks leave alone")
    parser.add_argument("--fit", type=int, default=100)
    parser.add_argument("--held", type=int, default=50)
    parser.add_argument("--loss", type=float, default=0.01)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--more", type=int, default=8, help="batches that are routed only")
    parser.add_argument("--only", nargs="+", help="rows whose name holds any of these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(arguments, Path(name))
        costs = [cost / bench.costs[-1] for cost in bench.costs]
        facts = {
            "tasks": bench.names,
            "threads": arguments.threads,
            "cascade": repr(bench.cascade),
            "held_out_right": dict(zip(bench.places, bench.held_out_right, strict=True)),
            "costs": dict(zip(bench.places, costs, strict=True)),
            "switching_ms": switching(bench, arguments.rounds),
        }
        tables: dict[str, list[dict[str, Any]]] = {}
        for size in arguments.sizes:
            for kind, what in (("single", "one task"), ("mixed", f"{MIXED} tasks")):
                tallies = measure(bench, size, kind, arguments.rounds)
                plain = 1e3 * statistics.median(tallies["plain"].wall)
                title = f"{size} examples of {what}; plain pass {plain:.1f} ms"
                tables[title] = list(rows_of(tallies))
    report(arguments, facts, tables)


if __name__ == "__main__":
    main()
