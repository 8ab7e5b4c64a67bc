"""A fine-tune by the names of its base's layout."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final

from numpy.typing import NDArray

from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.errors import UnitMismatchError, name_units
from tvbank.layout import Layout, UnitRecord, WholeRecord, fingerprint
from tvbank.naming.meanings import is_constant
from tvbank.vector.base_model import BaseModel
from tvbank.vector.pairing import Pairing


@final
class FineTune:
    """A fine-tuned checkpoint beside the layout of its base; opening it reads no weights.

    Attributes:
        source: where the checkpoint came from.
        layout: of the base.
        base: the base's weights.
        pairing: the checkpoint's tensors.
        absent: constants that the checkpoint lacks: the base's stand for them.
    """

    def __init__(self, layout: Layout, base: BaseModel, checkpoint: Checkpoint) -> None:
        """Pair the names.

        Raises:
            UnitMismatchError: units of the base are missing.
        """
        self.source, self.layout, self.base = checkpoint.source, layout, base
        self.pairing = Pairing(layout, checkpoint)
        self.absent = {r.name: r for r in layout.records if r.name not in self.pairing}
        missing = [name for name, r in self.absent.items() if not is_constant(base.spec(r))]
        if missing:
            raise UnitMismatchError(
                f"{self.source} lacks {name_units(missing)} of the base; "
                f"{self.pairing.remedy(missing)}"
            )

    def spec(self, name: str) -> TensorSpec:
        """Dtype and shape of a unit, or of a further tensor."""
        record = self.absent.get(name)
        return self.pairing.spec(name) if record is None else self.base.spec(record)

    def expect(self, names: Iterable[str]) -> None:
        """Say which are read next; see ``Checkpoint.expect``."""
        self.pairing.expect(name for name in names if name not in self.absent)

    def read(self, name: str) -> NDArray[Any]:
        """The weights of a unit, or of a further tensor."""
        if name in self.absent:
            return self.base.read_unchecked(name)
        return self.pairing.read(name)

    def read_early(self, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """A unit's weights in the base, unchecked, and here; see ``Pairing.read_early``."""
        base = self.base.read_early(name)
        return base, base if name in self.absent else self.pairing.read_early(name)

    def has_changed(self, record: UnitRecord | WholeRecord) -> bool:
        """Whether a unit is in the checkpoint and differs from the base's; reads it."""
        if record.name in self.absent:
            return False
        return not (
            self.pairing.fits(record) and fingerprint(self.read(record.name)) == record.sha256
        )
