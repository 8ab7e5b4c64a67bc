"""Routers: which task an input belongs to (container.md, "Routers")."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from .documents import Stored, read_objects
from .invalid import require
from .json_text import Object, checked_text, group_attributes
from .layout import DTYPE_BYTES, Tensor, tensor
from .names import check_task_name, check_unit_name

POOLINGS = "auto|tokens|maps|first|summary"

_CODES = {"float16": "e", "float32": "f", "int32": "i"}
_TYPES = {
    "keys": ("float16", "float32"),
    "owners": ("int32",),
    "centre": ("float32",),
    "matrix": ("float32",),
}


class Router(NamedTuple):
    """A router's document."""

    layout: str
    tasks: list[str]
    revisions: list[str]
    at: list[str]
    pooling: str
    width: int
    neighbours: int
    spread: float
    rejection: tuple[float, float] | None
    objects: dict[str, Stored]
    extras: list[Tensor]
    method: dict[str, Any]


def read_router(data: bytes, layout: str) -> Router:
    """Check and read a router's document.

    Raises:
        Invalid: ``limit``, ``document-syntax``, ``name``, ``layout`` or ``router``.
    """
    body = group_attributes(data, "the router")
    tasks = [Object(task, "a router's task") for task in body.array("tasks")]
    require(len(tasks) >= 2, "document-syntax", "a router of fewer than two tasks")
    recipe = body.object("recipe")
    at = [checked_text(name, "a place") for name in recipe.array("at", 1024)]
    require(bool(at), "document-syntax", "a recipe without a place")
    rejection = None
    if body["rejection"] is not None:
        thresholds = body.object("rejection")
        rejection = (thresholds.number("evidence"), thresholds.number("distance"))
    spread = body.number("spread")
    require(spread > 0, "document-syntax", "a spread that is not positive")
    router = Router(
        body.digest("layout"),
        [task.text("name") for task in tasks],
        [task.digest("revision") for task in tasks],
        at,
        recipe.text("pooling", POOLINGS),
        recipe.integer("width", 1, 2**31 - 1),
        body.integer("neighbours", 1, 2**31 - 1),
        spread,
        rejection,
        read_objects(body),
        [tensor(Object(each, "an array"), tuple(DTYPE_BYTES)) for each in body.array("extras", 4)],
        dict(body.object("method").value),
    )
    for name in router.tasks:
        check_task_name(name)
    for extra in router.extras:
        check_unit_name(extra.name)
    require(router.layout == layout, "layout", "a router of another layout")
    require("delta/zarr.json" not in router.objects, "extra", "a router with a delta")
    fault = _contradiction(router)
    require(fault is None, "router", str(fault))
    return router


def check_numbers(router: Router, arrays: Sequence[bytes]) -> None:
    """Check the contents of the arrays.

    Args:
        router: the document.
        arrays: raw little-endian bytes of its extras, in their order.

    Raises:
        Invalid: ``router``.
    """
    for extra, data in zip(router.extras, arrays, strict=True):
        numbers = values(extra, data)
        if extra.name == "owners":
            in_order = sorted(numbers) == list(numbers)
            complete = set(numbers) == set(range(len(router.tasks)))
            require(in_order and complete, "router", "owners that are not all tasks in order")
        else:
            require(all(map(math.isfinite, numbers)), "router", f"{extra.name} is not finite")


def values(extra: Tensor, data: bytes) -> tuple[float, ...]:
    """The numbers of an array."""
    return struct.unpack(f"<{extra.size}{_CODES[extra.dtype]}", data)


def route(router: Router, arrays: Sequence[bytes], features: Sequence[float]) -> list[float]:
    """The weight of each task for an input; all zero if it is of no known task.

    Args:
        router: the document.
        arrays: raw bytes of its extras, in their order.
        features: of the input, as the recipe says.
    """
    found = {e.name: values(e, data) for e, data in zip(router.extras, arrays, strict=True)}
    width, count = router.width, len(router.tasks)
    owners = [int(owner) for owner in found["owners"]]
    keys = [found["keys"][i * width : (i + 1) * width] for i in range(len(owners))]
    points = [_project(found, width, key) for key in keys]
    point = _project(found, width, features)
    distances = [math.dist(point, key) for key in points]
    nearest = sorted(range(len(points)), key=lambda i: (distances[i], i))[: router.neighbours]
    shares = [0.0] * count
    for i in nearest:
        shares[owners[i]] += 1 / router.neighbours
    if router.rejection is None:
        return shares
    evidence, distance = router.rejection
    best = owners[next(i for i in nearest if shares[owners[i]] == max(shares))]
    of_task = [[p for p, o in zip(points, owners, strict=True) if o == k] for k in range(count)]
    means = [_mean(each) for each in of_task]
    middle = _mean(means)
    toward = [a - b for a, b in zip(means[best], middle, strict=True)]
    place = [a - b for a, b in zip(point, middle, strict=True)]
    speaks = sum(a * b for a, b in zip(place, toward, strict=True)) - _square(toward) / 2
    typical = sum(distances[i] for i in nearest) / router.neighbours
    known = speaks >= evidence and typical <= distance
    return shares if known else [0.0] * count


def likelihoods(router: Router, arrays: Sequence[bytes], features: Sequence[float]) -> list[float]:
    """How likely each task is for an input, were they equally frequent; arguments as ``route``."""
    found = {e.name: values(e, data) for e, data in zip(router.extras, arrays, strict=True)}
    width = router.width
    point = _project(found, width, features)
    squares = []
    for task in range(len(router.tasks)):
        own = [
            _project(found, width, found["keys"][i * width : (i + 1) * width])
            for i, owner in enumerate(found["owners"])
            if owner == task
        ]
        squares.append(math.dist(point, _mean(own)) ** 2)
    shares = [math.exp((min(squares) - each) / (2 * router.spread)) for each in squares]
    return [each / sum(shares) for each in shares]


def _project(found: dict[str, tuple[float, ...]], width: int, x: Sequence[float]) -> list[float]:
    if "matrix" not in found:
        return list(x)
    moved = [a - b for a, b in zip(x, found["centre"], strict=True)]
    rows = [found["matrix"][i : i + width] for i in range(0, len(found["matrix"]), width)]
    return [sum(a * b for a, b in zip(row, moved, strict=True)) for row in rows]


def _mean(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def _square(vector: Sequence[float]) -> float:
    return sum(x * x for x in vector)


def _contradiction(router: Router) -> str | None:
    """What does not fit together, if anything."""
    extras = {extra.name: extra for extra in router.extras}
    names = [extra.name for extra in router.extras]
    if names not in (["keys", "owners"], ["keys", "owners", "centre", "matrix"]):
        return f"the arrays {names}"
    if any(extra.dtype not in _TYPES[extra.name] for extra in router.extras):
        return "an array of a wrong type"
    count, width = extras["owners"].size, router.width
    matrix = extras["matrix"].shape if "matrix" in extras else (1, width)
    centre = extras["centre"].shape if "centre" in extras else (width,)
    fits = (
        extras["owners"].shape == (count,)
        and extras["keys"].shape == (count, width)
        and centre == (width,)
        and len(matrix) == 2
        and matrix[0] >= 1
        and matrix[1] == width
    )
    if not fits:
        return "shapes that do not fit each other"
    if count < max(router.neighbours, len(router.tasks)):
        return f"{count} keys"
    distinct = {name.lower() for name in router.tasks}, set(router.at)
    if [len(each) for each in distinct] != [len(router.tasks), len(router.at)]:
        return "a task or a place named twice"
    return None
