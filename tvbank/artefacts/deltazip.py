"""DeltaZip's compressed differences: a folder with quantised differences of linear layers.

``deltazip-compressed.safetensors`` beside ``compress_config.json`` (whose ``bits`` are 2, 3, 4, 8):

==============  ==========================================================================
``M.qweight``   int32 [in * bits / 32, out], codes below each other, the least bits first
``M.qzeros``    int32 [groups, out * bits / 32], zeros less one, beside each other
``M.scales``    float16 [groups, out]
``M.g_idx``     int32 [in], the group of each input
anything else   norms, embeddings, output layer: replacements, in the base's element type
==============  ==========================================================================

Delta.T = scales[g_idx] * (code - (zero + 1)) in float16, as DeltaZip has it; the sum with the base
is taken in float32 and rounded once, which for a float16 base is DeltaZip's own. The same tensors
without that configuration are a model quantised by GPTQ, and no difference: refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tvbank.artefacts._artefact import (
    Artefact,
    Change,
    Delta,
    Replacement,
    Stored,
    add_in_float32,
    base_shape,
    cast,
    check_size,
)
from tvbank.artefacts._bits import rows_of_words
from tvbank.artefacts._contents import Contents
from tvbank.artefacts._given import Given
from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.dtypes import DTYPES
from tvbank.errors import CheckpointError

CONFIG = "compress_config.json"
_PARTS = ("qweight", "qzeros", "scales", "g_idx")
_BITS = (2, 3, 4, 8)
_WORD = 32


@final
class DeltaZip(Artefact):
    """Quantised differences, or a quantised model, which is refused."""

    kind: ClassVar[str] = "deltazip"
    title: ClassVar[str] = "a compressed difference of DeltaZip"

    def __init__(self, path: Path, checkpoint: Checkpoint, config: Any) -> None:
        self.source, self.files = str(path), [path]
        self._held, self._config = checkpoint, config
        ends = {name: name.rpartition(".") for name in checkpoint.tensors}
        self._modules = [module for module, _, end in ends.values() if end == "qweight"]
        quantised = set(self._modules)
        self._whole = [
            name
            for name, (module, _, end) in ends.items()
            if not (module in quantised and end in _PARTS)
        ]

    @staticmethod
    def recognise(contents: Contents) -> DeltaZip | None:
        """A safetensors file with such tensors."""
        names = contents.tensors
        if not any(name.endswith(".qweight") for name in names):
            return None
        return DeltaZip(contents.path, contents.checkpoint, contents.json(CONFIG))

    @property
    def refusal(self) -> str:
        """Why it cannot be read; empty if it can."""
        config = self._config
        if not isinstance(config, dict):
            return (
                f"{self.source!r} holds quantised weights and no {CONFIG} beside it: it is a "
                "quantised model (GPTQ), neither weights nor a difference; give the model itself"
            )
        what = ""
        if config.get("lossless", "none") not in ("none", None):
            what = f"is compressed by {config['lossless']!r}, which needs a GPU"
        elif any(name.endswith(".meta") for name in self._whole) or (
            (config.get("prunen"), config.get("prunem"), config.get("bits")) == (2, 4, 4)
        ):
            what = "is stored as 2:4 sparse matrices"
        elif config.get("bits") not in _BITS:
            what = f"has codes of {config.get('bits')!r} bits"
        elif any(f"{module}.bias" in self._whole for module in self._modules):
            what = "has biases in its quantised layers, which may be differences or not"
        return what and (
            f"{self.source!r} {what}, and cannot be read here: restore the fine-tune with DeltaZip "
            "and give that"
        )

    def stored(self) -> Sequence[Stored]:
        """See ``Artefact.stored``."""
        rows = []
        for module in self._modules:
            parts = [self._part(module, part) for part in _PARTS]
            size = sum(part.nbytes for part in parts)
            rows.append(Stored(f"{module}.weight", "int32", parts[0].shape, size, "delta"))
        for name in self._whole:
            spec = self._held.tensors[name]
            rows.append(Stored(name, spec.dtype, spec.shape, spec.nbytes, "replacement"))
        return rows

    def notes(self) -> Mapping[str, Any]:
        """See ``Artefact.notes``."""
        config = self._config if isinstance(self._config, dict) else {}
        facts = {name: config.get(name) for name in ("base_model", "bits", "group_size")}
        return facts | ({"refused": self.refusal} if self.refusal else {})

    def changes(self, base: Checkpoint, given: Given) -> Mapping[str, Change]:
        """See ``Artefact.changes``."""
        if self.refusal:
            raise CheckpointError(self.refusal)
        changes: dict[str, Change] = {}
        for module in self._modules:
            name = f"{module}.weight"
            self._check(module, name, base_shape(self.source, base, name))
            changes[name] = Delta(partial(self._add, module))
        for name in self._whole:
            there = base.tensors.get(base.tied.get(name, name))
            spec = self._held.tensors[name]
            dtype = spec.dtype if there is None else there.dtype
            changes[name] = Replacement(
                TensorSpec(name, dtype, spec.shape), partial(self._read_as, name, dtype)
            )
        return changes

    def _part(self, module: str, part: str) -> TensorSpec:
        try:
            return self._held.tensors[f"{module}.{part}"]
        except KeyError:
            raise CheckpointError(
                f"{self.source!r} is damaged (it lacks {module}.{part}); fetch it again"
            ) from None

    def _check(self, module: str, name: str, shape: tuple[int, ...]) -> None:
        codes, zeros, scales, groups = (self._part(module, part) for part in _PARTS)
        check_size(self.source, name, "number of dimensions", 2, len(shape))
        bits, (outputs, inputs) = self._config["bits"], shape
        kinds = tuple(part.dtype for part in (codes, zeros, scales, groups))
        check_size(
            self.source, name, "element types of the parts", kinds,
            ("int32", "int32", "float16", "int32"),
        )  # fmt: skip
        count = scales.shape[0] if len(scales.shape) == 2 else 0
        for what, found, wanted in (
            ("shape of the codes", codes.shape, (inputs * bits // _WORD, outputs)),
            ("shape of the zeros", zeros.shape, (count, outputs * bits // _WORD)),
            ("shape of the scales", scales.shape, (max(1, count), outputs)),
            ("shape of the groups", groups.shape, (inputs,)),
            ("bits that fill no word", (inputs * bits % _WORD, outputs * bits % _WORD), (0, 0)),
        ):
            check_size(self.source, name, what, found, wanted)

    def _add(self, module: str, base: NDArray[Any]) -> NDArray[Any]:
        bits = self._config["bits"]
        codes, zeros, scales, groups = (self._held.read(f"{module}.{part}") for part in _PARTS)
        if len(groups) and (groups.min() < 0 or groups.max() >= len(scales)):
            raise CheckpointError(
                f"{self.source!r} is damaged (an input of {module} is in no group); fetch it again"
            )
        start = _codes(zeros.T, bits).T + 1  # [groups, out]
        steps = (_codes(codes, bits) - start[groups]).astype(np.float16)
        with np.errstate(over="ignore"):
            delta = scales[groups] * steps  # [in, out], float16
        return add_in_float32(base, delta.T.astype(np.float32))

    def _read_as(self, name: str, dtype: str) -> NDArray[Any]:
        return cast(self._held.read(name), DTYPES[dtype])


def _codes(words: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    """Codes that run down the columns of words, of any number of bits: int32 [k * 32 / bits, n]."""
    planes = rows_of_words(words)  # a bit a row
    codes = np.zeros((len(planes) // bits, words.shape[1]), np.int32)
    for bit in range(bits):
        codes |= planes[bit::bits].astype(np.int32) << np.int32(bit)
    return codes
