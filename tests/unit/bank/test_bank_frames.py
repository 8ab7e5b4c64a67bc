"""Frames that are sound bytes, yet no frames of their task: every way of reading refuses them."""

import struct

import banks
import numpy as np
import pytest
from banks import small_objects

import tvbank
from tvbank.bank.shard import build_shard, check_frame, index_bytes, parse_index
from tvbank.bank.summary import inspect
from tvbank.bank.verify import verify
from tvbank.coding import encode_frame
from tvbank.errors import CorruptionError

#: A header that claims 2**24 entries, all of them the same, in 28 bytes.
BOMB = struct.pack("<BBBBHHIIII", 1, 0, 1, 2, 0, 1, 2**24, 2**24, 2**24, 0) + struct.pack("<f", 1)

#: What takes the place of every frame, in tasks of float32 and of int32; why it is refused.
FORGERIES = {
    "a bomb": (lambda _dtype: BOMB, {"entries-mismatch"}),
    "a longer chunk": (lambda dtype: encode_frame(np.ones(9, dtype)), {"entries-mismatch"}),
    "a shorter chunk": (lambda dtype: encode_frame(np.ones(7, dtype)), {"entries-mismatch"}),
    "another type": (
        lambda dtype: encode_frame(np.ones(8, np.int32 if dtype == np.float32 else np.float32)),
        {"element-type"},
    ),
    "no frame": (lambda _dtype: b"none", {"frame-truncated"}),
    "nothing": (lambda _dtype: b"", {"frame-truncated"}),
    "a version of tomorrow": (
        lambda dtype: b"\2" + encode_frame(np.ones(8, dtype))[1:], {"frame-version"},
    ),
    "entries after the unit": (lambda dtype: encode_frame(np.ones(8, dtype)), {"address"}),
}  # fmt: skip


def forged(make):
    """The bank with other frames, and every checksum and digest put right."""
    chunks = tvbank.open(banks.store(small_objects())).layout.chunks_per_shard

    def reframe(shard):
        index = parse_index(shard[-index_bytes(chunks) :], chunks, len(shard))
        places = {number: index.locate(number) for number in range(chunks)}
        frames = {n: check_frame(shard[slice(*place)]) for n, place in places.items() if place}
        dtype = np.dtype([np.float32, np.int32][next(iter(frames.values()))[1]])
        return build_shard(chunks, [(number, make(dtype)) for number in frames])

    return tvbank.open(banks.store(banks.forge(small_objects(), shard=reframe)))


READERS = {
    "a unit's entries": lambda task: task["half"].to_sparse(),
    "a unit, dense": lambda task: task["half"].to_dense(),
    "a task's entries": lambda task: task.to_sparse(),
    "a task, dense": lambda task: task.to_dense(),
    "a summary": lambda task: list(inspect(task)),
}


@pytest.mark.parametrize("kind", FORGERIES)
@pytest.mark.parametrize("name", ["lossy", "exact"])
def test_every_way_of_reading_refuses(name, kind):
    make, reasons = FORGERIES[kind]
    bank = forged(make)
    for read in READERS.values():
        with pytest.raises(CorruptionError, match=rf"task '{name}', unit .*bytes \d+ to \d+") as e:
            read(bank[name])
        assert e.value.reason in reasons
        assert e.value.key.endswith("/delta/c/0")
    assert reasons <= {fault.reason for fault in verify(bank.storage)}


@pytest.mark.parametrize("name", ["lossy", "exact"])
def test_every_way_of_reading_agrees(name):
    task = tvbank.open(banks.store(small_objects()))[name]
    dense, sparse = task.to_dense(), task.to_sparse()
    assert list(dense) == list(sparse) == list(task)
    for unit, summary in zip(task.values(), inspect(task), strict=True):
        positions, values = unit.to_sparse()
        assert dense[unit.name].tobytes() == unit.to_dense().tobytes()
        assert dense[unit.name].shape == unit.shape
        assert [array.tobytes() for array in sparse[unit.name]] == [
            positions.tobytes(), values.tobytes(),
        ]  # fmt: skip
        assert summary.nonzeros == len(positions)
