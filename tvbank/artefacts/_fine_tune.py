"""The fine-tune that an artefact makes of a base: a checkpoint, unit by unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.artefacts._artefact import Change, Replacement
from tvbank.checkpoint import Checkpoint, TensorSpec


@final
class Tuned(Checkpoint):
    """A base with an artefact's changes, made as they are read: one unit is in memory."""

    def __init__(
        self,
        source: str,
        base: Checkpoint,
        changes: Mapping[str, Change],
        opened: ExitStack | None = None,
    ) -> None:
        """Lay the changes over the base.

        Args:
            source: of the artefact, for messages.
            base: what it changes; stays open.
            changes: by the name of the base's tensor; replacements may be further tensors.
            opened: what is closed with this.
        """
        self._base, self._changes = base, dict(changes)
        self._opened = ExitStack() if opened is None else opened
        tensors = dict(base.tensors)
        tied = dict(base.tied)
        for name, change in self._changes.items():
            owner = tied.pop(name, name)  # an alias that is changed alone is no alias any more
            if isinstance(change, Replacement):
                tensors[name] = change.spec
            elif owner != name:
                was = base.tensors[owner]
                tensors[name] = TensorSpec(name, was.dtype, was.shape)
        super().__init__(source, tensors, tied)

    def expect(self, names: Iterable[str]) -> None:
        """See ``Checkpoint.expect``: the base's tensors that are read for it."""
        owners = (self.tied.get(name, name) for name in names)
        self._base.expect(
            name for name in owners if not isinstance(self._changes.get(name), Replacement)
        )

    def is_buffer(self, name: str) -> bool | None:
        """See ``Checkpoint.is_buffer``."""
        return self._base.is_buffer(name)

    def _read(self, spec: TensorSpec) -> NDArray[Any]:
        change = self._changes.get(spec.name)
        if change is None:
            return self._base.read(spec.name)
        if isinstance(change, Replacement):
            return change.read()
        return np.ascontiguousarray(change.make(self._base.read(spec.name)))

    def _close(self) -> None:
        self._changes.clear()
        self._opened.close()
