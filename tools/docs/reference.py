"""Pages made of docstrings and of the command line's help."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import tvbank

#: Pages of the reference: the package's folders that export what users call, and further names.
PACKAGES: dict[str, tuple[str, ...]] = {
    "bank": (),
    "compress": ("Compressor", "Difference", "Entries", "PairedUnit", "Pairs"),
    "flexswitch": ("Step",),
    "merging": ("MergeMethod", "export_recipe", "recipes.RecipeMethod"),
    "switching": (),
    "routing": (
        "Cascade",
        "Confusion",
        "confusion",
        "Fitted",
        "LayerScore",
        "VectorRouter",
        "features",
        "fit",
    ),
    "autoswitch": ("Routing",),
    "building": ("Manifest", "preview", "read_manifest"),
    "updates": ("Patch", "UpdateReport"),
    "hub": (),
    "inspection": (),
    "naming": ("units_of",),
    "reporting": (
        "compare",
        "Change",
        "UnitChange",
        "TaskFacts",
        "UnitFacts",
        "EncodingCosts",
        "Trimmed",
        "PairFacts",
        "RouterFacts",
        "ExtraFacts",
        "ProductFacts",
        "draw_pictures",
        "Point",
        "Sweep",
        "sweep",
    ),
    "storage": ("Storage", "ByteRange", "StoredObject", "MemoryStorage", "ObjectNotFoundError"),
    "testing": (),
}


def exported() -> dict[str, list[str]]:
    """The names of ``tvbank.__all__`` by the folder that they come from; modules apart."""
    found: dict[str, list[str]] = {package: [] for package in PACKAGES}
    for name in tvbank.__all__:
        thing = getattr(tvbank, name)
        if inspect.ismodule(thing) or name in ("TvbankError", "__version__"):
            continue
        if not (folder := thing.__module__.split(".")[1]).startswith("_"):
            found.setdefault(folder, []).append(name)
    return found


def write_reference(out: Path) -> None:
    """Write reference/: a page a folder of the package, their index, and the command line's."""
    folder = out / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["| name | what it is |", "|---|---|"]
    for package, names in exported().items():
        more = PACKAGES[package]
        page = [f"# tvbank.{package}", "", _summary(importlib.import_module(f"tvbank.{package}"))]
        if package == "testing":
            page += ["", "::: tvbank.testing", "    options: {show_root_heading: false}"]
        for name in names:
            page += ["", f"::: tvbank.{name}"]
            summary = _summary(getattr(tvbank, name))
            rows.append(f"| [`tvbank.{name}`]({package}.md#tvbank.{name}) | {summary} |")
        for name in more:
            if name not in names:
                page += ["", f"::: tvbank.{package}.{name}"]
        (folder / f"{package}.md").write_text("\n".join(page) + "\n")
    index = ["# The Python interface", "", _summary(tvbank) + " What `import tvbank` gives:", ""]
    (folder / "index.md").write_text("\n".join([*index, *rows]) + "\n")
    (folder / "cli.md").write_text(_command_line())


def _summary(thing: Any) -> str:
    text = inspect.getdoc(thing) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("``", "`").replace("|", "\\|")


def _command_line() -> str:
    """The help of every verb, as the program prints it without a terminal's frames."""
    import typer.main

    from tvbank.cli import app

    for verbs in sorted(path.stem for path in Path(tvbank.__file__).parent.glob("cli/[a-z]*.py")):
        importlib.import_module(f"tvbank.cli.{verbs}")
    program: Any = typer.main.get_command(app)
    lines = [
        "# The command line",
        "",
        "`tvbank VERB BANK …`; `tvbank VERB --help` prints what stands here. Exit status: 0; 1 if "
        "the bank or the data is at fault; 2 for usage.",
    ]
    for name, verb in sorted(program.commands.items()):
        if not verb.hidden:
            lines += ["", f"## tvbank {name}", "", *_verb(name, verb)]
    return "\n".join(lines) + "\n"


def _verb(name: str, verb: Any) -> list[str]:
    context = verb.make_context(name, [], resilient_parsing=True)
    usage = " ".join(verb.collect_usage_pieces(context))
    help_lines = inspect.cleandoc(verb.help or "").replace("\b", "").split("\f")[0].rstrip()
    lines = ["```text", f"tvbank {name} {usage}", "```", "", help_lines]
    rows = []
    for parameter in verb.get_params(context):
        record = getattr(parameter, "get_help_record", lambda _: None)(context)
        label = record[0] if record else parameter.human_readable_name
        said = record[1] if record else getattr(parameter, "help", None)
        rows.append(f"| `{label}` | {_cell(said or '')} |")
    return [*lines, "", "| argument, option | |", "|---|---|", *rows] if rows else lines


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
