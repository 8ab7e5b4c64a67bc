"""What of a base's configuration a fine-tune changes.

``config_patch`` is what its own ``config.json`` says otherwise; ``fitted`` is what the shapes of
the units show that it keeps whole: rows of an embedding, classes of a head.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = [
    "CONFIG",
    "LACKS",
    "config_patch",
    "fitted",
    "is_head",
    "labels",
    "members_of_rows",
    "merge_patch",
    "rebuilt",
]

#: Under which a task's metadata hold its configuration's patch.
CONFIG = "config"

#: The member of a task's metadata that names heads of the base that the fine-tune has not.
LACKS = "lacks"

#: Members that are replaced as a whole.
_LABELS = ("id2label", "label2id")

#: What says nothing of the weights, or must stay as the base has it, whose types are written.
_OTHERS = {
    "_name_or_path", "transformers_version", "torch_dtype", "dtype", "auto_map",
    "quantization_config", "use_cache", "_commit_hash", "_attn_implementation",
}  # fmt: skip

#: The last module in the name of an embedding, and what a configuration calls its rows.
_ROWS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (
        re.compile(
            r"embed_tokens|tok_embeddings|(word|token)_embeddings?|wte|shared|embed_in|embeddings"
        ),
        ("vocab_size",),
    ),
    (
        re.compile(r"position_embeddings?|wpe|embed_positions"),
        ("max_position_embeddings", "n_positions", "max_source_positions", "max_target_positions"),
    ),
    (re.compile(r"token_type_embeddings"), ("type_vocab_size",)),
)

#: Heads that score classes.
_HEAD = re.compile(
    r"(^|.*\.)(classifier(\.\d+)?|score|(classifier|classification_head)\.out_proj)\.weight"
)

#: Output layers that are the input's embedding unless a task has one of its own.
_OUTPUT = re.compile(r"(^|.*\.)(lm_head|embed_out)\.weight")

#: What configurations call the number of layers, and lists that say something of each.
_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_OF_LAYERS = ("layer_types", "mlp_layer_types", "layers_block_type", "no_rope_layers")

#: Levels of a configuration's objects and arrays.
_DEEPEST = 32

Shape = tuple[int, ...]


def config_patch(base: Mapping[str, Any], tuned: Mapping[str, Any]) -> dict[str, Any]:
    """What a fine-tune's configuration says otherwise than its base's (a patch as of RFC 7386).

    Args:
        base: the base's ``config.json``.
        tuned: the fine-tune's.

    Returns:
        Members with their new values; None for those that it lacks. Empty if nothing matters.
    """
    patch: dict[str, Any] = {}
    for name in [*base, *(name for name in tuned if name not in base)]:
        if name in _OTHERS or base.get(name) == tuned.get(name):
            continue
        before, after = base.get(name), tuned.get(name)
        if name == "architectures" and not after:  # a wrapper's, which is not the model's
            continue
        if name in _LABELS or not (isinstance(before, Mapping) and isinstance(after, Mapping)):
            patch[name] = after
        elif inner := config_patch(before, after):
            patch[name] = inner
    return patch


def merge_patch(config: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with a patch of ``config_patch`` applied.

    A patch comes with a bank, which may be a stranger's: it names no code to run and no other
    element types.
    """
    result = dict(config)
    for name, after in patch.items():
        before = result.get(name)
        if name in _OTHERS:
            continue
        if after is None:
            result.pop(name, None)
        elif isinstance(after, Mapping) and name not in _LABELS:
            result[name] = merge_patch(before if isinstance(before, Mapping) else {}, after)
        else:
            result[name] = after
    return result


def fitted(
    config: Mapping[str, Any], base: Mapping[str, Shape], kept: Mapping[str, Shape]
) -> dict[str, Any]:
    """A configuration whose sizes and ties are those of the weights.

    Args:
        config: of the base, or what its fine-tune says.
        base: the shapes of the base's units, by the names that own them.
        kept: the shapes of the units that a task keeps whole.
    """
    result: dict[str, Any] = copy.deepcopy(dict(config))
    for name, shape in kept.items():
        if len(shape) == 2:
            _fit_rows(result, name, base.get(name), shape)
            _fit_labels(result, name, shape)
            if _OUTPUT.fullmatch(name) and name not in base:
                for part in _parts(result):
                    if part is result or "tie_word_embeddings" in part:
                        part["tie_word_embeddings"] = False
    return result


def is_deep(value: object) -> bool:
    """Whether JSON is nested deeper than any configuration."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _within(outer)]
    return bool(level)


def _within(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def members_of_rows(name: str) -> tuple[str, ...]:
    """What configurations call the number of rows of an embedding; nothing for other units."""
    parts = name.split(".")
    module = parts[-2] if len(parts) > 1 else ""
    return tuple(m for pattern, members in _ROWS if pattern.fullmatch(module) for m in members)


def is_head(name: str) -> bool:
    """Whether a unit is, by its name, the weight of a layer that scores classes."""
    return _HEAD.fullmatch(name) is not None


def labels(count: int) -> tuple[dict[int, str], dict[str, int]]:
    """Names for so many classes, as transformers gives them: by number, and the numbers by name."""
    by_number = {number: f"LABEL_{number}" for number in range(count)}
    return by_number, {text: number for number, text in by_number.items()}


def rebuilt(
    config: Mapping[str, Any], before: int, layers: Sequence[int], dtype: str
) -> dict[str, Any]:
    """A configuration with other layers, or another element type.

    Args:
        config: of the base.
        before: how many layers the base has.
        layers: which of them those of the weights are; empty if they are the same.
        dtype: of the weights; empty if it is the base's.
    """
    result: dict[str, Any] = copy.deepcopy(dict(config))
    for part in _parts(result):
        for name in (*_COUNTS, *_OF_LAYERS) if layers else ():
            value = part.get(name)
            if name in _COUNTS and value == before:
                part[name] = len(layers)
            elif isinstance(value, list) and len(value) == before:
                part[name] = [value[layer] for layer in layers]
        for name in ("dtype", "torch_dtype") if dtype else ():
            if name in part:
                part[name] = dtype
    return result


def _fit_rows(config: dict[str, Any], name: str, before: Shape | None, shape: Shape) -> None:
    if before is None or before[0] == shape[0]:
        return
    for member in members_of_rows(name):
        for part in _parts(config):
            if part.get(member) == before[0]:
                part[member] = shape[0]


def _parts(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A configuration, and those of the parts of the model within it."""
    yield config
    for name, value in config.items():
        if isinstance(value, dict) and name not in _LABELS:
            yield from _parts(value)


def _fit_labels(config: dict[str, Any], name: str, shape: Shape) -> None:
    """As many labels as a head has rows; names that fit stay.

    Without labels, libraries take two.
    """
    if not is_head(name):
        return
    known = config.get("id2label")
    stated = config.get("num_labels")
    count = stated if isinstance(stated, int) else 2
    if isinstance(known, Mapping):
        count = len(known)
    if count != shape[0]:
        config.pop("num_labels", None)
        by_number, config["label2id"] = labels(shape[0])
        config["id2label"] = {str(number): text for number, text in by_number.items()}
