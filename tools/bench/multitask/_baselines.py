"""One set of weights for all tasks (average, task arithmetic, TIES, DARE), and EMR-Merging."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from safetensors.torch import load_file

import tvbank
from tools.bench.multitask._trial import Hits, Row, State, Trial, hits_of, loader, mean
from tvbank import Bank
from tvbank.merging import MergeMethod, TaskArithmetic

#: Task arithmetic's scales (Ilharco et al.: 0 to 1).
SCALES = tuple(number / 10 for number in range(1, 11))
#: TIES (Yadav et al.): the top 10, 20, 30 %, and scales of 0.8 to 3; smaller ones as well.
DENSITIES = (0.1, 0.2, 0.3)
TIES_SCALES = (0.4, 0.6, 0.8, 1.0, 1.2, 1.5, 1.8, 2.2, 2.6, 3.0)
#: DARE (Yu et al.), with the scales of task arithmetic.
DROPS = (0.5, 0.6, 0.7, 0.8, 0.9)

Say = Callable[[str], None]


def rows(trial: Trial, bank: Bank, say: Say) -> Iterator[Row]:
    """Merges of the exact bank's tasks, at the parameters that do best on the tuning examples."""
    size = trial.family.base.stat().st_size
    load, base = loader(trial), load_file(trial.family.base)
    count = len(trial.tasks)

    def tested(name: str, setting: str, method: MergeMethod, scale: float) -> Row:
        merged = tvbank.merge(
            bank, dict.fromkeys(bank, scale), base=trial.family.base, method=method
        )
        model = load(merged)
        return Row(
            name, setting, hits_of(trial, trial.tests, lambda _: model), size,
            note="one set of weights, instead of the base",
        )  # fmt: skip

    yield tested("weight average", f"1/{count} each", TaskArithmetic(), 1 / count)
    searches: tuple[tuple[str, Sequence[MergeMethod], Sequence[float]], ...] = (
        ("task arithmetic", [TaskArithmetic()], SCALES),
        ("TIES", [tvbank.Ties(density=density) for density in DENSITIES], TIES_SCALES),
        ("DARE", [tvbank.Dare(drop=drop) for drop in DROPS], SCALES),
    )
    for name, methods, scales in searches:
        found: list[tuple[float, MergeMethod, float]] = []
        for method in methods:
            near = _near(scales, found[0][2]) if found else scales
            for scale, hits in _scaled(trial, bank, base, method, near, load):
                found.append((mean(hits), method, scale))
            found.sort(key=lambda each: -each[0])
        tuning, method, scale = found[0]
        say(f"{name}: best of {len(found)} settings on the tuning examples: {tuning:.4f}")
        parameters = [f"{k}={v}" for k, v in method.describe().items() if k in ("density", "drop")]
        yield tested(name, " ".join([*parameters, f"scale={scale}"]), method, scale)


def _near(scales: Sequence[float], best: float) -> Sequence[float]:
    """The best scale so far and those beside it: all that is tried with further parameters."""
    place = scales.index(best)
    return scales[max(place - 1, 0) : place + 2]


def _scaled(
    trial: Trial,
    bank: Bank,
    base: State,
    method: MergeMethod,
    scales: Sequence[float],
    load: Callable[[State], torch.nn.Module],
) -> Iterator[tuple[float, Hits]]:
    """What is right at each scale on the tuning examples; merged once, as a scale only scales."""
    merged = tvbank.merge(bank, dict.fromkeys(bank, 1.0), base=trial.family.base, method=method)
    vector = {name: merged[name] - weights for name, weights in base.items()}
    for scale in scales:
        model = load({name: weights + scale * vector[name] for name, weights in base.items()})
        yield scale, hits_of(trial, trial.tuning, lambda _, model=model: model)


@final
@dataclass(frozen=True)
class Emr:
    """What EMR-Merging stores.

    Attributes:
        unified: of every entry, the elected sign and the largest magnitude that has it.
        masks: task -> where its entry has the elected sign.
        scales: task -> what restores its mean magnitude.
    """

    unified: State
    masks: Mapping[str, State]
    scales: Mapping[str, float]

    @property
    def stored(self) -> int:
        """Bytes: the unified vector in float32, one bit an entry for each mask, one float32."""
        entries = sum(weights.numel() for weights in self.unified.values())
        return 4 * entries + len(self.masks) * ((entries + 7) // 8 + 4)

    def state(self, base: State, task: str) -> State:
        """The weights of a task."""
        mask, scale = self.masks[task], self.scales[task]
        return {
            name: weights + scale * mask[name] * self.unified[name]
            for name, weights in base.items()
        }


def emr_of(vectors: Mapping[str, State]) -> Emr:
    """Merge task vectors: task -> unit -> difference from the base."""
    names = list(next(iter(vectors.values())))
    unified: State = {}
    masks: dict[str, State] = {task: {} for task in vectors}
    kept, whole = dict.fromkeys(vectors, 0.0), dict.fromkeys(vectors, 0.0)
    for name in names:
        stacked = torch.stack([vector[name] for vector in vectors.values()])
        sign = stacked.sum(0).sign()
        unified[name] = sign * (stacked * sign).clamp(min=0).amax(0)
        for task, vector in zip(vectors, stacked, strict=True):
            masks[task][name] = vector * unified[name] > 0
            kept[task] += float((masks[task][name] * unified[name]).abs().sum(dtype=torch.float64))
            whole[task] += float(vector.abs().sum(dtype=torch.float64))
    scales = {task: whole[task] / kept[task] if kept[task] else 0.0 for task in vectors}
    return Emr(unified, masks, scales)
