"""Memory that reading takes stays in proportion to the bytes that there are, whatever they claim.

The bound is that of spec/security.md, "Memory". What numpy and the JSON parser allocate is counted
by tracemalloc; what it cannot see is bounded by limits on a whole process.
"""

import json
import subprocess
import sys
import textwrap
import tracemalloc
from contextlib import contextmanager

import banks
import numpy as np
import pytest

import tvbank
from tvbank.bank.documents import decode_layout, decode_revision, decode_root
from tvbank.bank.shard import build_shard
from tvbank.bank.verify import verify
from tvbank.coding import encode_frame
from tvbank.errors import CorruptionError, TooLargeError, TvbankError

MIB = 2**20
#: Bytes a byte of a document may take, and bytes in any case.
PER_BYTE, ALWAYS = 40, 4 * MIB
DIGEST = "0" * 64


@contextmanager
def at_most(limit):
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= limit, f"{peak / MIB:.1f} MiB"


def group(body):
    return json.dumps(
        {"attributes": {"tvbank": body}, "node_type": "group", "zarr_format": 3},
        separators=(",", ":"),
    ).encode()


def root(**members):
    body = {
        "digest": DIGEST, "format": "1.0", "required_features": [], "generation": 1,
        "layout": {"size": 1, "sha256": DIGEST}, "tasks": {},
    } | members  # fmt: skip
    return banks.sealed(group(body))


def task(**members):
    return {
        "revision": DIGEST, "size": 1, "element": "float32", "shards": [], "nonzeros": 0,
        "parameters": 0, "stored_bytes": 1, "replaced": [], "compressor": {"name": "x"},
    } | members  # fmt: skip


def layout(units, **members):
    return group(
        {
            "chunk_length": 2**18, "shard_length": 2**26, "length": 0, "units": units,
            "whole": [], "tied": {},
        } | members
    )  # fmt: skip


def unit(name, shape=(), offset=0):
    return {
        "name": name, "dtype": "float32", "shape": list(shape), "offset": offset, "sha256": DIGEST
    }  # fmt: skip


def revision(**members):
    return group(
        {
            "layout": DIGEST, "element": "float32", "shards": [], "nonzeros": 0, "objects": {},
            "extras": [], "compressor": {"name": "x"}, "metadata": {},
        } | members
    )  # fmt: skip


def names(count):
    return [f"{number:x}" for number in range(count)]


#: As many values in as few bytes as can be.
CROWDED = {
    "tasks": lambda: root(tasks={name: task() for name in names(2000)}),
    "shards of zeros": lambda: root(tasks={"t": task(shards=[None] * 200_000)}),
    "replaced units": lambda: root(tasks={"t": task(replaced=names(100_000))}),
    "a compressor of empty lists": lambda: root(
        tasks={"t": task(compressor={"name": "x", "y": [[]] * 300_000})}
    ),
    "a compressor of empty objects": lambda: root(
        tasks={"t": task(compressor={"name": "x", "y": [{}] * 300_000})}
    ),
    "a compressor of small objects": lambda: root(
        tasks={"t": task(compressor={"name": "x", "y": [{"": 0}] * 150_000})}
    ),
    "members that nobody knows": lambda: root(future=[[]] * 300_000),
    "units": lambda: layout([unit(name) for name in names(5000)]),
    "ties": lambda: layout([], tied=dict.fromkeys(names(100_000), "")),
    "dimensions": lambda: layout([unit(name, [0] * 32) for name in names(3000)]),
    "metadata": lambda: revision(metadata={"": [[0]] * 200_000}),
    "extras": lambda: revision(
        extras=[{"name": name, "dtype": "int8", "shape": []} for name in names(20_000)]
    ),
    "objects": lambda: revision(
        objects={f"extras/{n}/c/0": {"size": 1, "sha256": DIGEST} for n in range(5000)}
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _libraries_are_there():
    """What importing allocates is no answer to an input."""
    bank = banks.small_bank()
    assert verify(bank.storage) == []
    banks.all_numbers(bank)
    for each in bank.values():
        each.to_dense()
        each.to_sparse()


def read(data):
    for decode in (decode_root, decode_layout, lambda data: decode_revision(data, "key", "task")):
        try:
            decode(data)
        except TvbankError:
            continue


@pytest.mark.parametrize("kind", CROWDED)
def test_a_document_takes_memory_in_proportion_to_its_bytes(kind):
    data = CROWDED[kind]()
    assert len(data) > 300_000
    with at_most(ALWAYS + PER_BYTE * len(data)):
        read(data)


DEEP = {
    "arrays": (b"[", b"]"),
    "objects": (b'{"":', b"}"),
    "arrays without an end": (b"[", b""),
}


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("member", [b'"future":', b'"metadata":', b'"compressor":'])
def test_documents_of_any_depth_are_survived(kind, member):
    opening, closing = DEEP[kind]
    nested = opening * 500_000 + b"0" + closing * 500_000
    data = revision().replace(b'"metadata":{}', member + nested)
    with at_most(ALWAYS + PER_BYTE * len(data)), pytest.raises(CorruptionError):
        decode_revision(data, "key", "task")


ODD_NUMBERS = [
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 100_000, "1.0", "true", "01", "1e3",
    str(2**53 + 1), str(2**64), "-1", '"1"', "null", "[]", "0x10", "+1", ".5", "1.",
]  # fmt: skip


@pytest.mark.parametrize("number", ODD_NUMBERS, ids=[number[:9] for number in ODD_NUMBERS])
@pytest.mark.parametrize("member", ["generation", "size"])
def test_odd_numbers_are_refused(number, member):
    data = root().replace(f'"{member}":1'.encode(), f'"{member}":{number}'.encode())
    with pytest.raises(CorruptionError) as caught:
        decode_root(banks.sealed(data))
    assert caught.value.reason == "document-syntax"
    assert len(str(caught.value)) < 1000


def test_of_a_member_that_stands_there_twice_the_last_counts():
    data = root().replace(b'"generation":1', b'"generation":7,"generation":1')
    assert decode_root(banks.sealed(data)).generation == 1


class TestLargeClaims:
    """A layout of a few hundred bytes claims units of any size."""

    @staticmethod
    def bank(shape, length, chunk=2**24, per_shard=2**16, edit=None):
        """A bank with a lossy task whose layout is replaced."""
        made = tvbank.create(banks.MemoryStorage(), {"w": np.zeros(1, np.float32)})
        made.add("t", {"w": np.ones(1, np.float32)}, tvbank.TSwitch(drop=0))
        shards = -(-length // (chunk * per_shard))

        def relay(body):
            body.update(
                chunk_length=chunk, shard_length=chunk * per_shard, length=length,
                units=[unit("w", shape)],
            )  # fmt: skip

        def empty(body):
            body.update(shards=[None] * shards, nonzeros=0)
            if edit:
                edit(body)

        def catalog(body):
            body["tasks"]["t"].update(
                shards=[None] * shards, nonzeros=0, parameters=int(np.prod(shape, dtype=object))
            )
            if edit:
                edit(body["tasks"]["t"])

        objects = banks.contents(made.storage)
        return banks.store(banks.forge(objects, layout=relay, revision=empty, root=catalog))

    def test_a_unit_of_2_to_the_48_entries_is_read_sparse_and_not_dense(self):
        with at_most(ALWAYS):
            bank = tvbank.open(self.bank([2**48], 2**48))
            positions, values = bank["t"]["w"].to_sparse()
            assert len(positions) == len(values) == 0
            for read in (bank["t"]["w"].to_dense, bank["t"].to_dense):
                with pytest.raises(TooLargeError, match="would take 1,048,576"):
                    read()
            assert {name: len(found[0]) for name, found in bank["t"].to_sparse().items()} == {
                "w": 0
            }

    def test_thousands_of_shards_of_zeros_cost_nothing(self):
        # 2^48 entries in chunks of one: more shards than a document can list are refused at once.
        with at_most(ALWAYS), pytest.raises(CorruptionError, match="shards"):
            tvbank.open(
                self.bank([2**30], 2**30, chunk=1, edit=lambda body: body.update(shards=[]))
            )

    def test_a_shard_of_tiny_frames_that_are_full(self):
        """48 bytes a frame and 4096 frames: 2^36 entries in 260 KB."""
        full = encode_frame(np.full(2**24, 0.5, np.float32), values="table")
        assert len(full) < 64
        shard = build_shard(2**12, ((number, full) for number in range(2**12)))
        record = banks.stored_record(shard)

        def give(body):
            body["shards"] = [record]
            body["nonzeros"] = 2**36
            body["stored_bytes"] = 0

        storage = self.bank([2**36], 2**36, per_shard=2**12, edit=give)
        name = tvbank.open(storage)["t"].revision
        storage.put(f"tasks/t/{name}/delta/c/0", shard)
        task = tvbank.open(storage)["t"]
        assert task.nonzeros == 2**36  # the catalog tells before anything is read
        with at_most(24 * len(shard) + 64 * MIB):
            for read in (task["w"].to_sparse, task.to_sparse):
                with pytest.raises(TooLargeError, match="unit 'w' on"):
                    read()
            frame = next(task.frames("w"))
            assert task.header(frame).nonzeros == 2**24


def test_an_extra_takes_its_size_and_a_chunk():
    made = tvbank.create(banks.MemoryStorage(), {"w": np.zeros(1, np.float32)})
    bomb = np.zeros((2**21, 100), np.uint8)  # 4 chunks, a few thousand bytes each
    made.add("t", {"w": np.zeros(1, np.float32), "bomb": bomb}, tvbank.Exact())
    assert made["t"].stored_bytes < 100_000
    with at_most(bomb.nbytes + 64 * MIB + ALWAYS):
        assert not made["t"].extras["bomb"].any()


LIMITED = """
import resource, sys
import tvbank
from tvbank.errors import TvbankError
bank = tvbank.open(sys.argv[1])
bank["t"]["w"].to_sparse()  # libraries and compiled code are there
with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 200 * 2**20, -1))
found = []
for read in (
    lambda: bank["t"].extras["bomb"], bank["t"]["w"].to_dense, bank["t"].to_dense
):
    try:
        read()
        found.append("read")
    except TvbankError as error:
        found.append(type(error).__name__)
print(*found)
"""


def test_in_a_process_without_memory_there_is_a_clear_error(tmp_path):
    zeros = {"w": np.zeros(2**26, np.float32)}
    tuned = {"w": np.zeros(2**26, np.float32), "bomb": np.zeros(2**29, np.uint8)}
    tuned["w"][5] = 1
    bank = tvbank.create(tmp_path / "bank", zeros)
    bank.add("t", tuned, tvbank.Exact())
    stored = sum(path.stat().st_size for path in (tmp_path / "bank").rglob("*") if path.is_file())
    assert stored < 200_000
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIMITED), str(tmp_path / "bank")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.stdout.split() == ["TooLargeError"] * 3, ran.stderr[-2000:]
    assert verify(bank.storage) == []
