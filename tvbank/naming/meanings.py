"""What the name of a tensor tells: a buffer, a tie, a constant, a wrapper's prefix.

A file says nothing of its tensors but their names. These tables hold what torch, transformers, timm
and quantisation libraries call them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

from tvbank.checkpoint import TensorSpec

__all__ = [
    "is_buffer",
    "is_constant",
    "is_constant_name",
    "is_tie",
    "lacks_heads_only",
    "remedy_for_names",
]

#: Statistics, counters, quantisation scales and the vectors of spectral norms: no gradient reaches
#: them, and arithmetic on them can leave their domain.
_BUFFERS = re.compile(
    r"((running|moving)_\w+|num_batches_tracked|n_averaged|num_updates"
    r"|(\w+_)?(mean|var|variance|std)|count|\w+_count"
    r"|zero_points?|(min|max)_vals?|(fake_quant|observer)_enabled"
    r"|(weight|input|output|activation|q|k|v)_scale(_inv)?|SCB|absmax|nested_absmax|quant_map"
    r"|weight_(u|v|sigma)|_u|_v|ema_\w+|\w+_ema|cluster_size|embed_avg"
    r"|(original_)?inv_freq)"
)

#: Modules whose own ``scale`` and ``eps`` are set by observers.
_OBSERVERS = re.compile(r"(\w+_)?(fake_quant|observer|activation_post_process)(_\d+)?")

#: What a model computes from its configuration, or only counts with: files may lack it.
_CONSTANTS = re.compile(
    r"(num_batches_tracked|position_ids|token_type_ids|(original_)?inv_freq|masked_bias"
    r"|relative_position_index|relative_coords_table|causal_mask|attn_mask|(cos|sin)_cached)"
)

#: Embeddings and output layers that libraries tie, and list once or twice.
_TIES = re.compile(
    r"(^|\.)(lm_head|embed_out|embed_tokens|shared|wte|(word|tok|token)_embeddings?|decoder"
    r"|proj_out|output|output_projection|output_layer|generator\.proj)\.(weight|bias)$"
)

#: Modules that a model has for one task only, and another fine-tune of its body has not.
_HEADS = re.compile(
    r"(cls|(\w+_)?(lm_)?heads?|pooler|(\w+_)?classifier|classification_\w+|classif_\w+|score"
    r"|fc|qa_outputs|embed_out|predictions|lm_predictions|mask_predictions|vocab_\w+"
    r"|generator_\w+|discriminator_\w+|pre_classifier|logits_proj|proj_out|text_projection"
    r"|visual_projection|pred_layer|seq_relationship|sequence_summary|multi_choice_\w+)"
)

_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_ADAPTERS = ("lora_A", "lora_B", "lora_embedding_A", "ia3_l", "hada_w1_a", "prompt_embeddings")

#: Missing names that are looked for under another prefix.
_LOOKED_FOR = 3


def is_buffer(name: str, names: Collection[str] = ()) -> bool:
    """Whether a tensor is a buffer by its name: a variance, a counter, a scale of a quantiser.

    Args:
        name: the tensor's.
        names: of all tensors: a ``scale`` beside a ``zero_point`` is a quantiser's.
    """
    parts = name.split(".")
    last, above = parts[-1], parts[:-1]
    if _BUFFERS.fullmatch(last) or "shadow" in parts:
        return True
    if last in ("scale", "scales", "eps"):
        beside = ".".join([*above, "zero_point"])
        return beside in names or any(_OBSERVERS.fullmatch(part) for part in above[-1:])
    return False


def is_constant(spec: TensorSpec) -> bool:
    """Whether a fine-tune may lack a tensor, since nobody trains it: the base's stands for it."""
    parts = spec.name.split(".")
    if _CONSTANTS.fullmatch(parts[-1]) or parts[-2:] == ["rope", "freqs"]:
        return True
    square = len(spec.shape) == 4 and spec.shape[:2] == (1, 1) and spec.shape[2] == spec.shape[3]
    return square and parts[-1] == "bias"  # the causal mask of GPT-2 and its kin


def is_constant_name(name: str) -> bool:
    """As ``is_constant``, where only a name is known."""
    return is_constant(TensorSpec(name, "float32", ()))


def lacks_heads_only(missing: Collection[str], present: Collection[str]) -> bool:
    """Whether what a model lacks of another is heads: it is then the same model for another task.

    Args:
        missing: names that it lacks.
        present: those that it has; of what lies in a head that something is missing of, it must
            have nothing, and in all more than it lacks.
    """
    heads = set()
    for name in missing:
        parts = name.split(".")
        at = next((n for n, part in enumerate(parts[:-1]) if _HEADS.fullmatch(part)), None)
        if at is None:
            return False
        heads.add(".".join(parts[: at + 1]) + ".")
    begun = any(name.startswith(tuple(heads)) for name in present)
    return not begun and len(missing) < len(present)


def is_tie(name: str) -> bool:
    """Whether libraries are used to tie a tensor of that name to another one."""
    return _TIES.search(name) is not None


def remedy_for_names(missing: Collection[str], present: Collection[str]) -> str:
    """What to do about names of the base that a checkpoint lacks: the prefix that differs, if any.

    Args:
        missing: names of the base.
        present: names of the checkpoint.
    """
    if any(part in name.split(".") for name in present for part in _ADAPTERS):
        return (
            "it is an adapter (LoRA or another of peft's): merge it into its base "
            "(merge_and_unload()) and give the full model"
        )
    for wrapper in _WRAPPERS:
        bare = {_without(name, wrapper) for name in present}
        if len(bare.intersection(missing)) * 2 >= len(missing):
            return (
                f"its names have {wrapper + '.'!r} where the base's do not: take it out of them "
                f"({{name.replace({wrapper + '.'!r}, ''): tensor for name, tensor in ….items()}})"
            )
    ours, theirs = _prefixes(missing, present)
    if theirs and not ours:
        return (
            f"its names begin with {theirs!r} where the base's do not: take it away "
            f"({{name.removeprefix({theirs!r}): tensor for name, tensor in ….items()}}), or make "
            "a bank of a base whose names have it"
        )
    if ours and not theirs:
        return (
            f"the base's names begin with {ours!r} and its do not: put it before them "
            f"({{{ours!r} + name: tensor for name, tensor in ….items()}})"
        )
    if ours:
        return (
            f"its names begin with {theirs!r} where the base's begin with {ours!r}: rename them "
            f"({{{ours!r} + name.removeprefix({theirs!r}): tensor for name, tensor in …}})"
        )
    return "give a full checkpoint of the same model"


def _without(name: str, part: str) -> str:
    return ".".join(other for other in name.split(".") if other != part)


def _prefixes(missing: Collection[str], present: Collection[str]) -> tuple[str, str]:
    """What stands before the base's names, and before the checkpoint's, if that is the difference.

    At least half of the missing names must be there under the other prefix.
    """
    found: Counter[tuple[str, str]] = Counter()
    for name in list(missing)[:_LOOKED_FOR]:
        found.update(_candidates(name, present))
    for (ours, theirs), _ in found.most_common(_LOOKED_FOR):
        fitting = [n for n in missing if n.startswith(ours) and theirs + n[len(ours) :] in present]
        if len(fitting) * 2 >= len(missing):
            return ours, theirs
    return "", ""


def _candidates(name: str, present: Iterable[str]) -> set[tuple[str, str]]:
    """Pairs of prefixes with which a missing name is a present one."""
    parts = name.split(".")
    pairs: dict[tuple[str, str], int] = {}
    for other in present:
        others, same = other.split("."), 0
        while same < min(len(parts), len(others)) and parts[-1 - same] == others[-1 - same]:
            same += 1
        if same:
            ours, theirs = parts[: len(parts) - same], others[: len(others) - same]
            pair = "".join(f"{p}." for p in ours), "".join(f"{p}." for p in theirs)
            pairs[pair] = max(same, pairs.get(pair, 0))
    most = max(pairs.values(), default=0)
    return {pair for pair, same in pairs.items() if same == most}
