"""Manifests: a bank, its base, and the fine-tunes that shall be in it; TOML, or JSON of that shape.

::

    bank = "s3://models/bank"        # a folder or URL; made if nothing is there and base is given
    base = "base.safetensors"        # relative to the manifest; a URL is read by range
names = "names.json"             # where a base calls the units of a bank that is there otherwise:
                                 # a table, or a file that holds one; of a task likewise

    [defaults]                       # of all tasks that do not say otherwise
    method = "tswitch"
    drop = 0.9

    [tasks.cats]
    checkpoint = "s3://models/cats.safetensors"
    metadata = { labels = ["tabby", "manx"] }

    [tasks.dogs]
    checkpoint = "dogs"
    method = "budget"                # what is done by default, to 1 % of the base
    budget = "0.5 %"

    [tasks.birds]
    checkpoint = "output/vit_drop_0.9_group_4/birds"     # an artefact: T-Switch's files
    given = { scale = 0.002 }                           # what they lack

    [tasks.fish]
    checkpoint = "hf://org/adapter"  # an adapter; kept as it is where neither it nor the defaults
                                     # say how, and where that is a budget, within it

    [tasks.step-2]
    checkpoint = "step-2"
    parent = "step-1"                # exact, and steps from the state of that task: one of the
    anchor_every = 10                # bank's or of this manifest, wherever it stands
"""

from __future__ import annotations

import graphlib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from tvbank._files import read_regular
from tvbank._json import parse_json
from tvbank.artefacts import BASE, PLACES
from tvbank.bank.names import check_metadata, check_task_name
from tvbank.compress.protocol import Compressor
from tvbank.compress.registry import COMPRESSORS
from tvbank.errors import TvbankError, UsageError
from tvbank.layout import MAX_CHUNK_LENGTH
from tvbank.naming import read_names
from tvbank.storage import is_url, local_file, redact
from tvbank.vector import patterns_of

#: What a manifest may have in bytes: more tasks than a bank should have fit into that.
MAX_BYTES = 64 * 2**20

#: Members that say how a fine-tune is compressed.
_HOW = ("method", "drop", "knob", "budget", "options")

_Body = TypeVar("_Body")
_Place = Annotated[str, Meta(min_length=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How tasks are made, where they do not say it themselves."""

    method: str | None = None
    drop: float | None = None
    knob: Literal["rms", "norm"] | None = None
    budget: str | None = None
    options: dict[str, Any] | None = None
    replace: bool | None = None
    replace_mismatched: bool | None = None
    missing: str | list[str] | None = None
    names: dict[str, str] | str | None = None
    anchor_every: Annotated[int, Meta(ge=1)] | None = None


class _Task(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    checkpoint: _Place
    metadata: dict[str, Any] = {}
    given: dict[str, Any] = {}
    parent: _Place | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    bank: _Place
    tasks: Annotated[dict[str, Any], Meta(min_length=1)]
    base: _Place | None = None
    names: dict[str, str] | str | None = None
    chunk_length: Annotated[int, Meta(ge=1, le=MAX_CHUNK_LENGTH)] | None = None
    defaults: dict[str, Any] = {}


class PlannedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that shall be in the bank.

    Attributes:
        name: of the task.
        checkpoint: absolute path or URL of the fine-tune.
        compressor: what to keep of it.
        metadata: the user's own JSON.
        replace: whether to replace a task of that name.
        replace_mismatched: whether units of another shape than the base's are kept whole.
        given: what an artefact's files lack, by name; every path is absolute.
        missing: units that the fine-tune may lack: names, patterns, or ``base`` for all.
        names: the fine-tune's name for some of the bank's.
        as_is: whether the manifest says nothing of how: a LoRA adapter is then kept without loss.
        parent: the exact task from whose state this one's steps lead.
        anchor_every: of so many tasks in a row, each the parent of the next, one starts from the
            base.
    """

    name: str
    checkpoint: str
    compressor: Compressor
    metadata: dict[str, Any]
    replace: bool
    replace_mismatched: bool
    given: tuple[tuple[str, Any], ...] = ()
    missing: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    as_is: bool = False
    parent: str | None = None
    anchor_every: int | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A bank and the tasks that shall be in it; every path is absolute.

    Attributes:
        bank: path or URL.
        base: path or URL of the base's weights; None for where the bank says they are.
        chunk_length: of a bank that is made; None for the usual one.
        tasks: in the manifest's order.
        path: the manifest's file, if it is one.
        base_names: the base's name for some of those of a bank that is there.
    """

    bank: str
    base: str | None
    chunk_length: int | None
    tasks: tuple[PlannedTask, ...]
    path: Path | None
    base_names: tuple[tuple[str, str], ...] = ()


def read_manifest(source: str | os.PathLike[str] | Mapping[str, Any]) -> Manifest:
    """Read and check a manifest; of what it names only files of names are looked at.

    Args:
        source: path of a ``.toml`` or ``.json`` file; or what such a file would hold, whose
            relative paths are those of this process.

    Raises:
        UsageError: says the file, the line, the task and the field, as far as they are known.
    """
    if isinstance(source, Mapping):
        return _Reader("the manifest", "", Path.cwd(), None).read(dict(source))
    path = local_file(source)
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8 ({error})") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be read: {why}; name a .toml or .json file") from error
    reader = _Reader(str(path), text, path.absolute().parent, path.absolute())
    return reader.read(_parse(path, text))


def _parse(path: Path, text: str) -> Any:
    kind = path.suffix.lower()
    try:
        if kind == ".toml":
            return tomllib.loads(text)
        if kind == ".json":
            return parse_json(text.encode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no valid {kind[1:].upper()}: {error}") from error
    raise UsageError(f"{path}: a manifest is a .toml or a .json file")


class _Reader:
    """One manifest on its way to its structs."""

    def __init__(self, source: str, text: str, folder: Path, path: Path | None) -> None:
        self._source, self._text, self._folder, self._path = source, text, folder, path
        self._compressors: dict[str, Compressor] = {}

    def read(self, content: Any) -> Manifest:
        file = self._convert(content, _File, ())
        defaults = self._convert(file.defaults, Settings, ("defaults",))
        tasks = tuple(self._task(name, task, defaults) for name, task in file.tasks.items())
        lower: dict[str, str] = {}
        for name in file.tasks:
            other = lower.setdefault(name.lower(), name)
            if other != name:
                raise self._problem(
                    ("tasks", name), f"its name differs from {other!r} in case only"
                )
        self._check_parents(tasks)
        return Manifest(
            bank=self._absolute(file.bank, "bank"),
            base=None if file.base is None else self._absolute(file.base, "base"),
            chunk_length=file.chunk_length,
            tasks=tasks,
            path=self._path,
            base_names=self._base_names(file),
        )

    def _base_names(self, file: _File) -> tuple[tuple[str, str], ...]:
        try:
            return self._names(file.names, "names")
        except _ManifestError:
            raise
        except TvbankError as error:
            raise self._problem(("names",), str(error)) from error

    def _task(self, name: str, content: Any, defaults: Settings) -> PlannedTask:
        where = ("tasks", name)
        try:
            check_task_name(name)
            task = self._convert(content, _Task, where)
            # Options belong to their method: another method brings its own.
            options = task if task.method is not None else _merged(task, defaults)
            says_how = any(getattr(options, one) is not None for one in _HOW)
            if task.parent is not None and not says_how:
                options = Settings(method="exact")
            if task.parent is None and task.anchor_every is not None:
                raise UsageError("anchor_every is of chains: give a parent, too")
            return PlannedTask(
                name=name,
                checkpoint=self._absolute(task.checkpoint, *where),
                compressor=self._compressor(options),
                as_is=not says_how and task.parent is None,
                metadata=check_metadata(task.metadata),
                replace=bool(_first(task.replace, defaults.replace)),
                replace_mismatched=bool(
                    _first(task.replace_mismatched, defaults.replace_mismatched)
                ),
                given=tuple((k, self._placed(k, v, *where)) for k, v in task.given.items()),
                missing=patterns_of(_first(task.missing, defaults.missing)),
                names=self._names(_first(task.names, defaults.names), *where),
                parent=task.parent,
                anchor_every=None
                if task.parent is None
                else _first(task.anchor_every, defaults.anchor_every),
            )
        except _ManifestError:
            raise
        except TvbankError as error:
            raise self._problem(where, str(error)) from error

    def _check_parents(self, tasks: Sequence[PlannedTask]) -> None:
        """Refuse circles, and parents and children that are not exact; the bank is not asked."""
        by_name = {task.name: task for task in tasks}
        for task in tasks:
            if task.parent is None:
                continue
            where = ("tasks", task.name, "parent")
            if task.parent == task.name:
                raise self._problem(where, "it cannot be its own parent")
            if task.compressor.element != "int32":
                raise self._problem(
                    where,
                    "only an exact task can be steps from the state of another "
                    f'({task.parent!r}): say `method = "exact"`, or name no parent',
                )
            parent = by_name.get(task.parent)
            if parent is not None and parent.compressor.element != "int32":
                raise self._problem(
                    where,
                    f"its parent {task.parent!r} is not exact, so nothing can be steps from its "
                    f'state: say `method = "exact"` of {task.parent!r}, or name another',
                )
        try:
            parents_first(tasks)
        except graphlib.CycleError as error:
            *circle, name = error.args[1][::-1]
            raise self._problem(
                ("tasks", name, "parent"),
                f"its parents go round in a circle: {', '.join(map(repr, [*circle, name]))}",
            ) from None

    def _convert(self, content: Any, kind: type[_Body], where: tuple[str, ...]) -> _Body:
        try:
            return msgspec.convert(content, kind)
        except msgspec.ValidationError as error:
            what, _, at = str(error).partition(" - at ")
            field = re.findall(r"[A-Za-z_]+", at)
            unknown = re.search(r"unknown field `([^`]*)`", what)
            missing = re.search(r"missing required field `([^`]*)`", what)
            if unknown:
                what = f"{unknown[1]!r} is no field; there are {_fields(kind)}"
                field = [unknown[1]]
            elif missing:
                what = f"it lacks {missing[1]!r}"
            elif field:
                what = f"{field[0]}: {what}"
            raise self._problem((*where, *field[:1]), what) from error

    def _compressor(self, options: Settings) -> Compressor:
        """The compressor of a task; tasks with equal options share one, thousands may."""
        plain = {"drop": options.drop, "knob": options.knob, "budget": options.budget}
        given = {name: value for name, value in plain.items() if value is not None}
        given |= options.options or {}
        method = options.method or COMPRESSORS.implied(given)
        try:
            key = repr((method, given))
        except RecursionError:
            raise UsageError("its options are nested too deeply") from None
        if key not in self._compressors:
            self._compressors[key] = COMPRESSORS.make(method, given, prefix="")
        return self._compressors[key]

    def _names(
        self, names: Mapping[str, str] | str | None, *where: str
    ) -> tuple[tuple[str, str], ...]:
        """Names by the bank's, of a table or of a file that holds one."""
        if isinstance(names, str):
            names = read_names(self._absolute(names, *where))
        return tuple(sorted((names or {}).items()))

    def _placed(self, name: str, value: Any, *where: str) -> Any:
        """A value given beside an artefact; paths become absolute, a list a tuple."""
        if isinstance(value, list):
            return tuple(self._placed(name, each, *where) for each in value)
        if isinstance(value, dict):
            raise UsageError(f"given: {name} is a table; name the file that holds it")
        is_place = name in PLACES and isinstance(value, str) and value != BASE
        return self._absolute(value, *where) if is_place else value

    def _absolute(self, place: str, *where: str) -> str:
        if "\0" in place or any("\ud800" <= letter <= "\udfff" for letter in place):
            what = f"{redact(place)!r} is no path or URL: it holds a NUL or half a character"
            raise self._problem(where, what)
        return place if is_url(place) else str(self._folder / place)

    def _problem(self, where: tuple[str, ...], what: str) -> UsageError:
        line = line_of(self._text, where)
        named = f"task {where[1]!r}: " if where[:1] == ("tasks",) and len(where) > 1 else ""
        named = "[defaults]: " if where[:1] == ("defaults",) else named
        at = f", line {line}" if line else ""
        return _ManifestError(f"{self._source}{at}: {named}{what}")


def parents_first(tasks: Iterable[PlannedTask]) -> list[PlannedTask]:
    """Tasks in an order in which each comes after its parent, if that is one of them.

    Raises:
        graphlib.CycleError: they go round in a circle.
    """
    by_name = {task.name: task for task in tasks}
    parents = {name: by_name.keys() & {task.parent} for name, task in by_name.items()}
    return [by_name[name] for name in graphlib.TopologicalSorter(parents).static_order()]


class _ManifestError(UsageError):
    """Says already where."""


def _merged(task: Settings, defaults: Settings) -> Settings:
    return Settings(**{one: _first(getattr(task, one), getattr(defaults, one)) for one in _HOW})


def _first(mine: Any, usual: Any) -> Any:
    return usual if mine is None else mine


def _fields(kind: Any) -> str:
    return ", ".join(field.name for field in msgspec.structs.fields(kind))


def line_of(text: str, where: tuple[str, ...]) -> int | None:
    """The line, from 1, on which a member of a manifest begins, as far as it can be determined.

    Args:
        text: TOML or JSON, one member a line as people write it.
        where: names of the members that lead to it.
    """
    start = 0
    found = None
    for depth, name in enumerate(where):
        quoted = rf"""["']?{re.escape(name)}["']?"""
        dotted = r"\s*\.\s*".join([*map(re.escape, where[:depth]), quoted])
        pattern = rf"^[ \t]*(?:\[\s*{dotted}\s*\]|{quoted}\s*[:=])|[{{,]\s*{quoted}\s*[:=]"
        match = re.compile(pattern, re.MULTILINE).search(text, start)
        if match:
            start, found = match.end(), text.count("\n", 0, match.end()) + 1
        elif depth + 1 == len(where) and found is None:
            return None
    return found
