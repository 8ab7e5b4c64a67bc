"""Where a live model has what a bank names: found once, when a bank is attached.

Tried in this order: names that the caller gives; the base's own names; what transformers' tables
make of them, in the model or in a transformers model within it; the base's names below a prefix;
and all of this for the base's names without a prefix that all of them have. What fits first is
taken. Whether the weights are the base's is looked at afterwards: a wrong name cannot pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch

from tvbank.errors import BaseMismatchError, UsageError, name_some, name_units
from tvbank.naming._conversions import Conversions, Shapes, conversions_in
from tvbank.naming._names import Names, names_function
from tvbank.naming._window import Part, Parts, shape_of
from tvbank.naming.causes import quantised_base
from tvbank.naming.meanings import is_constant_name, is_quantised, lacks_heads_only
from tvbank.naming.prefixes import common_prefixes, prefixes_before, with_dot, without_peft

__all__ = ["Located", "locate"]

#: Parts of a model by the names of a bank.
_Parts = dict[str, Parts]


@final
@dataclass(frozen=True)
class _Spelling:
    """One way to read a bank's names in a model.

    Attributes:
        below: the prefix of the model's names, for messages.
        told: in words, how the names differ; nothing if they do not.
        parts: finds names in the model; those that it has not are left out.
        ignores: whether the model has no use for a name of a file.
        copied: names that lead to no place in the model, and the operations that are why.
    """

    below: str
    told: str
    parts: Callable[[Shapes], _Parts]
    ignores: Callable[[str], bool] = lambda _name: False
    copied: Mapping[str, str] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class _Fit:
    """A way to read the names that leads to places.

    Attributes:
        spelling: the way.
        parts: where it leads.
        missing: units that have no place.
        turned: how many places have another shape than the unit.
    """

    spelling: _Spelling
    parts: _Parts
    missing: Sequence[str]
    turned: int = 0


def _wrongs(fit: _Fit) -> int:
    return len(fit.missing) + fit.turned


def _turned(
    parts: _Parts, tensors: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Units that have another shape than where they are said to be."""
    turned = []
    for unit, shape in shapes.items():
        found = parts.get(unit, ())
        if len(found) != 1 or torch.nn.parameter.is_lazy(tensors[found[0].name]):
            continue
        if shape_of(found, tensors, shape) != shape:
            turned.append(unit)
    return turned


@final
class Located:
    """The places in a model of what a bank names.

    Attributes:
        parts: by every name of the base that the model has, aliases included.
        absent: units of the base that the model lacks and need not have.
        remarks: what a user should know: how the names differ, what is lacking.
    """

    def __init__(self, fit: _Fit) -> None:
        """Use ``locate``."""
        self.parts, self.absent = fit.parts, tuple(fit.missing)
        self._spelling, self._further = fit.spelling, dict[str, Parts]()
        lack = f"the model lacks {name_units(self.absent)} of the base" if self.absent else ""
        self.remarks = tuple(filter(None, (fit.spelling.told, lack)))

    def find(self, name: str, model_names: Collection[str]) -> Parts:
        """Where the model has what a task keeps whole; nowhere if it has no place for it.

        A head may stand beside the base instead of below its prefix.

        Args:
            name: the bank's.
            model_names: of all parameters and buffers.
        """
        if name in self.parts:
            return self.parts[name]
        if name not in self._further:
            beside = (Part(name),) if name in model_names else ()
            parts = self._spelling.parts({name: None}).get(name, ())
            # Alone, a tensor of a stack does not tell which place is its own.
            self._further[name] = parts if parts and parts[0].window is None else beside
        return self._further[name]


def locate(
    units: Mapping[str, Sequence[str]],
    model: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    *,
    prefix: str | None = None,
    names: Names | None = None,
    optional: Collection[str] = (),
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Located:
    """Find what a bank names in a live model.

    Args:
        units: of the bank's base: every unit's names, see ``prefixes.names_of_units``.
        model: any module.
        tensors: its parameters and buffers by name.
        prefix: what stands before the base's names in the model, if the caller knows it.
        names: the model's name for each of the bank's, if they differ otherwise.
        optional: units that the model need not have.
        shapes: of units: they tell ways apart that lead to tensors of other shapes, and what is
            split or permuted is found by them.

    Raises:
        BaseMismatchError: the model lacks units of the base; names them.
        UsageError: several prefixes fit; ``names`` is neither a mapping nor a function, or gives
            a name that the model has not.
    """
    given = shapes or {}
    every: Shapes = {name: given.get(unit) for unit, own in units.items() for name in own}
    needed = {unit: own for unit, own in units.items() if unit not in optional}
    nearest: tuple[list[str], _Spelling] | None = None
    lesser: list[_Fit] = []  # without heads
    for group in _spellings(every, needed, model, tensors, prefix, names):
        fitting: list[_Fit] = []
        for spelling in group:
            parts = spelling.parts(every)
            missing = [u for u, own in needed.items() if not any(n in parts for n in own)]
            turned = _turned(parts, tensors, given)
            if not missing and turned:
                lesser.append(_Fit(spelling, parts, [], len(turned)))
            elif not missing:
                fitting.append(_Fit(spelling, parts, missing))
            elif _may_lack(missing, needed, parts, spelling):
                lesser.append(_Fit(spelling, parts, missing))
            elif nearest is None or _rank(missing, spelling) < _rank(*nearest):
                nearest = missing, spelling
        if fitting:
            return _only(fitting)
    if lesser:
        fewest = min(map(_wrongs, lesser))
        return _only([fit for fit in lesser if _wrongs(fit) == fewest])
    assert nearest is not None  # the base's own names are always tried
    missing, spelling = nearest
    where = f" below {spelling.below!r}" if spelling.below else ""
    if len(missing) == len(needed):
        where = ", with or without a prefix" if prefix is None else f" below {with_dot(prefix)!r}"
    raise _lacking(missing, where, units, spelling)


def _rank(missing: Collection[str], spelling: _Spelling) -> tuple[int, bool]:
    """How far a way leads; of two that lack as much, the one that knows why is nearer."""
    return len(missing), not spelling.copied


def _lacking(
    missing: Sequence[str], where: str, units: Collection[str], spelling: _Spelling
) -> BaseMismatchError:
    packed = [name for name in units if is_quantised(name)]
    copied = [name for name in missing if name in spelling.copied]
    why = f"; {quantised_base(packed)}" if packed else ""
    if "token_embd.weight" in missing:
        why = (
            "; the bank's base is a GGUF file, whose names and order of rows a live model has not: "
            "to switch one, make a bank of the model in memory, tvbank.create(place, base=model); "
            "fine-tunes in GGUF go into that one"
        )
    if copied:
        why = (
            f"; transformers makes something else of {copied[0]!r} when it loads a file "
            f"({spelling.copied[copied[0]]}), so that not every entry has a place in the model: "
            "make the bank of the model in memory, tvbank.create(place, base=model)"
        )
    return BaseMismatchError(
        f"the model is not the base this bank was built on: it lacks {name_some(missing)}{where}"
        + why,
        missing,
    )


def _only(fitting: Sequence[_Fit]) -> Located:
    """The one way that fits; ways that lead to the same places are one.

    Raises:
        UsageError: several do.
    """
    different: dict[frozenset[tuple[str, Parts]], _Fit] = {}
    for fit in fitting:
        different.setdefault(frozenset(fit.parts.items()), fit)
    if len(different) > 1:
        shown = ", ".join(repr(fit.spelling.below) for fit in list(different.values())[:5])
        raise UsageError(
            f"the model has the base's units {len(different)} times, below {shown}: "
            "say which with prefix="
        )
    return Located(next(iter(different.values())))


def _may_lack(
    missing: Collection[str], needed: Collection[str], parts: _Parts, spelling: _Spelling
) -> bool:
    """Whether the model can do without what it lacks: constants, and heads of another task."""
    weights = [n for n in missing if not (is_constant_name(n) or spelling.ignores(n))]
    present = [name for name in needed if name in parts]
    return len(missing) < len(needed) and (not weights or lacks_heads_only(weights, present))


def _spellings(
    every: Collection[str],
    needed: Mapping[str, Sequence[str]],
    model: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    prefix: str | None,
    names: Names | None,
) -> Iterator[list[_Spelling]]:
    """Ways to read a bank's names, the likeliest first; one list holds ways of equal rank."""
    if names is not None:
        yield [_given(names, tensors)]
        return
    tables = conversions_in(model, tensors)
    if prefix is not None:
        below = with_dot(prefix)
        yield [_below(below, tensors)]
        yield [_converted(table) for table in tables if table.path == below]
        return
    yield [_below("", tensors)]
    outer = [t for t in tables if not any(_within(t.path, other.path) for other in tables)]
    yield [_converted(table) for table in outer]
    first = next(iter(needed.values()), [])
    yield [_below(each, tensors) for each in prefixes_before(first, tensors)]
    yield [_converted(table) for table in tables if table not in outer]
    if wrapped := _unwrapped(tensors):
        inner = {bare: tensors[name] for bare, name in wrapped.items()}
        yield [_wrapped(wrapped, _below("", inner))]
        yield [_wrapped(wrapped, _below(each, inner)) for each in prefixes_before(first, inner)]
        yield [
            _wrapped(wrapped, _converted(table.of(inner, without_peft(table.path))))
            for table in outer[:1]
        ]
    for own in common_prefixes(every):
        yield [_without(own, _below("", tensors))]
        yield [_without(own, _converted(table)) for table in outer]
        rest = [name.removeprefix(own) for name in first]
        yield [_without(own, _below(each, tensors)) for each in prefixes_before(rest, tensors)]


def _unwrapped(tensors: Collection[str]) -> dict[str, str]:
    """The model's names by what is left without what peft and other wrappers put into them.

    Nothing, if no wrapper did, or if it would not be clear which is which.
    """
    bare = {without_peft(name): name for name in tensors}
    return bare if len(bare) == len(tensors) and bare.keys() != set(tensors) else {}


def _wrapped(names: Mapping[str, str], spelling: _Spelling) -> _Spelling:
    def parts(bank_names: Shapes) -> _Parts:
        return {
            name: tuple(replace(part, name=names[part.name]) for part in found)
            for name, found in spelling.parts(bank_names).items()
        }

    also = f", and {spelling.told}" if spelling.told else ""
    told = f"wrappers (peft's, or others) have put parts into the model's names{also}"
    return _Spelling("", told, parts, spelling.ignores)


def _within(path: str, other: str) -> bool:
    return path != other and path.startswith(other)


def _below(prefix: str, tensors: Collection[str]) -> _Spelling:
    told = f"the model has the base's names below {prefix!r}" if prefix else ""

    def parts(names: Shapes) -> _Parts:
        return {name: (Part(prefix + name),) for name in names if prefix + name in tensors}

    return _Spelling(prefix, told, parts)


def _converted(table: Conversions) -> _Spelling:
    told = "transformers' conversion tables say where the model has the base's names"
    return _Spelling(table.path, told, table.parts, table.is_ignored, table.copied)


def _without(own: str, spelling: _Spelling) -> _Spelling:
    def parts(names: Shapes) -> _Parts:
        bare = {name.removeprefix(own): name for name in names}
        found = spelling.parts({rest: names[name] for rest, name in bare.items()})
        return {bare[rest]: part for rest, part in found.items()}

    also = f", and {spelling.told}" if spelling.told else ""
    told = f"the base's names begin with {own!r} and the model's do not{also}"
    return _Spelling(spelling.below, told, parts, spelling.ignores)


def _given(names: Names, tensors: Collection[str]) -> _Spelling:
    other = names_function(names)

    def parts(bank_names: Shapes) -> _Parts:
        found: _Parts = {}
        for name in bank_names:
            theirs = other(name)
            if theirs is None:
                continue
            if theirs in tensors:
                found[name] = (Part(theirs),)
            elif theirs != name:
                raise UsageError(f"names= says that {name!r} is {theirs!r}, which the model lacks")
        return found

    return _Spelling("", "names as given", parts)
