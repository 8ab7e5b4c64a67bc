"""Resume files that were cut, changed or made by somebody else: one error that names the file."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import small

import tvbank
from tvbank.errors import UsageError
from tvbank.flexswitch._relaxation import State

RUN = "0" * 64


class Executed:
    def __reduce__(self):
        raise AssertionError("a pickle was loaded")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The arrays of a resume file after 25 of 30 steps."""
    path = tmp_path_factory.mktemp("resume") / "file"
    dice = np.random.default_rng(0)
    state = State.start(np.zeros((3, 2)))
    for _ in range(25):
        state.move(dice.standard_normal((3, 2)), np.array([0.1, 0.02]))
    state.save(path, RUN)
    with np.load(path) as arrays:
        return dict(arrays)


def signed(arrays):
    """The arrays with the digest that belongs to them, as whoever forges them can make it."""
    parts = ("rows", "first", "second", "reached")
    state = State(*(arrays[name] for name in parts), int(arrays["step"]))
    return arrays | {"digest": np.array(state._digest(RUN))}


def write(path, arrays):
    with path.open("wb") as file:
        np.savez(file, **arrays)


def resume(path):
    return State.resume(path, RUN, State.start(np.zeros((3, 2))), 30)


def test_what_was_saved_is_read(saved, tmp_path):
    path = tmp_path / "file"
    write(path, saved)
    state = resume(path)
    assert state.step == 25
    assert all((getattr(state, name) == saved[name]).all() for name in ("rows", "first", "second"))


SHAPES = {
    "rows": [np.zeros((0, 2)), np.zeros(6), np.zeros((3, 3)), np.zeros((6, 2))],
    "first": [np.zeros((3, 1))],
    "reached": [np.zeros(4, bool), np.zeros((3, 2), bool)],
    "step": [np.array([25])],
}
DTYPES = {
    "rows": [np.zeros((3, 2), np.float32), np.zeros((3, 2), ">f8"), np.zeros((3, 2), complex)],
    "reached": [np.full(3, 5)],
    "step": [np.array(np.nan), np.array("25"), np.array(25, np.uint64), np.array(25.0)],
    "run": [np.array(RUN.encode()), np.array([RUN])],
}
SENSE = {
    "rows": [np.full((3, 2), v) for v in (np.nan, np.inf, 1e300, -2000.0)],
    "first": [np.full((3, 2), v) for v in (np.nan, -np.inf, 1e30)],
    "second": [np.full((3, 2), v) for v in (np.nan, -1e-300, 0.0)],
    "step": [np.array(v) for v in (-1, 0, 24, 26, 31, 10**9, 2**62, -(2**63))],
}


@pytest.mark.parametrize(
    ("name", "array"),
    [(n, a) for table in (SHAPES, DTYPES, SENSE) for n, some in table.items() for a in some],
)
def test_an_array_that_does_not_fit(saved, tmp_path, name, array):
    path = tmp_path / "file"
    changed = saved | {name: array}
    write(path, changed if name == "run" else _signed_if_possible(changed))
    with pytest.raises(UsageError, match="remove it") as caught:
        resume(path)
    assert str(path) in str(caught.value)


def _signed_if_possible(arrays):
    try:
        return signed(arrays)
    except (TypeError, ValueError, AttributeError):
        return arrays


def test_sensible_numbers_that_nobody_saved(saved, tmp_path):
    path = tmp_path / "file"
    for changed in ({"step": np.array(30)}, {"rows": saved["rows"] * 1.01}):
        write(path, saved | changed)
        with pytest.raises(UsageError, match="changed after it was written"):
            resume(path)


def member(shape, dtype="<f8", data=b""):
    """A .npy file whose header says what it likes."""
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


FILES = {
    "empty": b"",
    "text": b"hello",
    "a pickle": pickle.dumps([1]),
    "the beginning of a zip file": b"PK\x03\x04",
}
MEMBERS = {
    "2**60 bytes": member((2**57,)),
    "2 TiB": member((2**38,)),
    "negative": member((-5,)),
    "fields": member((2,), [("a", "<f8")], b"\0" * 16),
    "objects": member((1,), "|O", pickle.dumps([1])),
    "deep": b"\x93NUMPY\x01\x00" + (2000).to_bytes(2, "little") + b"(" * 1999 + b"\n",
    "a long header": b"\x93NUMPY\x02\x00" + (2**30).to_bytes(4, "little"),
    "nothing": b"",
}


def packed(saved, compression=zipfile.ZIP_STORED, **changed):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, array in saved.items():
            one = io.BytesIO()
            np.save(one, array)
            file.writestr(f"{name}.npy", changed.get(name, one.getvalue()))
    return content.getvalue()


@pytest.mark.parametrize("label", [*FILES, *MEMBERS, "compressed", "too large", "one more", "cut"])
def test_a_file_that_is_something_else(saved, tmp_path, label):
    path = tmp_path / "file"
    if label in MEMBERS:
        content = packed(saved, rows=MEMBERS[label])
    elif label in FILES:
        content = FILES[label]
    else:
        content = {
            "compressed": packed(saved, zipfile.ZIP_DEFLATED),
            "too large": packed(saved, rows=member((2**20,), data=bytes(2**23))),
            "one more": packed(saved | {"more": np.zeros(1)}),
            "cut": packed(saved)[:-30],
        }[label]
    path.write_bytes(content)
    with pytest.raises(UsageError, match="remove it") as caught:
        resume(path)
    assert str(path) in str(caught.value)


def test_every_flipped_bit_is_seen_or_of_no_effect(saved, tmp_path):
    path = tmp_path / "file"
    good = packed(saved)
    for place in range(0, len(good), 5):
        data = bytearray(good)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            state = resume(path)
        except UsageError:
            continue
        assert (state.rows == saved["rows"]).all()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_no_regular_file(tmp_path, kind):
    path = tmp_path / "file"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    base = small.model()
    flex = tvbank.FlexSwitch(base, small.inputs(), steps=2, batch=16, checkpoint=path)
    with pytest.raises(UsageError, match="cannot be read"):
        small.bank(base).add("t", small.tuned(base), flex)
