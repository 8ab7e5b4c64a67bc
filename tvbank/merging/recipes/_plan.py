"""A recipe and a bank's layout: what becomes of every tensor, before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from tvbank.errors import UsageError, name_some
from tvbank.merging.recipes._layers import Stack, comes_before, find_layers, place_of
from tvbank.merging.recipes._yaml import Node
from tvbank.merging.recipes.method import REQUIRED, Parameter
from tvbank.merging.recipes.recipe import Module, Recipe, Slice, Source
from tvbank.merging.recipes.settings import Settings, resolve

#: The module that has what belongs to no other.
_DEFAULT = "default"

#: What a model of a recipe is in the bank, by the name that the recipe has for it.
FindModel = Callable[[str, Node], str]


@final
@dataclass(frozen=True)
class PlannedInput:
    """What one model gives.

    Attributes:
        model: a task, or the name that stands for the base.
        unit: name of the tensor there.
        settings: of this model, by parameter.
    """

    model: str
    unit: str
    settings: Mapping[str, Any]


@final
@dataclass(frozen=True)
class PlannedTensor:
    """One tensor of the result.

    Attributes:
        name: it has in the result.
        inputs: in the order of the recipe.
        base: which of them is the base; None if none is.
        settings: of the merge, by parameter.
    """

    name: str
    inputs: tuple[PlannedInput, ...]
    base: int | None
    settings: Mapping[str, Any]


def plan(recipe: Recipe, names: Sequence[str], find: FindModel) -> list[PlannedTensor]:
    """What the result consists of.

    Args:
        recipe: what is wanted.
        names: of all tensors of the base, aliases of tied ones too.
        find: the bank's name of a recipe's model.

    Raises:
        UsageError: layers that the model does not have, a model that is none, a parameter without a
            value, a number of models that the method does not take; says where and the remedy.
    """
    planned: list[PlannedTensor] = []
    for module, members in _divided(recipe, names):
        planned += _Planner(recipe, module, find).tensors(members)
    return planned


def _divided(recipe: Recipe, names: Sequence[str]) -> Iterator[tuple[Module, list[str]]]:
    """The modules of a recipe, each with the tensors that are its own."""
    if "" in recipe.modules:
        yield recipe.modules[""], list(names)
        return
    members: dict[str, list[str]] = {key: [] for key in recipe.modules}
    left = []
    for name in names:
        inside = [key for key in members if f".{key}." in f".{name}"]
        owner = max(inside, key=len, default=_DEFAULT)
        members[owner].append(name) if owner in members else left.append(name)
    if left:
        raise UsageError(
            f"no module of the recipe has {name_some(left)}: modules are named by parts of the "
            f"tensors' names; add a module {_DEFAULT!r} for the rest"
        )
    for key, module in recipe.modules.items():
        if not members[key]:
            raise module.node.error(
                "no tensor's name has this part; modules are named by parts of the tensors' names, "
                f"such as those of {name_some(names, 3)}"
            )
        yield module, members[key]


class _Planner:
    """Plans the tensors of one module."""

    def __init__(self, recipe: Recipe, module: Module, find: FindModel) -> None:
        self._recipe, self._module, self._find = recipe, module, find

    def tensors(self, names: Collection[str]) -> Iterator[PlannedTensor]:
        stacks, loose = find_layers(names)
        if self._module.models:
            whole = self._whole()
            for stack in stacks:
                for layer, members in sorted(stack.layers.items()):
                    t = place_of(layer, stack.count)
                    for name in members.values():
                        yield self._tensor(whole, name, [name] * len(whole.sources), t)
            for name in loose:
                yield self._tensor(whole, name, [name] * len(whole.sources), 0)
            return
        slices = self._module.slices
        for name in loose:
            edge = slices[0] if comes_before(name) else slices[-1]
            yield self._tensor(edge, name, [name] * len(edge.sources), 0)
        yield from self._sliced(self._only(stacks))

    def _whole(self) -> Slice:
        """Whole models as one slice; the base joins them, if it is not there."""
        sources, base = list(self._module.models), self._recipe.base
        found = [self._find(each.model, each.node) for each in sources]
        if base is not None and self._find(base, self._module.node) not in found:
            sources.append(Source(base, None, {}, self._module.node))
        return Slice(tuple(sources), None, {}, self._module.node)

    def _only(self, stacks: list[Stack]) -> Stack:
        if len(stacks) == 1:
            return stacks[0]
        there = ", ".join(f"{stack.prefix} ({stack.count})" for stack in stacks) or "none"
        raise self._module.node.error(
            f"slices are of one stack of layers, and the model has {there}: name the stack under "
            "modules, and the rest as a module 'default' with models"
        )

    def _sliced(self, stack: Stack) -> Iterator[PlannedTensor]:
        made = 0
        for part in self._module.slices:
            ranges = [source.layers or (0, stack.count) for source in part.sources]
            for source, (_, stop) in zip(part.sources, ranges, strict=True):
                if stop > stack.count:
                    raise source.node.error(
                        f"layer_range ends at {stop}, and the model has {stack.count} layers "
                        f"(0 to {stack.count - 1}, so at most {stack.count})"
                    )
            length = ranges[0][1] - ranges[0][0]
            for index in range(length):
                layers = [stack.layers.get(first + index, {}) for first, _ in ranges]
                if any(layer.keys() != layers[0].keys() for layer in layers):
                    numbers = [str(first + index) for first, _ in ranges]
                    some = {rest for layer in layers for rest in layer}
                    differing = sorted(r for r in some if any(r not in o for o in layers))
                    raise part.node.error(
                        f"layers {' and '.join(numbers)} do not have the same tensors "
                        f"({name_some(differing)}): choose layers of the same kind"
                    )
                t = place_of(index, length)
                for rest in layers[0]:
                    units = [layer[rest] for layer in layers]
                    yield self._tensor(part, stack.name(made, rest), units, t)
                made += 1

    def _tensor(self, part: Slice, name: str, units: Sequence[str], t: float) -> PlannedTensor:
        method = self._recipe.method
        models = [self._find(source.model, source.node) for source in part.sources]
        base = self._base(part, models)
        above = (part.settings, self._module.settings, self._recipe.settings)

        def value(
            parameter: Parameter, of: str, places: Sequence[Settings], source: Source | None
        ) -> Any:
            found = resolve(parameter, places, of, t)
            if found is REQUIRED:
                whose = f" of {source.model!r}" if source else ""
                raise (source or part).node.error(
                    f"{self._recipe.method_name} needs a {parameter.name}, and nothing says it for "
                    f"{of!r}{whose}; give it, or a last value without a filter"
                )
            return found

        shared = {
            parameter.name: value(parameter, name, above, None)
            for parameter in method.parameters
            if parameter.of == "merge"
        }
        inputs = []
        for number, (source, unit) in enumerate(zip(part.sources, units, strict=True)):
            settings = {
                parameter.name: value(parameter, unit, (source.settings, *above), source)
                for parameter in method.parameters
                if parameter.of == "model" or (parameter.of == "others" and number != base)
            }
            inputs.append(PlannedInput(models[number], unit, settings))
        return PlannedTensor(name, tuple(inputs), base, shared)

    def _base(self, part: Slice, models: Sequence[str]) -> int | None:
        """Which of the models is the base; their number is checked as well."""
        method, name = self._recipe.method, self._recipe.method_name
        if len(set(models)) != len(models):
            twice = next(model for model in models if models.count(model) > 1)
            raise part.node.error(f"model {twice!r} takes part twice; name it once")
        wanted, base = part.base or self._recipe.base, None
        if wanted is not None and method.base != "ignored":
            found = self._find(wanted, part.node)
            if found not in models:
                raise part.node.error(f"base_model {wanted!r} must be one of its sources; add it")
            base = models.index(found)
        if method.base == "needed" and base is None:
            raise part.node.error(f"{name} needs a base_model; name a task or the base")
        most, least, others = method.most, method.least, method.least_others
        if len(models) < least or (most is not None and len(models) > most):
            exactly = f"{least}" if least == most else f"{least} or more"
            wants = exactly if most is None or least == most else f"{least} to {most}"
            raise part.node.error(
                f"{name} takes {wants} models, the base_model counted, and here are {len(models)}"
            )
        if len(models) - (base is not None) < others:
            raise part.node.error(f"{name} takes {others} models or more beside the base_model")
        return base
