"""Masks over a multi-task vector: TALL-masks' files, and EMR-Merging's three parts.

TALL-masks: a dict, data set -> bits over all tensors of the base in the order of their names, most
significant first, padded to a byte; a ``.npy`` of a pickled dict, or a zip file of ``torch.save``,
whatever it is called. W = base + vector where the bit is set; the vector is not in the file.

EMR-Merging saves nothing by itself; people save ``unified`` (name -> tensor), ``masks`` and
``rescalers``, each a list or a dict over the tasks. W = base + unified * mask * rescaler.

Where a mask is 0 the base keeps every bit. Sums are taken in float32 and rounded once.
"""

from __future__ import annotations

import math
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
    Stored,
    add_in_float32,
    base_shape,
    check_size,
)
from tvbank.artefacts._contents import Contents
from tvbank.artefacts._given import Given
from tvbank.artefacts._numpy_pickle import load_pickled_dict
from tvbank.checkpoint import Checkpoint, StateDictCheckpoint, is_torch_tensor, open_checkpoint
from tvbank.dtypes import ELEMENT_TYPES
from tvbank.errors import CheckpointError, UnitMismatchError, UsageError, name_some, name_units

_DATASET = "which of its data sets or tasks, by name or number"


@final
class TallMasks(Artefact):
    """Bits over a whole model, a row for each data set."""

    kind: ClassVar[str] = "tall-masks"
    title: ClassVar[str] = "a file of TALL masks"
    takes: ClassVar[Mapping[str, str]] = {
        "dataset": _DATASET,
        "vector": "the multi-task vector that the masks choose from: a state dict or its file, "
        "with the base's names, or one flat tensor",
    }

    def __init__(self, path: Path, masks: Mapping[str, NDArray[np.uint8]]) -> None:
        self.source, self.files, self._masks = str(path), [path], masks

    @staticmethod
    def recognise(contents: Contents) -> TallMasks | None:
        """A pickled dict of bytes, by numpy or by torch."""
        found: Mapping[str, Any] | None = None
        if contents.kind == "numpy":
            found = load_pickled_dict(contents.path)
        elif isinstance(contents.loaded, Mapping) and contents.loaded:
            values = contents.loaded.values()
            if all(isinstance(value, np.ndarray) or is_torch_tensor(value) for value in values):
                found = {str(k): np.asarray(v) for k, v in contents.loaded.items() if _is_flat(v)}
                found = found if len(found) == len(contents.loaded) else None
        if not found or not all(a.dtype == np.uint8 and a.ndim == 1 for a in found.values()):
            return None
        return TallMasks(contents.path, found) if len({*map(len, found.values())}) == 1 else None

    def stored(self) -> Sequence[Stored]:
        """See ``Artefact.stored``."""
        return [Stored(n, "bits", (8 * len(m),), len(m), "delta") for n, m in self._masks.items()]

    def needs(self) -> Mapping[str, str]:
        """See ``Artefact.needs``."""
        return {k: v for k, v in self.takes.items() if k == "vector" or len(self._masks) > 1}

    def notes(self) -> Mapping[str, Any]:
        """See ``Artefact.notes``."""
        return {"datasets": list(self._masks)}

    def changes(self, base: Checkpoint, given: Given) -> Mapping[str, Change]:
        """See ``Artefact.changes``."""
        mask = self._masks[_chosen(given, list(self._masks))]
        if given.get("vector") is None:
            raise given.lacking("vector", why="over a multi-task vector that is not in it")
        names = sorted([*base.tensors, *base.tied])
        sizes = [base.tensors[base.tied.get(name, name)].size for name in names]
        if len(mask) != -(-sum(sizes) // 8):
            raise UnitMismatchError(
                f"{self.source} has masks of {8 * len(mask)} bits, and {base.source} has "
                f"{sum(sizes)} entries, buffers included: give the state dict of the base as the "
                "masks were made for it"
            )
        vector = _Vector(self.source, given["vector"], names, sizes)
        starts = [sum(sizes[:number]) for number in range(len(names))]
        return {
            name: Delta(partial(self._add, mask, vector, name, start))
            for name, start in zip(names, starts, strict=True)
            if ELEMENT_TYPES[base.tensors[base.tied.get(name, name)].dtype].is_float
        }

    @staticmethod
    def _add(
        mask: NDArray[np.uint8], vector: _Vector, name: str, start: int, base: NDArray[Any]
    ) -> NDArray[Any]:
        first, last = start // 8, -(-(start + base.size) // 8)
        bits = np.unpackbits(mask[first:last])[start % 8 :][: base.size].reshape(base.shape)
        return np.where(bits == 1, add_in_float32(base, vector.part(name, base.shape)), base)


class _Vector:
    """A multi-task vector: tensors by the base's names, or one flat one."""

    def __init__(self, source: str, given: Any, names: Sequence[str], sizes: Sequence[int]) -> None:
        self._checkpoint = open_checkpoint(given)
        self._flat: str | None = None
        there = self._checkpoint.tensors
        if len(there) == 1 and len(names) > 1:
            [only] = there.values()
            if only.size == sum(sizes):
                self._flat = only.name
                self._starts = {n: sum(sizes[:number]) for number, n in enumerate(names)}
                return
        known = {*there, *self._checkpoint.tied}
        missing = [name for name in names if name not in known]
        if missing and self._flat is None:
            raise UnitMismatchError(
                f"{self._checkpoint.source}, the vector for {source}, lacks {name_units(missing)} "
                "of the base; give the vector with the base's names, or flat and of its length"
            )

    def part(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The part of one tensor."""
        if self._flat is not None:
            flat = self._checkpoint.read(self._flat).reshape(-1)
            start = self._starts[name]
            return flat[start : start + math.prod(shape)].reshape(shape).astype(np.float32)
        array = self._checkpoint.read(name)
        if array.shape != shape:
            raise UnitMismatchError(
                f"{self._checkpoint.source}: tensor {name!r} of the vector is "
                f"{list(array.shape)}, the base's {list(shape)}; give the vector of that base"
            )
        return array.astype(np.float32)


@final
class Emr(Artefact):
    """A unified task vector, and a mask and a scale for each task."""

    kind: ClassVar[str] = "emr"
    title: ClassVar[str] = "a file of EMR-Merging (unified vector, masks, rescalers)"
    takes: ClassVar[Mapping[str, str]] = {"dataset": _DATASET}

    def __init__(self, source: str, files: Sequence[Path], content: Mapping[str, Any]) -> None:
        self.source, self.files = source, files
        self._unified = StateDictCheckpoint(content["unified"], source)
        self._masks, self._scales = _by_task(content["masks"]), _by_task(content["rescalers"])
        if self._masks.keys() != self._scales.keys():
            raise CheckpointError(
                f"{source} has masks of {name_some(list(self._masks))} and rescalers of "
                f"{name_some(list(self._scales))}; it is damaged"
            )

    @staticmethod
    def recognise(contents: Contents) -> Emr | None:
        """A file of ``torch.save`` with a dict of the three parts."""
        return Emr.of(contents.loaded, contents.source, [contents.path])

    @staticmethod
    def of(content: object, source: str, files: Sequence[Path]) -> Emr | None:
        """The same of a dict in memory."""
        if not isinstance(content, Mapping) or not {"unified", "masks", "rescalers"} <= {*content}:
            return None
        parts = content["unified"], *_by_task(content["masks"]).values()
        sound = all(isinstance(p, Mapping) and all(map(is_torch_tensor, p.values())) for p in parts)
        return Emr(source, files, content) if sound and len(parts) > 1 else None

    def stored(self) -> Sequence[Stored]:
        """See ``Artefact.stored``."""
        specs = self._unified.tensors.values()
        return [Stored(s.name, s.dtype, s.shape, s.nbytes, "delta") for s in specs]

    def needs(self) -> Mapping[str, str]:
        """See ``Artefact.needs``."""
        return self.takes if len(self._masks) > 1 else {}

    def notes(self) -> Mapping[str, Any]:
        """See ``Artefact.notes``."""
        return {"datasets": list(self._masks)}

    def changes(self, base: Checkpoint, given: Given) -> Mapping[str, Change]:
        """See ``Artefact.changes``."""
        task = _chosen(given, list(self._masks))
        mask = StateDictCheckpoint(self._masks[task], f"{self.source}, mask {task}")
        scale = self._scales[task]
        changes: dict[str, Change] = {}
        for name, spec in self._unified.tensors.items():
            shape = base_shape(self.source, base, name)
            check_size(self.source, name, "shape", spec.shape, shape)
            if name not in mask.tensors:
                raise CheckpointError(f"{mask.source} lacks tensor {name!r}; it is damaged")
            check_size(self.source, name, "shape of the mask", mask.tensors[name].shape, shape)
            changes[name] = Delta(partial(self._add, mask, self._scale(scale, name), name))
        return changes

    def _scale(self, scale: Any, name: str) -> np.float32:
        value: Any = scale.get(name) if isinstance(scale, Mapping) else scale
        try:
            return np.float32(float(value))
        except (TypeError, ValueError):
            raise CheckpointError(
                f"{self.source}: the rescaler of tensor {name!r} is no number; it is damaged"
            ) from None

    def _add(
        self, mask: Checkpoint, scale: np.float32, name: str, base: NDArray[Any]
    ) -> NDArray[Any]:
        kept = mask.read(name).astype(np.float32)
        delta = self._unified.read(name).astype(np.float32) * kept * scale
        return np.where(kept != 0, add_in_float32(base, delta), base)


def _is_flat(value: Any) -> bool:
    return len(value.shape) == 1 and str(value.dtype).removeprefix("torch.") == "uint8"


def _by_task(value: Any) -> dict[str, Any]:
    """A dict's members by name; those of a list, or of a vector of numbers, by number."""
    if isinstance(value, Mapping):
        return {str(key): member for key, member in value.items()}
    if is_torch_tensor(value) and value.dim() == 1:
        value = value.tolist()
    if isinstance(value, list | tuple):
        return {str(number): member for number, member in enumerate(value)}
    return {}


def _chosen(given: Given, there: Sequence[str]) -> str:
    """The data set that is given, or the only one.

    Raises:
        UsageError: none is given of several, or one that is not there.
    """
    wanted = given.get("dataset")
    if wanted is None:
        if len(there) == 1:
            return there[0]
        raise given.lacking("dataset", why=f"of several data sets ({name_some(there)})")
    if str(wanted) in there:
        return str(wanted)
    raise UsageError(f"{given.source} has no data set {wanted!r}; there are {name_some(there)}")
