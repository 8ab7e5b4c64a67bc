"""Whole shards: the only place that fetches one to decode it, and that checks its SHA-256.

A shard's bytes are hashed on another thread while their reader goes on (``ahead``), or else before
they are handed out. Those of the latest shards are kept together with the answer; bytes that are
fetched again are hashed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import final

from tvbank.bank.ahead import WINDOW, together
from tvbank.bank.documents import CatalogEntry, ObjectRecord
from tvbank.bank.snapshot import check_digest, check_size, missing
from tvbank.errors import TvbankError
from tvbank.storage import ObjectNotFoundError, Storage


@final
class WholeShards:
    """The shards of one task, each read in one request; from a slow store several at once."""

    def __init__(
        self,
        storage: Storage,
        task: str,
        entry: CatalogEntry,
        key: Callable[[int], str],
        damage: Callable[[int, bytes], str],
    ) -> None:
        """Read nothing yet.

        Args:
            storage: holds the bank.
            task: whose shards they are, for errors.
            entry: what the catalog says of the task.
            key: the object that holds a shard, by its number.
            damage: says which part of a damaged shard fails its own checksum, given its number and
                bytes; empty if none does.
        """
        self._storage, self._task, self._entry, self._key = storage, task, entry, key
        self._damage = damage
        self._latest: dict[int, _Shard] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._unsettled: list[Future[None]] = []

    def get(self, number: int, record: ObjectRecord) -> bytes:
        """All bytes of a shard, of which the catalog has this record.

        Within ``ahead`` they may turn out to be wrong at its end.

        Raises:
            CorruptionError: ``object-missing``, ``object-size`` or ``object-digest``.
        """
        latest = self._latest  # another thread may replace it
        if number not in latest:
            try:
                latest = self._latest = self._fetch(number)
            except ObjectNotFoundError as error:
                raise missing(self._key(number), self._task) from error
        shard = latest[number]
        check_size(shard.data, self._key(number), record, self._task)
        if not shard.sound:
            self._check(number, record, shard)
        return shard.data

    @contextmanager
    def ahead(self, pool: ThreadPoolExecutor) -> Iterator[None]:
        """Within, shards are handed out while threads of a pool still work out their digests.

        So what is made of them stays within, too: at the end, and before an error leaves that their
        bytes may have caused, all digests are waited for.

        Raises:
            CorruptionError: ``object-digest``, rather than any other error of these bytes.
        """
        self._pool = pool
        try:
            yield
        except TvbankError:
            self._settle()
            raise
        finally:
            self._pool = None
        self._settle()

    def _check(self, number: int, record: ObjectRecord, shard: _Shard) -> None:
        def check() -> None:
            damage = partial(self._damage, number, shard.data)
            check_digest(shard.data, self._key(number), record, self._task, damage)
            shard.sound = True

        if self._pool is None:
            check()
        elif not shard.checking:
            shard.checking = True
            self._unsettled.append(self._pool.submit(check))

    def _settle(self) -> None:
        unsettled, self._unsettled = self._unsettled, []
        for digest in unsettled:
            digest.result()

    def _fetch(self, number: int) -> dict[int, _Shard]:
        """A whole shard, and those after it that are worth requesting at the same time.

        One that is missing or of another size is left to be found when its turn comes.
        """
        wanted: dict[int, int] = {}
        for later in range(number, len(self._entry.shards)):
            record = self._entry.shards[later]
            if record is not None:
                if wanted and (
                    len(wanted) == self._storage.parallel
                    or sum(wanted.values()) + record.size > WINDOW
                ):
                    break
                wanted[later] = record.size

        def get(shard: int) -> bytes | None:
            try:
                return self._storage.get(self._key(shard), wanted[shard])
            except ObjectNotFoundError:
                if shard == number:
                    raise
                return None

        found = together(self._storage.parallel, [partial(get, shard) for shard in wanted])
        return {n: _Shard(data) for n, data in zip(wanted, found, strict=True) if data is not None}


@final
class _Shard:
    """The bytes of a shard, whether their digest is known to be right or being worked out."""

    def __init__(self, data: bytes) -> None:
        self.data, self.sound, self.checking = data, False, False
