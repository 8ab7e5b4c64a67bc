"""Options of ``add --method flexswitch``, and the model and examples that they name."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvbank.cli._named import find_named
from tvbank.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from tvbank.flexswitch import FlexSwitch

_PANEL = "Options of --method flexswitch"

#: The one tensor of a file of this name is given to the model by itself, not by name.
_ALONE = "inputs"


class Loss(StrEnum):
    """What of the logits is compared."""

    kl = "kl"
    mse = "mse"
    cka = "cka"


class Objective(StrEnum):
    """What size is charged for."""

    paper = "paper"
    bytes = "bytes"


ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODULE:CALLABLE",
        rich_help_panel=_PANEL,
        help="Called without arguments, returns the torch module that gives logits, with the "
        "base's weights. Looked for in the current folder too.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FILE",
        rich_help_panel=_PANEL,
        help="Unlabelled examples along dimension 0, about 100: .npz, .safetensors or .pt. Tensors "
        "are given to the model by name, but one called 'inputs' alone by itself.",
    ),
]
LossOption = Annotated[
    Loss | None,
    typer.Option(rich_help_panel=_PANEL, help="How logits are compared (default kl)."),
]
LamOption = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=_PANEL,
        help="Weight of the loss against the size: larger keeps more (default 0.5; try 0.1-0.9 "
        "for kl, 0.01-0.17 for mse, 1-9 for cka).",
    ),
]
StepsOption = Annotated[
    int | None, typer.Option(rich_help_panel=_PANEL, help="Steps of the optimiser (default 500).")
]
BatchOption = Annotated[
    int | None, typer.Option(rich_help_panel=_PANEL, help="Examples of a step (default 32).")
]
SeedOption = Annotated[
    int | None, typer.Option(rich_help_panel=_PANEL, help="Of the order of examples (default 0).")
]
ObjectiveOption = Annotated[
    Objective | None,
    typer.Option(
        rich_help_panel=_PANEL,
        help="What size is charged for: open gates and bits as in the paper, or bytes in the bank, "
        "of entries drawn by chance (default paper; with --budget bytes).",
    ),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_PANEL,
        help="Stored size to end at: '0.3 bits/param', '1.5 MiB', '1 %' of the base.",
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        rich_help_panel=_PANEL,
        help="Keeps the learning: the same command goes on from it after a kill.",
    ),
]


def flexswitch(model: str | None, data: Path | None, given: dict[str, Any]) -> FlexSwitch:
    """The compressor that the options describe.

    Args:
        model: ``module:callable``.
        data: file of the examples.
        given: further arguments of ``FlexSwitch``; those that are None have its defaults.

    Raises:
        UsageError: an option is missing or out of its range, or the model cannot be built.
        CheckpointError: the examples cannot be read.
    """
    from tvbank.flexswitch import FlexSwitch

    if model is None or data is None:
        raise UsageError(
            "--method flexswitch learns from a model and examples: give --model module:callable "
            "and --data FILE"
        )
    options = {name: value for name, value in given.items() if value is not None}
    return FlexSwitch(_build(model), _examples(data), **options)


def _build(name: str) -> Any:
    found = find_named("--model", name, "models:build")
    try:
        return found()
    except Exception as error:
        raise UsageError(
            f"--model {name} cannot be built ({type(error).__name__}: {error}); it must name a "
            "callable without arguments that returns a torch module"
        ) from error


def _examples(path: Path) -> Any:
    """A tensor, or tensors by name."""
    import torch

    try:
        found = _load(path)
    except UsageError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # what readers raise on damaged files has no common class
        raise CheckpointError(
            f"{path} cannot be read as examples ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'damaged'})"
        ) from error
    if isinstance(found, dict) and set(found) == {_ALONE}:
        found = found[_ALONE]
    tensors = list(found.values()) if isinstance(found, dict) else [found]
    if not tensors or not all(isinstance(each, torch.Tensor) for each in tensors):
        raise CheckpointError(f"{path} must hold tensors, one or several by name")
    return found


def _load(path: Path) -> Any:
    import torch

    suffix = path.suffix.lower()
    if suffix == ".npz":
        import numpy as np

        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(array) for name, array in arrays.items()}
    if suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if suffix in (".pt", ".pth"):
        return torch.load(path, map_location="cpu", weights_only=True)
    raise UsageError(f"{path}: examples come as .npz, .safetensors or .pt")
