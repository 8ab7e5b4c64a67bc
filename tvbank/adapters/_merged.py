"""Base and adapter as one checkpoint, for compressors that take a fine-tune."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.adapters._low_rank import Bound
from tvbank.checkpoint import Checkpoint, CheckpointSource, TensorSpec, borrow_checkpoint
from tvbank.dtypes import DTYPES
from tvbank.errors import NonFiniteError
from tvbank.naming import Names
from tvbank.vector import BaseModel


@final
class MergedAdapter(Checkpoint):
    """The base with an adapter merged into it; a changed unit is computed when it is read.

    Changed units are float32, unrounded, or in the base's element type: an exact task can say what
    merging would write, and a lossy one is not coarser than it must be.
    """

    def __init__(
        self, bound: Bound, base: CheckpointSource, *, rounded: bool, names: Names | None = None
    ) -> None:
        """Open the base; read nothing yet.

        Args:
            bound: the adapter beside the layout; the caller closes it.
            base: the weights.
            rounded: whether changed units are in the base's element type.
            names: the base's name for each of the bank's, if the caller knows them.

        Raises:
            BaseMismatchError, CheckpointError: it is another base, or none.
        """
        self._opened = ExitStack()
        checkpoint = self._opened.enter_context(borrow_checkpoint(base))
        self._bound, self._base = bound, BaseModel(bound.layout, checkpoint, names=names)
        layout, adapter = bound.layout, bound.adapter
        tensors = {}
        for record in layout.records:
            changed = record.name in bound.changes and not rounded
            dtype = "float32" if changed else record.dtype
            tensors[record.name] = TensorSpec(record.name, dtype, record.shape)
        for name, tensor in bound.whole.items():
            spec = adapter.spec(tensor)
            tensors[name] = TensorSpec(name, spec.dtype, spec.shape)
        tied = {alias: owner for alias, owner in layout.tied.items() if alias not in tensors}
        super().__init__(adapter.source, tensors, tied)

    def _read(self, spec: TensorSpec) -> NDArray[Any]:
        if (tensor := self._bound.whole.get(spec.name)) is not None:
            return self._bound.adapter.read(tensor)
        base = self._base.read_unchecked(spec.name)
        change = self._bound.changes.get(spec.name)
        if change is None:
            return base
        with np.errstate(over="ignore", invalid="ignore"):
            changed = change(base).astype(DTYPES[spec.dtype])
        if not np.isfinite(changed).all() and np.isfinite(base).all():
            raise NonFiniteError(
                f"{self.source}: with it, weights of {spec.name!r} are NaN or too large for "
                f"{spec.dtype}"
            )
        return changed

    def _close(self) -> None:
        self._opened.close()
