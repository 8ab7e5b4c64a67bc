"""Further pairs: a fine-tune of MiniLM in two element types, and changes by chance."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import save_file

from tools.bench.realtasks import load
from tools.bench.realtasks._family import RealTask
from tools.bench.realtasks.recipes.build import build

#: Pairs of MiniLM by the files that ``minilm`` writes.
MINILM: Final = (
    ("base-float32", "step-30-float32"), ("step-29-float32", "step-30-float32"),
    ("base-float16", "step-30-float16"), ("step-29-float16", "step-30-float16"),
)  # fmt: skip
_TASK, _STEPS, _BATCH, _RATE = "wordnet", 30, 32, 2e-5
_LAYER = {"up": (2560, 640), "down": (640, 2560), "query": (1024, 640), "norm": (640,)}


def minilm(out: Path) -> None:
    """Write MiniLM and steps 29 and 30 of AdamW on a text task, in float32 and in float16.

    The weights are float32 while it learns; each file has them rounded to its own type.
    """
    build(out / "tasks", "minilm", [_TASK], downloads=out / "downloads", data_only=True)
    family = load(out / "tasks", "minilm", tuned=False)
    task = family.tasks[_TASK]
    for dtype in (torch.float32, torch.float16):
        model = family.model()
        with torch.no_grad():  # the base is what was saved
            for parameter in model.parameters():
                parameter.copy_(parameter.to(dtype).float())
        _save(model, dtype, out / f"base-{_name(dtype)}.safetensors")
        optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE)
        for step in range(1, _STEPS + 1):
            loss = _loss(family, model, task, step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step >= _STEPS - 1:
                _save(model, dtype, out / f"step-{step}-{_name(dtype)}.safetensors")


def _loss(family, model, task: RealTask, step: int) -> torch.Tensor:
    rows = np.random.default_rng(step).integers(0, len(task.x_train), _BATCH)
    features = family.pooled(model, family.inputs(task.x_train[rows]))
    logits = features @ task.head_weight.T + task.head_bias
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(task.y_train[rows]).long())


def _save(model: torch.nn.Module, dtype: torch.dtype, path: Path) -> None:
    state = {
        name: (tensor.detach().to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file(state, path, {"format": "pt"})


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def synthetic(out: Path, share: float, seed: int = 0) -> tuple[Path, Path]:
    """A pair of bfloat16 models of 40 MB in which entries at random moved by one or two steps.

    Where an entry changes has nothing to do with what it is: the worst that contexts can meet.

    Args:
        out: a folder.
        share: of the entries that change.
        seed: of both.
    """
    dice = torch.Generator().manual_seed(seed)
    state = {
        f"layer.{layer}.{name}": torch.randn(shape, generator=dice).to(torch.bfloat16)
        for layer in range(4) for name, shape in _LAYER.items()
    }  # fmt: skip
    old, new = out / "before.safetensors", out / f"after-{share:g}.safetensors"
    save_file(state, old, {"format": "pt"})
    for tensor in state.values():
        moved = torch.rand(tensor.shape, generator=dice) < share
        steps = torch.randint(1, 3, tensor.shape, generator=dice, dtype=torch.int16)
        steps *= 2 * torch.randint(0, 2, tensor.shape, generator=dice, dtype=torch.int16) - 1
        tensor.view(torch.int16).add_(torch.where(moved, steps, torch.zeros_like(steps)))
    save_file(state, new, {"format": "pt"})
    return old, new
