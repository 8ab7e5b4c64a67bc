"""Verbs that copy banks as they are stored: ``cp`` and ``pack``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from tvbank._progress import Bar
from tvbank.cli._app import app
from tvbank.cli._arguments import BankArgument, ForceOption, JsonOption, complete_task
from tvbank.cli._output import counted, human_bytes, print_json, say

_Tasks = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TASK]…", help="Which tasks; all by default.", autocompletion=complete_task
    ),
]


@app.command("cp")
def copy(
    bank: BankArgument,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Another bank, or an empty place, to copy to.")
    ],
    tasks: _Tasks = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Replace tasks of the same names; of the same tasks, repair what is damaged.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy a bank or some of its tasks between any two places; interrupted, it goes on again."""
    from tvbank.bank.copying import copy as copy_tasks

    start = time.monotonic()
    with Bar("copying") as progress:
        report = copy_tasks(bank, target, tasks or None, replace=replace, progress=progress)
    if as_json:
        print_json(report)
        return
    say(
        f"copied {counted(len(report.tasks), 'task')}, {counted(len(report.routers), 'router')}: "
        f"{counted(report.objects, 'object')}, {human_bytes(report.bytes)}, "
        f"{time.monotonic() - start:.1f} s"
    )
    if report.resumed:
        say(
            f"{counted(report.resumed, 'object')} there and sound, from a copy that was interrupted"
        )
    if report.repaired:
        say(f"{counted(report.repaired, 'object')} damaged there, and repaired")
    if report.present:
        how = "read and sound now" if replace else "not read; --replace reads and repairs"
        say(f"{counted(len(report.present), 'task')} there already ({how})")


@app.command("pack")
def pack(
    bank: BankArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", help="The zip file to write.")],
    tasks: _Tasks = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a bank, or some of its tasks, into one zip file, which can be read as it is."""
    from tvbank.bank.packing import pack as pack_bank

    with Bar("packing") as progress:
        report = pack_bank(bank, out, tasks or None, replace=force, progress=progress)
    if as_json:
        print_json(report)
    else:
        tasks_written = counted(len(report.tasks), "task")
        say(f"wrote {report.path}: {tasks_written}, {human_bytes(report.bytes)}")
