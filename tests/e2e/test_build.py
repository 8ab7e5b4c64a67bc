"""``tvbank.build`` on processes of this machine: the bytes of ``add``, and what goes wrong."""

import json

import banks
import manifests
import numpy as np
import pytest
from command_line import Shell
from watching import Seen

import tvbank
from tvbank.building import _task, preview
from tvbank.building._task import WorkFolder
from tvbank.errors import (
    BankNotFoundError,
    BaseMismatchError,
    CheckpointError,
    StorageError,
    UsageError,
)

TASKS = {
    "half": {"checkpoint": "t0.safetensors", **manifests.HALF, "metadata": {"n": [1, 2]}},
    "exact": {"checkpoint": "t1.safetensors", **manifests.EXACT},
    "small": {"checkpoint": "t2.safetensors", "method": "budget", "budget": "2 KiB"},
    "odd": {"checkpoint": "odd.safetensors", **manifests.HALF, "replace_mismatched": True},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_task, "_GRAIN", 100)  # several jobs a task
    manifests.write_checkpoints(tmp_path, 3)
    odd = banks.fine_tune(5) | {"half": np.ones(4, np.float16)}
    manifests.save(tmp_path / "odd.safetensors", odd)
    return tmp_path


def bank_of(folder):
    return tvbank.open(folder / "bank")


def test_the_bytes_of_add_and_nothing_done_twice(folder):
    path = manifests.write(folder, TASKS)
    seen = Seen()
    report = tvbank.build(path, workers=2, progress=seen)
    assert (report.built, report.present, report.failed) == (tuple(TASKS), (), {})
    assert seen.counts["units"][-1] == (report.units, report.units)
    assert report.units > 20
    assert report.resumed == 0
    assert seen.counts["tasks"][-1] == (4, 4)
    manifests.assert_same(folder / "bank", manifests.added(folder, TASKS, folder / "added"))
    assert bank_of(folder)["half"].metadata == {"n": [1, 2]}
    files = [found for found in (folder / "manifest.json.work").rglob("*") if found.is_file()]
    assert {found.name for found in files} == {f"{name}.json" for name in TASKS}

    generation = bank_of(folder).generation
    again = tvbank.build(path, workers=1)
    assert (again.built, again.present, again.units) == ((), tuple(TASKS), 0)
    assert bank_of(folder).generation == generation
    assert set(preview(path).values()) == {"nothing, unless its checkpoint has changed"}

    # Without the notes, content decides: what comes out the same stays.
    one = manifests.write(folder, {"half": TASKS["half"]})
    fresh = tvbank.build(one, workers=1, work=folder / "other")
    assert (fresh.built, fresh.present) == ((), ("half",))
    assert fresh.units > 0
    assert bank_of(folder).generation == generation

    # What is there is looked at before it stays.
    shard = next((folder / "bank").rglob("delta/c/0"))
    shard.write_bytes(bytes(shard.stat().st_size))
    path = manifests.write(folder, TASKS)
    mended = tvbank.build(path, workers=1, work=folder / "another")
    assert (mended.built, mended.present, mended.repaired) == ((), tuple(TASKS), 1)
    assert bank_of(folder).verify() == []
    shard.write_bytes(bytes(shard.stat().st_size))
    every = {name: task | {"replace": True} for name, task in TASKS.items()}
    assert tvbank.build(manifests.write(folder, every), workers=1).repaired == 1
    assert bank_of(folder).verify() == []
    assert bank_of(folder).generation == generation
    one = manifests.write(folder, {"half": TASKS["half"]})

    # A checkpoint that changed is another task, which is replaced only on request.
    manifests.save(folder / "t0.safetensors", banks.fine_tune(9))
    refused = tvbank.build(one, workers=1)
    assert "a task 'half' of other content" in refused.failed["half"]
    replacing = {"half": TASKS["half"] | {"replace": True}}
    path = manifests.write(folder, replacing)
    assert preview(path, work=folder / "new") == {"half": "replace"}
    assert tvbank.build(path, workers=1).built == ("half",)
    assert bank_of(folder).generation == generation + 1
    own = manifests.added(folder, replacing, folder / "replaced")
    assert bank_of(folder)["half"].revision == own["half"].revision


def test_failures_hold_up_no_other_task(folder):
    infinite = banks.fine_tune(4)
    infinite["brain"][3] = np.inf
    manifests.save(folder / "infinite.safetensors", infinite)
    manifests.save(folder / "less.safetensors", {"scale": np.array(1, np.float32)})
    tasks = {
        "infinite": {"checkpoint": "infinite.safetensors", **manifests.HALF},
        "missing": {"checkpoint": "nothing.safetensors"},
        "less": {"checkpoint": "less.safetensors"},
        "resized": {"checkpoint": "odd.safetensors"},
        "good": {"checkpoint": "t1.safetensors", **manifests.EXACT},
        "exact": {"checkpoint": "t1.safetensors", **manifests.HALF},
        "GOOD2": {"checkpoint": "t1.safetensors", **manifests.HALF},
    }
    before = {"exact": TASKS["exact"], "good2": TASKS["exact"]}
    manifests.added(folder, before, folder / "bank")
    report = tvbank.build(manifests.write(folder, tasks), workers=2)
    assert report.built == ("good",)
    assert report.failed.keys() == tasks.keys() - {"good"}
    for name, words in {
        "infinite": ["'brain'", "--method exact"],
        "missing": ["nothing.safetensors", "check the path"],
        "less": ["less.safetensors", "full checkpoint"],
        "resized": ["'half'", "replace_mismatched"],
        "exact": ["made by {'name': 'exact'}", "replace = true"],
        "GOOD2": ["'good2'", "case only"],
    }.items():
        assert all(word in report.failed[name] for word in words), report.failed[name]
    assert set(bank_of(folder)) == {"exact", "good2", "good"}
    assert bank_of(folder).verify() == []

    manifests.save(folder / "infinite.safetensors", banks.fine_tune(4))
    mended = tvbank.build(folder / "manifest.json", workers=1)
    assert mended.built == ("infinite",)
    assert mended.present == ("good",)


def test_results_in_the_work_folder_are_used_unless_damaged(folder, monkeypatch):
    tasks = {"half": TASKS["half"], "exact": TASKS["exact"]}
    path = manifests.write(folder, tasks)
    with monkeypatch.context() as patch:
        patch.setattr("tvbank.building._director.publish_task", refuse)
        report = tvbank.build(path, workers=2)
    assert {why.split(":")[0] for why in report.failed.values()} == {"the store is out"}
    assert len(bank_of(folder)) == 0
    kept = [found for found in (folder / "manifest.json.work").rglob("*") if found.is_file()]
    assert len(kept) > 6
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    again = tvbank.build(path, workers=1)
    assert again.built == tuple(tasks)
    assert again.resumed == report.units
    assert 0 < again.units < report.units  # the damaged one
    manifests.assert_same(folder / "bank", manifests.added(folder, tasks, folder / "added"))


def test_two_tasks_of_the_same_checkpoint(folder):
    tasks = dict.fromkeys(("one", "two", "three"), TASKS["exact"])
    report = tvbank.build(manifests.write(folder, tasks), workers=2)
    assert report.built == tuple(tasks)
    assert len({task.revision for task in bank_of(folder).values()}) == 1


def test_results_that_are_removed_meanwhile_are_made_again(folder):
    def remove(_detail):
        done, total = seen.counts.get("units", [(0, 0)])[-1]
        for path in (folder / "work").rglob("[0-9]"):
            if done == total - 1:
                path.unlink(missing_ok=True)

    seen = Seen(remove)

    path = manifests.write(folder, {"exact": TASKS["exact"]})
    report = tvbank.build(path, workers=1, work=folder / "work", progress=seen)
    assert report.built == ("exact",)
    assert bank_of(folder).verify() == []


def refuse(*_arguments, **_options):
    raise StorageError("the store is out: try again")


def test_a_mapping_and_a_bank_that_knows_its_base(folder):
    tvbank.create(folder / "bank", folder / "base.safetensors", chunk_length=8)
    task = {"checkpoint": str(folder / "t0.safetensors"), **manifests.HALF}
    content = {"bank": str(folder / "bank"), "tasks": {"half": task}}
    assert tvbank.build(content, workers=1).built == ("half",)
    assert tvbank.build(content, workers=1).present == ("half",)
    assert not list(folder.glob("*.work"))


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"base": "t0.safetensors"}, BaseMismatchError, "is not the base this bank was built on"),
        ({"base": "nothing.safetensors"}, CheckpointError, "nothing.safetensors"),
        ({"bank": "none", "base": "nothing.safetensors"}, CheckpointError, "check the path"),
        ({"bank": "none", "base": None}, BankNotFoundError, "is not a bank"),
    ],
)
def test_a_base_that_is_not_there_or_another(folder, more, error, words):
    tvbank.create(folder / "bank", folder / "base.safetensors", chunk_length=8)
    path = manifests.write(folder, {"half": TASKS["half"]}, **more)
    with pytest.raises(error, match=words):
        tvbank.build(path, workers=1)


def test_workers_must_be_some(folder):
    path = manifests.write(folder, {"half": TASKS["half"]})
    with pytest.raises(UsageError, match="at least 1"):
        tvbank.build(path, workers=0)
    with pytest.raises(UsageError, match="--scheduler"):
        tvbank.build(path, workers=2, scheduler="tcp://127.0.0.1:1")


def test_notes_that_are_no_notes(tmp_path):
    work = WorkFolder(tmp_path)
    (tmp_path / "notes").mkdir()
    for text in ("", "[]", '{"key": "x"}'):
        (tmp_path / "notes" / "t.json").write_text(text)
        assert work.note("t") is None


def test_the_command(folder, monkeypatch, capsys):
    shell = Shell(folder, monkeypatch, capsys)
    tasks = {"half": TASKS["half"], "missing": {"checkpoint": "nothing.safetensors"}}
    path = manifests.write(folder, tasks)
    assert json.loads(shell("build", path, "--dry-run", "--json").out) == dict.fromkeys(
        tasks, "build, in a new bank"
    )
    ended = shell("build", path, "--workers", "1")
    assert ended.status == 1
    assert "task 'missing': " in ended.out
    assert "built 1 task in" in ended.out
    assert "1 task failed" in ended.out
    found = json.loads(shell("build", path, "--workers", "1", "--json").out)
    assert found["present"] == ["half"]
    assert found["failed"].keys() == {"missing"}
    assert "unless its checkpoint" in shell("build", path, "--dry-run").out
    bad = shell("build", folder / "none.toml")
    assert bad.status == 2
    assert "none.toml cannot be read" in bad.err
