"""Arguments and options that several verbs share, with what they name.

That is what the shell's tab completion offers, and for FlexSwitch the model and the examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tvbank._files import open_regular
from tvbank.cli._named import find_named
from tvbank.compress.registry import COMPRESSORS
from tvbank.errors import CheckpointError, TvbankError, UsageError, name_some
from tvbank.naming import read_names
from tvbank.storage import words_of

if TYPE_CHECKING:
    from tvbank import Bank
    from tvbank.flexswitch import FlexSwitch


def complete_task(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the bank's tasks that start as typed, for the shell's tab completion."""
    return _complete(context, incomplete, lambda bank, _: bank)


def complete_unit(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the task's units that start as typed; without a task, of all units of the base."""

    def names(bank: Bank, task: str | None) -> Iterable[str]:
        return bank.layout.by_name if task is None else [*bank[task], *bank[task].extras]

    return _complete(context, incomplete, names)


def complete_router(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the bank's routers that start as typed."""
    return _complete(context, incomplete, lambda bank, _: bank.routers)


def _complete(
    context: typer.Context, incomplete: str, names: Callable[[Bank, str | None], Iterable[str]]
) -> list[str]:
    """What starts as typed of the names of a bank and maybe a task; nothing of what has none."""
    import tvbank

    given = dict(context.params)
    if given.get("bank") is None:  # click has not read the arguments before an open option
        arguments = [
            each.name for each in context.command.params if each.param_type_name == "argument"
        ]
        given |= dict(zip(filter(None, arguments), context.args, strict=False))
    try:
        found = names(tvbank.open(given["bank"]), given.get("task"))
        return [name for name in found if name.startswith(incomplete)]
    except (TvbankError, KeyError):
        return []


def matches(name: str, patterns: list[str] | None) -> bool:
    """Whether a name fits one of some patterns (``*``, ``?``, ``[abc]``), if there are any."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def key_values(option: str, texts: list[str]) -> dict[str, str]:
    """What a repeatable option of the form KEY=VALUE was given.

    Raises:
        UsageError: something else.
    """
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"{option} takes KEY=VALUE, got {text!r}")
        pairs[key] = value
    return pairs


def names_given(texts: list[str] | None) -> dict[str, str] | None:
    """The other side's names by the bank's, of ``--names``; None if it was not given.

    Args:
        texts: each the path of a JSON or TOML file that holds one flat mapping of text; or one pair
            ``UNIT=NAME``.

    Raises:
        UsageError: something else.
    """
    if not texts:
        return None
    names: dict[str, str] = {}
    for text in texts:
        pairs = key_values("--names", [text]) if "=" in text else read_names(text)
        if twice := [unit for unit in pairs if names.get(unit, pairs[unit]) != pairs[unit]]:
            raise UsageError(f"--names gives two names for {name_some(twice)}")
        names |= pairs
    return names


def given_values(texts: list[str]) -> dict[str, str | list[str]]:
    """The same of what is given beside an artefact; a name that comes again makes a list.

    Raises:
        UsageError: something else.
    """
    values: dict[str, list[str]] = {}
    for text in texts:
        for key, value in key_values("--given", [text]).items():
            values.setdefault(key, []).append(value)
    return {key: each[0] if len(each) == 1 else each for key, each in values.items()}


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
    str,
    typer.Argument(
        metavar="FILE",
        help="The fine-tune: a file, a folder or a URL; a checkpoint, or an artefact.",
    ),
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


def _known(name: str | None) -> str | None:
    """Check a compressor's name as the parser checks its choices."""
    try:
        if name is not None:
            COMPRESSORS.check(name, "")
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error
    return name


#: tvbank's own compressors, as ``--help`` shows them.
OWN_METHODS: Final = f"[{'|'.join(COMPRESSORS.rows)}]"

#: Text: other packages may bring further methods, which are looked for only if they are named.
MethodOption = Annotated[
    str | None,
    typer.Option(
        metavar=OWN_METHODS,
        callback=_known,
        help="What to keep of it (default: the one whose options are given; else budget, and all "
        "of a LoRA adapter); or the name of a compressor that another package brings.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="An option of the method that has no flag here; repeatable.",
    ),
]

GivenOption = Annotated[
    list[str] | None,
    typer.Option(
        "--given",
        metavar="KEY=VALUE",
        help="What the fine-tune's file lacks, if it is a compressed delta or the like; "
        "repeatable. `tvbank inspect FILE` says what it needs.",
    ),
]

NamesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--names",
        metavar="FILE|UNIT=NAME",
        help="What the weights that are given call the bank's units, if no way is found: a .json "
        "or .toml file, or one unit; repeatable.",
    ),
]

#: Under which ``add --help`` shows what follows.
_PANEL = "Options of --method flexswitch"
#: The one tensor of a file of this name is given to the model by itself, not by name.
_ALONE = "inputs"


class Loss(StrEnum):
    """How two sets of logits are compared."""

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
        "base's weights. Its code runs. For its import, and only then, Python looks into the "
        "current folder first: import there what it needs.",
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
        metavar="SIZE",
        help="budget, flexswitch: what the task may take: '0.3 bits/param', '1.5 MiB' or '1 %' of "
        "the base (default of budget: 1 %, more for small models).",
    ),
]
ProductsOption = Annotated[
    bool,
    typer.Option(
        "--products",
        help="budget: units may be kept as products of two thin matrices, too, in whichever form "
        "loses fewer squares for its bytes (evaluate it: `tvbank sweep --products`); flexswitch: "
        "that is stored where it is nearer to the fine-tune than what was learned.",
    ),
]
ResumeOption = Annotated[
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
    build = find_named("--model", name, "models:build")
    try:
        return build()
    except Exception as error:
        raise UsageError(
            f"--model {name} cannot be built ({type(error).__name__}: {words_of(error)}); it must "
            "name a callable without arguments that returns a torch module"
        ) from error


def _examples(path: Path) -> Any:
    """A tensor, or tensors by name."""
    import torch

    try:
        examples = _load(path)
    except UsageError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # what readers raise on damaged files has no common class
        raise CheckpointError(
            f"{path} cannot be read as examples ({type(error).__name__}: "
            f"{words_of(error) or 'damaged'})"
        ) from error
    if isinstance(examples, dict) and set(examples) == {_ALONE}:
        examples = examples[_ALONE]
    tensors = list(examples.values()) if isinstance(examples, dict) else [examples]
    if not tensors or not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        raise CheckpointError(f"{path} must hold tensors, one or several by name")
    return examples


def _load(path: Path) -> Any:
    import torch

    suffix = path.suffix.lower()
    if suffix not in (".npz", ".safetensors", ".pt", ".pth"):
        raise UsageError(f"{path}: examples come as .npz, .safetensors or .pt")
    open_regular(path).close()  # what follows would wait for a pipe
    if suffix == ".npz":
        import numpy as np

        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(array) for name, array in arrays.items()}
    if suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
