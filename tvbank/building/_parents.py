"""Which tasks of a build start from which: known before any work, but for the revisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tvbank.bank.chains import ancestors
from tvbank.bank.documents import CatalogEntry
from tvbank.bank.starting import is_anchor
from tvbank.building.manifest import PlannedTask, parents_first
from tvbank.errors import UsageError

#: Names by the names of tasks: of what each starts from; or why one cannot be built.
ByTask = dict[str, str]


def parents_of(
    tasks: Iterable[PlannedTask], there: Mapping[str, CatalogEntry]
) -> tuple[ByTask, ByTask]:
    """What each task that is planned starts from, if not from the base.

    Args:
        tasks: of a manifest.
        there: the tasks of the bank.

    Returns:
        parents: names; of a task that starts from the base, since its chain is as long as it may
            be, none.
        refused: why tasks cannot be built: of their parents, or of these themselves.
    """
    parents: ByTask = {}
    refused: ByTask = {}
    depths: dict[str, int] = {}
    for task in parents_first(tasks):
        depths[task.name] = 1
        if task.parent is None:
            continue
        try:
            depth = _depth(task.parent, depths, there, refused)
            if not is_anchor(task.parent, depth, task.anchor_every):
                parents[task.name] = task.parent
                depths[task.name] = depth + 1
        except UsageError as error:
            refused[task.name] = str(error)
    return parents, refused


def _depth(
    parent: str, depths: Mapping[str, int], there: Mapping[str, CatalogEntry], refused: ByTask
) -> int:
    """Tasks in a parent's chain, itself among them."""
    if parent in refused:
        raise UsageError(not_built(parent))
    if parent in depths:
        return depths[parent]
    if parent not in there:
        raise UsageError(
            f"its parent {parent!r} is neither in the bank nor in the manifest: name one that is, "
            "or give the manifest that task, too"
        )
    if there[parent].element != "int32":
        raise UsageError(
            f"its parent {parent!r}, in the bank, is not exact, so nothing can be steps from its "
            "state: name an exact one"
        )
    return 1 + len(ancestors(there, parent))


def not_built(parent: str) -> str:
    """Why a task is not built whose parent is not."""
    return (
        f"its parent {parent!r} was not built, see there: mend that, and build again; a parent "
        "that the bank has need not be in the manifest"
    )
