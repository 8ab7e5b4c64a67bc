"""The other way round: which units of a bank a model's parameter is, or is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tvbank.checkpoint import Checkpoint
from tvbank.layout import Layout
from tvbank.naming._architecture import architectures
from tvbank.naming._window import Window
from tvbank.naming.prefixes import names_of_units, other_prefixes, without_peft

__all__ = ["units_of"]

#: Units of a parameter: each with the part of the parameter that it is, ``None`` for all of it.
_Units = tuple[tuple[str, Window | None], ...]


def units_of(layout: Layout, names: Iterable[str], base: Checkpoint) -> dict[str, _Units]:
    """The units that parameters of a live model, or of one that peft has wrapped, are made of.

    Args:
        layout: of the bank's base.
        names: as the model's ``named_parameters()`` has them, such as
            ``base_model.model.vit.layers.0.q_proj.base_layer.weight``: what peft and other wrappers
            put into them may be there or not.
        base: the base's checkpoint; its architecture tells what transformers renames and fuses.

    Returns:
        By name, the units: mostly one, which is all of the parameter. A parameter that transformers
        fused or stacked has several, each with its window in it. An alias of a tie stands for its
        owner. Names that no unit stands for are left out, and those that are only a part of a unit,
        or have its rows in another order.
    """
    units = names_of_units(layout)
    owner = {name: unit for unit, own in units.items() for name in own}
    bare = {name: without_peft(name) for name in names}
    found: dict[str, _Units] = {n: ((owner[b], None),) for n, b in bare.items() if b in owner}
    if len(found) == len(bare):
        return found
    for _, architecture in architectures(base):
        for table in architecture.tables:
            made: dict[str, list[tuple[str, Window | None]]] = {}
            shapes = {record.name: record.shape for record in layout.records}
            for name, parts in table.parts({n: shapes[unit] for n, unit in owner.items()}).items():
                if len(parts) == 1 and (parts[0].window is None or not parts[0].window.sides):
                    made.setdefault(parts[0].name, []).append((owner[name], parts[0].window))
            found |= _below({n: b for n, b in bare.items() if n not in found}, made)
            if len(found) == len(bare):
                return found
    left = {name: b for name, b in bare.items() if name not in found}
    return found | _below(left, {name: [(unit, None)] for name, unit in owner.items()})


def _below(
    bare: Mapping[str, str], made: Mapping[str, Iterable[tuple[str, Window | None]]]
) -> dict[str, _Units]:
    """What parameters are made of, under their own names or another prefix that all have."""
    found = {n: tuple(dict.fromkeys(made[b])) for n, b in bare.items() if b in made}
    left = {name: b for name, b in bare.items() if name not in found}
    pairs = other_prefixes(list(left.values()), made) if left else []
    if len(pairs) == 1:
        ours, theirs = pairs[0]
        for name, b in left.items():
            other = theirs + b.removeprefix(ours)
            if b.startswith(ours) and other in made:
                found[name] = tuple(dict.fromkeys(made[other]))
    return found
