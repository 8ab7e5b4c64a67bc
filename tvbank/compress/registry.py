"""Compressors by their names and options, as command lines and manifests give them."""

from __future__ import annotations

from typing import Literal

from tvbank.compress.budget.budget import Budget
from tvbank.compress.exact import Exact
from tvbank.compress.protocol import Compressor
from tvbank.compress.tswitch import TSwitch
from tvbank.errors import UsageError

METHODS = ("tswitch", "budget", "exact")


def compressor_named(
    method: str,
    drop: float | None = None,
    knob: Literal["rms", "norm"] | None = None,
    target: str | None = None,
    prefix: str = "--",
) -> Compressor:
    """The compressor of a name; options that are None have its defaults.

    Args:
        method: its name, one of ``METHODS``.
        drop: of ``tswitch``: share of the entries of each sign to drop, 0.9 by default.
        knob: of ``tswitch``: the magnitude of what is kept.
        target: of ``budget``: the size.
        prefix: what stands before an option's name where the user wrote it, for messages.

    Raises:
        UsageError: an option that belongs to another method, is missing, or is out of its range.
    """
    named = f"{prefix}method"
    if method not in METHODS:
        raise UsageError(f"{named} must be one of {', '.join(METHODS)}, got {method!r}")
    if method != "tswitch" and (drop is not None or knob is not None):
        why = {"exact": "drops nothing", "budget": "chooses both"}[method]
        raise UsageError(f"{prefix}drop and {prefix}knob belong to {named} tswitch; {method} {why}")
    if method == "budget":
        if target is None:
            raise UsageError(f"{named} budget needs a size: {prefix}target '0.3 bits/param'")
        return Budget(target)
    if target is not None:
        raise UsageError(f"{prefix}target belongs to {named} budget, not to {method}")
    if method == "exact":
        return Exact()
    return TSwitch(drop=0.9 if drop is None else drop, knob="rms" if knob is None else knob)
