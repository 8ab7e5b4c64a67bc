"""TRL's sparse updates: ``deltas/step_XXXXXX.safetensors``, beside whole ``anchors/``.

``<name>.indices`` int32 [k], places in the flattened tensor; ``<name>.values`` [k], what stands
there afterwards, mostly bfloat16. A file does not say which version it follows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tvbank.artefacts._artefact import Artefact, Change, Delta, Stored, base_shape, cast
from tvbank.artefacts._contents import Contents
from tvbank.artefacts._given import Given
from tvbank.checkpoint import Checkpoint
from tvbank.dtypes import ELEMENT_TYPES
from tvbank.errors import CheckpointError

INDICES, VALUES = ".indices", ".values"


@final
class SparseUpdate(Artefact):
    """Absolute values at places, tensor by tensor."""

    kind: ClassVar[str] = "trl-sparse"
    title: ClassVar[str] = "a sparse update of TRL"
    takes: ClassVar[Mapping[str, str]] = {
        "before": "the version that it follows: a checkpoint, updates one after another, or 'base' "
        "for the bank's base"
    }

    def __init__(self, path: Path, checkpoint: Checkpoint) -> None:
        self.source, self.files, self._held = str(path), [path], checkpoint
        self._names = [n.removesuffix(VALUES) for n in checkpoint.tensors if n.endswith(VALUES)]

    @staticmethod
    def recognise(contents: Contents) -> SparseUpdate | None:
        """A safetensors file of nothing but such pairs."""
        names = set(contents.tensors)
        firsts = {name.removesuffix(INDICES) for name in names if name.endswith(INDICES)}
        if not firsts or names != {f"{n}{end}" for n in firsts for end in (INDICES, VALUES)}:
            return None
        return SparseUpdate(contents.path, contents.checkpoint)

    def stored(self) -> Sequence[Stored]:
        """See ``Artefact.stored``."""
        rows = []
        for name in self._names:
            places, values = (self._held.tensors[f"{name}{end}"] for end in (INDICES, VALUES))
            size = places.nbytes + values.nbytes
            rows.append(Stored(name, values.dtype, values.shape, size, "replacement"))
        return rows

    def needs(self) -> Mapping[str, str]:
        """See ``Artefact.needs``."""
        return self.takes

    def changes(self, base: Checkpoint, given: Given) -> Mapping[str, Change]:
        """See ``Artefact.changes``."""
        if given.get("before") is None:
            raise given.lacking("before", why="and does not say which version it follows")
        changes: dict[str, Change] = {}
        for name in self._names:
            size = math.prod(base_shape(self.source, base, name))
            places, values = (self._held.tensors[f"{name}{end}"] for end in (INDICES, VALUES))
            if (
                places.dtype not in ("int32", "int64")
                or not ELEMENT_TYPES[values.dtype].is_float
                or len(places.shape) != 1
                or places.shape != values.shape
                or places.size > size
            ):
                raise self._damaged(name, "indices and values do not belong together")
            changes[name] = Delta(partial(self._set, name))
        return changes

    def _set(self, name: str, old: NDArray[Any]) -> NDArray[Any]:
        places = self._held.read(f"{name}{INDICES}")
        if len(places) and (places.min() < 0 or places.max() >= old.size):
            raise self._damaged(name, "an index lies outside of it")
        if len(np.unique(places)) != len(places):
            raise self._damaged(name, "an index is there twice")
        new = old.copy()
        new.reshape(-1)[places] = cast(self._held.read(f"{name}{VALUES}"), old.dtype)
        return new

    def _damaged(self, name: str, what: str) -> CheckpointError:
        return CheckpointError(
            f"{self.source}: tensor {name!r} is damaged ({what}), or was made for another base; "
            "fetch it again"
        )
