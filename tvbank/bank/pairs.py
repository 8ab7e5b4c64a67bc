"""The task vector that ``Bank.add`` shows to a compressor, priced by what the bank would store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, final

from numpy.typing import NDArray

from tvbank._progress import Progress
from tvbank.bank.encoder import encode_chunk
from tvbank.bank.shard import CHECKSUM_BYTES, index_bytes
from tvbank.coding import read_header
from tvbank.compress import Entries, PairedUnit, Pairs
from tvbank.dtypes import DTYPES
from tvbank.layout import Layout, UnitRecord
from tvbank.vector import BaseModel, TaskVector


@final
class BankPairs(Pairs):
    """See ``Pairs``. The base's weights are compared with the bank's when the frames are made."""

    def __init__(
        self,
        layout: Layout,
        base: BaseModel,
        vector: TaskVector,
        pool: ThreadPoolExecutor,
        progress: Progress,
        *,
        fixed_bytes: int,
        parameters: int,
    ) -> None:
        """Describe a task vector; nothing is read yet.

        Args:
            layout: of the base.
            base: the base's weights.
            vector: the fine-tune.
            pool: threads.
            progress: to which the compressor reports.
            fixed_bytes: of the revision's documents and extras.
            parameters: entries of all units and extras.
        """
        self._layout, self._base, self._vector = layout, base, vector
        self.units = [PairedUnit(unit.name, unit.shape) for unit in vector.units]
        self.aliases, self.whole = layout.aliases, vector.whole
        self.each, self.progress = pool.map, progress
        # Chunks of shards that end up empty take no index: an upper bound, by less than a shard's.
        self.fixed_bytes = fixed_bytes + layout.shard_count * index_bytes(layout.chunks_per_shard)
        self.parameters, self.chunk_length = parameters, layout.chunk_length
        self.base_bytes = sum(unit.size * DTYPES[unit.dtype].itemsize for unit in layout.units)

    def read(self, unit: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """See ``Pairs.read``."""
        return self._base.read_unchecked(unit), self._vector.read(unit)

    def read_whole(self, name: str) -> NDArray[Any]:
        """See ``Pairs.read_whole``."""
        return self._vector.read(name)

    def frame_bytes(self, unit: str, entries: Entries) -> int:
        """See ``Pairs.frame_bytes``."""
        record = self._layout.by_name[unit]
        price = partial(_price, self._layout, record, entries)
        return sum(self.each(price, self._layout.chunks(record)))


def _price(layout: Layout, unit: UnitRecord, entries: Entries, chunk: int) -> int:
    """Bytes of a frame and its checksum; a chunk of zeros takes none."""
    frame = encode_chunk(layout, unit, entries, chunk)
    return len(frame) + CHECKSUM_BYTES if read_header(frame).nonzeros else 0
