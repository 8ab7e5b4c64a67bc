"""What is stored of each unit, read from the frames' headers; nothing is decoded."""

from __future__ import annotations

from collections.abc import Iterator
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
        masks: mask encodings of its frames, most frequent first.
        values: value encodings of its frames, most frequent first.
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


def inspect(task: Task) -> Iterator[UnitSummary]:
    """Summarise every unit of a task, one request a shard.

    Raises:
        CorruptionError: a shard is missing, or an index or frame is damaged; says where.
    """
    by_shard = task.by_shard()
    for name, unit in by_shard.items():
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
