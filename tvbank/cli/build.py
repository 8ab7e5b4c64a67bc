"""The verb that fills a bank from a manifest: ``build``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import tvbank
from tvbank._progress import Bar
from tvbank.cli._app import AT_FAULT, app
from tvbank.cli._arguments import JsonOption
from tvbank.cli._output import counted, print_answer, print_json, say


@app.command("build")
def build(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFEST",
            help="The bank, its base and the tasks that it shall have: a .toml or .json file.",
        ),
    ],
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A dask.distributed scheduler, such as tcp://host:8786, whose workers do it; "
            "without one, processes of this machine do.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes of this machine (default: one a core).")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="For what is not published yet, so that the same command goes on after a kill "
            "(default: MANIFEST.work).",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done with each task, and end.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Add the fine-tunes of a manifest on many workers; a task that fails holds up no other."""
    if dry_run:
        from tvbank.building import preview

        actions = preview(manifest, work=work)
        rows = [list(action) for action in actions.items()]
        print_answer(as_json, actions, ["task", "to do"], rows, text=2)
        return
    with Bar("") as progress:
        done = tvbank.build(
            manifest, scheduler=scheduler, workers=workers, work=work, progress=progress
        )
    if as_json:
        print_json(done)
    else:
        for name, why in done.failed.items():
            say(f"task {name!r}: {why}")
        for name, remark in done.remarks.items():
            say(f"task {name!r}: {remark}", err=True)
        encoded = f"{counted(done.units, 'unit')} encoded"
        if done.resumed:
            encoded += f", {done.resumed:,} were there from a build that was interrupted"
        say(
            f"built {counted(len(done.built), 'task')} in {done.location}: {encoded}, "
            f"{done.seconds:.1f} s"
        )
        if done.present:
            say(
                f"{counted(len(done.present), 'task')} there already (unchanged ones are not read: "
                "`tvbank verify` does)"
            )
        if done.repaired:
            say(f"{counted(done.repaired, 'object')} damaged there, and repaired")
        if done.failed:
            say(f"{counted(len(done.failed), 'task')} failed: mend them, and build again")
    if done.failed:
        raise typer.Exit(AT_FAULT)
