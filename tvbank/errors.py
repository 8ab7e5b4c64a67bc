"""Everything tvbank raises on purpose: one small tree, each class also a built-in exception.

A message names the task, the unit, the object and the remedy, as far as they are known.
``reason`` is the stable code of a violation of the format; the spec lists them all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

__all__ = [
    "BankExistsError",
    "BankNotFoundError",
    "BaseMismatchError",
    "BaseNeededError",
    "CheckpointError",
    "ConflictError",
    "CorruptionError",
    "FormatError",
    "FrameError",
    "InvalidNameError",
    "MissingPackageError",
    "NonFiniteError",
    "PluginError",
    "RouterExistsError",
    "RouterNotFoundError",
    "StorageError",
    "TaskExistsError",
    "TaskNeededError",
    "TaskNotFoundError",
    "TooLargeError",
    "TvbankError",
    "UnitMismatchError",
    "UnitNotFoundError",
    "UnsupportedError",
    "UsageError",
]


def name_some(names: Collection[str], most: int = 5) -> str:
    """The first ``most`` names, quoted, and how many more there are: "'a', 'b' and 7 more"."""
    shown = ", ".join(map(repr, islice(names, most)))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def name_units(units: Collection[str]) -> str:
    """The same with the word before them: "unit 'a'", or "units 'a', 'b' and 7 more"."""
    return f"unit{'s' if len(units) > 1 else ''} {name_some(units)}"


def escaped(text: str) -> str:
    """Text that changes no terminal: what cannot be seen stands there as Python writes it.

    Names, paths and texts of parsers come from strangers' files. Controls would move the cursor or
    change the title; marks of direction (U+202E) would show a name backwards; a line break would
    begin a line that looks like one of ours.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


class TvbankError(Exception):
    """Root of the tree: ``except tvbank.TvbankError`` catches all that tvbank raises on purpose."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return escaped(str(self.args[0])) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:  # a worker process hands errors over as pickles
        return _restored, (type(self), self.args, dict(vars(self)))


def _restored(kind: type[TvbankError], args: tuple[Any, ...], state: dict[str, Any]) -> TvbankError:
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(state)
    return error


class UsageError(TvbankError, ValueError):
    """An argument is out of its range, or arguments contradict each other."""


class PluginError(TvbankError, ImportError):
    """A compressor or merge method of another package cannot be loaded, or two have one name."""


class MissingPackageError(TvbankError, ImportError):
    """What was asked for needs a package that is not installed; the message names the extra."""


class InvalidNameError(TvbankError, ValueError):
    """A task or unit name that the format does not allow."""


class TaskNotFoundError(TvbankError, KeyError):
    """The bank has no task of that name."""


class TaskExistsError(TvbankError, ValueError):
    """The bank already has a task of that name."""


class TaskNeededError(TvbankError, ValueError):
    """Other tasks of the bank are steps from the state of this one."""


class RouterNotFoundError(TvbankError, KeyError):
    """The bank has no router of that name."""


class RouterExistsError(TvbankError, ValueError):
    """The bank already has a router of that name."""


class UnitNotFoundError(TvbankError, KeyError):
    """The task has no unit of that name."""


class TooLargeError(MemoryError, TvbankError):  # in this order: MemoryError is made its own way
    """What was asked for needs more memory than there is; it may not be all that a bank claims."""


class CheckpointError(TvbankError, ValueError):
    """A checkpoint that is missing, truncated, unsafe to load or not of a known kind."""


class UnitMismatchError(TvbankError, ValueError):
    """Units of a checkpoint that do not fit the base: other shapes, or missing altogether."""


class NonFiniteError(TvbankError, ValueError):
    """NaN or infinity where a lossy compressor cannot take it."""


class BaseMismatchError(TvbankError, ValueError):
    """A base other than the one the bank was built on; ``units`` are the names that differ."""

    def __init__(self, message: str, units: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.units = tuple(units)


class BaseNeededError(TvbankError, ValueError):
    """What is stored can be read only beside the base's weights, and they were not given."""


class FormatError(TvbankError, ValueError):
    """Bytes that violate the specification; ``reason`` is the spec's code for how."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class FrameError(FormatError):
    """A frame that violates the specification."""


class CorruptionError(FormatError):
    """A stored object that is missing, damaged or not what the catalog promised.

    ``key`` is the object within the bank, ``start`` and ``stop`` the byte range where known.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        key: str,
        task: str | None = None,
        unit: str | None = None,
        start: int | None = None,
        stop: int | None = None,
    ) -> None:
        super().__init__(reason, message)
        self.key, self.task, self.unit, self.start, self.stop = key, task, unit, start, stop


class UnsupportedError(FormatError):
    """A bank that needs a newer tvbank: a newer major version or an unknown required feature."""


class BankNotFoundError(TvbankError, FileNotFoundError):
    """There is no bank at that place."""


class BankExistsError(TvbankError, FileExistsError):
    """There already is a bank (or something else) at that place."""


class StorageError(TvbankError, OSError):
    """The store refused: full, read-only, no permission, not reachable."""


class ConflictError(StorageError):
    """Another writer published first."""
