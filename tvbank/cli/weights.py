"""Verbs that write checkpoints: ``export`` and ``merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import tvbank
from tvbank.cli._app import app
from tvbank.cli._arguments import (
    BankArgument,
    BaseOption,
    ForceOption,
    OutputOption,
    TaskArgument,
    complete_task,
)
from tvbank.cli._output import human_bytes, progress_bar
from tvbank.errors import UsageError


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
    with progress_bar(f"exporting {task}") as progress:
        path = tvbank.export(opened, task, base=base, out=output, progress=progress)
    typer.echo(f"wrote {path}: {human_bytes(path.stat().st_size)}")


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
    base: BaseOption = None,
    force: ForceOption = False,
) -> None:
    """Write base + the sum of WEIGHT × (task - base) as a safetensors checkpoint."""
    from tvbank.merging import export_merged

    _refuse_existing(output, force)
    parsed = _weights(weights)
    opened = tvbank.open(bank)
    with progress_bar("merging") as progress:
        path = export_merged(opened, parsed, base=base, out=output, progress=progress)
    typer.echo(f"wrote {path}: {human_bytes(path.stat().st_size)}")


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
        raise UsageError(f"{output} exists: choose another file, or give --force to replace it")
