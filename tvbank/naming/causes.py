"""Why a checkpoint lacks units of the base, and what to do: one of four causes, each with a remedy.

An adapter, which holds no full weights; heads of another task; a wrapper or a prefix of which it
is not clear which is meant; or another model.
"""

from __future__ import annotations

from collections.abc import Collection

from tvbank.naming.meanings import is_quantised, lacks_heads_only
from tvbank.naming.prefixes import other_prefixes

__all__ = ["cause_of_lack", "is_adapter", "quantised_base"]

_ADAPTERS = ("lora_A", "lora_B", "lora_embedding_A", "ia3_l", "hada_w1_a", "prompt_embeddings")

_TAKE = "missing='base' (--missing base) takes them from the base"


def is_adapter(names: Collection[str]) -> bool:
    """Whether names are those of an adapter (LoRA or another of peft's), not of a full model."""
    return any(part in name.split(".") for name in names for part in _ADAPTERS)


def quantised_base(packed: Collection[str]) -> str:
    """What to do about a bank whose base has tensors that only quantised models have."""
    return (
        f"the bank's base is quantised (it has {next(iter(packed))!r}): make a bank of the model "
        "as it was before that, in floats, and add the fine-tunes to that one"
    )


def cause_of_lack(
    missing: Collection[str],
    units: Collection[str],
    further: Collection[str],
    *,
    of_base: bool = False,
) -> str:
    """Why names of the base are missing in a checkpoint, and what to do.

    Args:
        missing: names of the base that the checkpoint lacks.
        units: names of the base that it has.
        further: names that it has and the base has not.
        of_base: whether it was given in the base's place, where nothing may be missing.
    """
    if is_adapter(further):
        return (
            "it is an adapter (LoRA or another of peft's), which holds no full weights: give the "
            "adapter's own folder, with its adapter_config.json, or merge it into its base "
            "(merge_and_unload()) and give the full model"
        )
    if packed := [name for name in missing if is_quantised(name)]:
        return quantised_base(packed)
    if packed := [name for name in further if is_quantised(name)]:
        return (
            f"it is quantised (it has {packed[0]!r}): give the fine-tune in the base's own element "
            "types, dequantised"
        )
    pairs = other_prefixes(missing, further) if len(missing) > len(units) else []
    if len(pairs) > 1:
        shown = " or ".join(repr(theirs) for _, theirs in pairs[:3])
        if of_base:
            return f"it has names of the base several times, below {shown}"
        return (
            f"it has names of the base several times, below {shown}: say which with names=, a "
            "function or a mapping from the base's names to its own"
        )
    if of_base:
        return "it is not complete" if units else "it is another model, or has other names"
    if lacks_heads_only(missing, units):
        return f"it has other heads than the base, or none: {_TAKE}"
    if units:
        return (
            "it is not complete, or another model: give a full checkpoint of the same model; "
            f"{_TAKE}, if they were not fine-tuned; it also takes names or patterns of some"
        )
    return (
        "it is another model, or has other names: give a full checkpoint of the same model, or "
        "names=, a function or a mapping from the base's names to its own"
    )
