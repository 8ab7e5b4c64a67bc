"""The verb ``demo``: real fine-tunes of a real model go into a bank and come back out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tvbank.cli._app import app


@app.command("demo")
def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Where to leave bank and checkpoints.")
    ] = Path("tvbank-demo"),
) -> None:
    """Fine-tune a small model on real images, bank the fine-tunes, read them back, score them."""
    raise NotImplementedError(folder)
