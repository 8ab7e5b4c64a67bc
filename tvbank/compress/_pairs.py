"""A whole task vector, as a compressor sees it that must know all units before it takes one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from numpy.typing import NDArray

from tvbank._progress import Progress
from tvbank.compress._compressor import Entries
from tvbank.compress._each import Each


@final
@dataclass(frozen=True)
class PairedUnit:
    """A unit of the task vector.

    Attributes:
        name: as the bank calls it.
        shape: of both versions.
    """

    name: str
    shape: tuple[int, ...]


class Pairs(ABC):
    """Both versions of every unit, to be read in any order and as often as needed.

    Attributes:
        units: those that the compressor will be asked for, in their order.
        aliases: further names of units that are tied in the base, by the unit's name.
        whole: names of the fine-tune's tensors that are kept whole: heads, changed buffers.
        each: spreads work over cores, as ``map`` does.
        progress: to which a compressor reports that takes its time.
        fixed_bytes: what the task takes in the bank beside its frames: indices, documents, what is
            kept whole. Exact but for a few bytes, as sizes are written in decimal digits.
        parameters: entries of all units, those that are kept whole included.
        chunk_length: entries of a frame.
        base_bytes: bytes of the base's weights in their own element types.
    """

    units: Sequence[PairedUnit]
    aliases: Mapping[str, Sequence[str]]
    whole: Sequence[str]
    each: Each
    progress: Progress
    fixed_bytes: int
    parameters: int
    chunk_length: int
    base_bytes: int

    @abstractmethod
    def read(self, unit: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """A unit's weights in the base and after fine-tuning, of the same shape."""

    @abstractmethod
    def read_whole(self, name: str) -> NDArray[Any]:
        """One of the tensors that are kept whole."""

    @abstractmethod
    def frame_bytes(self, unit: str, entries: Entries) -> int:
        """Bytes that entries of a unit would take in the bank: frames and their checksums."""
