"""Verbs that only read: ``ls``, ``show``, ``verify``."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Annotated, Any

import typer

import tvbank
from tvbank._progress import Bar
from tvbank.cli._app import AT_FAULT, app
from tvbank.cli._arguments import (
    BankArgument,
    JsonOption,
    NamesOption,
    OptionalTask,
    complete_task,
    complete_unit,
    matches,
    names_given,
)
from tvbank.cli._output import (
    counted,
    human_bytes,
    print_answer,
    print_json,
    say,
)
from tvbank.errors import UsageError, name_some
from tvbank.folders import describe


class Sort(StrEnum):
    """By what tasks are sorted."""

    name = "name"
    size = "size"
    bits = "bits"
    nonzeros = "nonzeros"


#: The fields of a row that each sorts by; of numbers the largest comes first.
_SORTED_BY = {
    Sort.name: "task",
    Sort.size: "stored_bytes",
    Sort.bits: "bits_per_parameter",
    Sort.nonzeros: "nonzeros",
}


@app.command("ls")
def list_tasks(
    bank: BankArgument,
    patterns: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="GLOB",
            help="Only tasks whose names match, such as 'step-*'; repeatable.",
            autocompletion=complete_task,
        ),
    ] = None,
    sort: Annotated[
        Sort | None,
        typer.Option(help="By name, or by a number, the largest first."),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Turn the order around.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List a bank's tasks."""
    opened = tvbank.open(bank)
    base_bytes = opened.layout.unit_bytes
    rows: list[dict[str, Any]] = [
        {
            "task": name,
            "compressor": task.compressor,
            "nonzeros": task.nonzeros,
            "stored_bytes": task.stored_bytes,
            "bits_per_parameter": task.bits_per_parameter,
            "share_of_base": task.stored_bytes / base_bytes if base_bytes else None,
            "revision": task.revision,
            "parent": task.parent,
        }
        for name, task in opened.items()
        if matches(name, patterns)
    ]
    if sort is not None:
        rows.sort(key=lambda row: row[_SORTED_BY[sort]], reverse=sort is not Sort.name)
    if reverse:
        rows.reverse()
    chains = any(row["parent"] for row in rows)
    print_answer(
        as_json,
        rows,
        ["task", "compressor", "stored", "bits/param", "of the base", "revision"]
        + ["parent"] * chains,
        [
            [
                row["task"],
                describe(row["compressor"]),
                human_bytes(row["stored_bytes"]),
                f"{row['bits_per_parameter']:.3f}",
                f"{row['share_of_base']:.2%}" if base_bytes else "",
                row["revision"][:12],
            ]
            + [row["parent"] or "(base)"] * chains
            for row in rows
        ],
        text=2,
    )


@app.command("show")
def show(
    bank: BankArgument,
    task: OptionalTask = None,
    patterns: Annotated[
        list[str] | None,
        typer.Option(
            "--unit",
            metavar="GLOB",
            help="Only units whose names match, such as '*.attention.*'; repeatable.",
            autocompletion=complete_unit,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a bank, or what is stored of each unit of a task."""
    opened = tvbank.open(bank)
    if task is not None:
        _show_task(opened[task], patterns, as_json)
    elif patterns:
        raise UsageError("--unit is of a task: name the task, too")
    else:
        _show_bank(opened, as_json)


@app.command("verify")
def verify(
    bank: BankArgument,
    base: Annotated[
        str | None,
        typer.Option(
            help="The base's weights, to decode tasks that were stored given them; without it "
            "their checksums and headers are checked."
        ),
    ] = None,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove",
            help="Make the weights of every exact task, and compare them with the digests that "
            "it records; the base is --base, or where `init` found it.",
        ),
    ] = False,
    names: NamesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read and check every byte of a bank; exit status 1 if anything is wrong."""
    from tvbank.bank.verify import verify as find_faults
    from tvbank.storage import open_storage

    given = names_given(names)
    if given and base is None and not prove:
        raise UsageError("--names is of the base's weights: give --base, too, or --prove")
    with Bar("verifying") as progress:
        if base is None and not prove:
            faults = find_faults(open_storage(bank), progress)
        else:
            faults = tvbank.open(bank).verify(progress, base, prove=prove, names=given)
    if as_json:
        print_json([dataclasses.asdict(fault) for fault in faults])
    else:
        for fault in faults:
            say(f"{fault.reason}: {fault.message}")
        say(counted(len(faults), "fault") if faults else "sound")
    if faults:
        raise typer.Exit(AT_FAULT)


def _show_bank(bank: tvbank.Bank, as_json: bool) -> None:
    layout = bank.layout
    facts = {
        "location": bank.location,
        "generation": bank.generation,
        "tasks": len(bank),
        "routers": len(bank.routers),
        "stored_bytes": sum(task.stored_bytes for task in bank.values()),
        "base_units": len(layout.units),
        "base_buffers": len(layout.whole),
        "base_parameters": layout.parameters,
        "base_bytes": layout.unit_bytes,
        "chunk_length": layout.chunk_length,
        "chunks_per_shard": layout.chunks_per_shard,
    }
    rows = [[key.replace("_", " "), str(value)] for key, value in facts.items()]
    print_answer(as_json, facts, ["", ""], rows)


def _show_task(task: tvbank.Task, patterns: list[str] | None, as_json: bool) -> None:
    from tvbank.bank.summary import inspect

    units = list(inspect(task, [name for name in task if matches(name, patterns)]))
    extras = {n: task.extras.record(n) for n in task.extras if matches(n, patterns)}
    if patterns and not units and not extras:
        raise UsageError(
            f"task {task.name!r} has no unit that matches {name_some(patterns)}: "
            "`tvbank show` without --unit lists them"
        )
    facts = {
        "task": task.name,
        "revision": task.revision,
        "lineage": [each.name for each in task.lineage],
        "compressor": task.compressor,
        "metadata": task.metadata,
        "stored_bytes": task.stored_bytes,
        "bits_per_parameter": task.bits_per_parameter,
        "units": [dataclasses.asdict(unit) for unit in units],
        "extras": [
            {"name": name, "dtype": record.dtype, "shape": record.shape}
            for name, record in extras.items()
        ],
    }
    rows = [
        [
            unit.name,
            "x".join(map(str, unit.shape)),
            ", ".join(unit.masks) or "(zero)",
            ", ".join(unit.values),
            f"{unit.density:.2%}",
            f"{unit.bits:.3f}",
            human_bytes(unit.bytes),
        ]
        for unit in units
    ]
    rows += [
        [name, "x".join(map(str, record.shape)), "(whole)", record.dtype, "", "", ""]
        for name, record in extras.items()
    ]
    columns = ["unit", "shape", "mask", "values", "density", "bits/param", "bytes"]
    print_answer(as_json, facts, columns, rows, text=4)
    if not as_json:
        say(
            f"{task.name}: {describe(task.compressor)}, stored in "
            f"{human_bytes(task.stored_bytes)}, {task.bits_per_parameter:.3f} bits per parameter"
        )
        if task.parent:
            say("steps over: " + " -> ".join(["base", *(each.name for each in task.lineage)]))
