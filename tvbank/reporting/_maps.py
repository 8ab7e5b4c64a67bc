"""Layer × module maps of numbers of units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from tvbank.reporting.figures import Form, Heat

#: The column of units whose names have no number.
_NO_LAYER = "none"


class Placed(Protocol):
    """A unit and its place; ``UnitFacts`` is one."""

    @property
    def unit(self) -> str:
        """Its name."""

    @property
    def layer(self) -> int | None:
        """Its layer."""

    @property
    def module(self) -> str:
        """Its name without the layer."""


def unit_map(
    key: str,
    title: str,
    note: str,
    numbered: Iterable[tuple[Placed, float | None]],
    form: Form,
    group: str = "",
    choices: Sequence[tuple[str, str]] = (),
) -> Heat | None:
    """A heat map of numbers of units, a column a layer; None if no number is known.

    What all modules' names begin with is said in the note, not in every label.
    """
    cells: dict[str, dict[int | None, float | None]] = {}
    for place, number in numbered:
        cells.setdefault(place.module, {})[place.layer] = number
    known = [number for row in cells.values() for number in row.values() if number is not None]
    if not known:
        return None
    numbers = sorted({number for row in cells.values() for number in row if number is not None})
    layers: list[int | None] = [*numbers]
    if any(None in row for row in cells.values()):
        layers.append(None)
    prefix = _prefix(list(cells))
    begin = f" Names begin with '{prefix}'." if prefix else ""
    return Heat(
        key=key,
        title=title,
        note=note + begin,
        row="module",
        column="layer",
        rows=[module.removeprefix(prefix) for module in cells],
        columns=[_NO_LAYER if layer is None else str(layer) for layer in layers],
        values=[[row.get(layer) for layer in layers] for row in cells.values()],
        form=form,
        group=group,
        choices=choices,
    )


def _prefix(names: Sequence[str]) -> str:
    """The parts, with their dots, that all names begin with, and that leave something of each."""
    if len(names) < 2:
        return ""
    count = 0
    for parts in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        count += 1
    return "".join(f"{part}." for part in names[0].split(".")[:count])
