"""Verbs that bring weights to others: ``diff``, ``patch`` and ``follow``."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tvbank
from tvbank._progress import Bar
from tvbank.cli._app import AT_FAULT, app
from tvbank.cli._arguments import (
    BankArgument,
    BaseOption,
    ForceOption,
    JsonOption,
    NamesOption,
    names_given,
)
from tvbank.cli._output import counted, human_bytes, print_json, say
from tvbank.errors import StorageError, UsageError

if TYPE_CHECKING:
    from tvbank.updates import FollowReport


@app.command("diff")
def diff(
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="The checkpoint that others have: file, folder.")
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The checkpoint they are to have.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="UPDATE.zip", help="The update to write.")
    ],
    names: NamesOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write what leads from one checkpoint to another, bit for bit; `tvbank patch` applies it."""
    from tvbank.updates import diff as write_diff

    with Bar("comparing") as progress:
        report = write_diff(
            old, new, out=output, names=names_given(names), replace=force, progress=progress
        )
    if as_json:
        print_json(report)
        return
    share = f", {report.bytes / report.old_bytes:.2%} of the old" if report.old_bytes else ""
    say(f"wrote {report.path}: {human_bytes(report.bytes)}{share}; {report.nonzeros:,} entries")
    if report.whole:
        say(f"{counted(len(report.whole), 'tensor')} in it whole: new, resized or of another type")


@app.command("patch")
def patch(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The old checkpoint: a file or a folder.")
    ],
    update: Annotated[
        str, typer.Argument(metavar="UPDATE.zip", help="What `tvbank diff` wrote, or its URL.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="NEW",
            help="The safetensors file to write; of a model in a folder, or a folder.",
        ),
    ] = None,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place", help="Replace MODEL; a kill at any moment leaves the old or the new one."
        ),
    ] = False,
    names: NamesOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a checkpoint forward by an update; the old and the new state are proved."""
    from tvbank.updates import patch as apply_patch

    with Bar("patching") as progress:
        report = apply_patch(
            model, update, out=output, in_place=in_place, names=names_given(names), replace=force,
            progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(report)
    elif report.already:
        say(f"{report.path}: already applied; nothing was written")
    else:
        proved = "proved" if report.proved else "the update states no digest of it"
        say(
            f"wrote {report.path}: {counted(report.changed, 'tensor')} changed, "
            f"{human_bytes(report.bytes)}; new state {proved}"
        )


@app.command("follow")
def follow(
    bank: BankArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="The safetensors file to keep.")
    ],
    prefix: Annotated[
        str | None,
        typer.Option(help="What the names of versions begin with; by default there is one series."),
    ] = None,
    base: BaseOption = None,
    names: NamesOption = None,
    every: Annotated[float, typer.Option(help="Seconds between two looks.")] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Keep a file at the newest version in a bank: the exact task whose name comes last.

    Names are ordered with numbers as numbers. From a version of the same chain only the steps
    between them are read. With --json each change is one line.
    """
    from tvbank.updates import follow_file

    if not every > 0:
        raise UsageError(f"--every must be more than 0 seconds, got {every:g}")
    opened, given = tvbank.open(bank), names_given(names)
    while True:
        try:
            with Bar("following") as progress:
                report = follow_file(
                    opened, output, base=base, prefix=prefix, names=given, replace=force,
                    progress=progress,
                )  # fmt: skip
        except StorageError as error:
            if once:
                raise
            say(f"tvbank: {error}; looking again in {every:g} s", err=True)
        else:
            if once or report.route != "none":
                _show(report, output, as_json)
            if once:
                raise typer.Exit(0 if report.version else AT_FAULT)
        time.sleep(every)


def _show(report: FollowReport, output: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(report)))
    elif report.version is None:
        say("there is no version yet")
    elif report.route == "none":
        say(f"{output}: {report.version} already")
    else:
        how = "by steps" if report.route == "steps" else "from the base"
        read = f"{counted(len(report.tasks), 'task')}, {human_bytes(report.bytes)}"
        say(f"{output}: {report.version} {how}, {read} read, {report.seconds:.1f} s")
