"""Verbs that bring weights to others: ``diff`` and ``patch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tvbank._progress import Bar
from tvbank.cli._app import app
from tvbank.cli._arguments import ForceOption, JsonOption
from tvbank.cli._output import counted, human_bytes, print_json, say


@app.command("diff")
def diff(
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="The checkpoint that others have: file, folder.")
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The checkpoint they are to have.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="UPDATE.zip", help="The update to write.")
    ],
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write what leads from one checkpoint to another, bit for bit; `tvbank patch` applies it."""
    from tvbank.updates import diff as write_diff

    with Bar("comparing") as progress:
        report = write_diff(old, new, out=output, replace=force, progress=progress)
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
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a checkpoint forward by an update; the old and the new state are proved."""
    from tvbank.updates import patch as apply_patch

    with Bar("patching") as progress:
        report = apply_patch(
            model, update, out=output, in_place=in_place, replace=force, progress=progress
        )
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
