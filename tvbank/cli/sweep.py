"""The verb ``sweep``: what a fine-tune's accuracy costs in bytes, by one's own evaluation."""

from __future__ import annotations

import dataclasses
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvbank._progress import Bar
from tvbank.checkpoint import is_one_of, refuse_replacing
from tvbank.cli._app import AT_FAULT, app
from tvbank.cli._arguments import (
    OWN_METHODS,
    CheckpointArgument,
    GivenOption,
    JsonOption,
    NamesOption,
    SetOption,
    flexswitch,
    given_values,
    key_values,
    names_given,
)
from tvbank.cli._named import find_named
from tvbank.cli._output import human_bytes, print_json, print_table, say
from tvbank.compress.registry import COMPRESSORS
from tvbank.errors import UsageError
from tvbank.folders import describe

if TYPE_CHECKING:
    from tvbank.compress import Compressor
    from tvbank.reporting import Failure, Point, Sweep

#: What a sweep tries if flags say nothing else.
_SIZES = COMPRESSORS.rows["budget"].grid["budget"]
_DROPS = COMPRESSORS.rows["tswitch"].grid["drop"]


@app.command("sweep")
def sweep(
    checkpoint: CheckpointArgument,
    base: Annotated[
        str,
        typer.Option("--base", metavar="FILE", help="The base's weights: file, folder or URL."),
    ],
    evaluate: Annotated[
        str,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Called with the path of a full safetensors checkpoint, returns a number; more is "
            "better. Its code runs. For its import, and only then, Python looks into the current "
            "folder first: import there what it needs.",
        ),
    ],
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar=OWN_METHODS,
            help="What to try; repeatable (default budget and tswitch). Or one that another "
            "package brings.",
        ),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SIZE",
            help="budget, flexswitch: a size to try, as for `add`; repeatable (default "
            f"{', '.join(_SIZES)}).",
        ),
    ] = None,
    products: Annotated[
        bool,
        typer.Option(
            "--products", help="budget: try each size with products, too, as of `add --products`."
        ),
    ] = False,
    drop: Annotated[
        list[float] | None,
        typer.Option(
            help="tswitch: a share to drop; repeatable (default "
            f"{', '.join(map(str, _DROPS))}); each with both knobs."
        ),
    ] = None,
    settings: SetOption = None,
    beside: GivenOption = None,
    names: NamesOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:CALLABLE", help="flexswitch: as for `add --method flexswitch`."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="flexswitch: as for `add --method flexswitch`."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw the frontier: a .png, .svg or .pdf file; needs matplotlib."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Store a fine-tune in many sizes, read each back, and score it with a function of yours.

    Each score is said as it comes, on the standard error. What fails holds up no other; exit
    status 1 if anything did.

    For instance, with a function accuracy(path) in scores.py:

    tvbank sweep cats.safetensors --base base.safetensors --evaluate scores:accuracy --picture c.svg
    """
    from tvbank.reporting import check_picture, draw
    from tvbank.reporting import sweep as run_sweep

    function = find_named("--evaluate", evaluate, "scores:accuracy")
    if not callable(function):
        raise UsageError(f"--evaluate {evaluate} is not a function")
    if picture is not None:
        check_picture(picture)
        for source, what in ((base, "base"), (checkpoint, "fine-tune")):
            refuse_replacing(picture, source, what)
        if data is not None and is_one_of(picture, [data]):
            raise UsageError(f"{picture} is the file of --data: choose another output file")
    methods = list(dict.fromkeys(method or ("budget", "tswitch")))
    for each in methods:
        COMPRESSORS.check(each)
    flags = {"budget": budget, "drop": drop, "products": [False, True] if products else None}
    others = set(methods) - set(COMPRESSORS.rows)
    for given, name, takers in (
        (budget, "--budget", _takers("budget")),
        (drop, "--drop", _takers("drop")),
        (products, "--products", _takers("products")),
        (model, "--model", {"flexswitch"}),
        (data, "--data", {"flexswitch"}),
        (settings, "--set", others),
    ):
        if given and not takers & set(methods):
            owners = " or ".join(sorted(takers)) or "of another package"
            raise UsageError(f"{name} belongs to --method {owners}")
    compressors = [
        compressor
        for each in methods
        for compressor in _compressors(each, flags, model, data, settings or [])
    ]
    with Bar("sweeping") as progress:
        found = run_sweep(
            base, checkpoint, function, compressors, progress, _say, given_values(beside or []),
            names_given(names),
        )  # fmt: skip
    if as_json:
        print_json(_facts(found))
    else:
        _print(found)
    if picture is not None and found.points:
        levels = {"fine-tuned": found.tuned_score}
        if found.base_score is not None:
            levels["base"] = found.base_score
        draw(found.points, picture, levels=levels, score=evaluate, title=Path(checkpoint).name)
        if not as_json:
            say(f"wrote {picture}")
    if found.failures:
        raise typer.Exit(AT_FAULT)


def _say(each: Point | Failure) -> None:
    """Say a score as soon as it is known, whatever becomes of the others."""
    from tvbank.reporting import Point

    how = f"{each.score:.4f}" if isinstance(each, Point) else f"failed: {each.error}"
    say(f"{describe(each.compressor)}: {how}", err=True)


def _takers(*options: str) -> set[str]:
    """Tvbank's own compressors of which a sweep varies one of some options."""
    return {
        name for name, row in COMPRESSORS.rows.items() if not row.grid.keys().isdisjoint(options)
    }


def _compressors(
    method: str,
    flags: dict[str, Any],
    model: str | None,
    data: Path | None,
    settings: list[str],
) -> list[Compressor]:
    """Every setting of a method: all combinations of its grid, or of what flags have in its place.

    Args:
        method: its name.
        flags: values by option; None or nothing leaves the grid's.
        model: of flexswitch.
        data: of flexswitch.
        settings: KEY=VALUE, the one setting of another package's method.
    """
    if method not in COMPRESSORS.rows:
        return [COMPRESSORS.make(method, dict(key_values("--set", settings)), text=True)]
    grid = {k: flags.get(k) or values for k, values in COMPRESSORS.rows[method].grid.items()}
    tried = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    if method == "flexswitch":
        return [flexswitch(model, data, options) for options in tried]
    return [COMPRESSORS.make(method, options, text=True) for options in tried]


def _facts(result: Sweep) -> dict[str, Any]:
    from tvbank.reporting import frontier

    best = frontier(result.points)
    return {
        "tuned_score": result.tuned_score,
        "base_score": result.base_score,
        "points": [
            {**dataclasses.asdict(point), "on_frontier": point in best} for point in result.points
        ],
        "failures": [dataclasses.asdict(failure) for failure in result.failures],
    }


def _print(result: Sweep) -> None:
    from tvbank.reporting import frontier

    best = frontier(result.points)
    print_table(
        ["compressor", "stored", "bits/param", "of the base", "score", "lost", "", "seconds"],
        [
            [
                describe(point.compressor),
                human_bytes(point.stored_bytes),
                f"{point.bits_per_parameter:.3f}",
                f"{point.share:.2%}",
                f"{point.score:.4f}",
                f"{result.tuned_score - point.score:.4f}",
                "*" if point in best else "",
                f"{point.seconds:.1f}",
            ]
            for point in sorted(result.points, key=lambda point: point.stored_bytes)
        ],
    )
    for failure in result.failures:
        say(f"{describe(failure.compressor)}  failed: {failure.error}")
    base = "the base has no score"
    if result.base_score is not None:
        base = f"base {result.base_score:.4f}"
    say(f"fine-tuned {result.tuned_score:.4f}; {base}; * no smaller one scores as well")
