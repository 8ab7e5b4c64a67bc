"""What the name of a tensor tells: a buffer, a tie, a constant, a head.

A file says nothing of its tensors but their names. These tables hold what torch, transformers, timm
and quantisation libraries call them.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from tvbank.checkpoint import TensorSpec

__all__ = [
    "is_buffer",
    "is_constant",
    "is_constant_name",
    "is_quantised",
    "lacks_heads_only",
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

#: What GPTQ, AWQ, bitsandbytes, compressed-tensors, FP8 and MXFP4 checkpoints have beside weights.
_PACKED = re.compile(
    r"\.(qweight|qzeros|g_idx|SCB|weight_format|weight_(packed|shape|zero_point|scale(_inv)?)"
    r"|weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..+)"
    r"|\w+_proj_(blocks|scales))$"
)

#: Modules that a model has for one task only, and another fine-tune of its body has not.
_HEADS = re.compile(
    r"(cls|(\w+_)?(lm_)?heads?|pooler|(\w+_)?classifier|classification_\w+|classif_\w+|score"
    r"|fc|qa_outputs|embed_out|predictions|lm_predictions|mask_predictions|vocab_\w+"
    r"|generator_\w+|discriminator_\w+|pre_classifier|logits_proj|proj_out|text_projection"
    r"|visual_projection|pred_layer|seq_relationship|sequence_summary|multi_choice_\w+)"
)


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


def is_quantised(name: str) -> bool:
    """Whether a tensor of that name is there only where weights are packed or scaled integers."""
    return _PACKED.search(name) is not None
