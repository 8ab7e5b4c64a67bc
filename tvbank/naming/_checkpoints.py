"""A checkpoint by the names of a bank's base: renamed where its own differ, if a way is found.

Ways, the likeliest first: the names as they are; without a wrapper's part (``module.``), or with
another prefix; and through the architecture of the checkpoint or the base, as transformers loads
it: there the names of both lead to the same tensor, or to parts of it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import final

from tvbank.checkpoint import Checkpoint, aligned_order
from tvbank.errors import UsageError
from tvbank.layout import Layout
from tvbank.naming._architecture import Architecture, architectures
from tvbank.naming._names import Names, names_function
from tvbank.naming._renamed import Recipe, RenamedCheckpoint
from tvbank.naming._window import Part, Window
from tvbank.naming.meanings import is_constant_name
from tvbank.naming.prefixes import names_of_units, other_prefixes, without_wrappers

__all__ = ["Named", "by_names", "named_as"]

#: Recipes by the names of the base.
_Recipes = dict[str, Recipe]

#: The checkpoint's name by the name that it is given first.
_Spelled = Mapping[str, str]


@final
@dataclass(frozen=True)
class Named:
    """A checkpoint under a base's names.

    Attributes:
        checkpoint: by those names; further tensors have their own.
        remark: in words, how its names differ; empty if they do not.
        unsaved: units that it lacks since a model of its kind computes them anew.
    """

    checkpoint: Checkpoint
    remark: str = ""
    unsaved: frozenset[str] = frozenset()


def named_as(
    layout: Layout,
    checkpoint: Checkpoint,
    *,
    names: Names | None = None,
    base: Checkpoint | None = None,
) -> Named:
    """Read a checkpoint by the names of a bank's base.

    What no way leads to is missing there, as it was before.

    Args:
        layout: of the base.
        checkpoint: base or fine-tune.
        names: the checkpoint's name for each of the bank's, if the caller knows them.
        base: the base's own checkpoint: its architecture may tell what this one's does not.

    Raises:
        UsageError: ``names`` is neither a mapping nor a function, or gives a name that the
            checkpoint has not.
    """
    units = names_of_units(layout)
    present = {*checkpoint.tensors, *checkpoint.tied}
    if names is not None:
        given = _given(names, [name for own in units.values() for name in own], present)
        return Named(RenamedCheckpoint(checkpoint, given), "names as given")
    best: tuple[int, _Recipes, str] = (len(_missing(units, present)), {}, "")
    if best[0] == 0:
        return Named(checkpoint)
    for recipes, told in _ways(units, checkpoint, base):
        missing = len(_missing(units, {*present, *recipes}))
        if missing < best[0]:
            best = missing, recipes, told
        if missing == 0:
            break
    missing, recipes, told = best
    lacking = _missing(units, {*present, *recipes}) if missing else []
    unsaved = frozenset(
        unit
        for unit in lacking
        for _, architecture in architectures(checkpoint, *([] if base is None else [base]))
        if any(table.is_unsaved(unit) for table in architecture.tables)
    )
    return Named(RenamedCheckpoint(checkpoint, recipes) if recipes else checkpoint, told, unsaved)


def by_names(checkpoint: Checkpoint, names: Names | None, *, ordered: bool = False) -> Checkpoint:
    """A checkpoint by other names where no layout says which there are.

    Args:
        checkpoint: of a base, mostly.
        names: its name for each of those that it is to have; of none it is as it was.
        ordered: whether its tensors come as a safetensors file of those names has them; else they
            stay in its own order.

    Raises:
        UsageError: ``names`` is no mapping, or gives a name that the checkpoint has not.
    """
    if names is None:
        return checkpoint
    if not isinstance(names, Mapping):
        raise UsageError(
            f"names must be a mapping here, since no layout says which names there are, not "
            f"{names!r}"
        )
    present = [*checkpoint.tensors, *checkpoint.tied]
    ours = {
        recipe.pieces[0][0]: name for name, recipe in _given(names, names, set(present)).items()
    }
    recipes = {ours.get(name, name): Recipe([(name, None)]) for name in present}
    renamed = RenamedCheckpoint(checkpoint, recipes)
    if not ordered:
        return renamed
    in_order = sorted(renamed.tensors.values(), key=lambda spec: spec.name)
    first = [spec.name for spec in aligned_order(in_order)]
    return RenamedCheckpoint(checkpoint, {name: recipes[name] for name in (*first, *recipes)})


def _missing(units: Mapping[str, Collection[str]], present: Collection[str]) -> list[str]:
    """Units of which no name is there, but what a model computes by itself."""
    return [
        unit
        for unit, own in units.items()
        if not any(name in present for name in own) and not is_constant_name(unit)
    ]


def _ways(
    units: Mapping[str, Collection[str]],
    checkpoint: Checkpoint,
    base: Checkpoint | None,
) -> Iterator[tuple[_Recipes, str]]:
    present = list(dict.fromkeys((*checkpoint.tensors, *checkpoint.tied)))
    known = [name for own in units.values() for name in own]
    names = set(known)
    further = [name for name in present if name not in names]
    spellings = list(_spellings(_missing(units, present), further, len(units)))
    for spelled, told in spellings:
        yield _respelled(spelled, present, ()), told
    others = [base] if base is not None and base is not checkpoint else []
    same: _Spelled = {name: name for name in present}
    for origin, architecture in architectures(checkpoint, *others):
        own = architecture.is_own and origin is checkpoint
        for table in architecture.tables:
            wanted = table.parts(known)
            for spelled, told in [(same, ""), *spellings]:
                theirs = _own_parts(architecture, spelled) if own else table.parts(spelled)
                recipes = _matched(architecture, wanted, theirs, checkpoint, spelled)
                used = {name for recipe in recipes.values() for name, _ in recipe.pieces}
                also = f"; {told}" if told else ""
                yield (
                    _respelled(spelled, {*present, *recipes}, used) | recipes,
                    "its names and the base's lead to the same tensors of the model, as "
                    f"transformers loads them{also}",
                )


def _respelled(spelled: _Spelled, taken: Collection[str], used: Collection[str]) -> _Recipes:
    """Recipes for a checkpoint's names as they are spelled: those of the base, and heads."""
    return {
        name: Recipe([(own, None)])
        for name, own in spelled.items()
        if name != own and name not in taken and own not in used
    }


def _own_parts(architecture: Architecture, names: Iterable[str]) -> dict[str, Part]:
    """The tensors of a module by the names of its own state dict."""
    return {name: Part(name) for name in names if name in architecture.tensors}


def _spellings(
    missing: Collection[str], further: Collection[str], units: int
) -> Iterator[tuple[_Spelled, str]]:
    """Ways to spell the names of a checkpoint that are not the base's, each with words for it.

    Another prefix is one of nearly all names: a few that differ so are heads, each of its own.
    """
    for wrapper, bare in without_wrappers(further):
        yield bare, f"its names have {wrapper!r} where the base's do not"
    pairs = other_prefixes(missing, further) if len(missing) * 2 > units else []
    if len(pairs) == 1:  # of several nobody knows which is meant
        ours, theirs = pairs[0]
        below = [name for name in further if name.startswith(theirs)]
        spelled = {ours + name.removeprefix(theirs): name for name in below}
        if not ours:
            yield spelled, f"its names begin with {theirs!r} and the base's do not"
        elif not theirs:
            yield spelled, f"the base's names begin with {ours!r} and its do not"
        else:
            yield spelled, f"its names begin with {theirs!r} where the base's begin with {ours!r}"


def _matched(
    architecture: Architecture,
    wanted: Mapping[str, Part],
    theirs: Mapping[str, Part],
    checkpoint: Checkpoint,
    spelled: _Spelled,
) -> _Recipes:
    """What of a checkpoint stands where the base's names lead: the same, a part, or several."""
    tensors = architecture.tensors
    owners: dict[int, str] = {}
    owner = {name: owners.setdefault(id(tensor), name) for name, tensor in tensors.items()}
    at: dict[tuple[str, Window | None], str] = {}
    pieces: dict[str, list[tuple[str, Window | None]]] = {}
    for name, part in theirs.items():
        at[owner[part.name], part.window] = spelled[name]
        if part.window is not None:
            pieces.setdefault(owner[part.name], []).append((spelled[name], part.window))
    present = {*checkpoint.tensors, *checkpoint.tied}
    recipes: _Recipes = {}
    for name, part in wanted.items():
        place = owner[part.name]
        if name in present:
            continue
        if (same := at.get((place, part.window))) is not None:
            recipes[name] = Recipe([(same, None)])
            continue
        if not tensors[part.name].is_contiguous():
            continue
        whole = at.get((place, None))
        if part.window is not None and whole is not None:
            recipes[name] = Recipe([(whole, None)], part.window.shape, part.window)
        elif part.window is None and place in pieces:
            made = Recipe(pieces[place], tuple(tensors[part.name].shape))
            if _fills(made, checkpoint):
                recipes[name] = made
    return recipes


def _fills(recipe: Recipe, checkpoint: Checkpoint) -> bool:
    """Whether pieces of one element type, in their windows' shapes, make up the whole tensor."""
    specs = [checkpoint.tensors[checkpoint.tied.get(n, n)] for n, _ in recipe.pieces]
    fitting = all(
        window is not None and spec.shape == window.shape
        for spec, (_, window) in zip(specs, recipe.pieces, strict=True)
    )
    size = math.prod(recipe.shape or ())
    return fitting and len({s.dtype for s in specs}) == 1 and sum(s.size for s in specs) == size


def _given(names: Names, known: Iterable[str], present: Collection[str]) -> _Recipes:
    other = names_function(names)
    recipes: _Recipes = {}
    for name in known:
        theirs = other(name)
        if theirs is None or theirs == name:
            continue
        if theirs not in present:
            raise UsageError(f"names= says that {name!r} is {theirs!r}, which the checkpoint lacks")
        recipes[name] = Recipe([(theirs, None)])
    return recipes
