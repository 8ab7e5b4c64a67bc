"""The loops run on torch's own threads where these can be had, and on new ones elsewhere."""

import numpy as np
import pytest
import torch

from tvbank.switching import _threads
from tvbank.switching._threads import Crew
from tvbank.switching.loops.shares import shared_restore


@pytest.fixture(params=["torch's threads", "threads of ours"])
def crew(request, monkeypatch):
    if request.param == "threads of ours":
        monkeypatch.setattr("tvbank.switching._threads.torch_team", lambda: None)
    return Crew()


def record_of(weights, positions, old):
    """A record that puts back some entries: each its own place."""
    places = np.zeros((len(positions), 5), np.int64)
    places[:, 0] = weights.ctypes.data
    places[:, 2] = np.arange(len(positions))
    places[:, 3] = 4 * np.arange(len(positions))
    done = np.ones(len(positions), np.int64)
    return places, done, np.uint64(positions.ctypes.data), np.uint64(old.ctypes.data)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_all_parts_are_done_once(crew, threads):
    weights = np.zeros(100, np.uint32)
    positions = np.arange(0, 100, 2, dtype=np.uint32)
    old = np.arange(50, dtype=np.uint32) + 7
    parts = np.zeros((50, 4), np.int64)
    parts[:, 0], parts[:, 1] = np.arange(50), np.arange(50) + 1
    found = crew.run(shared_restore(record_of(weights, positions, old), parts, threads))
    assert 1 <= len(found) <= threads
    assert set(found) == {(-1, 0)}
    assert weights[::2].tolist() == old.tolist()
    assert not weights[1::2].any()


def test_a_loop_that_lacks_memory_is_noticed(crew):
    nothing = np.zeros((0, 4), np.int64)
    empty = np.zeros(0, np.uint32)
    shared = shared_restore(record_of(np.zeros(1, np.uint32), empty, empty), nothing, 1)
    assert shared.results() == []
    crew.run(shared)
    shared._results[0, 0] = -2
    with pytest.raises(MemoryError):
        shared.results()


def test_a_forked_process_leaves_the_threads_to_its_parent(monkeypatch):
    monkeypatch.setattr(_threads, "_PROCESS", -1)
    assert _threads.torch_team() is None


def test_builds_without_the_runtime_do_without(monkeypatch):
    monkeypatch.setattr(torch.backends.openmp, "is_available", lambda: False)
    assert _threads._find_team.__wrapped__() is None
    monkeypatch.undo()
    monkeypatch.setattr(torch, "__file__", "/nowhere/torch/__init__.py")
    assert _threads._find_team.__wrapped__() is None
