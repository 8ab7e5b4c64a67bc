"""Whether a model's weights are the base's, by the fingerprints of its units."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tvbank.checkpoint import open_checkpoint
from tvbank.errors import BaseMismatchError, name_some
from tvbank.layout import Layout, fingerprint
from tvbank.switching._memory import Target
from tvbank.switching._threads import thread_count


def check_base(
    layout: Layout, by_unit: Mapping[str, Sequence[Target]], only: Collection[str] | None = None
) -> None:
    """Compare the fingerprints of the units that a model has.

    Args:
        layout: of the base.
        by_unit: the targets of every unit by its name.
        only: names of places; by default all are compared.

    Raises:
        BaseMismatchError: names all units that differ.
        CheckpointError: a tensor that has no plain memory to read.
    """
    pairs = [
        (record, target)
        for record in layout.records
        for target in by_unit[record.name]
        if only is None or any(place.name in only for place in target.places)
    ]

    def differs(number: int) -> bool:
        record, target = pairs[number]
        weights = open_checkpoint({record.name: target.tensor}).read(record.name)
        return fingerprint(weights) != record.sha256

    with ThreadPoolExecutor(thread_count()) as pool:  # hashing leaves the GIL alone
        found = list(pool.map(differs, range(len(pairs))))
    wrong = [record.name for (record, _), bad in zip(pairs, found, strict=True) if bad]
    if wrong:
        raise BaseMismatchError(
            f"the model is not the base this bank was built on: {name_some(wrong)} of the bank's "
            f"{len(layout.records)} units have other weights; load the base's weights into it",
            wrong,
        )
