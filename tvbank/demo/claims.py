"""What the demo claims, and whether it happened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from tvbank.demo.report import Row
from tvbank.demo.settings import Settings


@final
@dataclass(frozen=True)
class Claim:
    """One sentence, and what contradicts it.

    Attributes:
        text: what is claimed.
        failures: why it is not so; empty if it is.
    """

    text: str
    failures: tuple[str, ...] = ()


def check_claims(
    rows: Sequence[Row],
    faults: Sequence[str],
    differing: Sequence[str],
    drop: float,
    settings: Settings,
) -> list[Claim]:
    """Hold the claims against what was measured.

    Args:
        rows: of the table; one that could not be read back has an error.
        faults: what ``verify`` found.
        differing: units of the exact task's export that are not those of its checkpoint, bit for
            bit.
        drop: T-Switch's share of dropped entries.
        settings: the margins.
    """
    share = allowed_share(drop, settings.overhead)
    exact = [row for row in rows if row.exact]
    lossy = [row for row in rows if not row.exact]
    return [
        Claim("verify read every byte of the bank and found no fault", tuple(faults)),
        Claim(
            f"all {len(rows)} tasks came back from disk",
            tuple(f"{row.task}: {row.error}" for row in rows if row.error is not None),
        ),
        Claim(
            f"{', '.join(row.task for row in exact)} is its checkpoint bit for bit",
            tuple(f"{unit} differs from the checkpoint's" for unit in differing),
        ),
        Claim(
            f"no task lost more than {100 * settings.margin:g} points of accuracy",
            tuple(
                f"{row.task} lost {100 * (row.tuned_accuracy - row.bank_accuracy):.1f} points"
                for row in rows
                if row.bank_accuracy is not None
                and row.tuned_accuracy - row.bank_accuracy > (0 if row.exact else settings.margin)
            ),
        ),
        Claim(
            "each does better than the base with a linear probe",
            tuple(
                f"{row.task} scores {100 * row.bank_accuracy:.1f}, "
                f"the base {100 * row.base_accuracy:.1f}"
                for row in rows
                if row.bank_accuracy is not None
                and row.bank_accuracy - row.base_accuracy <= settings.gain
            ),
        ),
        Claim(
            f"each T-Switch task takes less than {100 * share:.1f} % of its checkpoint",
            tuple(
                f"{row.task} takes {100 * row.stored_bytes / row.checkpoint_bytes:.1f} %"
                for row in lossy
                if row.stored_bytes >= share * row.checkpoint_bytes
            ),
        ),
    ]


def allowed_share(drop: float, overhead: float) -> float:
    """Share of a float32 checkpoint's bytes that a T-Switch task may take.

    Args:
        drop: share of dropped entries, alpha.
        overhead: share for everything but mask and signs.

    Returns:
        (H(alpha) + 1 - alpha) / 32 + overhead; H is the entropy of an independent mask, in bits.
    """
    entropy = -sum(p * math.log2(p) for p in (drop, 1 - drop) if p)
    return (entropy + 1 - drop) / 32 + overhead
