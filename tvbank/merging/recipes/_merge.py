"""``merge_recipe`` and ``export_recipe``: what a recipe says, tensor by tensor.

The tensors of one group are in memory, those of all models; never a whole model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from numpy.typing import NDArray

from tvbank._progress import Counter, Listener, listener
from tvbank.bank.ahead import all_cores, run_ahead
from tvbank.bank.bank import Bank, as_bank
from tvbank.bank.outputs import refuse_within
from tvbank.checkpoint import (
    CheckpointSource,
    TensorSpec,
    aligned_order,
    borrow_checkpoint,
    refuse_replacing,
    write_safetensors,
)
from tvbank.dtypes import ELEMENT_TYPES
from tvbank.errors import NonFiniteError, PluginError, UnitMismatchError, UsageError, name_some
from tvbank.merging.recipes._layers import find_layers
from tvbank.merging.recipes._models import BASE, Finder, Models, promoted
from tvbank.merging.recipes._plan import PlannedTensor, plan
from tvbank.merging.recipes.method import Group, Input
from tvbank.merging.recipes.recipe import DTYPES, Recipe
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
    with _begun(bank, read, source, models, seed, note) as work:
        merged = zip(work.specs, work.arrays(work.specs), strict=True)
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
    progress: Listener = None,
) -> Path:
    """Merge as ``merge_recipe`` does and write a safetensors file; errors likewise.

    The file's metadata hold the YAML, as ``recipe``.
    """
    bank, path, read = as_bank(bank), Path(out), as_recipe(recipe)
    source = bank.base_source(base)
    refuse_within(bank.storage, path)
    refuse_replacing(path, source)
    with _begun(bank, read, source, models, seed, note) as work:
        ordered = aligned_order(work.specs)
        counter = Counter(listener(progress), sum(spec.nbytes for spec in ordered))

        def counted(array: NDArray[Any]) -> NDArray[Any]:
            counter.advance(array.nbytes)
            return array

        metadata = {"format": "pt"} | ({"recipe": read.text} if read.text else {})
        write_safetensors(path, ordered, map(counted, work.arrays(ordered)), metadata)
    return path


@contextmanager
def _begun(
    bank: Bank,
    recipe: Recipe,
    source: CheckpointSource,
    names: Mapping[str, str] | None,
    seed: int | None,
    note: Note,
) -> Iterator[_Work]:
    """Everything is checked that can be before a weight is read."""
    layout = bank.layout
    units = [*(record.name for record in layout.records), *layout.tied]
    planned = plan(recipe, units, Finder(bank, source, names))
    taking = dict.fromkeys(each.model for tensor in planned for each in tensor.inputs)
    with borrow_checkpoint(source) as checkpoint, all_cores() as pool:
        base = BaseModel(layout, checkpoint)
        models = Models(bank, [model for model in taking if model != BASE], base, pool)
        chosen = recipe.seed if seed is None else seed
        work = _Work.of(recipe, planned, models, chosen or 0)
        for line in (*recipe.notes, *_about_heads(models, units), *_about_layers(units, planned)):
            note(line)
        yield work


def _about_heads(models: Models, units: Sequence[str]) -> Iterator[str]:
    known = set(units)
    for name, task in models.tasks.items():
        if heads := [extra for extra in task.extras if extra not in known]:
            yield f"task {name!r}: {name_some(heads, 3)}, which the base lacks, is not merged"


def _about_layers(units: Sequence[str], planned: Sequence[PlannedTensor]) -> Iterator[str]:
    there = find_layers(units)[0]
    for stack in find_layers(tensor.name for tensor in planned)[0]:
        before = next(other.count for other in there if other.prefix == stack.prefix)
        if stack.count != before:
            yield (
                f"{stack.prefix} has {stack.count} layers, and the base {before}: the "
                "configuration must say so (num_hidden_layers)"
            )


@final
@dataclass(frozen=True)
class _Work:
    """A recipe, and what its tensors are.

    Attributes:
        recipe: what is merged.
        specs: of the result.
        planned: how each is made, and the element type to calculate in, by name; None for what
            is copied.
        models: where the weights come from.
        seed: of methods that draw.
    """

    recipe: Recipe
    specs: list[TensorSpec]
    planned: dict[str, tuple[PlannedTensor, str | None]]
    models: Models
    seed: int

    @classmethod
    def of(
        cls, recipe: Recipe, planned: Sequence[PlannedTensor], models: Models, seed: int
    ) -> _Work:
        """Compare shapes and element types of all inputs.

        Raises:
            UnitMismatchError: see ``Models.check``.
            UsageError: a type in which nothing can be calculated.
        """
        specs, how = [], {}
        for tensor in planned:
            given = models.check(tensor)
            dtype = None
            if all(ELEMENT_TYPES[spec.dtype].is_float for spec in given):
                dtype = recipe.dtype or promoted([spec.dtype for spec in given])
                if dtype not in DTYPES:
                    raise UsageError(
                        f"unit {tensor.name!r} is {dtype}, in which nothing can be calculated: "
                        "give the recipe a dtype, for instance 'dtype: bfloat16'"
                    )
            written = (recipe.out_dtype or dtype) if dtype else given[0].dtype
            specs.append(TensorSpec(tensor.name, written, given[0].shape))
            how[tensor.name] = (tensor, dtype)
        return cls(recipe, specs, how, models, seed)

    def arrays(self, order: Sequence[TensorSpec]) -> Iterator[NDArray[Any]]:
        """The tensors of the result in some order, later ones being read while one is used."""

        def size(spec: TensorSpec) -> int:
            return spec.nbytes * (1 + len(self.planned[spec.name][0].inputs))

        return run_ahead(order, self._start, size)

    def _start(self, spec: TensorSpec) -> Callable[[], NDArray[Any]]:
        planned, dtype = self.planned[spec.name]
        read = self.models.start(planned)
        if dtype is None:
            return lambda: _agreed(planned, read())
        return lambda: self._merged(planned, dtype, spec, read())

    def _merged(
        self, planned: PlannedTensor, dtype: str, spec: TensorSpec, arrays: list[NDArray[Any]]
    ) -> NDArray[Any]:
        import torch

        from tvbank.merging.tensor import from_torch, to_torch

        inputs = tuple(
            Input(each.model, each.unit, to_torch(array).to(getattr(torch, dtype)), each.settings)
            for each, array in zip(planned.inputs, arrays, strict=True)
        )
        base = None if planned.base is None else inputs[planned.base]
        merged = self.recipe.method.merge(Group(inputs, base, planned.settings, self.seed))
        if tuple(merged.shape) != spec.shape:
            raise PluginError(
                f"method {self.recipe.method_name} made {list(merged.shape)} of unit "
                f"{spec.name!r}, which is {list(spec.shape)}: its package must be corrected"
            )
        written = merged.to(getattr(torch, spec.dtype))
        _refuse_not_finite(spec.name, written, inputs)
        if any(written is each.weights for each in inputs):
            written = written.clone()  # the caller's base stays the caller's
        return from_torch(written.contiguous())


def _agreed(planned: PlannedTensor, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """What holds no floats must be the same in all models."""
    first = arrays[0]
    for each, array in zip(planned.inputs, arrays, strict=True):
        if array.dtype != first.dtype or array.tobytes() != first.tobytes():
            raise UnitMismatchError(
                f"unit {each.unit!r} holds {array.dtype.name}, and in {each.model!r} others than "
                f"in {planned.inputs[0].model!r}: a recipe cannot merge it, nor does mergekit; "
                "tvbank merge BANK TASK=WEIGHT … chooses one"
            )
    return first.copy()


def _refuse_not_finite(name: str, merged: torch.Tensor, inputs: Sequence[Input]) -> None:
    bad = ~merged.isfinite()
    for each in inputs:
        if not bad.any():
            return
        bad &= each.weights.isfinite()
    if bad.any():
        raise NonFiniteError(
            f"unit {name!r}: a weight would become NaN or too large for "
            f"{str(merged.dtype).removeprefix('torch.')}; use other weights, or a dtype of a "
            "wider range"
        )
