"""Verbs that copy banks as they are stored: ``cp``, ``pack`` and ``push``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from tvbank._progress import Bar
from tvbank.cli._app import app
from tvbank.cli._arguments import (
    BankArgument,
    BaseOption,
    ForceOption,
    JsonOption,
    NamesOption,
    complete_task,
    names_given,
)
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
    fold: Annotated[
        bool,
        typer.Option(
            "--fold",
            help="Copy tasks that start from others as tasks that start from the base; without it "
            "those others come along.",
        ),
    ] = False,
    base: BaseOption = None,
    names: NamesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a bank or some of its tasks between any two places; interrupted, it goes on again."""
    from tvbank.bank.copying import copy as copy_tasks

    start = time.monotonic()
    with Bar("copying") as progress:
        report = copy_tasks(
            bank, target, tasks or None, replace=replace, fold=fold, base=base,
            names=names_given(names), progress=progress,
        )  # fmt: skip
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


@app.command("push")
def push(
    bank: BankArgument,
    repository: Annotated[
        str,
        typer.Argument(
            metavar="ORG/REPO[/FOLDER]",
            help="A repository of the Hugging Face hub, made if it is not there.",
        ),
    ],
    revision: Annotated[
        str | None, typer.Option(help="The branch; made if it is not there (default main).")
    ] = None,
    private: Annotated[
        bool | None,
        typer.Option("--private/--public", help="Of a new repository; by default as its owner's."),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(metavar="ORG/NAME", help="The base's name on the hub, for the card."),
    ] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Let tasks go that only the repository has; replace another bank."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a bank into a repository of the Hugging Face hub: one commit, with a card."""
    from tvbank.hub import push as push_bank

    with Bar("reading") as progress:
        report = push_bank(
            bank, repository, revision=revision, private=private, base_model=base_model,
            message=message, force=force, progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(report)
        return
    say(
        f"pushed {counted(len(report.tasks), 'task')} to {report.place}: "
        f"{counted(report.objects, 'object')}, {human_bytes(report.bytes)}; "
        f"{counted(report.present, 'object')} there already"
    )
    if report.removed:
        say(f"no longer there: {', '.join(report.removed)}")
    if not report.card:
        say("the README.md that is there has no part of tvbank's, and was left alone")
    say(f"commit {report.commit}: {report.page}")
