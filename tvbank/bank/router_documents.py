"""The document of a router: what it knows, what it is made of (spec/container.md, "Routers")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NoReturn

import msgspec
from msgspec import Meta

from tvbank.bank.documents import (
    JSON,
    ExtraRecord,
    ObjectKey,
    ObjectRecord,
    decode_document,
)
from tvbank.bank.extras import check_objects
from tvbank.bank.names import check_task_name
from tvbank.errors import CorruptionError, FormatError, InvalidNameError
from tvbank.layout import MAX_UNITS, Digest, check_shape, check_unit_name

MAX_PLACES = 1024

#: The arrays of a router, in their order; the last two if it has a metric.
KEYS, OWNERS, CENTRE, MATRIX = "keys", "owners", "centre", "matrix"
FLOATS = ("float16", "float32")

Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class RoutedTask(msgspec.Struct, frozen=True):
    """A task that a router knows, and the revision it had when the router was added."""

    name: str
    revision: Digest


class RecipeRecord(msgspec.Struct, frozen=True):
    """From where in the model the features come."""

    at: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_PLACES)]
    pooling: Literal["auto", "tokens", "maps", "first", "summary"]
    width: Count


class RejectionRecord(msgspec.Struct, frozen=True):
    """When an input is of no known task."""

    evidence: float
    distance: float


class RouterRevision(msgspec.Struct, frozen=True, kw_only=True):
    """All about one revision of one router."""

    layout: Digest
    tasks: Annotated[tuple[RoutedTask, ...], Meta(min_length=2, max_length=MAX_UNITS)]
    recipe: RecipeRecord
    neighbours: Count
    spread: Annotated[float, Meta(gt=0)]
    rejection: RejectionRecord | None
    objects: dict[ObjectKey, ObjectRecord]
    extras: Annotated[tuple[ExtraRecord, ...], Meta(max_length=4)]
    method: JSON


def decode_router(data: bytes, key: str, layout: str) -> RouterRevision:
    """Parse and check a router's document.

    Args:
        data: the document.
        key: its key.
        layout: digest of the bank's layout document.

    Raises:
        CorruptionError: ``document-syntax``, ``name``, ``layout``, ``limit``, ``router`` or
            ``extra``, in that order.
    """

    def refuse(reason: str, what: str) -> CorruptionError:
        return CorruptionError(reason, f"{key} {what}", key=key)

    revision = decode_document(data, RouterRevision, key)
    try:
        for task in revision.tasks:
            check_task_name(task.name)
        for extra in revision.extras:
            check_unit_name(extra.name)
    except InvalidNameError as error:
        raise refuse("name", f": {error}") from error
    except FormatError as error:
        raise refuse(error.reason, f": {error}") from error
    if revision.layout != layout:
        raise refuse("layout", "is of another layout")
    try:
        for extra in revision.extras:
            check_shape(extra.name, extra.shape)
    except FormatError as error:
        raise refuse(error.reason, f": {error}") from error
    if any(key == "delta/zarr.json" for key in revision.objects):
        raise refuse("extra", "lists a delta")
    if fault := _contradiction(revision):
        raise refuse("router", fault)
    check_objects(revision.extras, revision.objects, 0, refuse)
    return revision


def _contradiction(revision: RouterRevision) -> str | None:
    """What does not fit together in a document, if anything."""
    if len({task.name.lower() for task in revision.tasks}) != len(revision.tasks):
        return "names a task twice"
    if len(set(revision.recipe.at)) != len(revision.recipe.at):
        return "names a module twice"
    shapes = {extra.name: extra.shape for extra in revision.extras}
    names = tuple(extra.name for extra in revision.extras)
    if names not in ((KEYS, OWNERS), (KEYS, OWNERS, CENTRE, MATRIX)):
        return f"has the arrays {list(names)}"
    if fault := _wrong_types(revision.extras):
        return fault
    count = shapes[OWNERS][0] if len(shapes[OWNERS]) == 1 else 0
    width = revision.recipe.width
    if not count or shapes[KEYS] != (count, width):
        return f"has keys of shape {shapes[KEYS]} with owners of shape {shapes[OWNERS]}"
    if not max(len(revision.tasks), revision.neighbours) <= count:
        return f"has only {count} keys"
    if MATRIX in shapes:
        matrix = shapes[MATRIX]
        if shapes[CENTRE] != (width,) or len(matrix) != 2 or matrix[1] != width or not matrix[0]:
            return f"has a metric of shapes {shapes[CENTRE]} and {matrix}"
    return None


def _wrong_types(extras: Sequence[ExtraRecord]) -> str | None:
    allowed = {KEYS: FLOATS, OWNERS: ("int32",), CENTRE: ("float32",), MATRIX: ("float32",)}
    for extra in extras:
        if extra.dtype not in allowed[extra.name]:
            return f"has {extra.name} of type {extra.dtype}"
    return None


def refuse_array(key: str, what: str) -> NoReturn:
    """Refuse the numbers of an array.

    Raises:
        CorruptionError: ``router``.
    """
    raise CorruptionError("router", f"{key}: {what}", key=key)
