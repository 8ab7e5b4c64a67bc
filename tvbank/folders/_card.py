"""The card of a model folder: which base, how related, and how its weights were made."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from tvbank._version import __version__

__all__ = ["Origin", "card", "describe", "front_matter", "inline"]


@final
@dataclass(frozen=True)
class Origin:
    """How weights came to be.

    Attributes:
        title: of the card.
        relation: to the base, as the hub calls it: ``finetune``, ``merge`` or ``adapter``.
        patch: what their configuration says otherwise than the base's; see ``config_patch``.
        facts: what else the card says: a word, and what it is.
        layers: the base's layers of which those of the weights are; empty if they are the same.
        layers_before: how many layers the base has.
        dtype: the element type of the weights; empty if it is the base's.
        recipe: the YAML that says how they were merged, for the card and a file of its own.
        lacks: heads of the base that the fine-tune had not.
    """

    title: str
    relation: str
    patch: Mapping[str, Any]
    facts: Sequence[tuple[str, str]] = ()
    layers: Sequence[int] = ()
    layers_before: int = 0
    dtype: str = ""
    recipe: str = ""
    lacks: Collection[str] = ()


def card(origin: Origin, base: str, library: str | None) -> str:
    """The text of a card.

    Args:
        origin: how the weights came to be.
        base: the base's name; empty if it is not known.
        library: that loads the folder, as the hub calls it.
    """
    members: dict[str, Any] = {}
    if base:
        members["base_model"] = base
    members["base_model_relation"] = origin.relation
    if library:
        members["library_name"] = library
    members["tags"] = ["tvbank"] + (["merge"] if origin.relation == "merge" else [])
    lines = [front_matter(members), f"# {inline(origin.title)}", ""]
    of = f" of `{inline(base)}`" if base else ""
    kind = {"finetune": "A fine-tune", "merge": "A merge of fine-tunes", "adapter": "An adapter"}
    lines.append(f"{kind[origin.relation]}{of}, written by tvbank {__version__}.")
    if origin.facts:
        lines += ["", "| | |", "|---|---|"]
        lines += [f"| {inline(what)} | {inline(text)} |" for what, text in origin.facts]
    if origin.recipe:
        fence = "`" * (2 + max(map(len, re.findall("`+", origin.recipe)), default=1))
        lines += ["", "The recipe, in mergekit's form:", "", f"{fence}yaml"]
        lines += [origin.recipe.strip("\n"), fence]
    return "\n".join(lines) + "\n"


def front_matter(members: Mapping[str, Any]) -> str:
    """The head of a card, YAML: of texts and lists of texts, which JSON's notation is a part of."""
    lines = [f"{name}: {json.dumps(value, ensure_ascii=True)}" for name, value in members.items()]
    return "\n".join(["---", *lines, "---", ""])


def inline(text: str) -> str:
    """A text that ends no line and no cell of a table, and begins no tag."""
    plain = " ".join(text.split())
    for letter in ("\\", "|", "`", "<", "["):
        plain = plain.replace(letter, "\\" + letter if letter != "`" else "'")
    return plain


def describe(method: Mapping[str, Any]) -> str:
    """A compressor or merge method on one line: ``tswitch drop=0.9 knob=rms``, ``budget 1 %``."""
    parameters = [
        str(value) if key == method.get("name") else f"{key}={value}"
        for key, value in method.items()
        if key != "name"
    ]
    return " ".join([str(method.get("name", "?")), *parameters])
