"""``tvbank.build`` of tasks that are steps from others: the bytes of ``add``, in whatever order."""

import json

import banks
import chained
import manifests
import pytest
from command_line import Shell
from safetensors.numpy import load_file

import tvbank
from tvbank.building import _build, _task, preview
from tvbank.errors import StorageError

#: In an order in which every child stands before its parent.
STEPS = {
    f"step-{number}": {"checkpoint": f"{number}.safetensors"}
    | ({"parent": f"step-{number - 1}"} if number > 1 else {"method": "exact"})
    for number in (4, 3, 2, 1)
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A training's checkpoints."""
    monkeypatch.setattr(_task, "_GRAIN", 100)  # several jobs a task
    for number, state in enumerate(chained.states_of(5)):
        name = "base" if number == 0 else number
        manifests.save(tmp_path / f"{name}.safetensors", state)
    return tmp_path


@pytest.fixture
def here(monkeypatch):
    """Workers are of this process."""
    monkeypatch.setattr(_build, "_hire", lambda *_given: manifests.Here())


def added(folder, tasks, place, anchor_every=None):
    """The bank that ``add`` makes of them, the first step first."""
    in_order = dict(sorted(tasks.items()))
    return manifests.added(folder, in_order, place, anchor_every=anchor_every)


def test_the_bytes_of_add_whatever_the_order(folder, monkeypatch):
    path = manifests.write(folder, STEPS)
    assert preview(path)["step-2"] == "build, in a new bank, as steps from 'step-1'"
    report = tvbank.build(path, workers=1)
    assert (report.built, report.failed) == (tuple(STEPS), {})
    assert report.parents == {f"step-{n}": f"step-{n - 1}" for n in (4, 3, 2)}
    own = added(folder, STEPS, folder / "added")
    manifests.assert_same(folder / "bank", own)
    for number in (1, 4):
        state = load_file(folder / f"{number}.safetensors")
        found = chained.exported(own, f"step-{number}", folder)
        chained.assert_state(found, state)

    monkeypatch.setattr(_build, "_hire", lambda *_given: manifests.Here())
    again = tvbank.build(path)
    assert (again.present, again.units) == (tuple(STEPS), 0)
    assert set(preview(path).values()) == {"nothing, unless its checkpoint has changed"}

    # Content decides where there are no notes; and the bank's tasks are parents, too.
    more = {"step-5": {"checkpoint": "5.safetensors", "parent": "step-4"}}
    one = manifests.write(folder, more | {"step-3": STEPS["step-3"]})
    assert preview(one, work=folder / "other")["step-5"] == "build, as steps from 'step-4'"
    fresh = tvbank.build(one, work=folder / "other")
    assert (fresh.built, fresh.present) == (("step-5",), ("step-3",))
    every = STEPS | more
    manifests.assert_same(folder / "bank", added(folder, every, folder / "five"))


def test_units_that_a_parent_keeps_whole_stay_whole(here, folder):
    resized = load_file(folder / "2.safetensors")
    resized["half"] = resized["half"][:4].copy()
    manifests.save(folder / "2.safetensors", resized)
    tasks = {name: task | {"replace_mismatched": True} for name, task in STEPS.items()}
    report = tvbank.build(manifests.write(folder, tasks))
    assert report.failed == {}
    manifests.assert_same(folder / "bank", added(folder, tasks, folder / "added"))
    bank = tvbank.open(folder / "bank")
    assert "half" in bank["step-4"].extras
    chained.assert_state(
        chained.exported(bank, "step-4", folder), load_file(folder / "4.safetensors")
    )


def test_anchors(here, folder):
    path = manifests.write(folder, STEPS, defaults={"anchor_every": 2})
    report = tvbank.build(path)
    assert report.parents == {"step-4": "step-3", "step-2": "step-1"}
    manifests.assert_same(folder / "bank", added(folder, STEPS, folder / "added", anchor_every=2))


def test_what_cannot_be_built_takes_its_children_along(here, folder):
    lost = {"step-2": STEPS["step-2"] | {"checkpoint": "nothing.safetensors"}}
    tasks = STEPS | lost | {"other": {"checkpoint": "5.safetensors", "parent": "gone"}}
    tasks["after"] = {"checkpoint": "5.safetensors", "parent": "other"}
    path = manifests.write(folder, tasks)
    report = tvbank.build(path)
    assert report.built == ("step-1",)
    assert "nothing.safetensors" in report.failed["step-2"]
    for child, parent in {"step-3": "step-2", "step-4": "step-3", "after": "other"}.items():
        assert f"its parent '{parent}' was not built" in report.failed[child]
    assert "'gone' is neither in the bank nor in the manifest" in report.failed["other"]
    assert preview(path)["other"].startswith("refuse: its parent 'gone' is neither")

    # A parent that the bank has need not be built again, though its checkpoint is gone.
    (folder / "1.safetensors").unlink()
    tasks = {name: STEPS[name] for name in ("step-3", "step-2")}
    assert tvbank.build(manifests.write(folder, tasks)).built == tuple(tasks)
    assert tvbank.open(folder / "bank").verify() == []


def test_parents_in_the_bank_that_will_not_do(here, folder):
    bank = tvbank.create(folder / "bank", folder / "base.safetensors", chunk_length=8)
    bank.add("lossy", banks.fine_tune(1), tvbank.TSwitch())
    bank.add("step-1", folder / "1.safetensors", tvbank.Exact())
    bank.add("step-2", folder / "2.safetensors", tvbank.Exact())
    tasks = {
        "a": {"checkpoint": "1.safetensors", "parent": "lossy"},
        "step-2": STEPS["step-2"],
        "step-3": STEPS["step-3"],
    }
    path = manifests.write(folder, tasks)
    report = tvbank.build(path)
    assert "its parent 'lossy', in the bank, is not exact" in report.failed["a"]
    assert "of steps from the base, and the manifest asks for" in report.failed["step-2"]
    assert "its parent 'step-2' was not built" in report.failed["step-3"]

    tasks["step-2"] = tasks["step-2"] | {"replace": True}
    report = tvbank.build(manifests.write(folder, tasks))
    assert report.built == ("step-2", "step-3")
    assert [bank.refresh(), bank["step-2"].parent] == [True, "step-1"]
    assert tvbank.open(folder / "bank").verify() == []

    # What others start from is not replaced, and nobody starts from what is not there.
    manifests.save(folder / "1.safetensors", load_file(folder / "5.safetensors"))
    tasks = {"step-1": STEPS["step-1"] | {"replace": True}, "step-2": tasks["step-2"]}
    report = tvbank.build(manifests.write(folder, tasks))
    assert "'step-1' is what 'step-2' starts from" in report.failed["step-1"]
    assert "its parent 'step-1' was not built" in report.failed["step-2"]
    assert tvbank.open(folder / "bank").verify() == []


def test_a_chain_that_is_too_long(here, folder, monkeypatch):
    monkeypatch.setattr("tvbank.bank.starting.MAX_ANCESTORS", 2)
    report = tvbank.build(manifests.write(folder, STEPS))
    assert report.built == ("step-3", "step-2", "step-1")
    assert "anchor_every" in report.failed["step-4"]


def test_a_build_goes_on_after_its_parents(here, folder, monkeypatch):
    path = manifests.write(folder, STEPS)
    publish = _publish_but("step-3")
    with monkeypatch.context() as patch:
        patch.setattr("tvbank.building._director.publish_task", publish)
        report = tvbank.build(path)
    assert report.built == ("step-2", "step-1")
    assert report.failed["step-3"].startswith("the store is out")
    again = tvbank.build(path)
    assert (again.built, again.present) == (("step-4", "step-3"), ("step-2", "step-1"))
    assert again.resumed > 0  # what was encoded of step-3
    manifests.assert_same(folder / "bank", added(folder, STEPS, folder / "added"))


def _publish_but(refused):
    from tvbank.bank.publish import publish_task

    def publish(storage, layout, name, made, *, replace):
        if name == refused:
            raise StorageError("the store is out: try again")
        return publish_task(storage, layout, name, made, replace=replace)

    return publish


def test_the_command(here, folder, monkeypatch, capsys):
    shell = Shell(folder, monkeypatch, capsys)
    path = manifests.write(folder, STEPS)
    found = json.loads(shell("build", path, "--workers", "1", "--json").out)
    assert found["parents"] == {f"step-{n}": f"step-{n - 1}" for n in (4, 3, 2)}
    assert json.loads(shell("build", path, "--dry-run", "--json").out).keys() == STEPS.keys()
