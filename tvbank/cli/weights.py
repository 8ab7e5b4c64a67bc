"""Verbs that write checkpoints: ``export`` and ``merge``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import tvbank
from tvbank._progress import Bar
from tvbank.cli._app import app
from tvbank.cli._arguments import (
    BankArgument,
    BaseOption,
    ForceOption,
    JsonOption,
    OutputOption,
    SetOption,
    TaskArgument,
    complete_task,
    key_values,
)
from tvbank.cli._output import human_bytes, print_json, say
from tvbank.errors import UsageError


class Across(StrEnum):
    """Of what TIES keeps the largest entries."""

    task = "task"
    unit = "unit"


@app.command("export")
def export(
    bank: BankArgument,
    task: TaskArgument,
    output: OutputOption,
    base: BaseOption = None,
    force: ForceOption = False,
) -> None:
    """Write a task as a full safetensors checkpoint."""
    _refuse_existing(output, force)
    opened = tvbank.open(bank)
    with Bar(f"exporting {task}") as progress:
        path = tvbank.export(opened, task, base=base, out=output, progress=progress)
    say(f"wrote {path}: {human_bytes(path.stat().st_size)}")


@app.command("merge")
def merge(
    bank: BankArgument,
    weights: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK=WEIGHT…", help="Tasks and their weights.", autocompletion=complete_task
        ),
    ],
    output: OutputOption,
    method: Annotated[
        str,
        typer.Option(
            metavar="[arithmetic|ties|dare]",
            help="arithmetic: base + the sum of WEIGHT times (task - base); ties: trim, elect a "
            "sign, average; dare: drop at random, rescale, sum; or a method of another package.",
        ),
    ] = "arithmetic",
    density: Annotated[
        float | None, typer.Option(help="ties: share of entries to keep (default 0.2).")
    ] = None,
    across: Annotated[
        Across | None,
        typer.Option(help="ties: the largest of the whole task or of each unit (default task)."),
    ] = None,
    drop: Annotated[
        float | None, typer.Option(help="dare: share of entries to drop (default 0.9).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="dare: of what is dropped (default 0).")] = None,
    settings: SetOption = None,
    base: BaseOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Merge tasks and write a safetensors checkpoint."""
    from tvbank.merging import export_merged
    from tvbank.merging.registry import METHODS

    _refuse_existing(output, force)
    parsed = _weights(weights)
    plain = {"density": density, "across": None if across is None else across.value, "drop": drop}
    given = plain | {"seed": seed} | key_values("--set", settings or [])
    chosen = METHODS.make(method, given, text=True)
    opened = tvbank.open(bank)
    with Bar("merging") as progress:
        path = export_merged(
            opened, parsed, base=base, method=chosen, out=output, progress=progress
        )
    size = path.stat().st_size
    if as_json:
        described = {"method": chosen.describe(), "weights": parsed}
        print_json({"output": str(path), "bytes": size, **described})
    else:
        say(f"wrote {path}: {human_bytes(size)}")


def _weights(texts: list[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = None
        if not name or weight is None:
            raise UsageError(f"merge takes TASK=WEIGHT, for instance news=0.5; got {text!r}")
        if name in weights:
            raise UsageError(f"task {name!r} is given twice")
        weights[name] = weight
    return weights


def _refuse_existing(output: Path, force: bool) -> None:
    if output.exists() and not force:
        remedy = "choose another file, or give --force to replace it"
        if output.is_dir():
            remedy = "it is a folder, name a file in it"
        raise UsageError(f"{output} exists: {remedy}")
