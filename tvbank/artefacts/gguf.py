"""GGUF files as fine-tunes: under their own names, or under those of a Hugging Face base.

If the base is a GGUF file too, names and element types are compared as they are. If it is not, each
of the base's names is looked up in the ``gguf`` package's table of the file's architecture, and the
weights are turned back into what Hugging Face's model has, as transformers does it:

==================  ==========================================================================
llama (mistral)     rows of q and k, which llama.cpp pairs for its rotary embedding, put back
qwen2, qwen3, phi3  as they are
gemma2, gemma3      1 taken from the weights of norms, in float32
gpt2                matrices transposed (Conv1D)
==================  ==========================================================================

Values are rounded once to the base's element types: files of f16 have norms in f32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.artefacts._artefact import cast
from tvbank.checkpoint import Checkpoint, GgufCheckpoint, TensorSpec
from tvbank.dtypes import DTYPES
from tvbank.errors import CheckpointError, UnitMismatchError, UsageError, name_some

#: Tensors that llama.cpp computes from the configuration.
_CONSTANTS: Final = frozenset({
    "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight",
})  # fmt: skip

_TRANSPOSED: Final = ("attn_qkv.weight", "ffn_down.weight", "ffn_up.weight", "attn_output.weight")

Turn = Callable[[str, NDArray[Any], Mapping[str, Any]], NDArray[Any]]


def _as_it_is(name: str, weights: NDArray[Any], metadata: Mapping[str, Any]) -> NDArray[Any]:
    return weights


def _unpaired(name: str, weights: NDArray[Any], metadata: Mapping[str, Any]) -> NDArray[Any]:
    if ".attn_q." not in name and ".attn_k." not in name:
        return weights
    heads = metadata.get("llama.attention.head_count")
    if ".attn_k." in name:
        heads = metadata.get("llama.attention.head_count_kv", heads)
    if not isinstance(heads, int) or heads < 1 or len(weights) % (2 * heads):
        raise CheckpointError(
            f"tensor {name!r} has {len(weights)} rows, which {heads!r} heads do not divide into "
            "pairs: the file is damaged, or of a model with other numbers of heads in each layer"
        )
    pairs = weights.reshape(heads, len(weights) // heads // 2, 2, *weights.shape[1:])
    return pairs.swapaxes(2, 1).reshape(weights.shape)


def _without_one(name: str, weights: NDArray[Any], metadata: Mapping[str, Any]) -> NDArray[Any]:
    return weights.astype(np.float32) - np.float32(1) if name.endswith("norm.weight") else weights


def _transposed(name: str, weights: NDArray[Any], metadata: Mapping[str, Any]) -> NDArray[Any]:
    return weights.T if name.endswith(_TRANSPOSED) else weights


#: What is done with the weights of each architecture.
_TURNS: Final[dict[str, Turn]] = {
    "llama": _unpaired,
    "qwen2": _as_it_is,
    "qwen3": _as_it_is,
    "phi3": _as_it_is,
    "gemma2": _without_one,
    "gemma3": _without_one,
    "gpt2": _transposed,
}


def open_gguf(path: Path, base: Checkpoint) -> Checkpoint:
    """Open a GGUF file as a fine-tune of a base.

    Raises:
        CheckpointError: damaged, quantised, an adapter, or of an architecture that is not known.
        UnitMismatchError: it has tensors for which the base has none.
        UsageError: the package ``gguf`` is needed, and not installed.
    """
    file = GgufCheckpoint(path)
    if not set(base.tensors).isdisjoint(file.tensors):
        return file
    return _Renamed(file, base)


@final
class _Renamed(Checkpoint):
    """A GGUF file's tensors under the base's names."""

    def __init__(self, file: GgufCheckpoint, base: Checkpoint) -> None:
        self._file = file
        self._from = _names(file, base)
        self._turn = _TURNS[str(file.metadata["general.architecture"])]
        specs = {}
        for name, own in self._from.items():
            there, here = base.tensors[name], file.tensors[own]
            shape = (
                here.shape[::-1] if self._turn is _transposed and _is_turned(own) else here.shape
            )
            shape = there.shape if there.size == here.size and 1 in there.shape else shape
            specs[name] = TensorSpec(name, there.dtype, shape)
        super().__init__(file.source, specs, {})

    def _read(self, spec: TensorSpec) -> NDArray[Any]:
        own = self._from[spec.name]
        turned = self._turn(own, self._file.read(own), self._file.metadata)
        return cast(turned, DTYPES[spec.dtype]).reshape(spec.shape)

    def _close(self) -> None:
        self._file.close()


def _is_turned(name: str) -> bool:
    return name.endswith(_TRANSPOSED)


def _names(file: GgufCheckpoint, base: Checkpoint) -> dict[str, str]:
    """The file's tensor for each of the base's, as far as it has them."""
    architecture = str(file.metadata.get("general.architecture"))
    if architecture not in _TURNS:
        raise CheckpointError(
            f"{file.source!r} is of the architecture {architecture!r}, whose names are not known "
            f"here ({', '.join(_TURNS)} are): convert it to safetensors, or make a bank of a base "
            "that is a GGUF file too"
        )
    table = _table(file, architecture)
    found = {}
    for name in base.tensors:
        stem, dot, end = name.rpartition(".")
        stem, suffix = (stem, dot + end) if end in ("weight", "bias") else (name, "")
        mapped = table.get_name(stem)
        if mapped is not None and f"{mapped}{suffix}" in file.tensors:
            found[name] = f"{mapped}{suffix}"
    left = [name for name in file.tensors if name not in {*found.values(), *_CONSTANTS}]
    if left:
        raise UnitMismatchError(
            f"{file.source} has tensors for which the base ({base.source}) has none "
            f"({name_some(left)}): give the base that it was converted from, in the names of "
            "transformers"
        )
    return found


def _table(file: GgufCheckpoint, architecture: str) -> Any:
    try:
        from gguf.constants import MODEL_ARCH_NAMES
        from gguf.tensor_mapping import get_tensor_name_map
    except ImportError as error:
        raise UsageError(
            f"{file.source} has GGUF's names and the base has others: to map them, pip install "
            f"'tvbank[gguf]' ({error})"
        ) from error
    blocks = file.metadata.get(f"{architecture}.block_count")
    if not isinstance(blocks, int) or not 0 < blocks <= len(file.tensors):
        raise CheckpointError(
            f"{file.source!r} is damaged (it states {blocks!r} blocks); fetch it again"
        )
    [kind] = [kind for kind, name in MODEL_ARCH_NAMES.items() if name == architecture]
    return get_tensor_name_map(kind, blocks)
