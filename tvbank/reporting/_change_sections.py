"""The sections of a page on two checkpoints."""

from __future__ import annotations

from tvbank.reporting._maps import unit_map
from tvbank.reporting.facts import Change
from tvbank.reporting.figures import Section, Table, shape_of, shown


def change_sections(change: Change) -> list[Section]:
    """What a page on a fine-tune has, in its order."""
    figures = []
    for field, name, note, form in (
        ("relative", "relative change", "‖ΔW‖ over ‖W‖.", "percent"),
        ("changed", "entries changed", "Share of the entries that have other bits.", "percent"),
        ("rank", "effective rank", "Of ΔW: e to the entropy of its singular values over their "
         "sum; of at most 2,048 rows and 256 columns, evenly spread.", "number"),
        ("change", "size of the change", "‖ΔW‖.", "number"),
    ):  # fmt: skip
        drawn = unit_map(
            f"change-{field}", f"{name.capitalize()}.", note,
            [(unit, getattr(unit, field)) for unit in change.units],
            form, "change", (("shown", name),),  # type: ignore[arg-type]
        )  # fmt: skip
        if drawn is not None:
            figures.append(drawn)
    ranked = sorted(change.units, key=lambda unit: -(unit.change or 0.0))
    rows = [
        [
            unit.unit,
            shape_of(unit.shape),
            shown(unit.changed, "percent"),
            shown(unit.relative, "percent"),
            shown(unit.change, "number"),
            shown(unit.rank, "number"),
            shown(unit.most, "count"),
        ]
        for unit in ranked
    ]
    columns = ["unit", "shape", "changed", "‖ΔW‖/‖W‖", "‖ΔW‖", "effective rank", "of at most"]
    facts = [
        ["old", change.old],
        ["new", change.new],
        ["parameters of both", shown(change.parameters, "count")],
        ["tensors that are whole", ", ".join(change.whole) or "none"],
    ]
    return [
        Section("Summary", [change.sentence, *change.remarks],
                tables=[Table("The checkpoints", ["", ""], facts, 2)]),
        Section("Units", (), figures),
        Section("All units", (), (), [Table("Largest changes first", columns, rows, 2)]),
    ]  # fmt: skip
