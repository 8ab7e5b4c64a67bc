"""The verb ``inspect``: what a file or folder is, and how to add it."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

import tvbank
from tvbank.cli._app import app
from tvbank.cli._arguments import JsonOption
from tvbank.cli._output import counted, human_bytes, print_json, print_table, say

#: Tensors that a person is shown.
_SHOWN = 12


@app.command("inspect")
def inspect(
    path: Annotated[
        str, typer.Argument(metavar="FILE", help="A file, folder or URL, whatever it may be.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Say what a file or folder is, for which base, and how to add it to a bank.

    A checkpoint, a compressed delta, masks, an update of weights, an adapter, a bank, a recipe.
    Nothing of it is executed, and no weights are read.
    """
    found = tvbank.inspect(path)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    say(f"{found.path}: {found.title}")
    if found.tensors:
        types = ", ".join(f"{number} {dtype}" for dtype, number in found.dtypes.items())
        size = human_bytes(found.nbytes)
        say(f"{counted(len(found.tensors), 'tensor')} ({types}), {size}")
    for name, fact in found.facts.items():
        if fact not in (None, [], {}):
            say(f"{name}: {_short(fact)}")
    if found.tensors:
        rows = [
            [t.name, "" if t.role == "other" else t.role, t.dtype, "x".join(map(str, t.shape)),
             human_bytes(t.nbytes)]
            for t in found.tensors[:_SHOWN]
        ]  # fmt: skip
        print_table(["tensor", "is a", "stored as", "shape", "bytes"], rows, text=3)
        if len(found.tensors) > _SHOWN:
            say(f"and {len(found.tensors) - _SHOWN} more; --json lists all")
    for name, what in found.needs.items():
        say(f"needs {name}: {what}")
    if found.remark:
        say(found.remark)
    for command in found.how:
        say(f"  {command}")


def _short(fact: object) -> str:
    if isinstance(fact, list):
        shown = ", ".join(map(str, fact[:_SHOWN]))
        return shown + (f" and {len(fact) - _SHOWN} more" if len(fact) > _SHOWN else "")
    return f"{fact:,}" if isinstance(fact, int) else str(fact)
