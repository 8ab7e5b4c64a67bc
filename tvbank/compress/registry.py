"""All compressors by name, the default first. A new one is its file and one row here."""

from __future__ import annotations

from typing import Any, Final

from tvbank._registry import Registry, Row
from tvbank.compress.protocol import Compressor

#: Sizes that a sweep tries, shares of the base.
_SIZES: Final = ("0.25 %", "0.5 %", "1 %", "2 %", "4 %")

COMPRESSORS: Final[Registry[Compressor]] = Registry(
    "compressor",
    "tvbank.compressors",
    Compressor,  # type: ignore[type-abstract]
    {
        "budget": Row(
            "tvbank.compress.budget.budget:Budget",
            ("budget", "products"),
            grid={"budget": _SIZES, "products": (False,)},
            instead={
                "tswitch": "{p}drop and {p}knob belong to {p}method tswitch; budget chooses both"
            },
        ),
        "tswitch": Row(
            "tvbank.compress.tswitch:TSwitch",
            ("drop", "knob"),
            grid={"knob": ("rms", "norm"), "drop": (0.5, 0.8, 0.9, 0.95, 0.98)},
        ),
        "exact": Row(
            "tvbank.compress.exact:Exact",
            ("standalone",),
            instead={
                "tswitch": "{p}drop and {p}knob belong to {p}method tswitch; exact drops nothing"
            },
        ),
        "flexswitch": Row(
            "tvbank.flexswitch:FlexSwitch",
            ("model", "data", "loss", "lam", "steps", "batch", "seed", "objective", "budget",
             "checkpoint", "products"),
            grid={"budget": _SIZES},
            instead={
                "tswitch": "{p}drop and {p}knob belong to {p}method tswitch; flexswitch learns "
                "both",
            },
            elsewhere="learns from a model and examples, which a manifest does not name: "
            "add such a task with `tvbank add --method flexswitch`",
        ),
    },
)  # fmt: skip


def compressor_named(method: str, prefix: str = "--", **options: Any) -> Compressor:
    """The compressor of a name; options that are None have its defaults.

    Args:
        method: one that ``COMPRESSORS`` knows, but not ``flexswitch``, which needs a model.
        prefix: what precedes an option's name where the user wrote it, for messages.
        options: of the compressor.

    Raises:
        PluginError: the compressor of another package cannot be loaded.
        UsageError: an option that belongs to another method, is missing, or is out of its range.
    """
    return COMPRESSORS.make(method, options, prefix=prefix)
