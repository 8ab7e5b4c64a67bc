"""Time that reading takes: counted in symbols and frames, and never in seconds.

The bound is that of spec/security.md, "Time".
"""

import struct
from contextlib import suppress

import banks
import numpy as np
import pytest

import tvbank
from spec.reference import coder
from spec.reference.masks import decode_mask
from tvbank._json import parse_json
from tvbank.bank.documents import decode_layout, decode_root
from tvbank.bank.reader import DeltaReader
from tvbank.bank.shard import build_shard
from tvbank.checkpoint import open_checkpoint
from tvbank.coding import decode_sparse, encode_frame
from tvbank.coding.densities import density_step, run_starts
from tvbank.errors import TvbankError
from tvbank.storage.zipped import parse_directory

SLOTS = 1024
BLOCKS = 8
WIDEST = 65_535


def rans(reads):
    """The section of these fields, (value, bits), and symbols, (start, slots, None)."""
    states, words = [1 << 16] * 4, []
    for number in reversed(range(len(reads))):
        first, second, *symbol = reads[number]
        state = states[number % 4]
        if state >= (second << 22 if symbol else 2**32 >> second):
            words.append(state & 0xFFFF)
            state >>= 16
        state = (
            SLOTS * (state // second) + state % second + first
            if symbol
            else (state << second) + first
        )
        states[number % 4] = state
    return struct.pack("<4I", *states) + struct.pack(f"<{len(words)}H", *reversed(words))


def one_entry(width, classes):
    """A frame of one entry, in a matrix of one row of ``width`` columns in several classes."""
    step, unit = density_step(1, width)
    starts = run_starts()[step * 65 : step * 65 + 65]
    slots = SLOTS - classes + 1
    reads = [(0, 16), (0, 4), (classes - 1, 4), (slots, 10), *[(1, 10)] * (classes - 2)]
    reads += [(0, slots, None)] * width
    reads += [(1, min(width.bit_length(), 16)), (int(starts[0]), int(starts[1] - starts[0]), None)]
    reads += [(0, unit)] * bool(unit) + [(0, 0)] * (classes - 1)
    section = rans(reads)
    head = struct.pack("<4B2H4I", 1, 0, BLOCKS, 6, width, 0, 1, 1, 1, len(section))
    return head + section + struct.pack("<f", 1.0), section


@pytest.fixture
def symbols(monkeypatch):
    """Counts the symbols that the reference decoder reads: every decoder reads the same ones."""
    read, inner = [], coder.Coder.symbol

    def symbol(self, starts):
        read.append(1)
        return inner(self, starts)

    monkeypatch.setattr(coder.Coder, "symbol", symbol)
    return read


def bound(extent, nonzeros, width, section):
    """Symbols of a valid section at most: classes of rows and columns, ones, and escapes."""
    return extent // 16 + 2 + width + nonzeros + 8 * len(section) // 3


@pytest.mark.parametrize(("width", "classes"), [(16, 2), (1000, 3), (WIDEST, 2), (WIDEST, 16)])
def test_a_frame_of_one_entry_takes_a_symbol_for_each_column(symbols, width, classes):
    frame, section = one_entry(width, classes)
    assert decode_mask(BLOCKS, width, 1, 1, section) == [0]
    assert width < len(symbols) <= bound(1, 1, width, section)
    positions, values = decode_sparse(frame, 1)
    assert (positions.tolist(), values.tolist()) == ([0], [1.0])


@pytest.mark.parametrize("density", [0.01, 0.3, 0.9])
def test_ordinary_frames_take_a_symbol_for_each_entry_and_line(symbols, density):
    rng = np.random.default_rng(5)
    rows, columns = rng.random((40, 1)) * 2 * density, rng.random((1, 50)) < 0.7
    kept = ((rng.random((40, 50)) < rows) & columns).ravel()
    chunk = np.where(kept, np.float32(0.5), np.float32(0))
    frame = encode_frame(chunk, mask="blocks", row=50)
    size = int.from_bytes(frame[20:24], "little")
    extent, count = int(kept.nonzero()[0][-1]) + 1, int(kept.sum())
    section = frame[24 : 24 + size]
    assert decode_mask(BLOCKS, 50, extent, count, section) == kept.nonzero()[0].tolist()
    assert len(symbols) <= bound(extent, count, 50, section)


#: Repeated so often, what is compared with all that came before would never end.
MANY = 200_000
DIGEST = "0" * 64


def group(body):
    return f'{{"attributes":{{"tvbank":{body}}},"node_type":"group","zarr_format":3}}'.encode()


def root(members):
    head = f'"digest":"{DIGEST}","format":"1.0","required_features":[],"generation":1'
    layout = f'"layout":{{"size":1,"sha256":"{DIGEST}"}}'
    return banks.sealed(group(f'{{{head},{layout},"tasks":{{}},{members}}}'))


def layout(members):
    head = '"chunk_length":4,"shard_length":8,"length":0,"units":[],"whole":[],"tied":{}'
    return group(f"{{{head},{members}}}")


def header(members):
    text = f"{{{members}}}".encode()
    return struct.pack("<Q", len(text)) + text


def repeated(member):
    return ",".join([member] * MANY)


TENSOR = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
NULLS = ",".join(f'"{number}":0' for number in range(MANY))
PARSERS = {
    "a root: one member": lambda folder: decode_root(root(repeated('"generation":1'))),
    "a root: an unknown one": lambda folder: decode_root(root(repeated('"future":{}'))),
    "a layout: one tie": lambda folder: decode_layout(
        layout('"tied":{' + repeated('"a":"b"') + "}")
    ),
    "a layout: many ties": lambda folder: decode_layout(
        layout('"tied":{' + NULLS.replace(":0", ':"u"') + "}")
    ),
    "JSON: one member": lambda folder: parse_json(b"{" + repeated('"a":0').encode() + b"}"),
    "JSON: many members": lambda folder: parse_json(f"{{{NULLS}}}".encode()),
    "JSON: deep": lambda folder: parse_json(b"[" * MANY + b"]" * MANY),
    "a header: one tensor": lambda folder: header_of(folder, header(repeated(f'"a":{TENSOR}'))),
    "a header: sides": lambda folder: header_of(
        folder, header('"a":{"dtype":"F32","shape":[' + repeated("9007199254740991")
        + '],"data_offsets":[0,0]}'),
    ),
    "a zip: one name": lambda folder: parse_directory(
        directory([b"a"] * MANY), 31 * MANY, MANY, "z", "z"
    ),
}  # fmt: skip


def header_of(folder, data):
    (folder / "x.safetensors").write_bytes(data)
    with open_checkpoint(folder / "x.safetensors") as opened:
        return list(opened.tensors)


def directory(names):
    fields = struct.Struct("<4s6H3L5H2L")
    return b"".join(
        fields.pack(b"PK\1\2", *[0] * 9, len(name), *[0] * 5, 31 * number) + name
        for number, name in enumerate(names)
    )


@pytest.mark.parametrize("parser", PARSERS)
def test_what_is_repeated_is_read_or_refused_in_one_pass(parser, tmp_path):
    with suppress(TvbankError, ValueError):
        PARSERS[parser](tmp_path)


FRAMES = 300


@pytest.fixture
def slow():
    """A bank of many frames that each keep a core busy."""
    made = tvbank.create(banks.MemoryStorage(), {"w": np.zeros(FRAMES, np.float32)}, chunk_length=1)
    made.add("t", {"w": np.ones(FRAMES, np.float32)}, tvbank.TSwitch(drop=0))
    frame, _ = one_entry(WIDEST, 2)
    per_shard = made.layout.chunks_per_shard
    shards = [
        build_shard(per_shard, [(n, frame) for n in range(min(per_shard, FRAMES - first))])
        for first in range(0, FRAMES, per_shard)
    ]

    def give(body):
        body["shards"] = [banks.stored_record(shard) for shard in shards]

    objects = banks.contents(made.storage)
    storage = banks.store(
        banks.forge(objects, revision=give, root=lambda body: give(body["tasks"]["t"]))
    )
    folder = f"tasks/t/{tvbank.open(storage)['t'].revision}"
    for number, shard in enumerate(shards):
        storage.put(f"{folder}/delta/c/{number}", shard)
    return tvbank.open(storage)


@pytest.fixture
def decoded(monkeypatch):
    """Counts the frames that are decoded one by one."""
    found, inner = [], DeltaReader.decode

    def decode(self, frame):
        found.append(frame.start)
        return inner(self, frame)

    monkeypatch.setattr(DeltaReader, "decode", decode)
    return found


def test_verifying_says_how_far_it_is_within_a_task(slow, decoded, monkeypatch):
    monkeypatch.setattr("tvbank.bank.checking._PATIENCE", 0)
    seen = []
    slow.verify(lambda done, total: seen.append((done, total)))
    assert len(decoded) == FRAMES
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == (slow["t"].stored_bytes,) * 2


def test_an_interrupt_waits_for_no_more_than_the_frames_under_way(slow, decoded, monkeypatch):
    monkeypatch.setattr("tvbank.bank.checking._PATIENCE", 0)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slow.verify(interrupt)
    assert 0 < len(decoded) < FRAMES
