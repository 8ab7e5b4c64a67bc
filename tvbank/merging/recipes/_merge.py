"""``merge_recipe`` and ``export_recipe``: what a recipe says, tensor by tensor.

The tensors of one group are in memory, those of all models; never a whole model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvbank._progress import Listener
from tvbank.bank.ahead import all_cores, run_ahead
from tvbank.bank.bank import Bank, as_bank
from tvbank.checkpoint import CheckpointSource, borrow_checkpoint
from tvbank.errors import UsageError, name_some
from tvbank.folders import MAX_SHARD_SIZE
from tvbank.merging._output import Output
from tvbank.merging.recipes._models import BASE, Finder, Models
from tvbank.merging.recipes._plan import plan
from tvbank.merging.recipes._work import Work
from tvbank.merging.recipes.recipe import Recipe
from tvbank.naming import Names
from tvbank.storage import Location
from tvbank.vector import BaseModel

if TYPE_CHECKING:
    import torch

#: Takes one line for a person: something of the recipe without effect, or to be minded.
Note = Callable[[str], object]

#: What may stand for a recipe.
RecipeSource = Recipe | str | os.PathLike[str] | Mapping[str, Any]


def as_recipe(recipe: RecipeSource) -> Recipe:
    """A recipe, read if it is given as a path, checked if as plain Python values.

    Raises:
        UsageError: see ``Recipe.read``.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, Mapping):
        return Recipe.parse(recipe)
    if isinstance(recipe, str | os.PathLike):
        return Recipe.read(recipe)
    raise UsageError(
        f"a recipe is a Recipe, the path of a YAML file, or a mapping, not {type(recipe).__name__}"
    )


def merge_recipe(
    bank: Bank | Location,
    recipe: RecipeSource,
    *,
    base: CheckpointSource | None = None,
    models: Mapping[str, str] | None = None,
    seed: int | None = None,
    note: Note = lambda _: None,
    names: Names | None = None,
) -> dict[str, torch.Tensor]:
    """Merge tasks as a recipe of mergekit says.

    What comes out is what mergekit 0.1.5 makes of the exported tasks, bit for bit on a CPU; methods
    that draw at random differ in what they draw. Heads that the base lacks are not merged.

    Args:
        bank: an open bank, or its place.
        recipe: a ``Recipe``, the path of a YAML file, or what it says as plain Python values.
        base: the base's weights, checked against the bank's fingerprints while they are read; by
            default those that ``create`` was given.
        models: what the recipe's models are in the bank, by the recipe's names: task names, or
            ``base``. Those that have a task's name, or end in one, need not be there.
        seed: of methods that draw; by default the recipe's ``random_seed``, or 0.
        note: called with what has no effect here, and what should be minded.
        names: what the base's weights call each of the bank's names; see ``merge``.

    Returns:
        A state dict, in the element types that the recipe asks for.

    Raises:
        UsageError: the recipe has something that is not known, or does not fit the bank; says
            where it stands and the remedy.
        UnitMismatchError: a task has a tensor in another shape.
        BaseMismatchError: another base; names the units that differ.
        NonFiniteError: a merged weight is not finite where those of all models are.
        CorruptionError: what is stored is missing or damaged.
    """
    from tvbank.merging.tensor import to_torch

    bank, read = as_bank(bank), as_recipe(recipe)
    source = bank.base_source(base)
    with _begun(bank, read, source, models, seed, note, names) as work:
        arrays = run_ahead(work.specs, lambda spec: work.start(spec.name), work.size)
        merged = zip(work.specs, arrays, strict=True)
        return {spec.name: to_torch(array) for spec, array in merged}


def export_recipe(
    bank: Bank | Location,
    recipe: RecipeSource,
    *,
    base: CheckpointSource | None = None,
    models: Mapping[str, str] | None = None,
    seed: int | None = None,
    note: Note = lambda _: None,
    out: str | os.PathLike[str],
    files: str | os.PathLike[str] | None = None,
    max_shard_size: int | str = MAX_SHARD_SIZE,
    overwrite: bool = False,
    base_model: str | None = None,
    names: Names | None = None,
    progress: Listener = None,
) -> Path:
    """Merge as ``merge_recipe`` does; write a file or a folder as ``export`` does; errors likewise.

    The recipe is in the folder, and on its card; a file's metadata hold it as ``recipe``.
    """
    bank, read = as_bank(bank), as_recipe(recipe)
    source = bank.base_source(base)
    output = Output(
        bank, source, out, files=files, max_shard_size=max_shard_size, overwrite=overwrite,
        base_model=base_model,
    )  # fmt: skip
    with _begun(bank, read, source, models, seed, note, names) as work:
        return output.write(
            work.origin(), work.specs, work.start, progress, kept=work.resized, size=work.size
        )


@contextmanager
def _begun(
    bank: Bank,
    recipe: Recipe,
    source: CheckpointSource,
    called: Mapping[str, str] | None,
    seed: int | None,
    note: Note,
    names: Names | None,
) -> Iterator[Work]:
    """Everything is checked that can be before a weight is read."""
    layout = bank.layout
    units = [*(record.name for record in layout.records), *layout.tied]
    planned = plan(recipe, units, Finder(bank, source, called))
    taking = dict.fromkeys(each.model for tensor in planned for each in tensor.inputs)
    with borrow_checkpoint(source) as checkpoint, all_cores() as pool:
        base = BaseModel(layout, checkpoint, names=names)
        models = Models(bank, [model for model in taking if model != BASE], base, pool)
        chosen = recipe.seed if seed is None else seed
        work = Work(recipe, planned, models, units, chosen or 0)
        for line in (*recipe.notes, *_about_heads(models, units), *_about_layers(work)):
            note(line)
        yield work


def _about_heads(models: Models, units: Sequence[str]) -> Iterator[str]:
    known = set(units)
    for name, task in models.tasks.items():
        if heads := [extra for extra in task.extras if extra not in known]:
            yield f"task {name!r}: {name_some(heads, 3)}, which the base lacks, is not merged"


def _about_layers(work: Work) -> Iterator[str]:
    if work.layers:
        yield (
            f"the result has {len(work.layers)} layers, and the base {work.layers_before}: its "
            "configuration must say so (num_hidden_layers), as that of a folder will"
        )
