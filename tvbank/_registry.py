"""Compressors and merge methods by name: tvbank's own, and those that other packages bring.

A package brings one by an entry point, whose name is that of the method and whose object is its
class::

    [project.entry-points."tvbank.compressors"]
    mine = "my_package:Mine"

Its options are the arguments of the class, which need annotations: numbers, texts, truth values,
``Literal`` of texts, and None. Entry points are read from installed metadata only, never from the
current folder, and nothing of a package is imported before its method is asked for.

No package can take a name away from tvbank: one that brings a name of tvbank's own is ignored, and
refused only where that package's is asked for, as ``DISTRIBUTION:NAME``. So is one of two packages
chosen that bring the same name.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, distributions
from typing import Any, Generic, TypeVar, final, get_type_hints

import msgspec

from tvbank._imports import import_path, needed_by
from tvbank.errors import PluginError, TvbankError, UsageError

_Kind = TypeVar("_Kind")


@final
@dataclass(frozen=True)
class Row:
    """One of tvbank's own; in its texts, ``{p}`` stands for what precedes the name of an option.

    Attributes:
        where: ``module:class``.
        options: names that users may write; those of others are refused with the owner's name.
        grid: what a sweep tries of it by default: values by option, in all combinations.
        missing: what to say if an option is missing that has no default, by its name.
        instead: what to say if options of another row are given, by that row's name.
        elsewhere: what to say where it cannot be made from words alone; empty if it can.
    """

    where: str
    options: tuple[str, ...] = ()
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)
    elsewhere: str = ""


@final
class Registry(Generic[_Kind]):
    """Classes by name.

    Attributes:
        rows: tvbank's own, by name; the first is the default.
    """

    def __init__(self, what: str, group: str, kind: type[_Kind], rows: Mapping[str, Row]) -> None:
        """Make a registry; nothing is imported.

        Args:
            what: is registered, for messages.
            group: of the entry points.
            kind: that every class derives from.
            rows: tvbank's own.
        """
        self._what, self._group, self._kind, self.rows = what, group, kind, rows

    def names(self) -> tuple[str, ...]:
        """All names: tvbank's own, then those of other packages in alphabetical order."""
        return (*self.rows, *sorted(set(_installed(self._group, _paths())) - set(self.rows)))

    def check(self, name: str, prefix: str = "--", *, words: bool = False) -> None:
        """Refuse a name that nothing has.

        Args:
            name: as it was given.
            prefix: what precedes an option's name where the user wrote it, for messages.
            words: whether to leave out those that cannot be made from words alone.

        Raises:
            UsageError: names those that there are.
        """
        names = self.names()
        if name not in names and not self._others(name):
            shown = [one for one in names if not words or one not in self._elsewhere()]
            raise UsageError(f"{prefix}method must be one of {', '.join(shown)}, got {name!r}")

    def _others(self, name: str) -> list[tuple[str, EntryPoint]]:
        """Packages that bring a name, or the one of ``DISTRIBUTION:NAME``, with entry points."""
        wanted, separator, plain = name.rpartition(":")
        found = _installed(self._group, _paths()).get(plain, ())
        return sorted(each for each in found if not separator or each[0] == wanted)

    def find(self, name: str) -> type[_Kind]:
        """The class of a name, tvbank's own before that of any package.

        Raises:
            PluginError: it cannot be loaded, or several packages have that name; names them. Or the
                package that is asked for brings a name of tvbank's own.
            UsageError: there is none of that name.
        """
        self.check(name)
        if name in self.rows:
            module, _, attribute = self.rows[name].where.partition(":")
            with needed_by(f"the {self._what} {name!r}"):
                own: type[_Kind] = getattr(importlib.import_module(module), attribute)
            return own
        others, plain = self._others(name), name.rpartition(":")[2]
        if len(others) > 1:
            owners = " and by ".join(owner for owner, _ in others)
            raise PluginError(
                f"{self._what} {name!r} is brought by {owners}: say which, as in "
                f"{others[0][0]}:{name}"
            )
        owner, entry = others[0]
        if plain in self.rows:
            raise PluginError(
                f"{self._what} {plain!r} of the package {owner} has the name of one of tvbank's "
                "own: it must be given another name there"
            )
        try:
            found = entry.load()
        except Exception as error:
            raise PluginError(
                f"{self._what} {name!r} of the package {owner} cannot be loaded "
                f"({_first_line(error)}): repair that package, or uninstall it"
            ) from error
        if not (isinstance(found, type) and issubclass(found, self._kind)):
            raise PluginError(
                f"{self._what} {name!r} of the package {owner} is no {self._kind.__name__}: "
                f"{entry.value} must name a class that derives from it"
            )
        return found

    def make(
        self, name: str, options: Mapping[str, Any], *, prefix: str = "--", text: bool = False
    ) -> _Kind:
        """An object of a name, with its options; those that are None have its defaults.

        Args:
            name: one of ``names()``.
            options: by name.
            prefix: what precedes an option's name where the user wrote it, for messages.
            text: whether numbers may be given as text.

        Raises:
            PluginError: see ``find``.
            UsageError: an option that belongs to another method, is missing, or is out of its
                range; a method that cannot be made from words alone.
        """
        self.check(name, prefix, words=True)
        row = self.rows.get(name)
        if row is not None and row.elsewhere:
            raise UsageError(f"{prefix}method {name} {row.elsewhere}")
        given = {key: value for key, value in options.items() if value is not None}
        self.refuse_others(name, given, prefix)
        kind = self.find(name)
        parameters = inspect.signature(kind).parameters
        for key, parameter in parameters.items():
            if parameter.default is parameter.empty and key not in given:
                why = f"a value for {key}" if row is None else row.missing[key].format(p=prefix)
                raise UsageError(f"{prefix}method {name} needs {why}")
        hints = get_type_hints(kind.__init__)
        made = {}
        for key, value in given.items():
            if key not in parameters:
                known = ", ".join(parameters) or "none"
                raise UsageError(f"{self._what} {name} has no option {key!r}; it has {known}")
            try:
                made[key] = msgspec.convert(value, hints.get(key, Any), strict=not text)
            except (msgspec.ValidationError, TypeError) as error:
                raise UsageError(f"{prefix}{key}: {error}") from error
        try:
            return kind(**made)
        except TvbankError:
            raise
        except Exception as error:
            raise UsageError(f"{self._what} {name}: {_first_line(error)}") from error

    def implied(self, options: Collection[str]) -> str:
        """The method that is meant where options are given, but no method.

        Args:
            options: their names.

        Returns:
            The first of tvbank's own that has all of them; the first one, which is the default, if
            none has.
        """
        rows = self.rows.items()
        meant = (name for name, row in rows if set(options) <= set(row.options))
        return next(meant, next(iter(self.rows)))

    def resolve(self, given: _Kind | type[_Kind] | str | None) -> _Kind:
        """The object that a user means by an object, its name, its class, or nothing.

        Raises:
            PluginError: see ``find``.
            UsageError: something else, or a name or a class that needs options.
        """
        if isinstance(given, self._kind):
            return given
        if given is None or isinstance(given, str):
            return self.make(self.implied(()) if given is None else given, {}, prefix="")
        kind = self._kind.__name__
        if isinstance(given, type) and issubclass(given, self._kind):
            try:
                return given()
            except TypeError as error:
                raise UsageError(
                    f"the {self._what} is an object, not the class {given.__name__}: make one with "
                    f"its options ({_first_line(error)})"
                ) from error
        raise UsageError(
            f"the {self._what} is a {kind} or the name of one ({', '.join(self.names())}), not "
            f"{given!r}"
        )

    def refuse_others(self, name: str, given: Mapping[str, Any], prefix: str = "--") -> None:
        """Refuse options that belong to another of tvbank's own.

        Raises:
            UsageError: names the method to which the first of them belongs.
        """
        row = self.rows.get(name)
        if row is None:  # its own constructor knows
            return
        for other, its in self.rows.items():
            wrong = [key for key in its.options if key in given and key not in row.options]
            if wrong:
                shown = wrong[0].replace("_", "-") if prefix == "--" else wrong[0]
                default = f"{{p}}{shown} belongs to {{p}}method {other}, not to {name}"
                raise UsageError(row.instead.get(other, default).format(p=prefix))

    def _elsewhere(self) -> list[str]:
        return [name for name, row in self.rows.items() if row.elsewhere]


def _paths() -> tuple[str, ...]:
    """Where packages are installed: the import path without the current folder."""
    return tuple(import_path())


@lru_cache(maxsize=16)
def _installed(group: str, paths: tuple[str, ...]) -> dict[str, tuple[tuple[str, EntryPoint], ...]]:
    """Packages and their entry points of a group, by the entry point's name."""
    found: dict[str, tuple[tuple[str, EntryPoint], ...]] = {}
    seen = set()
    for distribution in distributions(path=list(paths)):
        try:
            owner, entries = distribution.name, list(distribution.entry_points)
        except Exception:  # metadata that are damaged are not ours to complain about
            continue
        if owner in seen:  # the first on the path is the one that is imported
            continue
        seen.add(owner)
        for entry in entries:
            if entry.group == group:
                found[entry.name] = (*found.get(entry.name, ()), (owner, entry))
    return found


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
