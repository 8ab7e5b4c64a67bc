"""GGUF files as fine-tunes of a Hugging Face base, and Hugging Face's fine-tunes of a GGUF base.

If the base is a GGUF file too, names and element types are compared as they are. If it is not, each
of the base's names is looked up in the ``gguf`` package's table of the file's architecture, and the
weights are turned back into what Hugging Face's model has, as transformers does it:

==================  ==========================================================================
llama (mistral)     rows of q and k, which llama.cpp pairs for its rotary embedding, put back
qwen2, qwen3, phi3  as they are
gemma2, gemma3      1 taken from the weights of norms, in float32
gpt2                matrices transposed (Conv1D)
==================  ==========================================================================

For a fine-tune of a GGUF base the same is done the other way round. Values are rounded once to the
base's element types: files of f16 have norms in f32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
    if not (heads := _heads(name, weights, metadata)):
        return weights
    pairs = weights.reshape(heads, len(weights) // heads // 2, 2, *weights.shape[1:])
    return pairs.swapaxes(2, 1).reshape(weights.shape)


def _paired(name: str, weights: NDArray[Any], metadata: Mapping[str, Any]) -> NDArray[Any]:
    if not (heads := _heads(name, weights, metadata)):
        return weights
    halves = weights.reshape(heads, 2, len(weights) // heads // 2, *weights.shape[1:])
    return halves.swapaxes(2, 1).reshape(weights.shape)


def _heads(name: str, weights: NDArray[Any], metadata: Mapping[str, Any]) -> int:
    """The heads of q or k; 0 of other tensors."""
    if ".attn_q." not in name and ".attn_k." not in name:
        return 0
    heads = metadata.get("llama.attention.head_count")
    if ".attn_k." in name:
        heads = metadata.get("llama.attention.head_count_kv", heads)
    if not isinstance(heads, int) or heads < 1 or len(weights) % (2 * heads):
        raise CheckpointError(
            f"tensor {name!r} has {len(weights)} rows, which {heads!r} heads do not divide into "
            "pairs: the file is damaged, or of a model with other numbers of heads in each layer"
        )
    return heads


def _without_one(name: str, weights: NDArray[Any], metadata: Mapping[str, Any]) -> NDArray[Any]:
    return weights.astype(np.float32) - np.float32(1) if name.endswith("norm.weight") else weights


def _with_one(name: str, weights: NDArray[Any], metadata: Mapping[str, Any]) -> NDArray[Any]:
    return weights.astype(np.float32) + np.float32(1) if name.endswith("norm.weight") else weights


def _transposed(name: str, weights: NDArray[Any], metadata: Mapping[str, Any]) -> NDArray[Any]:
    return weights.T if name.endswith(_TRANSPOSED) else weights


#: What is done with the weights of each architecture: from GGUF, and back.
_TURNS: Final[dict[str, tuple[Turn, Turn]]] = {
    "llama": (_unpaired, _paired),
    "qwen2": (_as_it_is, _as_it_is),
    "qwen3": (_as_it_is, _as_it_is),
    "phi3": (_as_it_is, _as_it_is),
    "gemma2": (_without_one, _with_one),
    "gemma3": (_without_one, _with_one),
    "gpt2": (_transposed, _transposed),
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
    return _OfGguf(file, base)


def over_gguf(tuned: Checkpoint, base: Checkpoint) -> Checkpoint:
    """A fine-tune in the names of its base, if that is a GGUF file and the fine-tune is not.

    Raises:
        CheckpointError: the base is of an architecture that is not known.
        UsageError: the package ``gguf`` is needed, and not installed.
    """
    if not isinstance(base, GgufCheckpoint) or not set(base.tensors).isdisjoint(tuned.tensors):
        return tuned
    return _ForGguf(tuned, base)


@final
class _OfGguf(Checkpoint):
    """A GGUF file's tensors under the base's names."""

    def __init__(self, file: GgufCheckpoint, base: Checkpoint) -> None:
        self._file = file
        self._from = _names(file, base)
        self._turn = _TURNS[_architecture(file)][0]
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


@final
class _ForGguf(Checkpoint):
    """A fine-tune's tensors under the names of its base, a GGUF file; further ones keep theirs."""

    def __init__(self, tuned: Checkpoint, base: GgufCheckpoint) -> None:
        self._tuned, self._base = tuned, base
        self._turn = _TURNS[_architecture(base)][1]
        mapped = _mapped(base, [*tuned.tensors, *tuned.tied])
        self._from = {own: name for name, own in mapped.items()}
        specs = {name: base.tensors[name] for name in _CONSTANTS if name in base.tensors}
        for name, spec in tuned.tensors.items():
            own = mapped.get(name, name)
            shape, dtype = spec.shape, spec.dtype
            if (there := base.tensors.get(own)) is not None:
                turned = self._turn is _transposed and _is_turned(own)
                shape, dtype = shape[::-1] if turned else shape, there.dtype
                shape = there.shape if there.size == spec.size and 1 in there.shape else shape
            specs[own] = TensorSpec(own, dtype, shape)
        tied = {mapped.get(name, name): mapped.get(to, to) for name, to in tuned.tied.items()}
        super().__init__(tuned.source, specs, tied)

    def is_buffer(self, name: str) -> bool | None:
        """See ``Checkpoint.is_buffer``."""
        return self._tuned.is_buffer(self._from.get(name, name))

    def expect(self, names: Iterable[str]) -> None:
        """See ``Checkpoint.expect``."""
        owners = (self.tied.get(name, name) for name in names)
        self._tuned.expect(self._from.get(n, n) for n in owners if n not in _CONSTANTS)

    def _read(self, spec: TensorSpec) -> NDArray[Any]:
        if spec.name in _CONSTANTS:
            return self._base.read(spec.name)
        weights = self._tuned.read(self._from.get(spec.name, spec.name))
        turned = self._turn(spec.name, weights, self._base.metadata)
        return cast(turned, DTYPES[spec.dtype]).reshape(spec.shape)

    def _close(self) -> None:
        self._tuned.close()


def _is_turned(name: str) -> bool:
    return name.endswith(_TRANSPOSED)


def _architecture(file: GgufCheckpoint) -> str:
    """The architecture of a file, which is one of those whose names are known.

    Raises:
        CheckpointError: it is not.
    """
    architecture = str(file.metadata.get("general.architecture"))
    if architecture not in _TURNS:
        raise CheckpointError(
            f"{file.source!r} is of the architecture {architecture!r}, whose names are not known "
            f"here ({', '.join(_TURNS)} are): convert it to safetensors, or give base and "
            "fine-tune both as GGUF files"
        )
    return architecture


def _mapped(file: GgufCheckpoint, names: Iterable[str]) -> dict[str, str]:
    """The file's tensor for each of some names of transformers', as far as it has them."""
    table = _table(file, _architecture(file))
    found = {}
    for name in names:
        stem, dot, end = name.rpartition(".")
        stem, suffix = (stem, dot + end) if end in ("weight", "bias") else (name, "")
        mapped = table.get_name(stem)
        if mapped is not None and f"{mapped}{suffix}" in file.tensors:
            found[name] = f"{mapped}{suffix}"
    return found


def _names(file: GgufCheckpoint, base: Checkpoint) -> dict[str, str]:
    """The file's tensor for each of the base's, as far as it has them.

    Raises:
        UnitMismatchError: it has others.
    """
    found = _mapped(file, base.tensors)
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
