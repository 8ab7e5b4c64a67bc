"""What is stored of each unit of a task, in a few numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tvbank.bank.shard import CHECKSUM_BYTES
from tvbank.bank.task import Task


@dataclass(frozen=True)
class UnitSummary:
    """One unit of one task.

    Attributes:
        name: the unit.
        shape: its shape.
        nonzeros: entries that are kept.
        density: share of entries that are kept.
        bits: stored bits per entry, checksums included.
        masks: mask encodings of its frames, most frequent first; "product" of a product.
        values: value encodings of its frames, most frequent first; of a product the element type
            and rank of its factors.
        bytes: stored bytes, checksums included.
    """

    name: str
    shape: tuple[int, ...]
    nonzeros: int
    density: float
    bits: float
    masks: tuple[str, ...]
    values: tuple[str, ...]
    bytes: int


def inspect(task: Task, units: Collection[str] | None = None) -> Iterator[UnitSummary]:
    """Summarise units of a task, one request a shard.

    Args:
        task: whose.
        units: their names; by default all.

    Raises:
        CorruptionError: a shard is missing, or an index or frame is damaged; says where.
    """
    by_shard = task.own_steps().by_shard()
    for name in by_shard if units is None else units:
        unit = by_shard[name]
        if name in by_shard.products:
            record, size = by_shard.products.record(name), by_shard.products.stored_bytes(name)
            bits, factors = 8 * size / unit.size, f"{record.dtype}, rank {record.rank}"
            yield UnitSummary(
                name, unit.shape, unit.size, 1.0, bits, ("product",), (factors,), size
            )
            continue
        frames = list(by_shard.frames(name))
        headers = [by_shard.header(frame) for frame in frames]
        size = sum(len(frame.data) + CHECKSUM_BYTES for frame in frames)
        nonzeros = sum(header.nonzeros for header in headers)
        yield UnitSummary(
            name,
            unit.shape,
            nonzeros,
            nonzeros / unit.size if unit.size else 0.0,
            8 * size / unit.size if unit.size else 0.0,
            _by_frequency([header.mask for header in headers]),
            _by_frequency([header.values for header in headers]),
            size,
        )


def _by_frequency(names: list[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names), key=lambda name: (-names.count(name), name)))
