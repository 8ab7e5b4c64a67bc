"""LoRA in one file without a configuration: as diffusers and kohya's scripts write it.

diffusers' names are those of a pipeline's models, ``unet.<module>.lora_A.weight``, and the header
may have their configurations; kohya's have ``_`` for every dot, as in
``lora_unet_<module>.lora_down.weight``, and an ``alpha`` beside each pair.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tvbank._json import MAX_JSON_BYTES, parse_json
from tvbank.checkpoint import Checkpoint
from tvbank.errors import CheckpointError, UnitMismatchError, name_some
from tvbank.layout import Layout

#: The file that diffusers writes into a folder.
LORA_FILE = "pytorch_lora_weights.safetensors"

_PARTS = {"lora_A.weight": "lora_A", "lora_B.weight": "lora_B", "lora.down.weight": "lora_A",
          "lora.up.weight": "lora_B", "lora_down.weight": "lora_A", "lora_up.weight": "lora_B",
          "alpha": "alpha"}  # fmt: skip
_PART = re.compile(r"(.+)\.(" + "|".join(map(re.escape, _PARTS)) + r")\Z")

#: Which model of a pipeline a name is of.
_KOHYA = re.compile(r"(lora_(?:unet|te\d?|transformer))_")
_DIFFUSERS = re.compile(r"((?:unet|transformer|text_encoder(?:_\d)?)\.)")


def style_of(weights: Checkpoint) -> str:
    """``kohya`` or ``diffusers`` if all names are of such a file; else empty."""
    names = [*weights.tensors, *weights.tied]
    if not any("lora" in name for name in names):
        return ""
    for style, pattern in (("kohya", _KOHYA), ("diffusers", _DIFFUSERS)):
        if names and all(pattern.match(name) for name in names):
            return style
    return ""


def model_of(module: str) -> str:
    """Which model of a pipeline a module is of: the beginning of its name, ``unet.``."""
    match = _KOHYA.match(module) or _DIFFUSERS.match(module)
    return match[0] if match else ""


def configurations(source: str, read: Callable[[int, int], bytes]) -> dict[str, Any]:
    """What diffusers puts into the header: options, each after its model's name; mostly none.

    Args:
        source: the file, for messages.
        read: its bytes from one place to another.

    Raises:
        CheckpointError: it is there and no JSON object.
    """
    size = int.from_bytes(read(0, 8), "little")
    header = read(8, 8 + min(size, MAX_JSON_BYTES))
    try:
        text = parse_json(header).get("__metadata__", {}).get("lora_adapter_metadata", "{}")
        found = parse_json(text.encode())
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{source}: its header's configuration is none: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{source}: its header's configuration is no object")
    return found


def split_part(source: str, tensor: str) -> tuple[str, str]:
    """A tensor's module and part.

    Raises:
        CheckpointError: a part that is not known.
    """
    match = _PART.match(tensor)
    if match is None:
        raise CheckpointError(
            f"{source}: an adapter with {tensor!r}, which is no factor that tvbank knows: merge it "
            "into its base, and add the result"
        )
    return match[1], _PARTS[match[2]]


def of_this_base(source: str, modules: Iterable[str], layout: Layout) -> Mapping[str, str]:
    """What the bank calls the modules that are of its base; those of other models are left out.

    A pipeline has several models, and its file the factors of all of them.

    Raises:
        UnitMismatchError: there is no model of which all modules are in the base; or a name that
            stands for several.
    """
    flat: dict[str, list[str]] = {}
    for name in (*layout.by_name, *layout.tied):
        if name.endswith(".weight"):
            module = name.removesuffix(".weight")
            flat.setdefault(module.replace(".", "_"), []).append(module)
    models: dict[str, dict[str, list[str]]] = {}
    for module in modules:
        prefix = model_of(module)
        rest = module.removeprefix(prefix).replace(".", "_")
        models.setdefault(prefix, {})[module] = flat.get(rest, [])
    whole = {p: found for p, found in models.items() if all(len(f) == 1 for f in found.values())}
    if len(whole) != 1:
        lacking = [m for found in models.values() for m, f in found.items() if len(f) != 1]
        raise UnitMismatchError(
            f"{source} does not fit the base: of no model of its adapter ({', '.join(models)}) the "
            f"base has all modules, such as {name_some(lacking)}: give a bank of that model"
            if not whole
            else f"{source}: an adapter of several models that all fit the base: {list(whole)}"
        )
    return {module: found[0] for module, found in next(iter(whole.values())).items()}
