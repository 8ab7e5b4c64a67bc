"""A task at a time: the base, its fine-tune, what compressors keep of that, and LoRA adapters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch

import tvbank
from tools.bench.gemma._trial import Row, Trial
from tools.bench.realtasks.language.base import load_weights
from tools.bench.realtasks.language.folder import inputs
from tools.bench.realtasks.language.training import best

#: Percent of the base's bytes.
BUDGETS: Final = (1.0, 0.25, 0.1, 0.05)
LEARNED: Final = (0.1, 0.05)
DROPS: Final = (0.9, 0.98)
RANKS: Final = (1, 2, 4, 8, 16)
#: Of an adapter's own tensors, in percent.
SHARES: Final = (30, 10)
#: Examples that FlexSwitch learns from, and of a step.
_EXAMPLES, _BATCH = 64, 8


def whole_of(trial: Trial, task: str) -> Path:
    """The fine-tune of the best rate."""
    language, run = trial.language, trial.run
    return best(language, language.tasks[task], run, trial.whole, say=trial.say)


def fine_tuned(trial: Trial, task: str) -> Iterator[Row]:
    """The base and the whole fine-tune, from its file."""

    def tuned() -> Row:
        path = whole_of(trial, task) / "tuned.safetensors"
        model = trial.language.model()
        load_weights(model, path)
        return Row(task, "fine-tuned", "", *trial.tested(task, model), path.stat().st_size)

    yield trial.row(task, "base", "", lambda: Row(task, "base", "", *trial.tested(task), 0))
    yield trial.row(task, "fine-tuned", "", tuned)


def budget(trial: Trial, task: str) -> Iterator[Row]:
    """``Budget``: no data."""
    for percent in BUDGETS:
        yield _compressed(trial, task, "budget", f"{percent:g} %", tvbank.Budget)


def products(trial: Trial, task: str) -> Iterator[Row]:
    """``Budget`` with products: no data."""
    for percent in BUDGETS:
        yield _compressed(
            trial, task, "products", f"{percent:g} %",
            lambda size: tvbank.Budget(size, products=True),
        )  # fmt: skip


def tswitch(trial: Trial, task: str) -> Iterator[Row]:
    """T-Switch."""
    for drop in DROPS:
        setting = f"drop {drop:g}"
        yield trial.from_bank(
            task, "tswitch", setting, f"tswitch-{drop:g}",
            lambda: whole_of(trial, task) / "tuned.safetensors",
            lambda drop=drop: tvbank.TSwitch(drop=drop, knob="norm"),
        )  # fmt: skip


def flexswitch(trial: Trial, task: str, steps: int) -> Iterator[Row]:
    """FlexSwitch to sizes, from training texts without labels; resumable."""
    for percent in LEARNED:
        yield _compressed(
            trial, task, "flexswitch", f"{percent:g} %",
            lambda size, percent=percent: learner(trial, task, size, steps, f"{percent:g}"),
            f"-{steps}",
        )  # fmt: skip


def learner(trial: Trial, task: str, size: str, steps: int, name: str) -> tvbank.FlexSwitch:
    """FlexSwitch for a task; its resume file lies beside the task's data.

    Args:
        trial: with the model.
        task: its name.
        size: to end at.
        steps: of learning.
        name: of the resume file.
    """
    x, counts = trial.task(task).rows("train", _EXAMPLES)
    given = inputs(x)
    longest = given["input_ids"].shape[1]
    after = torch.zeros(len(x), longest, dtype=torch.long)
    after[:, :-1] = counts[:, 1:longest]  # what a row of logits foretells
    return tvbank.FlexSwitch(
        trial.model, given | {"counts": after}, forward=run, mask="counts", steps=steps,
        batch=_BATCH, budget=size, gradient_checkpointing=True,
        checkpoint=trial.task(task).folder / str(trial.run) / f"learning-{name}-{steps}",
    )  # fmt: skip


def run(model: Any, batch: dict[str, torch.Tensor]) -> Any:
    """Logits of all tokens."""
    return model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
    )


def lora(trial: Trial, task: str, ranks: tuple[int, ...]) -> Iterator[Row]:
    """Adapters of several ranks as they are, and under sizes."""
    for rank in ranks:

        def folder(rank: int = rank) -> Path:
            return best(
                trial.language, trial.task(task), trial.run, trial.lora, rank, say=trial.say
            )

        yield trial.from_bank(task, "lora", f"rank {rank}", f"lora-{rank}", folder)
        for share in SHARES:
            yield trial.from_bank(
                task, "lora", f"rank {rank}, {share} % of it", f"lora-{rank}-{share}", folder,
                lambda share=share: tvbank.Budget(f"{share} % of the adapter"),
            )  # fmt: skip


def _compressed(
    trial: Trial, task: str, method: str, size: str, compressor: Any, more: str = ""
) -> Row:
    form = f"{method}-{size.split()[0]}{more}"
    return trial.from_bank(
        task, method, size + (f", {more[1:]} steps" if more else ""), form,
        lambda: whole_of(trial, task) / "tuned.safetensors", lambda: compressor(size),
    )  # fmt: skip
