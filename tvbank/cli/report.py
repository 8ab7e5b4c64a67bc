"""The verb ``report``: what is in a bank, or what a fine-tune changed, as one page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tvbank
from tvbank._atomic import replace_file
from tvbank._progress import Bar
from tvbank.bank.outputs import refuse_within
from tvbank.checkpoint import refuse_replacing
from tvbank.cli._app import app
from tvbank.cli._arguments import (
    BaseOption,
    ForceOption,
    JsonOption,
    NamesOption,
    key_values,
    names_given,
)
from tvbank.cli._output import human_bytes, print_table, say
from tvbank.errors import UsageError
from tvbank.folders import describe

if TYPE_CHECKING:
    from tvbank.reporting import Change, Report


@app.command("report")
def report(
    place: Annotated[
        str, typer.Argument(metavar="BANK|OLD", help="A bank; or a checkpoint, and NEW after it.")
    ],
    new: Annotated[
        str | None,
        typer.Argument(metavar="[NEW]", help="A fine-tune of OLD: a file, a folder or a URL."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The page to write, .html."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK", help="Look at this task; repeatable (default all)."),
    ] = None,
    base: BaseOption = None,
    tuned: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK=FILE",
            help="The fine-tune that a task was made of: then what was lost is known; repeatable.",
        ),
    ] = None,
    names: NamesOption = None,
    density: Annotated[
        float, typer.Option(help="At which TIES would trim, in the maps of units.")
    ] = 0.2,
    svg: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write every picture as SVG; needs matplotlib."),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write every picture as PNG; needs matplotlib."),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Look into a bank, or compare two checkpoints: one page, JSON, pictures, or a few lines.

    The page needs no network. Every frame is read and decoded once; nothing in the bank changes.

    For instance:

    tvbank report BANK -o report.html --tuned cats=cats.safetensors

    tvbank report base.safetensors cats.safetensors -o changed.html
    """
    from tvbank.reporting import compare, draw_pictures
    from tvbank.reporting import report as look_into

    if output is not None and output.exists() and not force:
        raise UsageError(f"{output} exists: choose another file, or give --force to replace it")
    if output is not None and not output.parent.is_dir():
        raise UsageError(f"{output}: there is no folder {output.parent}")
    pairs, called = key_values("--tuned", tuned or []), names_given(names)
    found: Report | Change
    if new is None:
        bank = tvbank.open(place)
        for each in (output, svg, png):
            if each is not None:
                refuse_within(bank.storage, each)
        for source in (base, *pairs.values()):
            _refuse(output, source)
        with Bar("looking") as progress:
            found = look_into(
                bank, tasks=task, base=base, tuned=pairs, density=density, names=called,
                progress=progress,
            )  # fmt: skip
    else:
        given = {"--task": task, "--base": base, "--tuned": tuned}
        if wrong := [name for name, value in given.items() if value]:
            raise UsageError(f"{wrong[0]} is for a bank; OLD and NEW are checkpoints")
        _refuse(output, place)
        _refuse(output, new)
        with Bar("comparing") as progress:
            found = compare(place, new, names=called, progress=progress)
    if output is not None:
        replace_file(output, found.html().encode(), sweep=True)
    written = [draw_pictures(found, svg, "svg")] if svg is not None else []
    written += [draw_pictures(found, png, "png")] if png is not None else []
    if as_json:
        typer.echo(found.json())
        return
    _say(found)
    if output is not None:
        say(f"wrote {output}: {human_bytes(os.path.getsize(output))}")
    for files in written:
        say(f"wrote {len(files)} pictures into {files[0].parent}" if files else "no pictures")


def _refuse(output: Path | None, source: str | None) -> None:
    if output is not None and source is not None:
        refuse_replacing(output, source, "checkpoint")


def _say(found: Report | Change) -> None:
    """What there is to say in a few lines."""
    from tvbank.reporting import Change
    from tvbank.reporting.figures import shown

    if isinstance(found, Change):
        say(found.sentence)
        return
    print_table(
        ["task", "compressor", "stored", "of a checkpoint", "‖τ‖", "error"],
        [
            [
                task.name,
                describe(task.compressor),
                human_bytes(task.stored_bytes),
                f"{task.stored_bytes / max(1, task.checkpoint_bytes):.2%}",
                shown(task.norm, "number"),
                shown(task.error, "percent"),
            ]
            for task in found.tasks
        ],
        text=2,
    )
    for remark in found.remarks:
        say(remark)
