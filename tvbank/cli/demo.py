"""The verb ``demo``: real fine-tunes of a real model go into a bank and come back out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tvbank.cli._app import AT_FAULT, app
from tvbank.cli._arguments import JsonOption
from tvbank.cli._output import print_json


@app.command("demo")
def demo(
    folder: Annotated[
        Path,
        typer.Argument(metavar="[FOLDER]", help="Where to leave the bank and the checkpoints."),
    ] = Path("tvbank-demo"),
    drop: Annotated[float | None, typer.Option(help="T-Switch's share of entries to drop.")] = None,
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune a small model on real images, bank the fine-tunes, read them back, score them.

    Needs nothing from outside. Exit status 1 if anything it claims did not happen.
    """
    from rich.console import Console

    from tvbank.demo import run_demo
    from tvbank.demo.result import DROP

    result = run_demo(
        folder,
        seed=seed,
        drop=DROP if drop is None else drop,
        console=Console(stderr=as_json),
    )
    if as_json:
        print_json(result.to_json())
    if result.failures:
        raise typer.Exit(AT_FAULT)
