"""No frame makes a kernel leave its arrays, and none makes a decoder allocate what it claims."""

import os
import struct
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import pytest

from tvbank.coding import MAX_ENTRIES, decode_frame, decode_sparse
from tvbank.errors import FrameError

VECTORS = Path(__file__).parents[3] / "spec" / "vectors" / "frames"

BATTERY = """
import random
import sys
from pathlib import Path
import numpy as np
from tvbank.coding import decode_frame, decode_sparse, encode_frame, frame_sizes
from tvbank.coding.kernel import bits_from, nonzero_bits
from tvbank.errors import FrameError

# The checks are on, also those of the loads that numba does not see.
loads = {bits_from: (np.zeros(8, np.uint8), 8), nonzero_bits: (np.zeros(64, np.uint32), 1)}
for load, (array, outside) in loads.items():
    load(array, np.uint64(0))
    try:
        load(array, np.uint64(outside))
    except IndexError:
        continue
    raise SystemExit(f"{load} is not checked")

random.seed(5)
numbers = np.random.default_rng(5)
WEIGHTS = numbers.integers(0, 2**16, 2**24 // 64).astype(np.uint16)  # for frames given a base
decoded = refused = 0
vectors = sorted(Path(sys.argv[1]).rglob("*.bin"))
assert len(vectors) > 300
for path in vectors:
    for changes in range(4):
        damaged = bytearray(path.read_bytes())
        for _ in range(changes if damaged else 0):
            place = random.randrange(random.choice([min(24, len(damaged)), len(damaged)]))
            damaged[place] ^= 1 << random.randrange(8)
        if int.from_bytes(damaged[8:12], "little") <= 100_000:
            try:
                decode_sparse(damaged, None, WEIGHTS)
                decoded += 1
            except FrameError:
                refused += 1
for length in (1, 63, 64, 65, 200):
    for density in (0.05, 0.5, 0.95, 1):
        mask = numbers.random(length) < density
        for values in (
            numbers.choice(np.array([-1.5, 1.5], np.float32), length),
            (numbers.integers(1, 9, length) * 0.25).astype(np.float32),
            numbers.integers(-(2**31), 2**31, length).astype(np.int32),
            numbers.geometric(0.1, length).astype(np.int32),
        ):
            chunk = np.where(mask, values, values.dtype.type(0))
            sizes = frame_sizes(chunk, version=2)
            forced = [{"mask": name} for name, size in sizes.masks.items() if size is not None]
            forced += [{"values": name} for name, size in sizes.values.items() if size is not None]
            for force in forced:
                frame = encode_frame(chunk, **force)
                assert decode_frame(frame).tobytes() == chunk.tobytes()
                for _ in range(25):
                    damaged = bytearray(frame)
                    for _ in range(random.randint(1, 3)):
                        place = random.randrange(random.choice([24, len(damaged)]))
                        damaged[place] = random.choice([0, 1, 255, random.randrange(256)])
                    damaged[10:12] = bytes(2)  # no long chunks: that is only slow
                    if random.random() < 0.5:
                        del damaged[random.randrange(len(damaged)) :]
                    try:
                        decode_sparse(damaged, None, WEIGHTS)
                        decode_frame(damaged, None, WEIGHTS)
                        decoded += 1
                    except FrameError:
                        refused += 1
print(decoded, refused)
"""


def test_numba_finds_no_index_out_of_bounds(tmp_path):
    # Compiled code on disk does not remember whether it checks bounds: hence its own cache.
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BATTERY), str(VECTORS)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    decoded, refused = map(int, done.stdout.split())
    assert decoded > 100
    assert refused > 1000


def header(mask, value, *, k=0, parameter=0, n=MAX_ENTRIES, e=MAX_ENTRIES, m=MAX_ENTRIES, size=0):
    return struct.pack("<4B2H4I", 1, 0, mask, value, k, parameter, n, e, m, size)


CLAIMS = {
    "positions in a stream": header(6, 1, k=3, size=40) + bytes(60),
    "holes in a stream": header(4, 1, m=9, size=40) + bytes(60),
    "a bitmap": header(2, 1, size=MAX_ENTRIES // 8) + bytes(60),
    "an index list": header(3, 1, k=24, size=MAX_ENTRIES * 3) + bytes(60),
    "a long mask section": header(6, 1, size=2**32 - 1) + bytes(60),
    "raw values": header(1, 6) + bytes(60),
    "codes into a table": header(1, 2, parameter=3) + bytes(60),
    "codes on a grid": header(1, 3, parameter=8) + bytes(60),
    "halves": header(1, 4) + bytes(60),
    "signs": header(1, 1) + bytes(60),
    "more than a chunk may hold": header(1, 1, n=2**32 - 1, e=2**32 - 1, m=2**32 - 1) + bytes(60),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_that_the_frame_cannot_hold_allocates_nothing(claim):
    tracemalloc.start()
    for decode in (decode_frame, decode_sparse):
        with pytest.raises(FrameError):
            decode(CLAIMS[claim])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_chunk_of_another_length_than_expected_allocates_nothing():
    valid = header(1, 2, parameter=1) + struct.pack("<I", 7)
    tracemalloc.start()
    with pytest.raises(FrameError, match="16777216 entries where 8 belong"):
        decode_frame(valid, 8)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    assert (decode_frame(valid, MAX_ENTRIES).view("u4") == 7).all()
