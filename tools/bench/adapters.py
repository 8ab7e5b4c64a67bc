"""A real LoRA adapter by stored bytes and by held-out score: kept as it is, and under sizes.

    python -m tools.bench adapters --tasks FOLDER --out FOLDER [--rank 8] [--steps 300] [--json]

Adapters are trained with PEFT on the text tasks of ``realtasks`` (once; ``--out`` keeps them),
saved in bfloat16, added to a bank under each size, read back, and scored on the test sets.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import tvbank
from tools.bench.realtasks import Family, RealTask, load, pooled_features, score

#: Shares of the adapter's tensors.
SHARES = (50, 30, 20, 10, 5, 3)
#: Those at which what the merged adapter adds, as entries, is measured beside it.
DENSE = (30, 10)
_BATCH, _WARM = 32, 20


def train(family: Family, task: RealTask, folder: Path, rank: int, steps: int, rate: float) -> None:
    """Train an adapter of all linear layers under the task's fixed head; saved in bfloat16."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=["query", "key", "value", "dense"]
    )
    model: Any = get_peft_model(family.model(), config)
    model.train()
    trained = [each for each in model.parameters() if each.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda n: min(n / _WARM, 0.5 + 0.5 * float(np.cos(np.pi * n / steps))),
    )
    chance = np.random.default_rng(0)
    for done in range(steps):
        chosen = chance.choice(len(task.x_train), _BATCH, replace=False)
        features = family.pooled(model, family.inputs(task.x_train[chosen]))
        logits = features @ task.head_weight.T + task.head_bias
        labels = torch.from_numpy(task.y_train[chosen]).long()
        loss = torch.nn.functional.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if done % 20 == 0:
            print(f"step {done}: loss {float(loss):.3f}", file=sys.stderr, flush=True)
    model.save_pretrained(folder)
    path = folder / "adapter_model.safetensors"
    save_file({k: v.bfloat16() for k, v in load_file(path).items()}, path, {"format": "pt"})


def scores(family: Family, task: RealTask, model: torch.nn.Module) -> tuple[float, float]:
    """Accuracy and mean loss in nats on the test set."""
    features = pooled_features(family, model, task.x_test)
    logits = features @ task.head_weight.T + task.head_bias
    labels = torch.from_numpy(task.y_test).long()
    loss = torch.nn.functional.cross_entropy(logits, labels)
    return score(task, features, task.y_test), float(loss)


def load_base(family: Family) -> dict[str, np.ndarray[Any, Any]]:
    """The base's weights by name."""
    return {name: each.numpy() for name, each in load_file(family.base).items()}


def curve(family: Family, task: RealTask, folder: Path) -> list[dict[str, Any]]:
    """A row a size: what is stored, what it loses of the squares, what it scores."""
    path = folder / "adapter_model.safetensors"
    tensors = sum(each.numel() * each.element_size() for each in load_file(path).values())
    rows = []
    with tempfile.TemporaryDirectory() as place:
        bank = tvbank.create(Path(place) / "bank", base=family.base)
        bank.add("whole", folder)
        for share in SHARES:
            bank.add(f"at-{share}", folder, tvbank.Budget(f"{share} % of the adapter"))
        whole = bank["whole"].to_dense()
        merged = {unit: each + whole[unit] for unit, each in load_base(family).items()}
        for share in DENSE:
            limit = f"{bank[f'at-{share}'].stored_bytes} bytes"
            bank.add(f"dense-{share}", merged, tvbank.Budget(limit))
        total = sum(float((each.astype(np.float64) ** 2).sum()) for each in whole.values())
        model = family.model()
        switch = tvbank.attach(model, bank)
        accuracy, loss = scores(family, task, model)
        rows.append({"form": "base", "accuracy": accuracy, "loss": loss})
        for name in ("whole", *(f"at-{n}" for n in SHARES), *(f"dense-{n}" for n in DENSE)):
            stored = bank[name]
            lost = sum(
                float(((each - stored[unit].to_dense()).astype(np.float64) ** 2).sum())
                for unit, each in whole.items()
            )
            with switch(name):
                accuracy, loss = scores(family, task, model)
            rows.append(
                {
                    "form": name, "bytes": stored.stored_bytes,
                    "of_file": stored.stored_bytes / path.stat().st_size,
                    "of_tensors": stored.stored_bytes / tensors,
                    "lost": lost / total, "accuracy": accuracy, "loss": loss,
                }
            )  # fmt: skip
    return rows


def main() -> None:
    """Train what is missing, measure, and print a table a task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", required=True, type=Path, help="a folder of realtasks")
    parser.add_argument("--out", required=True, type=Path, help="keeps the adapters")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--train", action="store_true", help="only train")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    family = load(chosen.tasks, "minilm", tuned=False)
    found = {}
    for name, task in family.tasks.items():
        folder = chosen.out / f"{name}-{chosen.rank}"
        if not (folder / "adapter_config.json").exists():
            train(family, task, folder, chosen.rank, chosen.steps, chosen.rate)
        if not chosen.train:
            found[name] = curve(family, task, folder)
    if chosen.json:
        print(json.dumps(found, indent=1))
        return
    for name, rows in found.items():
        print(f"{name}, rank {chosen.rank}")
        for row in rows:
            cells = [f"{row['form']:>6}", f"{row['accuracy']:.4f}", f"{row['loss']:.4f}"]
            if "bytes" in row:
                cells += [f"{row['bytes']:>9,}", f"{row['of_file']:.3f}", f"{row['lost']:.2e}"]
            print("  ".join(cells))


if __name__ == "__main__":
    main()
