"""The card of a bank on the hub. What its owner writes around tvbank's part stays."""

from __future__ import annotations

from collections.abc import Sequence

from tvbank._version import __version__
from tvbank.bank.contents import Contents
from tvbank.folders import describe, front_matter, inline

BEGIN, END = "<!-- tvbank push -->", "<!-- /tvbank push -->"


def card(contents: Contents, place: str, base_model: str, present: str | None) -> str | None:
    """The text of a card.

    Args:
        contents: the bank.
        place: its URL on the hub.
        base_model: the base's name on the hub; empty if it is not known.
        present: the card that is there; of that, what stands outside of tvbank's part is kept.

    Returns:
        The text; ``None`` if the card that is there has no such part, and is left alone.
    """
    part = "\n".join([BEGIN, *_part(contents, place, base_model), END])
    if present is None:
        members: dict[str, object] = {"library_name": "tvbank", "tags": ["tvbank", "task-vectors"]}
        if base_model:
            members = {"base_model": base_model, "base_model_relation": "finetune", **members}
        title = inline(place.rstrip("/").rpartition("/")[2])
        return f"{front_matter(members)}\n# {title}\n\n{part}\n"
    before, begun, rest = present.partition(BEGIN)
    _, ended, after = rest.partition(END)
    return f"{before}{part}{after}" if begun and ended else None


def _part(contents: Contents, place: str, base_model: str) -> Sequence[str]:
    layout, tasks = contents.layout, contents.catalog.tasks
    base = f"`{inline(base_model)}`" if base_model else "one base model"
    stored = sum(entry.stored_bytes for entry in tasks.values())
    lines = [
        f"A bank of {len(tasks)} fine-tune{'' if len(tasks) == 1 else 's'} of {base}, each a "
        "compressed task vector (fine-tuned minus base). The base is not in it.",
        "",
        "| | |",
        "|---|---|",
        f"| parameters of the base | {layout.parameters:,} |",
        f"| bytes of the base | {layout.unit_bytes:,} |",
        f"| bytes of all tasks | {stored:,} |",
        "",
        "| task | kept by | bytes | bits per parameter |",
        "|---|---|---:|---:|",
    ]
    for name, entry in sorted(tasks.items()):
        bits = 8 * entry.stored_bytes / entry.parameters if entry.parameters else 0.0
        how = inline(describe(entry.compressor))
        lines.append(f"| {inline(name)} | {how} | {entry.stored_bytes:,} | {bits:.3f} |")
    if tasks:
        needs_base = contents.task(min(tasks)).needs_base
        lines += ["", *_how(place, min(tasks), base_model, needs_base)]
    return [*lines, "", f"Written by tvbank {__version__}, format {contents.catalog.format}."]


def _how(place: str, task: str, base_model: str, needs_base: bool) -> Sequence[str]:
    base = f"hf://{base_model}" if base_model else "BASE"
    reading = [
        f'unit = next(iter(bank["{task}"].values()))  # two requests; the whole task: .to_dense()',
        "print(unit.name, unit.to_dense().shape)",
    ]
    if needs_base:
        reading = [f'steps = bank["{task}"].to_dense(base="{base}")  # stored given the base']
    return [
        "To read it:",
        "",
        "```python",
        "import tvbank",
        "",
        f'bank = tvbank.open("{place}")',
        *reading,
        "```",
        "",
        "The fine-tune as a folder that `from_pretrained` loads"
        + (":" if base_model else ", with the base's folder or file as `BASE`:"),
        "",
        "```sh",
        f"tvbank export {place} {task} --base {base} -o {task}/",
        "```",
    ]
