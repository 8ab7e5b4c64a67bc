"""Arguments and options that several verbs share, and the completion of task names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tvbank.errors import TvbankError


def complete_task(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the bank's tasks that start as typed, for the shell's tab completion."""
    import tvbank

    try:
        bank = tvbank.open(context.params["bank"])
    except (TvbankError, KeyError):
        return []
    return [name for name in bank if name.startswith(incomplete)]


#: Text, not a path, which would make one slash of the two in a URL.
BankArgument = Annotated[
    str, typer.Argument(metavar="BANK", help="The bank: a folder, a URL or a .zip file.")
]
TaskArgument = Annotated[
    str, typer.Argument(metavar="TASK", help="The task's name.", autocompletion=complete_task)
]
OptionalTask = Annotated[
    str | None,
    typer.Argument(metavar="[TASK]", help="The task's name.", autocompletion=complete_task),
]
#: Text for the same reason: checkpoints are read from URLs, too.
CheckpointArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="The fine-tune: a file, a folder or a URL.")
]
BaseOption = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="FILE",
        help="The base's weights: a file, folder or URL; by default where `init` found them.",
    ),
]
OutputOption = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FILE", help="The safetensors file to write."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
