"""Banks and tasks cross to another process; what cannot says why."""

import copy
import multiprocessing
import pickle

import banks
import numpy as np
import pytest
import torch

import tvbank
from tvbank.errors import UsageError
from tvbank.storage import MemoryStorage


def read_there(bank, task, connection):
    """Runs in another process: what it reads of what it was given."""
    dense = {name: entries.tobytes() for name, entries in task.to_dense().items()}
    state = {name: tensor.numpy().tobytes() for name, tensor in bank.state_dict("exact").items()}
    connection.send((list(bank), bank.generation, bank.verify(), dense, state))
    connection.close()


@pytest.fixture
def bank(tmp_path):
    torch.manual_seed(0)
    weights = {"w": torch.randn(40, 30), "b": torch.randn(30)}
    path = tmp_path / "base.pt"
    torch.save(weights, path)
    made = tvbank.create(tmp_path / "bank", path)
    for name, compressor in (
        ("exact", tvbank.Exact(standalone=True)),
        ("lossy", tvbank.TSwitch(0.5)),
    ):
        made.add(name, {n: t + 0.1 * torch.randn_like(t) for n, t in weights.items()}, compressor)
    return made


def test_a_bank_and_a_task_are_the_same_in_a_spawned_process(bank):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=read_there, args=(bank, bank["lossy"], there))
    process.start()
    there.close()
    names, generation, faults, dense, state = here.recv()
    process.join()
    assert process.exitcode == 0
    assert (names, generation, faults) == (["exact", "lossy"], bank.generation, [])
    assert dense == {n: entries.tobytes() for n, entries in bank["lossy"].to_dense().items()}
    assert state == {n: t.numpy().tobytes() for n, t in bank.state_dict("exact").items()}


def test_a_pickled_bank_sees_its_generation_and_can_be_changed(bank):
    old = pickle.dumps((bank, bank["exact"]))
    bank.remove("exact")
    again, task = pickle.loads(old)
    assert list(again) == ["exact", "lossy"]
    assert task["w"].to_dense().tobytes() == again["exact"]["w"].to_dense().tobytes()
    again.add("new", again.base_source(), tvbank.Exact())
    assert list(again) == ["lossy", "new"]


def test_a_bank_at_a_relative_place_is_found_from_elsewhere(bank, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(tvbank.open("bank"))
    monkeypatch.chdir("/")
    assert list(pickle.loads(data)["lossy"].to_sparse()) == ["w", "b"]


def test_a_zip_file_of_a_bank_crosses_too(bank, tmp_path):
    tvbank.pack(bank, tmp_path / "bank.zip")
    packed = pickle.loads(pickle.dumps(tvbank.open(tmp_path / "bank.zip")))
    assert packed.verify() == []
    assert copy.deepcopy(packed["lossy"]).nonzeros == bank["lossy"].nonzeros


def test_weights_in_memory_do_not_go_along(tmp_path):
    bank = tvbank.create(tmp_path / "b", {"w": np.ones((100, 100), np.float32)})
    data = pickle.dumps(bank)
    assert len(data) < 5000
    with pytest.raises(UsageError, match="base="):
        pickle.loads(data).base_source()


def test_what_cannot_cross_says_why(tmp_path):
    memory = banks.small_bank(MemoryStorage())
    for thing in (memory, memory["exact"]):
        with pytest.raises(UsageError, match="in this process alone"):
            pickle.dumps(thing)
