"""Followers: a file and a live model at the newest version, whatever happens in between."""

import banks
import chained
import numpy as np
import pytest
import servers
import torch
from safetensors.numpy import load_file, save_file

import tvbank
from tvbank.errors import BaseMismatchError, CorruptionError, UsageError
from tvbank.merging.tensor import to_torch
from tvbank.storage import MemoryStorage
from tvbank.updates import follow_file

STATES = chained.states_of(6)
BASE = STATES[0]


def publish(bank, number, **how):
    parent = f"step-{number - 1}" if how.pop("chained", True) else None
    return bank.add(f"step-{number}", STATES[number], tvbank.Exact(), parent=parent, **how)


@pytest.fixture
def bank():
    bank = tvbank.create(MemoryStorage(), BASE, chunk_length=8)
    publish(bank, 1, chained=False)
    return bank


def test_refresh_sees_what_others_published_and_asks_once():
    counting = banks.CountingStorage(MemoryStorage())
    writer = tvbank.create(counting.inner, BASE, chunk_length=8)
    reader = tvbank.open(counting)
    counting.reset()
    assert reader.refresh() is False
    assert sum(counting.calls.values()) == 1
    publish(writer, 1, chained=False)
    assert "step-1" not in reader
    assert reader.refresh() is True
    assert list(reader) == ["step-1"]
    assert reader.refresh() is False
    other = tvbank.create(MemoryStorage(), {"w": np.ones(3)}, chunk_length=8)
    counting.inner.put("zarr.json", other.storage.get("zarr.json"))
    with pytest.raises(BaseMismatchError, match="another bank"):
        reader.refresh()
    assert list(reader) == ["step-1"]


def test_on_a_disk_an_unchanged_catalog_is_not_read(tmp_path, monkeypatch):
    writer = tvbank.create(tmp_path / "bank", BASE, chunk_length=8)
    reader = tvbank.open(tmp_path / "bank")
    reader.refresh()
    with monkeypatch.context() as patch:
        patch.setattr(type(reader.storage), "get", None)
        patch.setattr(type(reader.storage), "get_tagged", None)
        assert reader.refresh() is False
    publish(writer, 1, chained=False)
    assert reader.refresh() is True
    assert reader["step-1"].metadata == {}


def test_over_http_a_look_is_one_conditional_request_and_a_step_its_own_bytes(tmp_path):
    writer = tvbank.create(tmp_path / "bank", BASE, chunk_length=8)
    publish(writer, 1, chained=False)
    with servers.FileServer(tmp_path, tags=True) as server:
        reader, path = tvbank.open(f"{server.url}/bank"), tmp_path / "model.safetensors"

        def look():
            server.requests.clear()
            report = follow_file(reader, path, base=BASE)
            return report, [seen.path.removeprefix("/bank/") for seen in server.requests]

        look()
        report, asked = look()
        assert (report.route, asked) == ("none", ["zarr.json"])
        assert server.requests[0].bytes == 0  # not modified
        publish(writer, 2)
        publish(writer, 3)
        report, asked = look()  # it slept through one
        assert report.tasks == ("step-2", "step-3")
        assert asked[0] == "zarr.json"
        assert {name.split("/")[1] for name in asked[1:]} == {"step-2", "step-3"}
        assert held(path) == wanted(3)
        assert look()[1] == ["zarr.json"]
        publish(writer, 4, anchor_every=3)
        report, asked = look()
        assert (report.route, report.tasks) == ("base", ("step-4",))
        assert {name.split("/")[1] for name in asked[1:]} == {"step-4"}
        assert held(path) == wanted(4)


def test_names_say_which_version_is_the_newest(bank):
    assert tvbank.create(MemoryStorage(), BASE).newest() is None
    for name in ("step-10", "step-9", "step-2b"):
        bank.add(name, STATES[2], tvbank.Exact())
    bank.add("step-99", banks.fine_tune(0), tvbank.TSwitch())  # not exact: no version
    with pytest.raises(UsageError, match="several series"):
        bank.newest()
    assert bank.newest("step-") == "step-10"
    assert bank.newest("step-2") == "step-2b"
    assert bank.newest("other") is None


def held(path):
    return {name: array.tobytes() for name, array in load_file(path).items()}


def wanted(number):
    return {name: array.tobytes() for name, array in STATES[number].items()}


def test_a_file_follows_by_steps_and_over_anchors(bank, tmp_path):
    path = tmp_path / "model.safetensors"
    reader = tvbank.open(bank.storage)

    def look(**how):
        return follow_file(reader, path, base=BASE, **how)

    first = look()
    assert (first.version, first.before, first.route) == ("step-1", None, "base")
    assert held(path) == wanted(1)
    assert look().route == "none"
    publish(bank, 2)
    publish(bank, 3)
    report = look()
    assert (report.version, report.before, report.route) == ("step-3", "step-1", "steps")
    assert report.tasks == ("step-2", "step-3")
    assert report.bytes == bank["step-2"].stored_bytes + bank["step-3"].stored_bytes
    assert held(path) == wanted(3)
    publish(bank, 4, anchor_every=3)
    publish(bank, 5)
    report = look()
    assert (report.route, report.tasks) == ("base", ("step-4", "step-5"))
    assert held(path) == wanted(5)
    bank.remove("step-5")  # the trainer takes it back
    report = follow_file(tvbank.open(bank.storage), path, base=BASE)  # a new process
    assert (report.version, report.before) == ("step-4", "step-5")
    assert held(path) == wanted(4)


def test_steps_of_units_that_are_kept_whole_from_then_on(bank, tmp_path):
    path = tmp_path / "model.safetensors"
    follow_file(bank, path, base=BASE)
    resized = STATES[2] | {"embedding": np.ones((9, 5), np.float32)}
    bank.add("step-2", resized, parent="step-1", replace_mismatched=True)
    assert follow_file(bank, path, base=BASE).route == "steps"
    chained.assert_state(load_file(path), resized)
    later = chained.stepped(resized, 3)
    bank.add("step-3", later, parent="step-2", replace_mismatched=True)
    assert follow_file(bank, path, base=BASE).route == "steps"
    chained.assert_state(load_file(path), later)


def test_a_file_that_others_changed_is_not_overwritten(bank, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"w": np.ones(2)}, path)
    with pytest.raises(UsageError, match="--force"):
        follow_file(bank, path, base=BASE)
    follow_file(bank, path, base=BASE, replace=True)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    publish(bank, 2)
    with pytest.raises(UsageError, match="changed by others"):
        follow_file(bank, path, base=BASE)
    assert path.read_bytes() == data
    path.write_bytes(data[:-3])
    with pytest.raises(UsageError, match="changed by others"):
        follow_file(bank, path, base=BASE)
    assert follow_file(bank, path, base=BASE, replace=True).route == "base"
    assert held(path) == wanted(2)


def test_a_version_that_cannot_be_read_leaves_the_file(bank, tmp_path):
    path = tmp_path / "model.safetensors"
    follow_file(bank, path, base=BASE)
    publish(bank, 2)
    key = f"tasks/step-2/{bank['step-2'].revision}/delta/c/0"
    bank.storage.put(key, bank.storage.get(key)[:-1])  # truncated
    with pytest.raises(CorruptionError):
        follow_file(bank, path, base=BASE)
    assert held(path) == wanted(1)


class Holder(torch.nn.Module):
    """The floats of a state that are no other name of one."""

    def __init__(self, state):
        super().__init__()
        for name, array in state.items():
            if array.dtype.kind != "i" and name != "head again":
                self._parameters[name] = torch.nn.Parameter(to_torch(array.copy()))


def is_at(model, number):
    return all(
        tensor.detach().reshape(-1).view(torch.uint8).numpy().tobytes()
        == STATES[number][name].tobytes()
        for name, tensor in model.state_dict().items()
    )


def test_a_live_model_follows_and_keeps_what_it_has(bank):
    model = Holder(BASE)
    empty = tvbank.create(MemoryStorage(), BASE, chunk_length=8)
    with tvbank.follow(model, empty) as follower:
        assert follower.version is None
        assert is_at(model, 0)
    with tvbank.follow(model, tvbank.open(bank.storage)) as follower:
        assert follower.version == "step-1"
        assert is_at(model, 1)
        publish(bank, 2)
        report = follower.update()
        assert (report.route, report.tasks) == ("steps", ("step-2",))
        assert is_at(model, 2)
        assert follower.update().route == "none"
        publish(bank, 3)
        key = f"tasks/step-3/{bank['step-3'].revision}/delta/c/0"
        whole = bank.storage.get(key)
        bank.storage.put(key, whole[:-1])
        with pytest.raises(CorruptionError):
            follower.update()
        assert is_at(model, 2)
        bank.storage.put(key, whole)
        assert follower.update().version == "step-3"
        with torch.no_grad():
            model._parameters["embedding"].add_(1)
        publish(bank, 4)
        with pytest.raises(UsageError, match="written to"):
            follower.update()
        follower.switch.off(force=True)
        with torch.no_grad():
            model._parameters["embedding"].copy_(to_torch(BASE["embedding"]))
        assert follower.update().version == "step-4"
        assert is_at(model, 4)
    assert is_at(model, 0)


def test_run_ends_when_it_is_told_to(bank):
    model = Holder(BASE)
    with tvbank.follow(model, bank) as follower:
        publish(bank, 2)
        seen = []

        def report(found):
            seen.append(found.version)
            follower.stop()

        follower.run(every=0.001, report=report)
        assert seen == ["step-2"]
        assert is_at(model, 2)
