"""Where a unit is in its model, by its name: its layer, and the module that every layer has."""

from __future__ import annotations


def place_of(name: str) -> tuple[int | None, str]:
    """The first number in a unit's name, and the name with ``*`` in its place.

    >>> place_of("model.layers.12.mlp.up_proj.weight")
    (12, 'model.layers.*.mlp.up_proj.weight')
    """
    parts = name.split(".")
    for index, part in enumerate(parts):
        if part.isascii() and part.isdigit() and len(part) < 10:
            return int(part), ".".join([*parts[:index], "*", *parts[index + 1 :]])
    return None, name
