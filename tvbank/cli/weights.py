"""Verbs that write checkpoints: ``export`` and ``merge``."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import tvbank
from tvbank._progress import Bar
from tvbank.cli._app import app
from tvbank.cli._arguments import (
    BankArgument,
    BaseOption,
    JsonOption,
    NamesOption,
    SetOption,
    TaskArgument,
    complete_task,
    key_values,
    names_given,
)
from tvbank.cli._output import counted, human_bytes, print_json, say
from tvbank.errors import UsageError, name_some
from tvbank.folders import MAX_SHARD_SIZE, folder_named

#: Text: a path forgets the slash at its end, by which it names a folder.
WeightsOption = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar="FILE|FOLDER/",
        help="The safetensors file to write; or, with a slash at its end or being one, the folder.",
    ),
]  # fmt: skip
FilesOption = Annotated[
    str | None,
    typer.Option(
        "--files", metavar="FOLDER",
        help="For a folder: where its config, tokenizer and other small files come from; by "
        "default the base's folder. Give the fine-tune's if it has a tokenizer of its own.",
    ),
]  # fmt: skip
ShardOption = Annotated[
    str, typer.Option(metavar="SIZE", help="For a folder: bytes of weights in one file.")
]
BaseModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="ORG/NAME",
        help="For a folder's card: the base's name on the hub, if its place does not tell it.",
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--force", "--overwrite",
        help="Replace the output if it exists; in a folder, weights and files of the same names.",
    ),
]  # fmt: skip


class Layout(StrEnum):
    """Layouts of updates."""

    peft = "peft"
    hf_delta = "hf-delta"
    trl_sparse = "trl-sparse"


class Across(StrEnum):
    """Of what TIES keeps the largest entries."""

    task = "task"
    unit = "unit"


class DivideBy(StrEnum):
    """What the sums of TIES are divided by."""

    tasks = "tasks"
    weights = "weights"


@app.command("export")
def export(
    bank: BankArgument,
    task: TaskArgument,
    output: WeightsOption,
    base: BaseOption = None,
    names: NamesOption = None,
    files: FilesOption = None,
    max_shard_size: ShardOption = MAX_SHARD_SIZE,
    base_model: BaseModelOption = None,
    force: OverwriteOption = False,
    layout: Annotated[
        Layout | None,
        typer.Option(
            "--as",
            help="Not a checkpoint but an adapter: peft, a folder. Or an update: hf-delta, a "
            "folder such as weight_v000002 for slime, vime, ModelExpress; trl-sparse, a file of "
            "places and bfloat16 values.",
        ),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="Of an update: the task whose weights are there already; by default the base's "
            "are.",
        ),
    ] = None,
    prove: Annotated[
        bool,
        typer.Option(
            help="Compare every unit that an exact task changes with the digest that it records."
        ),
    ] = True,
    rank: Annotated[
        int | None,
        typer.Option(
            help="Of --as peft: write the nearest adapter of this rank of any task, and say its "
            "error; by default only an adapter is written, as it was added."
        ),
    ] = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a task as a full safetensors checkpoint, or as a folder that from_pretrained loads.

    With --as, as an update of the version before. Of hf-delta, --set version=,
    base_version=, encoding=overwrite (default xor), checksums=blake3 or adler32 (default xxh3-128).
    """
    if rank is not None and layout != Layout.peft:
        raise UsageError("--rank belongs to adapters: give --as peft")
    if layout == Layout.peft:
        _export_adapter(bank, task, output, base, rank, names_given(names), force, as_json)
        return
    if layout is not None:
        given = key_values("--set", settings or [])
        called = names_given(names)
        _export_update(layout, bank, task, output, base, called, after, given, force, as_json)
        return
    for flag, value in (("--after", after), ("--set", settings)):
        if value:
            raise UsageError(f"{flag} belongs to updates: give --as hf-delta or --as trl-sparse")
    _refuse_existing(output, force)
    opened = tvbank.open(bank)
    with Bar(f"exporting {task}") as progress:
        path = tvbank.export(
            opened, task, base=base, out=output, files=files, max_shard_size=max_shard_size,
            overwrite=force, base_model=base_model, names=names_given(names), prove=prove,
            progress=progress,
        )  # fmt: skip
    _say_written(path, as_json, {"task": task})


def _export_adapter(
    bank: str,
    task: str,
    output: str,
    base: str | None,
    rank: int | None,
    names: dict[str, str] | None,
    force: bool,
    as_json: bool,
) -> None:
    from tvbank.merging import export_adapter

    with Bar(f"exporting {task}") as progress:
        report = export_adapter(
            bank, task, out=output, rank=rank, base=base, overwrite=force, names=names,
            progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(report)
        return
    size, count = human_bytes(report.bytes), counted(report.modules, "module")
    say(f"wrote {report.path}: {size}, {count}")
    if rank is not None:
        left = f", without {name_some(report.left_out)}" if report.left_out else ""
        say(f"the norm of what it leaves out is {report.error:.1%} of the whole's{left}")


def _export_update(
    layout: Layout,
    bank: str,
    task: str,
    output: str,
    base: str | None,
    names: dict[str, str] | None,
    after: str | None,
    given: dict[str, str],
    force: bool,
    as_json: bool,
) -> None:
    from tvbank.updates import write_hf_delta, write_sparse

    known = ("version", "base_version", "encoding", "checksums") if layout == "hf-delta" else ()
    for name in given:
        if name not in known:
            raise UsageError(f"--as {layout} has no option {name!r}; {', '.join(known) or 'none'}")
    numbers = {n: int(v) if v.isdigit() else v for n, v in given.items() if "version" in n}
    options: dict[str, Any] = {
        **given, **numbers, "base": base, "names": names, "after": after, "replace": force,
    }  # fmt: skip
    write = write_hf_delta if layout == "hf-delta" else write_sparse
    report = write(bank, task, out=output, **options)
    if as_json:
        print_json(report)
        return
    what = f"{counted(report.tensors, 'tensor')} changed"
    which = f", version {report.version} after {report.base_version}" if report.version else ""
    say(f"wrote {report.path}: {human_bytes(report.bytes)}, {what}{which}")


@app.command("merge")
def merge(
    bank: BankArgument,
    weights: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK=WEIGHT…|RECIPE",
            help="Tasks and their weights; or a mergekit recipe, a YAML file whose models are "
            "tasks and the base.",
            autocompletion=complete_task,
        ),
    ],
    output: WeightsOption,
    method: Annotated[
        str,
        typer.Option(
            metavar="[arithmetic|ties|dare]",
            help="arithmetic: base + the sum of WEIGHT times (task - base); ties: trim, elect a "
            "sign, average; dare: drop at random, rescale, sum; or a method of another package.",
        ),
    ] = "arithmetic",
    density: Annotated[
        float | None, typer.Option(help="ties: share of entries to keep (default 0.2).")
    ] = None,
    across: Annotated[
        Across | None,
        typer.Option(help="ties: the largest of the whole task or of each unit (default task)."),
    ] = None,
    divide_by: Annotated[
        DivideBy | None,
        typer.Option(
            help="ties: sums over how many tasks agree, or over the sum of their weights as in "
            "mergekit (default tasks)."
        ),
    ] = None,
    drop: Annotated[
        float | None, typer.Option(help="dare: share of entries to drop (default 0.9).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="dare: of what is dropped (default 0).")] = None,
    settings: SetOption = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME=TASK",
            help="What a recipe's model is, if it is not called as a task or ends in one's name: "
            "a task, or 'base'; repeatable.",
        ),
    ] = None,
    base: BaseOption = None,
    names: NamesOption = None,
    files: FilesOption = None,
    max_shard_size: ShardOption = MAX_SHARD_SIZE,
    base_model: BaseModelOption = None,
    force: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Merge tasks, by weights or a mergekit recipe; write a safetensors file or a model folder."""
    from tvbank.merging import export_merged
    from tvbank.merging.registry import METHODS

    _refuse_existing(output, force)
    if len(weights) == 1 and "=" not in weights[0]:
        others: dict[str, object] = {"method": None if method == "arithmetic" else method}
        others |= {"density": density, "across": across, "divide-by": divide_by, "drop": drop}
        others |= {"set": settings}
        if wrong := [name for name, value in others.items() if value is not None]:
            raise UsageError(f"--{wrong[0]} is for TASK=WEIGHT; a recipe says it itself")
        written: dict[str, Any] = {"out": output, "files": files, "overwrite": force}
        written |= {"max_shard_size": max_shard_size, "base_model": base_model}
        written |= {"names": names_given(names)}
        _merge_recipe(bank, weights[0], models or [], base, seed, written, as_json)
        return
    if models:
        raise UsageError("--model is for a recipe; here tasks are named by TASK=WEIGHT")
    parsed = _weights(weights)
    plain: dict[str, Any] = {"density": density, "across": across and across.value, "drop": drop}
    plain |= {"divide_by": divide_by and divide_by.value, "seed": seed}
    given = plain | key_values("--set", settings or [])
    chosen = METHODS.make(method, given, text=True)
    opened = tvbank.open(bank)
    with Bar("merging") as progress:
        path = export_merged(
            opened, parsed, base=base, method=chosen, out=output, files=files,
            max_shard_size=max_shard_size, overwrite=force, base_model=base_model,
            names=names_given(names), progress=progress,
        )  # fmt: skip
    _say_written(path, as_json, {"method": chosen.describe(), "weights": parsed})


def _merge_recipe(
    bank: str,
    path: str,
    models: list[str],
    base: str | None,
    seed: int | None,
    written: dict[str, Any],
    as_json: bool,
) -> None:
    from tvbank.merging.recipes import Recipe, export_recipe

    if not Path(path).is_file():
        raise UsageError(
            f"{path} is neither TASK=WEIGHT nor a file: give tasks and weights, for instance "
            "news=0.5, or a recipe"
        )
    recipe = Recipe.read(path)
    named = dict(_named_model(text) for text in models)
    notes: list[str] = []
    with Bar("merging") as progress:
        out = export_recipe(
            bank, recipe, base=base, models=named, seed=seed, note=notes.append,
            progress=progress, **written,
        )  # fmt: skip
    if not as_json:
        for note in notes:
            say(f"note: {note}", err=True)
    about = {"method": {"name": recipe.method_name}, "recipe": path, "notes": notes}
    _say_written(out, as_json, about)


def _named_model(text: str) -> tuple[str, str]:
    name, _, task = text.rpartition("=")
    if not name or not task:
        raise UsageError(f"--model takes NAME=TASK, for instance org/cats=cats; got {text!r}")
    return name, task


def _weights(texts: list[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = None
        if not name or weight is None:
            raise UsageError(
                f"merge takes TASK=WEIGHT, for instance news=0.5, or one recipe; got {text!r}"
            )
        if name in weights:
            raise UsageError(f"task {name!r} is given twice")
        weights[name] = weight
    return weights


def _refuse_existing(output: str, force: bool) -> None:
    """Refuse a file that is there; folders are looked at by what writes them."""
    if folder_named(output) is None and os.path.exists(output) and not force:
        raise UsageError(f"{output} exists: choose another file, or give --force to replace it")


def _say_written(path: Path, as_json: bool, about: dict[str, Any]) -> None:
    written = sorted(path.iterdir()) if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in written if file.is_file())
    if as_json:
        print_json({"output": str(path), "bytes": size, **about})
    else:
        say(f"wrote {path}: {human_bytes(size)}")
