"""What is given beside an artefact, by name: what its file lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

from tvbank.errors import UsageError

#: Names of what is a checkpoint or an artefact: a path, or weights in memory.
PLACES = frozenset({"before", "fine_tune", "vector", "scales"})

#: The word that stands for the bank's own base as ``before``.
BASE = "base"


@final
class Given(Mapping[str, Any]):
    """Values by name; of an artefact that says which it takes."""

    def __init__(
        self, source: str, title: str, takes: Mapping[str, str], values: Mapping[str, Any]
    ) -> None:
        """Check the names.

        Raises:
            UsageError: one that the artefact does not take.
        """
        self.source, self._title, self._takes, self._values = source, title, takes, dict(values)
        for name in self._values:
            if name not in takes:
                there = ", ".join(f"{known} ({what})" for known, what in takes.items())
                raise UsageError(
                    f"{source} is {title}, which takes no {name!r}"
                    + (f" but {there}" if there else ": nothing need be given")
                )

    def lacking(self, *names: str, why: str = "") -> UsageError:
        """The error that asks for a value, or for one of several."""
        ways = " or ".join(f"{name}=… (--given {name}=…): {self._takes[name]}" for name in names)
        return UsageError(f"{self.source} is {self._title}{why and ' ' + why}; give {ways}")

    def number(self, name: str) -> float | None:
        """A number, given as such or as text.

        Raises:
            UsageError: something else.
        """
        value = self.get(name)
        if value is None:
            return None
        try:
            number = float("nan" if isinstance(value, bool) else value)
        except (TypeError, ValueError):
            number = float("nan")
        if not abs(number) < float("inf"):
            raise self._no(name, value, "a finite number")
        return number

    def whole(self, name: str) -> int | None:
        """A whole number from 1 on, given as such or as text.

        Raises:
            UsageError: something else.
        """
        number = self.number(name)
        if number is not None and (number != int(number) or number < 1):
            raise self._no(name, self[name], "a whole number from 1 on")
        return None if number is None else int(number)

    def _no(self, name: str, value: Any, what: str) -> UsageError:
        return UsageError(f"{self.source}: {name} is {value!r:.60}; give {what}")

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
