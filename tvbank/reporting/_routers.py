"""What is known of a bank's routers."""

from __future__ import annotations

from tvbank.bank.bank import Bank
from tvbank.reporting.facts import RouterFacts
from tvbank.routing import confusion

#: Why there is no confusion of a router.
_UNKNOWN = (
    "which tasks it confuses is not known: it keeps centres in place of examples, or too few or "
    "too many examples to hold some out"
)
_UNMEASURED = "held-out examples are those of the tasks it knows: inputs of others are not known"


def routers_of(bank: Bank) -> tuple[RouterFacts, ...]:
    """All routers of a bank; of those that keep examples a fifth is held out five times in turn.

    Raises:
        CorruptionError: what is stored is missing or damaged.
    """
    found = []
    for name in bank.routers:
        stored = bank.stored_router(name)
        router = stored.load(partial=True)
        held = confusion(router)
        found.append(
            RouterFacts(
                name=name,
                tasks=stored.tasks,
                missing=stored.missing,
                replaced=stored.replaced,
                at=tuple(stored.document.recipe.at),
                keys=len(router.keys),
                width=router.width,
                stored_bytes=stored.stored_bytes,
                rejects=router.rejects,
                confusion=None if held is None else tuple(map(tuple, held.counts.tolist())),
                right=None if held is None else held.right,
                rejected=None if held is None else held.rejected,
                remark=_UNKNOWN if held is None else _UNMEASURED,
            )
        )
    return tuple(found)
