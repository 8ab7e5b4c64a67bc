"""Which tasks a router takes for each other, by the examples that it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.routing._examples import Examples
from tvbank.routing._held_out import hold_out
from tvbank.routing.router import Router

#: Numbers of keys above which none are held out: fitting five times would take minutes.
_MOST = 2**25


@final
@dataclass(frozen=True, eq=False)
class Confusion:
    """Where examples would go, each held out in turn from a router fitted to the others.

    Attributes:
        counts: int64 [K, K + 1], by the example's own task and the one it would go to; the last
            column counts those that would be rejected.
    """

    counts: NDArray[np.int64]

    @property
    def right(self) -> float:
        """Share that would go to their own task."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def rejected(self) -> float:
        """Share that would be rejected."""
        return float(self.counts[:, -1].sum() / self.counts.sum())


def confusion(router: Router) -> Confusion | None:
    """Hold a fifth of a router's examples out, five times in turn, and route them.

    The router is fitted to the rest as it was fitted itself; what is rejected is told by its own
    thresholds. None where that cannot be known: the router keeps centres in place of examples, or
    no task has two, or there are so many that fitting anew would take minutes.
    """
    if router.method.centres is not None or router.keys.size > _MOST:
        return None
    held = hold_out(Examples(router.tasks, router.keys, router.owners), router.method)
    if held is None:
        return None
    tasks = len(router.tasks)
    column = held.top.copy()
    if router.rejection is not None:
        known = held.evidence >= router.rejection.evidence
        known &= held.distance <= router.rejection.distance
        column[~known] = tasks
    cells = np.bincount(held.owners * (tasks + 1) + column, minlength=tasks * (tasks + 1))
    return Confusion(cells.reshape(tasks, tasks + 1).astype(np.int64))
