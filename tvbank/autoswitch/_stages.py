"""What may stand for a router, and the cascade that it means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tvbank.bank.bank import Bank
from tvbank.errors import TaskNotFoundError, UsageError, name_some
from tvbank.routing.cascade import Cascade
from tvbank.routing.router import Router

#: A router, its name in the bank, a cascade, or several of the first two to be asked in turn.
RouterLike = Router | str | Cascade | Sequence[Router | str]


def cascade_of(bank: Bank, router: RouterLike, pool: bool = False) -> Cascade:
    """The cascade that is meant, once the bank is known to have all its tasks.

    Args:
        bank: that it is to serve.
        router: what stands for it.
        pool: whether batches make examples surer of their task than they are alone.

    Raises:
        TaskNotFoundError: it knows tasks that the bank lacks; names them.
        UsageError: no routers, or something else.
    """
    cascade = router if isinstance(router, Cascade) else _cascade(_routers(bank, router), pool)
    missing = [name for name in cascade.tasks if name not in bank]
    if missing:
        raise TaskNotFoundError(
            f"the router knows tasks that {bank.location} lacks: {name_some(missing)}; add them, "
            "or fit a router to the tasks that the bank has"
        )
    return cascade


def _cascade(routers: Sequence[Router], pool: bool) -> Cascade:
    """Calibrated on the examples that the routers keep, if they keep the same ones.

    What is found on examples alone asks too much of pooled ones: the thresholds stay as they are.
    """
    keep = not pool and all(
        router.method.centres is None and np.array_equal(router.owners, routers[0].owners)
        for router in routers
    )
    if len(routers) > 1 and keep and np.bincount(routers[0].owners).min() > 1:
        return Cascade.calibrate(routers)
    return Cascade(routers)


def _routers(bank: Bank, router: Router | str | Sequence[Router | str]) -> list[Router]:
    several = isinstance(router, Sequence) and not isinstance(router, str)
    found: list[object] = list(router) if several else [router]  # type: ignore[arg-type]
    routers = []
    for each in found:
        if isinstance(each, str):
            each = bank.router(each, partial=True)  # what it lacks is told of all stages, above
        if not isinstance(each, Router):
            raise UsageError(f"a router, its name in the bank, or a cascade, not {each!r}")
        routers.append(each)
    return routers
