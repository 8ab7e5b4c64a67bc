"""TALL-masks and Twin-Merging, and what the masks of EMR and TALL take in our codec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import torch
from safetensors.torch import load_file

import tvbank
from tools.bench.multitask._baselines import Emr
from tools.bench.multitask._trial import Hits, Row, State, Trial, hits_of, loader, mean
from tvbank import Bank
from tvbank.storage import MemoryStorage

#: TALL-masks (Wang et al., 2024): the threshold λ, chosen for each task.
THRESHOLDS: Final = (0.2, 0.3, 0.4, 0.5, 0.6)
#: Twin-Merging (Lu et al., 2024): the scale of the shared expert and the share of ranks kept.
SHARED: Final = (0.1, 0.2, 0.3)
RANKS: Final = (0.05, 0.1, 0.2)

Say = Callable[[str], None]


def rows(trial: Trial, bank: Bank, emr: Emr, say: Say) -> Iterator[Row]:
    """TALL-masks and Twin-Merging of the exact bank's tasks, the task known; EMR's bytes coded."""
    base: State = load_file(trial.family.base)
    vectors = {}
    for name in bank:
        state = tvbank.merge(bank, {name: 1.0}, base=trial.family.base)
        vectors[name] = {unit: state[unit] - weights for unit, weights in base.items()}
    load = loader(trial)

    def emr_model(task: str) -> torch.nn.Module:
        return load(emr.state(base, task))

    coded = coded_bytes(emr.unified, emr.masks) + 4 * len(emr.masks)
    hits = hits_of(trial, trial.tests, emr_model)
    yield Row("EMR-Merging, coded", "by our codec", hits, coded)
    yield from _tall(trial, base, vectors, load, say)
    yield _twin(trial, base, vectors, load, say)


def coded_bytes(unified: State, masks: Mapping[str, State]) -> int:
    """Stored bytes of a vector and of masks over it, in a bank whose base is zero."""
    zero = {name: torch.zeros_like(part, dtype=torch.float32) for name, part in unified.items()}
    bank = tvbank.create(MemoryStorage(), base=zero)
    total = bank.add("unified", unified, tvbank.Exact(), base=zero).stored_bytes
    for name, mask in masks.items():
        ones = {unit: part.float() for unit, part in mask.items()}
        total += bank.add(f"mask-{name}", ones, tvbank.TSwitch(0.0, "rms")).stored_bytes
    return total


def tall_mask(vector: State, unified: State, threshold: float) -> State:
    """Where a task keeps the unified vector: |τ| ≥ λ·|τ_MTL − τ|, and τ_MTL is not zero."""
    return {
        name: (part.abs() >= threshold * (unified[name] - part).abs()) & (unified[name] != 0)
        for name, part in vector.items()
    }


def _tall(
    trial: Trial, base: State, vectors: Mapping[str, State],
    load: Callable[[State], torch.nn.Module], say: Say,
) -> Iterator[Row]:  # fmt: skip
    unified = {name: torch.stack([v[name] for v in vectors.values()]).sum(0) for name in base}

    def state(mask: State) -> State:
        return {name: weights + mask[name] * unified[name] for name, weights in base.items()}

    masks, chosen = {}, {}
    for task, vector in vectors.items():
        some, tried = {task: trial.tuning[task]}, []
        for threshold in THRESHOLDS:
            model = load(state(tall_mask(vector, unified, threshold)))
            tried.append((mean(hits_of(trial, some, lambda _, model=model: model)), threshold))
        chosen[task] = max(tried)[1]
        masks[task] = tall_mask(vector, unified, chosen[task])
    say(f"TALL-masks: thresholds {chosen}")
    hits = hits_of(trial, trial.tests, lambda task: load(state(masks[task])))
    entries = sum(weights.numel() for weights in base.values())
    plain = 4 * entries + len(masks) * ((entries + 7) // 8)
    setting = "thresholds " + ", ".join(map(str, sorted(set(chosen.values()))))
    yield Row("TALL-masks", setting, hits, plain)
    yield Row("TALL-masks, coded", "by our codec", hits, coded_bytes(unified, masks))


def low_rank(part: torch.Tensor, share: float) -> tuple[torch.Tensor, int]:
    """The nearest matrix of a share of its ranks, and its factors' numbers; vectors stay whole."""
    if part.ndim < 2:
        return part, part.numel()
    matrix = part.flatten(1)
    rank = max(1, round(share * min(matrix.shape)))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    near = (left[:, :rank] * values[:rank]) @ right[:rank]
    return near.view_as(part), rank * sum(matrix.shape)


def _twin(
    trial: Trial, base: State, vectors: Mapping[str, State],
    load: Callable[[State], torch.nn.Module], say: Say,
) -> Row:  # fmt: skip
    """A shared expert, task arithmetic's, and of each task's rest the leading singular vectors."""
    total = {name: torch.stack([v[name] for v in vectors.values()]).sum(0) for name in base}

    def states(scale: float, share: float) -> tuple[dict[str, State], int]:
        found, numbers = {}, sum(weights.numel() for weights in base.values())
        for task, vector in vectors.items():
            found[task] = {}
            for name, weights in base.items():
                near, more = low_rank(vector[name] - scale * total[name], share)
                found[task][name] = weights + scale * total[name] + near
                numbers += more
        return found, 4 * numbers

    def right(found: Mapping[str, State], examples: str) -> Hits:
        return hits_of(trial, getattr(trial, examples), lambda task: load(found[task]))

    best: tuple[float, float, float] | None = None
    for share in RANKS:
        for scale in SHARED:
            score = mean(right(states(scale, share)[0], "tuning"))
            if best is None or score > best[0]:
                best = score, scale, share
    assert best is not None
    _, scale, share = best
    say(f"Twin-Merging: scale {scale}, {share} of the ranks")
    found, stored = states(scale, share)
    setting = f"scale={scale} ranks={share}"
    return Row(
        "Twin-Merging", setting, right(found, "tests"), stored,
        note="the task known: the bound of its router",
    )  # fmt: skip
