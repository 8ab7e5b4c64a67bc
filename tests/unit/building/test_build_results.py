"""Results that an earlier build left, changed since: refused, and the job is done again."""

import hashlib
import os

import manifests
import msgspec
import numpy as np
import pytest

import tvbank
from tvbank.bank.documents import ExtraRecord
from tvbank.bank.writer import Spool
from tvbank.building import _task, read_manifest
from tvbank.building._jobs import Encoded, Survey, Surveyed, Whole, pack, unpack
from tvbank.building._sources import Base
from tvbank.building._task import BuiltTask, DamagedResultError, WorkFolder
from tvbank.coding import encode_frame
from tvbank.errors import StorageError

METHODS = {"units": manifests.HALF, "whole": {"method": "budget", "budget": "4 KiB"}}


class Work:
    """A task whose jobs are done, in a work folder.

    Attributes:
        folder: the work folder.
        task: as a new build finds it.
        revision: that its results make.
    """

    def __init__(self, place, options):
        manifests.write_checkpoints(place, 2)
        self.layout = tvbank.create(
            place / "bank", place / "base.safetensors", chunk_length=8
        ).layout
        tasks = {"t": {"checkpoint": "t1.safetensors", **options}}
        self._plan = read_manifest(manifests.write(place, tasks)).tasks[0]
        self._base = Base.of(str(place / "base.safetensors"), self.layout)
        self.folder = WorkFolder(place / "work")
        task = BuiltTask(self._plan, self._base)
        self.survey = unpack(Survey(task.tuned, "").run(1), Surveyed)
        self.begin()
        for number in sorted(self.task.missing):
            self.redo(number)
        self.begin()
        assert not self.task.missing
        self.revision = self.assemble()

    def begin(self):
        self.task = BuiltTask(self._plan, self._base)
        self.task.begin(self.survey, self.folder)

    def redo(self, number):
        self.folder.put(self.task.key, number, self.task.jobs[number].run(1))

    def path(self, number):
        return self.folder._root / self.task.key / str(number)

    def put(self, number, body):
        """Put a result in place of another, with a digest that fits."""
        packed = body if isinstance(body, bytes) else pack(body)
        self.folder.put(self.task.key, number, packed)
        self.begin()

    def get(self, number, kind):
        return unpack(self.folder.get(self.task.key, number, 2**30), kind)

    def number(self, what):
        """Of the first job with units or tensors kept whole."""
        return next(n for n, job in enumerate(self.task.jobs) if getattr(job, what))

    def assemble(self):
        with Spool() as spool:
            return self.task.assemble(self.layout, self.folder, spool).entry.revision

    def assert_done_again(self, number):
        with pytest.raises(DamagedResultError) as caught:
            self.assemble()
        assert caught.value.job == number
        assert not self.path(number).exists()
        self.redo(number)
        assert self.assemble() == self.revision


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setattr(_task, "_GRAIN", 100)  # several jobs
    return Work(tmp_path, METHODS["units"])


@pytest.fixture
def whole(tmp_path):
    (tmp_path / "whole").mkdir()
    return Work(tmp_path / "whole", METHODS["whole"])


NONSENSE = {
    "not msgpack": b"\xc1",
    "nothing": b"",
    "a number": msgspec.msgpack.encode(3),
    "another type": msgspec.msgpack.encode({"frames": 1, "extras": []}),
    "deep": b"\x81\xa1x" + b"\x91" * 100_000,
    "a list without end": b"\x81\xa6frames\xdd\xff\xff\xff\xff",
    "text that is no text": b"\x81\xa1\xff\x00",
}


@pytest.mark.parametrize("label", NONSENSE)
def test_nonsense_with_the_right_digest(work, label):
    digest = hashlib.sha256(NONSENSE[label]).digest()
    work.put(0, digest + NONSENSE[label])
    work.assert_done_again(0)


@pytest.mark.parametrize("label", ["cut", "empty", "flipped", "of another job", "a device"])
def test_files_that_are_no_results(work, label):
    path, other = work.path(0), work.path(1)
    content = path.read_bytes()
    if label == "a device":
        path.unlink()
        os.link(other, path)
    else:
        path.write_bytes(
            {
                "cut": content[:-1],
                "empty": b"",
                "flipped": content[:-1] + bytes([content[-1] ^ 1]),
                "of another job": other.read_bytes(),
            }[label]
        )
    work.begin()
    work.assert_done_again(0)


def frames(work, label, number):
    """The frames of a job, changed."""
    found = work.get(number, Encoded).frames
    chunk, frame = found[0]
    length = work.layout.chunk_length
    unit = work.layout.by_name[work.task.jobs[number].units[0]]
    beyond = np.ones(length, np.float32)
    return {
        "far away": [(10**9, frame)],
        "2**64 - 1": [(2**64 - 1, frame)],
        "negative": [(-1, frame)],
        "of another unit": [(work.layout.chunks(work.layout.units[-1])[-1] + 1, frame)],
        "twice": [found[0], *found],
        "not in order": [*found[::-1], *found],
        "junk": [(chunk, b"x" * 30), *found[1:]],
        "empty": [(chunk, b""), *found[1:]],
        "cut": [(chunk, frame[:-1]), *found[1:]],
        "longer": [(chunk, frame + b"\0"), *found[1:]],
        "zero": [(chunk, encode_frame(beyond * 0)), *found[1:]],
        "of another length": [(chunk, encode_frame(np.ones(length + 1, np.float32)))],
        "of integers": [(chunk, encode_frame(np.ones(length, np.int32)))],
        "beyond the unit": [(work.layout.chunks(unit)[-1], encode_frame(beyond))],
    }[label]


@pytest.mark.parametrize(
    "label",
    ["far away", "2**64 - 1", "negative", "of another unit", "twice", "not in order", "junk",
     "empty", "cut", "longer", "zero", "of another length", "of integers", "beyond the unit"],
)  # fmt: skip
def test_frames_that_the_job_does_not_make(work, label):
    numbers = [n for n, job in enumerate(work.task.jobs) if job.units and not job.whole]
    for number in numbers:  # one whose last unit does not end with a chunk
        unit = work.layout.by_name[work.task.jobs[number].units[0]]
        if unit.size % work.layout.chunk_length and work.get(number, Encoded).frames:
            break
    work.put(number, Encoded(frames=frames(work, label, number), extras=[]))
    work.assert_done_again(number)


@pytest.mark.parametrize(
    "label", ["frames", "none", "name", "shape", "type", "key", "data", "more"]
)
def test_tensors_that_the_job_does_not_keep(work, label):
    number = work.number("whole")
    result = work.get(number, Encoded)
    record, chunks = result.extras[0]
    changed = {
        "frames": [],
        "none": [],
        "name": [(ExtraRecord("z", record.dtype, record.shape), chunks)],
        "shape": [(ExtraRecord(record.name, record.dtype, (2**40,)), chunks)],
        "type": [(ExtraRecord(record.name, "bool", record.shape), chunks)],
        "key": [(record, [("../../../../evil", data) for _, data in chunks])],
        "data": [(record, [(key, b"x") for key, _ in chunks])],
        "more": [(record, chunks * 2)],
    }[label]
    extras = result.extras if label == "frames" else [*changed, *result.extras[1:]]
    work.put(number, Encoded(frames=[(0, b"x")] if label == "frames" else [], extras=extras))
    work.assert_done_again(number)


@pytest.mark.parametrize("label", ["key", "data", "missing", "document", "entry", "numbers"])
def test_a_whole_task_that_is_not_sound(whole, label):
    result = whole.get(0, Whole)
    objects, document, entry = result.objects, result.document, result.entry
    key, data = next(pair for pair in objects if pair[0].startswith("delta/c/"))
    rest = [pair for pair in objects if pair[0] != key]
    if label == "key":
        objects = [*rest, ("../../../../evil", data)]
    elif label == "data":
        objects = [*rest, (key, data[:-1] + b"x")]
    elif label == "missing":
        objects = rest
    elif label == "document":
        document = document.replace(b"budget", b"exact")
    elif label == "entry":
        entry = msgspec.structs.replace(entry, revision="0" * 64)
    else:
        entry = msgspec.structs.replace(entry, nonzeros=entry.nonzeros + 1)
    whole.put(0, Whole(entry=entry, document=document, objects=objects))
    whole.assert_done_again(0)


def test_what_was_left_unchanged_is_taken(work, whole):
    for each in (work, whole):
        each.begin()
        assert each.assemble() == each.revision


def test_what_is_damaged_again_and_again_is_an_error(work):
    """Else a disk that keeps nothing would be written to for ever."""
    work.path(0).write_bytes(b"")
    with pytest.raises(DamagedResultError):
        work.assemble()
    work.path(0).write_bytes(b"")
    with pytest.raises(StorageError, match="work folder: check its disk"):
        work.assemble()


def test_notes_that_are_none(work):
    note = work.folder._root / "notes" / "t.json"
    note.parent.mkdir()
    for content in (b"[" * 100_000, b"\xff", b"{}", b"x" * 10**6):
        note.write_bytes(content)
        assert work.folder.note("t") is None
    note.unlink()
    os.mkfifo(note)
    assert work.folder.note("t") is None
