"""BitDelta's ``diff.pt``, and its variant with a scale for each row or column (arXiv 2512.19720).

A dict of tensors; S is +1 where bit k of word [i, o] is set for input 32 i + k, else -1:

========================  ==================================================================
``M.mask, M.coeff``       int32 [in / 32, out], float32: the weight of module M += coeff * S.T
``M.mask_row, .coeff_row``  the same, a scale an input: += (S * coeff[:, None]).T
``M.mask_col, .coeff_col``  the same, a scale an output: += (S * coeff[None, :]).T
``M.A, M.B``              += (A @ B).T, in float32
anything else             the tensor of that name, whole: a replacement in the base's type
========================  ==================================================================

As in the libraries, a delta is rounded to the base's element type, and the sum to it again.
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
    add_in_own_type,
    base_shape,
    cast,
    check_size,
)
from tvbank.artefacts._bits import rows_of_words, signs
from tvbank.artefacts._contents import Contents
from tvbank.artefacts._given import Given
from tvbank.checkpoint import Checkpoint, StateDictCheckpoint, TensorSpec, is_torch_tensor
from tvbank.dtypes import DTYPES, ELEMENT_TYPES
from tvbank.errors import CheckpointError

#: The scale that belongs to a mask.
_SCALES = {"mask": "coeff", "mask_row": "coeff_row", "mask_col": "coeff_col"}

#: The second of two factors.
_FACTORS = {"A": "B"}

_BITS = 32


@final
class BitDelta(Artefact):
    """Signs of a difference and one scale, or one a row or column."""

    kind: ClassVar[str] = "bitdelta"
    title: ClassVar[str] = "a BitDelta diff"

    def __init__(self, source: str, files: Sequence[Path], content: Mapping[str, Any]) -> None:
        self.source, self.files = source, files
        self._held = StateDictCheckpoint(content, source)
        self._specs = {
            **self._held.tensors,
            **{alias: self._held.tensors[owner] for alias, owner in self._held.tied.items()},
        }
        self._parts: dict[str, list[str]] = {}  # module -> suffixes of its masks and factors
        self._whole: list[str] = []
        for name in self._specs:
            module, _, suffix = name.rpartition(".")
            if suffix in _SCALES or (suffix in _FACTORS and f"{module}.B" in self._specs):
                self._parts.setdefault(module, []).append(suffix)
            elif not self._is_second(module, suffix):
                self._whole.append(name)

    @staticmethod
    def recognise(contents: Contents) -> BitDelta | None:
        """A file of ``torch.save`` whose dict has masks and their scales."""
        return BitDelta.of(contents.loaded, contents.source, [contents.path])

    @staticmethod
    def of(content: object, source: str, files: Sequence[Path]) -> BitDelta | None:
        """The same of a dict in memory."""
        if not isinstance(content, Mapping) or not all(map(is_torch_tensor, content.values())):
            return None
        pairs = [
            name
            for name in content
            if isinstance(name, str)
            for module, _, suffix in [name.rpartition(".")]
            if suffix in _SCALES and f"{module}.{_SCALES[suffix]}" in content
        ]
        return BitDelta(source, files, content) if pairs else None

    def stored(self) -> Sequence[Stored]:
        """See ``Artefact.stored``."""
        rows = []
        for module, suffixes in self._parts.items():
            for suffix in suffixes:
                spec = self._specs[f"{module}.{suffix}"]
                size = spec.nbytes + self._second(module, suffix).nbytes
                rows.append(Stored(f"{module}.weight", spec.dtype, spec.shape, size, "delta"))
        for name in self._whole:
            spec = self._specs[name]
            rows.append(Stored(name, spec.dtype, spec.shape, spec.nbytes, "replacement"))
        return rows

    def changes(self, base: Checkpoint, given: Given) -> Mapping[str, Change]:
        """See ``Artefact.changes``."""
        changes: dict[str, Change] = {}
        for module, suffixes in self._parts.items():
            name = f"{module}.weight"
            shape = base_shape(self.source, base, name)
            if len(set(suffixes) & set(_SCALES)) > 1:
                raise CheckpointError(
                    f"{self.source}: module {module!r} has masks of several kinds "
                    f"({', '.join(suffixes)}), of which only one can hold; it is damaged"
                )
            for suffix in suffixes:
                self._check(module, suffix, name, shape)
            changes[name] = Delta(partial(self._add, module, tuple(suffixes)))
        for name in self._whole:
            if name in changes:
                raise CheckpointError(
                    f"{self.source}: tensor {name!r} is there whole and as a mask; it is damaged"
                )
            changes[name] = self._replacement(name, base)
        return changes

    def _is_second(self, module: str, suffix: str) -> bool:
        """Whether a name is the scale or factor of another one."""
        firsts = [first for first, second in {**_SCALES, **_FACTORS}.items() if second == suffix]
        return any(f"{module}.{first}" in self._specs for first in firsts)

    def _second(self, module: str, suffix: str) -> TensorSpec:
        second = {**_SCALES, **_FACTORS}[suffix]
        try:
            return self._specs[f"{module}.{second}"]
        except KeyError:
            raise CheckpointError(
                f"{self.source}: module {module!r} has {suffix!r} and no {second!r}; it is damaged"
            ) from None

    def _check(self, module: str, suffix: str, name: str, shape: tuple[int, ...]) -> None:
        first, second = self._specs[f"{module}.{suffix}"], self._second(module, suffix)
        check_size(self.source, name, "number of dimensions", 2, len(shape))
        outputs, inputs = shape
        if suffix in _FACTORS:
            rank = first.shape[-1] if first.shape else 0
            check_size(self.source, name, "shape of A", first.shape, (inputs, rank))
            check_size(self.source, name, "shape of B", second.shape, (rank, outputs))
            return
        check_size(self.source, name, "element type of the mask", first.dtype, "int32")
        check_size(
            self.source, name, "number of inputs in 32s", inputs % _BITS == 0 and first.shape,
            (inputs // _BITS, outputs),
        )  # fmt: skip
        wanted = {"mask": 1, "mask_row": inputs, "mask_col": outputs}[suffix]
        check_size(self.source, name, "number of scales", second.size, wanted)
        if not ELEMENT_TYPES[second.dtype].is_float:
            check_size(self.source, name, "element type of the scale", second.dtype, "float32")

    def _add(self, module: str, suffixes: Sequence[str], base: NDArray[Any]) -> NDArray[Any]:
        for suffix in suffixes:
            base = add_in_own_type(base, self._delta(module, suffix))
        return base

    def _delta(self, module: str, suffix: str) -> NDArray[np.float32]:
        first = self._held.read(f"{module}.{suffix}")
        second = self._held.read(f"{module}.{ {**_SCALES, **_FACTORS}[suffix] }")
        second = second.astype(np.float32)
        if suffix in _FACTORS:
            return np.ascontiguousarray((first.astype(np.float32) @ second).T)
        scale = second.reshape(-1)
        along = scale[:, None] if suffix == "mask_row" else scale[None, :]
        delta: NDArray[np.float32] = (signs(rows_of_words(first)) * along).T
        return delta

    def _replacement(self, name: str, base: Checkpoint) -> Replacement:
        spec = self._specs[name]
        there = base.tensors.get(base.tied.get(name, name))
        dtype = spec.dtype if there is None else there.dtype
        kind = DTYPES[dtype]
        return Replacement(
            TensorSpec(name, dtype, spec.shape), lambda: cast(self._held.read(name), kind)
        )
