"""A fine-tune by the names of its base's layout."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from typing import Any, final

from numpy.typing import NDArray

from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.errors import UnitMismatchError, UsageError, name_units
from tvbank.layout import Layout, UnitRecord, WholeRecord, fingerprint
from tvbank.naming import Names, named_as
from tvbank.naming.meanings import is_constant, lacks_heads_only
from tvbank.vector.base_model import BaseModel
from tvbank.vector.pairing import Pairing

#: ``"base"``, or names and patterns of units; ``None`` for none.
Missing = str | Collection[str] | None


@final
class FineTune:
    """A fine-tuned checkpoint beside the layout of its base; opening it reads no weights.

    Attributes:
        source: where the checkpoint came from.
        layout: of the base.
        base: the base's weights.
        pairing: the checkpoint's tensors.
        absent: units that the checkpoint lacks: the base's stand for them.
        headless: those of them that are heads of the base, for another task than the fine-tune's.
        remarks: what the user should know of its names, and of what it lacks; mostly nothing.
    """

    def __init__(
        self,
        layout: Layout,
        base: BaseModel,
        checkpoint: Checkpoint,
        *,
        names: Names | None = None,
        missing: Missing = None,
    ) -> None:
        """Pair the names.

        Args:
            layout: of the base.
            base: its weights.
            checkpoint: of the fine-tune; its names may differ from the base's, where a way from one
                to the other is found; see ``tvbank.naming``.
            names: the checkpoint's name for each of the bank's, if the caller knows them.
            missing: what of the base may stand for units that the checkpoint lacks: ``"base"`` for
                all, or names and patterns (``"*.pooler.*"``) of some. Constants may always be
                missing, and the base's heads if nothing else is.

        Raises:
            UnitMismatchError: other units of the base are missing; says why, and what to do.
            UsageError: ``names`` or ``missing`` is of another kind.
        """
        self.source, self.layout, self.base = checkpoint.source, layout, base
        named = named_as(layout, checkpoint, names=names, base=base.checkpoint)
        self.pairing = Pairing(layout, named.checkpoint)
        self.absent = {r.name: r for r in layout.records if r.name not in self.pairing}
        lacking = [
            name
            for name, record in self.absent.items()
            if not (is_constant(base.spec(record)) or name in named.unsaved)
        ]
        allowed = patterns_of(missing)
        refused = [name for name in lacking if not any(fnmatchcase(name, p) for p in allowed)]
        present = [r.name for r in layout.records if r.name in self.pairing]
        heads = bool(refused) and lacks_heads_only(refused, present)
        if (refused and not heads) or (lacking and not present):
            raise UnitMismatchError(
                f"{self.source} lacks {name_units(lacking)} of the base; "
                f"{self.pairing.remedy(lacking)}"
            )
        self.headless = tuple(name for name in lacking if lacks_heads_only([name], present))
        lack = f"{name_units(lacking)} of the base are not in it; the base's stand for them"
        remarks = (named.remark, lack if lacking else "")
        self.remarks = tuple(f"{self.source}: {remark}" for remark in remarks if remark)

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


def patterns_of(missing: Missing) -> tuple[str, ...]:
    """Patterns of the names of units for which the base's may stand.

    Raises:
        UsageError: neither text nor some texts.
    """
    if missing is None:
        return ()
    given = (missing,) if isinstance(missing, str) else tuple(missing)
    if not all(isinstance(pattern, str) for pattern in given):
        raise UsageError(f"missing must be 'base', or names and patterns of units, not {missing!r}")
    return tuple("*" if pattern == "base" else pattern for pattern in given)
