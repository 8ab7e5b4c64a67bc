"""The verb that undoes what other tools made of a bank's documents: ``repair``."""

from __future__ import annotations

from typing import Annotated

import typer

from tvbank._progress import Bar
from tvbank.cli._app import AT_FAULT, app
from tvbank.cli._arguments import BankArgument, JsonOption, NamesOption, key_values, names_given
from tvbank.cli._output import counted, print_json, say


@app.command("repair")
def repair(
    bank: BankArgument,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The base's weights: a file, folder or URL; read only where the layout is damaged "
            "or lost.",
        ),
    ] = None,
    names: NamesOption = None,
    revision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK=DIGEST",
            help="Which revision of a task to take, where the catalog is lost and there are "
            "several; its first digits will do; repeatable.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be restored, and write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Restore documents that zarr or another tool rewrote or removed, as far as digests prove them.

    Then every byte is verified; exit status 1 if a fault remains, or a task had to be left out.
    What was there before stays in the bank's folder before-repair.
    """
    from tvbank.bank.repair import repair as restore

    chosen = key_values("--revision", revision or [])
    with Bar("verifying") as progress:
        report = restore(
            bank, base=base, names=names_given(names), revisions=chosen, dry_run=dry_run,
            progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(report)
    else:
        for restored in report.restored:
            say(f"{restored.key}: {restored.what}")
        for sentence in report.unproved:
            say(f"not proved: {sentence}")
        for sentence in report.left_out:
            say(sentence)
        for fault in report.faults:
            say(f"{fault.reason}: {fault.message}")
        verb = "would restore" if dry_run else "restored"
        say(
            f"{verb} {counted(len(report.restored), 'document')}; "
            + (f"{counted(len(report.faults), 'fault')} left" if report.faults else "sound")
        )
        for key in report.backups:
            say(f"what was there before: {key}")
    if report.faults or report.left_out:
        raise typer.Exit(AT_FAULT)
