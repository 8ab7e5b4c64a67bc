"""EMR-Merging (Huang et al. 2024): elect one vector; a mask and a scale for each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch

from tools.bench.multitask._banks import State


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
