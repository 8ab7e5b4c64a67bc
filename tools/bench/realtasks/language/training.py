"""Whole fine-tunes and LoRA adapters of a language model, by learning rate; each is made once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tools.bench._measure import appearing
from tools.bench.realtasks.language.base import save
from tools.bench.realtasks.language.folder import Language, TextTask, device, loss_of, score

#: Learning rates to choose among.
WHOLE_RATES = (2e-5, 5e-5, 1e-4)
LORA_RATES = (5e-4, 2e-3, 5e-3)

Say = Callable[[str], None]


@final
@dataclass(frozen=True)
class Run:
    """How long to train.

    Attributes:
        steps: of the optimiser.
        batch: examples a step.
        tokens: of an example.
        validate: examples that choose the learning rate.
    """

    steps: int
    batch: int
    tokens: int
    validate: int = 16

    def __str__(self) -> str:
        return f"{self.steps}x{self.batch}x{self.tokens}"


def best(
    language: Language, task: TextTask, run: Run, rates: Sequence[float], rank: int = 0,
    say: Say = print,
) -> Path:  # fmt: skip
    """The folder of the fine-tune whose rate does best on validation examples.

    Args:
        language: the base.
        task: what to learn.
        run: how long.
        rates: that are tried.
        rank: of a LoRA adapter on all linear layers; 0 for a whole fine-tune.
        say: takes progress.
    """
    tried: list[tuple[float, Path]] = []
    for rate in rates:
        kind = f"lora-{rank}" if rank else "whole"
        folder = task.folder / str(run) / f"{kind}-{rate:g}"
        if not (folder / "validation.json").exists():
            model = language.model()
            if rank:
                model = _with_adapter(model, rank)
            losses = _train(model, task, run, rate, adapter=bool(rank))
            found = score(model.eval(), task, "validation", run.validate)
            folder.mkdir(parents=True, exist_ok=True)
            _write(model, folder, adapter=bool(rank))
            with appearing(folder / "validation.json") as coming:
                coming.write_text(json.dumps({"loss": found.loss, "losses": losses}))
            say(f"{task.name}/{folder.name}: {found.loss:.4f} on validation examples")
        tried.append((json.loads((folder / "validation.json").read_text())["loss"], folder))
    return min(tried)[1]


def _train(model: Any, task: TextTask, run: Run, rate: float, *, adapter: bool) -> list[float]:
    """AdamW with exact copies of bfloat16 weights; the rate rises for a tenth, then falls to 0."""
    x, counts = task.rows("train")
    learnt = [each for each in model.parameters() if each.requires_grad]
    exact = [each.detach().float().clone().requires_grad_() for each in learnt]
    optimiser = torch.optim.AdamW(exact, lr=rate, weight_decay=0.0, fused=True)
    warm = max(1, run.steps // 10)
    model.train(adapter)
    losses, order = [], _order(len(x), run)
    for step in range(run.steps):
        past = (step + 1 - warm) / max(run.steps - warm, 1)
        now = min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * max(past - 1 / run.steps, 0)))
        for group in optimiser.param_groups:
            group["lr"] = rate * now
        chosen = order[step]
        loss = loss_of(model, x[chosen], counts[chosen])
        loss.backward()
        losses.append(round(float(loss.detach()), 4))
        for copy, weight in zip(exact, learnt, strict=True):
            copy.grad, weight.grad = _float(weight.grad), None
        optimiser.step()
        with torch.no_grad():
            for copy, weight in zip(exact, learnt, strict=True):
                weight.copy_(copy)
                copy.grad = None
    return losses


def _float(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.float()


def _order(examples: int, run: Run) -> list[Tensor]:
    """Each step's examples; the same for every rate and rank."""
    chance, drawn = np.random.default_rng(0), []
    while len(drawn) < run.steps * run.batch:
        drawn += chance.permutation(examples).tolist()
    return list(torch.tensor(drawn[: run.steps * run.batch]).view(run.steps, run.batch))


def _with_adapter(model: Any, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config).to(device())


def _write(model: Any, folder: Path, *, adapter: bool) -> None:
    """Weights or an adapter, in bfloat16."""
    if adapter:
        model.save_pretrained(folder)
        path = folder / "adapter_model.safetensors"
        tensors = {name: each.bfloat16() for name, each in load_file(path).items()}
        save_file(tensors, path, {"format": "pt"})
        return
    state = {
        name: each.detach().cpu().contiguous()
        for name, each in model.state_dict().items()
        if name != "lm_head.weight"
    }
    save(state, folder / "tuned.safetensors")
