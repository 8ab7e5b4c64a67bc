"""The base of a bank, held against the fingerprints of its layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

from numpy.typing import NDArray

from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.errors import BaseMismatchError, CorruptionError, UsageError, name_units
from tvbank.layout import Layout, UnitRecord, WholeRecord, fingerprint
from tvbank.naming import Names, named_as
from tvbank.vector.pairing import Pairing


@final
class BaseModel:
    """The base checkpoint of a bank, checked against the layout's fingerprints as it is read.

    Attributes:
        checkpoint: as it was given, under its own names.
    """

    def __init__(
        self,
        layout: Layout,
        checkpoint: Checkpoint,
        keep_bytes: int = 0,
        *,
        names: Names | None = None,
        trusted: bool = False,
    ) -> None:
        """Compare names, shapes and element types; the weights are compared when they are read.

        Args:
            layout: of the bank.
            checkpoint: holds the weights; of tied names any one or all. Its names may differ from
                the bank's, where a way from one to the other is found; see ``tvbank.naming``.
            keep_bytes: how much memory units may take that are kept, once checked, to be read
                again.
            names: the checkpoint's name for each of the bank's, if the caller knows them.
            trusted: whether the layout was made from this checkpoint just now.

        Raises:
            BaseMismatchError: names the units that differ.
        """
        self._trusted = trusted
        self._source = checkpoint.source
        self.checkpoint = checkpoint
        named = named_as(layout, checkpoint, names=names)
        self._pairing = Pairing(layout, named.checkpoint)
        self._records = {record.name: record for record in layout.records}
        self._kept: dict[str, NDArray[Any]] = {}
        self._bytes_left = keep_bytes
        wrong = [r.name for r in layout.records if not self._pairing.fits(r)]
        if wrong:
            how = "missing, or of another shape or element type"
            if not any(name in self._pairing for name in wrong):
                how = f"missing; {self._pairing.remedy(wrong, of_base=True)}"
            raise self._mismatch(wrong, how)

    def read(self, name: str) -> NDArray[Any]:
        """Read a unit and check its fingerprint.

        Raises:
            BaseMismatchError: names all units that differ, after reading the rest of the base.
        """
        array = self.read_unchecked(name)
        if not self._trusted:
            self.check(name, fingerprint(array))
        return array

    def read_unchecked(self, name: str) -> NDArray[Any]:
        """Read a unit whose fingerprint the caller passes to ``check`` before using the result.

        Units that are kept have been checked.
        """
        kept = self._kept.get(name)
        return self._pairing.read(name) if kept is None else kept

    @contextmanager
    def blamed(self, name: str) -> Iterator[None]:
        """Within, a fault is put down to a unit's weights, which were not checked, if it is theirs.

        Frames that are given the base's weights look damaged beside others.

        Raises:
            BaseMismatchError: in place of a ``CorruptionError``: the unit has other weights.
        """
        try:
            yield
        except CorruptionError:
            self.read(name)
            raise

    def read_early(self, name: str) -> NDArray[Any]:
        """As ``read_unchecked``, of a unit that is to be read again; see ``Pairing.read_early``."""
        kept = self._kept.get(name)
        return self._pairing.read_early(name) if kept is None else kept

    def is_kept(self, name: str) -> bool:
        """Whether what is read of a unit needs no check: it has been checked, or is trusted."""
        return self._trusted or name in self._kept

    def keep(self, name: str, array: NDArray[Any]) -> None:
        """Keep a unit that has been checked, if it still fits; units kept before stay."""
        if name not in self._kept and array.nbytes <= self._bytes_left:
            self._bytes_left -= array.nbytes
            copy = array.copy()  # what is mapped may change with its file
            copy.flags.writeable = False
            self._kept[name] = copy

    def expect(self, names: Iterable[str]) -> None:
        """Say which units are read next; see ``Checkpoint.expect``."""
        self._pairing.expect(name for name in names if name not in self._kept)

    def check(self, name: str, sha256: str) -> None:
        """Compare a unit's fingerprint.

        Raises:
            BaseMismatchError: names all units that differ, after reading the rest of the base.
        """
        if sha256 != self._records[name].sha256:
            wrong = [
                record.name
                for record in self._records.values()
                if fingerprint(self.read_unchecked(record.name)) != record.sha256
            ]
            raise self._mismatch(wrong or [name], "other weights")

    def spec(self, record: UnitRecord | WholeRecord) -> TensorSpec:
        """Name in the checkpoint, dtype and shape of a unit."""
        return self._pairing.spec(record.name)

    def is_buffer(self, name: str) -> bool | None:
        """Whether a unit is a buffer, if the checkpoint knows; see ``Checkpoint.is_buffer``."""
        return self._pairing.is_buffer(name)

    def _mismatch(self, units: Sequence[str], how: str) -> BaseMismatchError:
        return BaseMismatchError(
            f"{self._source} is not the base this bank was built on ({how}: "
            f"{name_units(units)}); give that one",
            units,
        )


def base_beside(
    layout: Layout, checkpoint: Checkpoint, names: Names | None, *, trusted: bool = False
) -> BaseModel:
    """The base by its own names; where they lead nowhere, by those given of its fine-tune.

    Args:
        layout: of the bank.
        checkpoint: holds the base's weights.
        names: what the fine-tune calls each of the bank's, if the caller knows them.
        trusted: see ``BaseModel``.

    Raises:
        BaseMismatchError: it is another, by either.
    """
    try:
        return BaseModel(layout, checkpoint, trusted=trusted)
    except BaseMismatchError:
        if names is None:
            raise
        try:
            return BaseModel(layout, checkpoint, names=names)
        except UsageError:  # they are of the fine-tune only
            pass
        raise
