"""A checkpoint by the names of a bank's base: renamed where its own differ, if a way is found.

Ways, the likeliest first: the names as they are; without a wrapper's part (``module.``), or with
another prefix; and through the architecture of the checkpoint or the base, as transformers loads
it: there the names of both lead to the same tensor, or to parts of it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import final

from tvbank.checkpoint import Checkpoint, TensorSpec, aligned_order
from tvbank.errors import UsageError
from tvbank.layout import Layout
from tvbank.naming._architecture import Architecture, architectures
from tvbank.naming._names import Names, names_function
from tvbank.naming._renamed import Piece, Recipe, RenamedCheckpoint, renamed
from tvbank.naming._window import Part, Parts
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
    turned = _turned(layout, checkpoint)
    best: tuple[int, _Recipes, str] = (len(_missing(units, present)) + len(turned), {}, "")
    if best[0] == 0:
        return Named(checkpoint)
    for recipes, told in _ways(layout, checkpoint, base, turned):
        wrong = len(_missing(units, {*present, *recipes})) + len(turned - recipes.keys())
        if wrong < best[0]:
            best = wrong, recipes, told
        if wrong == 0:
            break
    wrong, recipes, told = best
    lacking = _missing(units, {*present, *recipes}) if wrong else []
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
    ours = {recipe.names[0]: name for name, recipe in _given(names, names, set(present)).items()}
    recipes = {ours.get(name, name): renamed(name) for name in present}
    other = RenamedCheckpoint(checkpoint, recipes)
    if not ordered:
        return other
    in_order = sorted(other.tensors.values(), key=lambda spec: spec.name)
    first = [spec.name for spec in aligned_order(in_order)]
    return RenamedCheckpoint(checkpoint, {name: recipes[name] for name in (*first, *recipes)})


def _missing(units: Mapping[str, Collection[str]], present: Collection[str]) -> list[str]:
    """Units of which no name is there, but what a model computes by itself."""
    return [
        unit
        for unit, own in units.items()
        if not any(name in present for name in own) and not is_constant_name(unit)
    ]


def _turned(layout: Layout, checkpoint: Checkpoint) -> set[str]:
    """Units that the checkpoint has with their sides in another order."""
    shapes = {record.name: record.shape for record in layout.records}
    return {
        spec.name
        for spec in checkpoint.tensors.values()
        if (shape := shapes.get(spec.name, spec.shape)) != spec.shape
        and sorted(shape) == sorted(spec.shape)
    }


def _ways(
    layout: Layout,
    checkpoint: Checkpoint,
    base: Checkpoint | None,
    turned: Collection[str],
) -> Iterator[tuple[_Recipes, str]]:
    units = names_of_units(layout)
    shapes = {record.name: record.shape for record in layout.records}
    present = list(dict.fromkeys((*checkpoint.tensors, *checkpoint.tied)))
    known = {name: shapes[unit] for unit, own in units.items() for name in own}
    further = [name for name in present if name not in known]
    spellings = list(_spellings(_missing(units, present), further, len(units)))
    for spelled, told in spellings:
        yield _respelled(spelled, present, ()), told
    others = [base] if base is not None and base is not checkpoint else []
    same: _Spelled = {name: name for name in present}
    there = {name for name in present if name not in turned}
    for origin, architecture in architectures(checkpoint, *others):
        own = architecture.is_own and origin is checkpoint
        for table in architecture.tables:
            wanted = table.parts(known)
            for spelled, told in [(same, ""), *spellings]:
                forms = {name: _spec(checkpoint, n).shape for name, n in spelled.items()}
                theirs = _own_parts(architecture, spelled) if own else table.parts(forms)
                placed = {name: parts for name, parts in wanted.items() if name not in there}
                recipes = _matched(architecture, placed, theirs, checkpoint, spelled, known)
                used = {name for recipe in recipes.values() for name in recipe.names}
                also = f"; {told}" if told else ""
                yield (
                    _respelled(spelled, {*present, *recipes}, used) | recipes,
                    "its names and the base's lead to the same tensors of the model, as "
                    f"transformers loads them{also}",
                )


def _respelled(spelled: _Spelled, taken: Collection[str], used: Collection[str]) -> _Recipes:
    """Recipes for a checkpoint's names as they are spelled: those of the base, and heads."""
    return {
        name: renamed(own)
        for name, own in spelled.items()
        if name != own and name not in taken and own not in used
    }


def _own_parts(architecture: Architecture, names: Iterable[str]) -> dict[str, Parts]:
    """The tensors of a module by the names of its own state dict."""
    return {name: (Part(name),) for name in names if name in architecture.tensors}


def _spec(checkpoint: Checkpoint, name: str) -> TensorSpec:
    return checkpoint.tensors[checkpoint.tied.get(name, name)]


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
    wanted: Mapping[str, Parts],
    theirs: Mapping[str, Parts],
    checkpoint: Checkpoint,
    spelled: _Spelled,
    shapes: Mapping[str, tuple[int, ...]],
) -> _Recipes:
    """What of a checkpoint stands where the base's names lead: the same, a part, or several.

    Args:
        architecture: whose tensors both lead to.
        wanted: where the base's names lead, those that are wanted.
        theirs: where the checkpoint's lead.
        checkpoint: whose they are.
        spelled: its own name of each of ``theirs``.
        shapes: of the base's units, by all their names.
    """
    tensors = architecture.tensors
    owners: dict[int, str] = {}
    owner = {name: owners.setdefault(id(tensor), name) for name, tensor in tensors.items()}

    def place(parts: Parts) -> Parts:
        return tuple(replace(part, name=owner[part.name]) for part in parts)

    at: dict[Parts, str] = {}
    pieces: dict[str, list[Piece]] = {}
    for name, parts in theirs.items():
        at[place(parts)] = spelled[name]
        for part in parts:
            if part.window is not None:
                piece = Piece(spelled[name], part.at, part.window)
                pieces.setdefault(owner[part.name], []).append(piece)

    def whole(name: str) -> str | Recipe | None:
        """The model's tensor, as the checkpoint has it."""
        if (same := at.get((Part(owner[name]),))) is not None:
            return same if _spec(checkpoint, same).shape == tensors[name].shape else None
        made = Recipe(pieces.get(owner[name], ()), tuple(tensors[name].shape))
        return made if _fills(made, checkpoint) else None

    recipes: _Recipes = {}
    for name, parts in wanted.items():
        if (same := at.get(place(parts))) is not None:
            if same != name:
                recipes[name] = renamed(same)
            continue
        if not all(tensors[part.name].is_contiguous() for part in parts):
            continue
        sources = [(whole(part.name), part) for part in parts]
        made = [Piece(source, part.window, part.at) for source, part in sources if source]
        if len(made) == len(parts):
            recipes[name] = _flat(Recipe(made, shapes[name]))
    return recipes


def _flat(recipe: Recipe) -> Recipe:
    """A recipe without one that only stands for another."""
    first = recipe.pieces[0]
    alone = len(recipe.pieces) == 1 and first.window is None and first.at is None
    return first.source if alone and isinstance(first.source, Recipe) else recipe


def _fills(recipe: Recipe, checkpoint: Checkpoint) -> bool:
    """Whether pieces of one element type, in their windows' shapes, make up the whole tensor."""
    specs = [_spec(checkpoint, name) for name in recipe.names]
    fitting = all(
        piece.at is not None and (piece.window is not None or spec.shape == piece.at.shape)
        for spec, piece in zip(specs, recipe.pieces, strict=True)
    )
    size = sum(math.prod(piece.at.form) for piece in recipe.pieces if piece.at is not None)
    whole = size == math.prod(recipe.shape or ())
    return fitting and bool(specs) and whole and len({s.dtype for s in specs}) == 1


def _given(names: Names, known: Iterable[str], present: Collection[str]) -> _Recipes:
    other = names_function(names)
    recipes: _Recipes = {}
    for name in known:
        theirs = other(name)
        if theirs is None or theirs == name:
            continue
        if theirs not in present:
            raise UsageError(f"names= says that {name!r} is {theirs!r}, which the checkpoint lacks")
        recipes[name] = renamed(theirs)
    return recipes
