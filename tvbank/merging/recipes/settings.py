"""Parameters as recipes write them: a number, a gradient over the layers, or by filter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, final

from tvbank.merging.recipes._yaml import Node
from tvbank.merging.recipes.method import Parameter, RecipeMethod, Scalar

#: As PyYAML leaves them, or as people write them between quotes.
_TRUTHS = {"true": True, "yes": True, "on": True, "1": True,
           "false": False, "no": False, "off": False, "0": False}  # fmt: skip

#: Says how much memory masks take, and nothing of the result.
_WITHOUT_EFFECT = "int8_mask"


@final
@dataclass(frozen=True)
class Case:
    """A value, and the tensors that it is for.

    Attributes:
        part: text in the names of these tensors; None for all.
        values: one value, or those of a gradient from the first layer to the last.
    """

    part: str | None
    values: tuple[Scalar, ...]

    def at(self, t: float) -> Scalar:
        """The value at a place between the first layer (0) and the last (1)."""
        last = len(self.values) - 1
        if last == 0:
            return self.values[0]
        if any(isinstance(value, bool) for value in self.values):
            return self.values[int(t * last)]
        below = int(t * last)
        share = t * last - below
        return (1 - share) * self.values[below] + share * self.values[min(last, below + 1)]


#: One parameter at one place of a recipe: the first case whose part is in a name is the one.
Setting = tuple[Case, ...]

#: All parameters at one place of a recipe.
Settings = Mapping[str, Setting]


def evaluate(setting: Setting, name: str, t: float) -> Scalar | None:
    """The value for a tensor; None if no case is for it.

    Args:
        setting: of one parameter.
        name: of the tensor.
        t: where its layer is between the first (0) and the last (1).
    """
    return next((c.at(t) for c in setting if c.part is None or c.part in name), None)


def resolve(parameter: Parameter, places: Iterable[Settings], name: str, t: float) -> Any:
    """The value of a parameter for a tensor: that of the first place which has one.

    Args:
        parameter: of a method.
        places: of a recipe, those that come first in precedence first.
        name: of the tensor.
        t: where its layer is between the first (0) and the last (1).

    Returns:
        The default if no place has a value, which is ``REQUIRED`` if there must be one.
    """
    for place in places:
        if parameter.name in place:
            found = evaluate(place[parameter.name], name, t)
            if found is not None:
                return found
    return parameter.default


def read_settings(
    node: Node | None,
    name: str,
    method: RecipeMethod,
    notes: list[str],
    *,
    of_model: bool = False,
) -> Settings:
    """Check what stands under one ``parameters``.

    Args:
        node: of that key; None if it is not there.
        name: of the method.
        method: whose parameters there may be.
        notes: what is ignored is said here.
        of_model: whether it is under one model, where parameters of the whole merge are of no use.

    Raises:
        UsageError: a parameter is not known, is at the wrong place, or has a value of another kind.
    """
    if node is None or node.value is None:
        return {}
    known = {parameter.name: parameter for parameter in method.parameters}
    settings: dict[str, Setting] = {}
    for key, value in node.members().items():
        if key == _WITHOUT_EFFECT:
            notes.append(f"{value.where}: ignored; masks of 8 bits give the same weights")
            continue
        if key not in known:
            there = ", ".join(known) or "none"
            raise value.error(f"{name} has no parameter {key!r}; it has {there}: correct or remove")
        if of_model and known[key].of == "merge":
            raise value.error(
                f"{key} is one for all models: write it under the parameters of the recipe, or of "
                "its slice"
            )
        settings[key] = _setting(value, known[key])
    return settings


def _setting(node: Node, parameter: Parameter) -> Setting:
    if isinstance(node.value, dict):
        return (_case(node, parameter),)
    if not isinstance(node.value, list):
        return (Case(None, (_scalar(node, parameter),)),)
    if any(isinstance(item.value, dict) for item in node.items()):
        return tuple(_case(item, parameter) for item in node.items())
    return (Case(None, _values(node, parameter)),)


def _case(node: Node, parameter: Parameter) -> Case:
    members = node.members(("value", "filter"))
    if "value" not in members:
        raise node.error("a filter needs a value beside it")
    part = None
    if "filter" in members and members["filter"].value is not None:
        part = members["filter"].text()
    return Case(None if part == "*" else part, _values(members["value"], parameter))


def _values(node: Node, parameter: Parameter) -> tuple[Scalar, ...]:
    if isinstance(node.value, list):
        return tuple(_scalar(item, parameter) for item in node.items())
    return (_scalar(node, parameter),)


def _scalar(node: Node, parameter: Parameter) -> Scalar:
    value: Any = node.value
    if parameter.kind is bool:
        truth = value if isinstance(value, bool) else _TRUTHS.get(str(value).strip().lower())
        if truth is None:
            raise node.error(f"{parameter.name} must be true or false, not {node.shown}")
        return truth
    try:  # YAML takes 1e-5, without a point, for a text
        number = float(value) if isinstance(value, Real | str) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise node.error(f"{parameter.name} must be a finite number, not {node.shown}")
    return number
