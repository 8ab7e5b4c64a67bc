"""Verbs that change a bank: ``init``, ``add``, ``rm``, ``gc``."""

from __future__ import annotations

import dataclasses
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

import tvbank
from tvbank._progress import Bar
from tvbank.bank.gc import GRACE
from tvbank.cli._app import app
from tvbank.cli._arguments import (
    BankArgument,
    BaseOption,
    BatchOption,
    BudgetOption,
    CheckpointArgument,
    DataOption,
    GivenOption,
    JsonOption,
    LamOption,
    LossOption,
    MethodOption,
    ModelOption,
    NamesOption,
    ObjectiveOption,
    ProductsOption,
    ResumeOption,
    SeedOption,
    SetOption,
    StepsOption,
    TaskArgument,
    complete_task,
    flexswitch,
    given_values,
    key_values,
    names_given,
)
from tvbank.cli._output import (
    counted,
    human_bytes,
    print_json,
    say,
)
from tvbank.folders import describe

if TYPE_CHECKING:
    from tvbank.compress import Compressor


class Knob(StrEnum):
    """What magnitude T-Switch gives the entries it keeps."""

    rms = "rms"
    norm = "norm"


@app.command("init")
def init(
    bank: BankArgument,
    base: Annotated[
        str,
        typer.Option("--base", metavar="FILE", help="The base's weights: file, folder or URL."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Make an empty bank for the fine-tunes of one base. The base is read, not copied."""
    with Bar("fingerprinting the base") as progress:
        made = tvbank.create(bank, base=base, progress=progress)
    if as_json:
        units, parameters = len(made.layout.units), made.layout.parameters
        print_json({"location": made.location, "units": units, "parameters": parameters})
        return
    say(
        f"made {made.location}: {counted(len(made.layout.units), 'unit')}, "
        f"{made.layout.parameters:,} parameters"
    )


@app.command("add")
def add(
    bank: BankArgument,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The new task's name.")],
    checkpoint: CheckpointArgument,
    method: MethodOption = None,
    drop: Annotated[
        float | None,
        typer.Option(help="tswitch: share of entries to drop of each sign (default 0.9)."),
    ] = None,
    knob: Annotated[
        Knob | None,
        typer.Option(
            help="tswitch: the magnitude of what is kept: its root mean square, or what restores "
            "the norm of the whole unit (default rms)."
        ),
    ] = None,
    budget: BudgetOption = None,
    products: ProductsOption = False,
    settings: SetOption = None,
    base: BaseOption = None,
    beside: GivenOption = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="KEY=VALUE", help="To store with the task; repeatable."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a task of that name.")
    ] = False,
    replace_mismatched: Annotated[
        bool,
        typer.Option(
            "--replace-mismatched", help="Keep units of another shape than the base's whole."
        ),
    ] = False,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            "--missing",
            metavar="NAME",
            help="Take a unit that the fine-tune lacks from the base: its name, a pattern "
            "('*.pooler.*'), or 'base' for all; repeatable.",
        ),
    ] = None,
    names: NamesOption = None,
    parent: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="exact: keep the steps from this exact task's state, not from the base.",
            autocompletion=complete_task,
        ),
    ] = None,
    anchor_every: Annotated[
        int | None,
        typer.Option(
            help="with --parent: of so many tasks in a row one starts from the base again."
        ),
    ] = None,
    model: ModelOption = None,
    data: DataOption = None,
    loss: LossOption = None,
    lam: LamOption = None,
    steps: StepsOption = None,
    batch: BatchOption = None,
    seed: SeedOption = None,
    objective: ObjectiveOption = None,
    learning: ResumeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compress a fine-tune into a task; readers see it whole or not at all.

    A LoRA adapter (a folder of PEFT's) is kept as it is, without loss, unless a method or a
    budget (such as '30 % of the adapter') is given.
    """
    from tvbank.compress.registry import COMPRESSORS

    start = time.monotonic()
    learned = {
        "loss": None if loss is None else loss.value, "lam": lam, "steps": steps, "batch": batch,
        "seed": seed, "objective": None if objective is None else objective.value,
        "checkpoint": learning,
    }  # fmt: skip
    opened = tvbank.open(bank)
    plain = {"drop": drop, "knob": None if knob is None else knob.value, "budget": budget}
    plain["products"] = products or None
    every = plain | learned | {"model": model, "data": data}
    given = {name: value for name, value in every.items() if value is not None}
    given |= key_values("--set", settings or [])
    compressor: Compressor | None = None  # the default, which depends on what is added
    if method or given:
        method = method or COMPRESSORS.implied(given)
        if method == "flexswitch":
            COMPRESSORS.refuse_others(method, given)
            compressor = flexswitch(
                model, data, learned | {"budget": budget, "products": products or None}
            )
        else:
            compressor = COMPRESSORS.make(method, given, text=True)
    with Bar(f"adding {task}") as progress:
        added = opened.add(
            task,
            checkpoint,
            compressor,
            key_values("--metadata", metadata or []),
            base=base,
            replace=replace,
            replace_mismatched=replace_mismatched,
            given=given_values(beside or []),
            missing=missing,
            names=names_given(names),
            parent=parent,
            anchor_every=anchor_every,
            progress=progress,
        )
    if as_json:
        print_json(
            {
                "task": task,
                "revision": added.revision,
                "compressor": added.compressor,
                "stored_bytes": added.stored_bytes,
                "bits_per_parameter": added.bits_per_parameter,
                "remarks": list(added.remarks),
            }
        )
        return
    for remark in added.remarks:
        say(remark, err=True)
    say(
        f"added {task}: {human_bytes(added.stored_bytes)}, {added.bits_per_parameter:.3f} bits per "
        f"parameter, {describe(added.compressor)}, {time.monotonic() - start:.1f} s"
    )


@app.command("rm")
def remove(
    bank: BankArgument,
    task: TaskArgument,
    fold: Annotated[
        bool,
        typer.Option("--fold", help="Put its steps into those of the tasks that start from it."),
    ] = False,
    base: BaseOption = None,
    names: NamesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a task from the catalog; `tvbank gc` frees its bytes."""
    tvbank.open(bank).remove(task, fold=fold, base=base, names=names_given(names))
    if as_json:
        print_json({"removed": task})
        return
    say(f"removed {task}; `tvbank gc {bank}` frees its bytes")


@app.command("gc")
def collect(
    bank: BankArgument,
    grace: Annotated[
        float,
        typer.Option(help="Seconds that it stays for readers of older generations; 0 for none."),
    ] = GRACE,
    as_json: JsonOption = False,
) -> None:
    """Remove what the catalog does not name: removed tasks, and what killed writers left."""
    report = tvbank.open(bank).gc(grace)
    if as_json:
        print_json(dataclasses.asdict(report))
        return
    say(f"removed {report.objects} objects, {human_bytes(report.bytes)}")
    if report.kept_objects:
        say(
            f"{report.kept_objects} objects, {human_bytes(report.kept_bytes)}, stay until they are "
            f"{grace:g} s old, for readers of a moment ago; `--grace 0` removes them now"
        )
