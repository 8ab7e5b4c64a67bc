"""Tasks that are steps from the state of another: the same weights as by themselves."""

import json
import pickle

import banks
import chained
import msgspec
import numpy as np
import pytest

import tvbank
from tvbank.bank.chains import MAX_ANCESTORS
from tvbank.bank.documents import encode_root
from tvbank.errors import (
    ConflictError,
    CorruptionError,
    TaskExistsError,
    TaskNeededError,
    TaskNotFoundError,
    UsageError,
)
from tvbank.storage import MemoryStorage

STATES = chained.states_of(5)


@pytest.fixture
def bank():
    return chained.chain(STATES)


def test_the_catalog_says_what_starts_from_what(bank):
    assert [bank[name].parent for name in bank] == [None, "step-1", "step-2", "step-3", "step-4"]
    assert [task.name for task in bank["step-3"].lineage] == ["step-1", "step-2", "step-3"]
    root = json.loads(bank.storage.get("zarr.json"))["attributes"]["tvbank"]
    assert root["format"] == "1.1"
    assert "chains" in root["required_features"]
    entry = root["tasks"]["step-2"]
    assert entry["parent"] == {"task": "step-1", "revision": bank["step-1"].revision}
    assert "parent" not in root["tasks"]["step-1"]
    assert bank.verify() == []


@pytest.mark.parametrize("number", range(1, 6))
def test_everything_follows_the_chain(bank, number, tmp_path):
    name, state = f"step-{number}", STATES[number]
    alone = tvbank.create(MemoryStorage(), STATES[0], chunk_length=8)
    task, expected = bank[name], alone.add(name, state, tvbank.Exact())
    chained.assert_state(chained.exported(bank, name, tmp_path), state)
    dense, sparse = task.to_dense(), task.to_sparse()
    for unit, whole in expected.to_dense().items():
        assert (dense[unit] == whole).all()
        assert (task[unit].to_dense() == whole).all()
        for positions, steps in (sparse[unit], task[unit].to_sparse()):
            assert (positions == np.flatnonzero(whole)).all()
            assert (steps == whole.reshape(-1)[positions]).all()


def test_a_task_crosses_processes_with_its_chain(tmp_path):
    bank = chained.chain(STATES, tmp_path / "bank")
    again = pickle.loads(pickle.dumps(bank["step-3"]))
    assert banks.numbers(again) == banks.numbers(bank["step-3"])
    assert [task.name for task in again.lineage] == ["step-1", "step-2", "step-3"]


def test_merges_are_those_of_the_tasks_by_themselves():
    finite = [STATES[0]]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        state = {
            n: a
            if a.dtype.kind == "i"
            else np.asarray(a + 0.1 * rng.standard_normal(a.shape)).astype(a.dtype)
            for n, a in finite[-1].items()
        }
        finite.append(state | {"head again": state["head"]})
    bank = chained.chain(finite)
    alone = tvbank.create(MemoryStorage(), finite[0], chunk_length=8)
    for number in (1, 2, 3):
        alone.add(f"step-{number}", finite[number], tvbank.Exact())
    weights = {"step-3": 0.5, "step-2": 0.25}
    for method in ("arithmetic", tvbank.Ties(0.7), tvbank.Ties(0.99), tvbank.Dare(0.5)):
        found = tvbank.merge(bank, weights, method=method)
        for name, tensor in tvbank.merge(alone, weights, method=method).items():
            assert (found[name] == tensor).all(), name


def test_anchors_keep_chains_short():
    bank = chained.chain(STATES, anchor_every=2)
    assert [bank[name].parent for name in bank] == [None, "step-1", None, "step-3", None]
    with pytest.raises(UsageError, match="give a parent"):
        bank.add("x", STATES[1], tvbank.Exact(), anchor_every=3)
    with pytest.raises(UsageError, match="at least 1"):
        bank.add("x", STATES[1], tvbank.Exact(), parent="step-1", anchor_every=0)


def test_a_chain_has_an_end():
    base = {"w": np.zeros(4, np.float32)}
    bank = tvbank.create(MemoryStorage(), base)
    bank.add("0", {"w": np.full(4, 1, np.float32)}, tvbank.Exact())
    for number in range(1, MAX_ANCESTORS + 1):
        state = {"w": np.full(4, 1 + number, np.float32)}
        bank.add(str(number), state, parent=str(number - 1))
    last = bank[str(MAX_ANCESTORS)]
    assert tvbank.merge(bank, {last.name: 1.0})["w"][0] == 1 + MAX_ANCESTORS
    with pytest.raises(UsageError, match="anchor-every"):
        bank.add("more", state, parent=last.name)
    bank.add("more", state, parent=last.name, anchor_every=MAX_ANCESTORS)


def test_what_cannot_be_a_parent_is_refused(bank):
    bank.add("lossy", banks.fine_tune(0), tvbank.TSwitch())
    with pytest.raises(UsageError, match="not exact"):
        bank.add("x", STATES[1], tvbank.Exact(), parent="lossy")
    with pytest.raises(UsageError, match="only an exact task"):
        bank.add("x", STATES[1], tvbank.TSwitch(), parent="step-1")
    with pytest.raises(TaskNotFoundError, match="'nobody'"):
        bank.add("x", STATES[1], tvbank.Exact(), parent="nobody")
    with pytest.raises(UsageError, match="own parent"):
        bank.add("step-5", STATES[1], tvbank.Exact(), parent="step-5", replace=True)


def test_what_others_need_stays_unless_it_is_folded(bank, tmp_path):
    for refused in (
        lambda: bank.remove("step-2"),
        lambda: bank.add("step-2", STATES[1], tvbank.Exact(), replace=True),
    ):
        with pytest.raises(TaskNeededError, match="'step-3'"):
            refused()
    before = bank["step-5"].revision
    bank.remove("step-2", fold=True)
    assert [bank[name].parent for name in bank] == [None, "step-1", "step-3", "step-4"]
    assert bank["step-5"].revision != before
    bank.remove("step-1", fold=True)
    assert bank["step-3"].parent is None
    bank.remove("step-5", fold=True)
    bank.gc(grace=0)
    assert bank.verify() == []
    for number in (3, 4):
        chained.assert_state(chained.exported(bank, f"step-{number}", tmp_path), STATES[number])
    with pytest.raises(TaskNotFoundError):
        bank.remove("step-1", fold=True)


def test_a_parent_that_was_replaced_meanwhile_is_noticed(bank):
    other = tvbank.open(bank.storage)
    other.remove("step-5")
    other.add("step-5", STATES[1], tvbank.Exact(), base=STATES[0])
    with pytest.raises(ConflictError, match="'step-5'"):
        bank.add("step-6", STATES[2], tvbank.Exact(), parent="step-5")
    assert "step-6" not in tvbank.open(bank.storage)


def test_two_trainers_publish_the_same_version(bank):
    theirs = tvbank.open(bank.storage)
    later = chained.stepped(STATES[5], 17)
    bank.add("step-6", later, tvbank.Exact(), parent="step-5")
    with pytest.raises(TaskExistsError, match="'step-6'"):
        theirs.add("step-6", STATES[5], tvbank.Exact(), base=STATES[0], parent="step-5")
    assert tvbank.open(bank.storage)["step-6"].revision == bank["step-6"].revision


def test_a_resized_unit_in_mid_chain_is_kept_whole_from_there_on(tmp_path):
    states = chained.states_of(2)
    for number in (2, 3):
        later = chained.stepped(states[-1] if number == 2 else states[2], 40 + number)
        later["embedding"] = np.full((9, 5), number, np.float32)
        states[number:] = [later]
    back = chained.stepped(states[3] | {"embedding": states[1]["embedding"]}, 50)
    states.append(back)
    bank = tvbank.create(MemoryStorage(), states[0], chunk_length=8)
    bank.add("step-1", states[1], tvbank.Exact())
    for number in (2, 3, 4):
        bank.add(
            f"step-{number}", states[number], parent=f"step-{number - 1}", replace_mismatched=True
        )
    for number in (1, 2, 3, 4):
        found = chained.exported(bank, f"step-{number}", tmp_path)
        chained.assert_state(found, states[number])
    assert "embedding" in bank["step-4"].extras
    assert bank.verify() == []
    bank.remove("step-2", fold=True)
    chained.assert_state(chained.exported(bank, "step-4", tmp_path), states[4])


def test_copies_bring_ancestors_or_fold(bank, tmp_path):
    place = tmp_path / "copy"
    report = tvbank.copy(bank.storage, place, ["step-3"])
    assert report.tasks == ("step-1", "step-2", "step-3")
    copy = tvbank.open(place)
    assert copy.verify() == []
    chained.assert_state(chained.exported(copy, "step-3", tmp_path), STATES[3])
    assert tvbank.copy(bank.storage, place, ["step-3"]).present == ("step-1", "step-2", "step-3")
    folded = MemoryStorage()
    report = tvbank.copy(bank.storage, folded, ["step-3"], fold=True)
    assert report.tasks == ("step-3",)
    assert tvbank.copy(bank.storage, folded, ["step-3"], fold=True).present == ("step-3",)
    alone = tvbank.open(folded)
    assert alone["step-3"].parent is None
    required = json.loads(folded.get("zarr.json"))["attributes"]["tvbank"]["required_features"]
    assert "chains" not in required
    chained.assert_state(chained.exported(alone, "step-3", tmp_path), STATES[3])
    with pytest.raises(TaskExistsError):
        tvbank.copy(bank.storage, folded, ["step-4"])
    tvbank.pack(bank.storage, tmp_path / "bank.zip", ["step-2"])
    packed = tvbank.open(tmp_path / "bank.zip")
    assert list(packed) == ["step-1", "step-2"]
    chained.assert_state(chained.exported(packed, "step-2", tmp_path), STATES[2])


def test_a_lost_catalog_is_made_anew_with_its_chains(bank):
    for key in ("zarr.json", f"tasks/step-2/{bank['step-2'].revision}/zarr.json"):
        bank.storage.delete(key)
    tvbank.repair(bank.storage)
    found = tvbank.open(bank.storage)
    assert list(found) == ["step-1"]
    whole = chained.chain(STATES)
    whole.storage.delete("zarr.json")
    tvbank.repair(whole.storage)
    assert [tvbank.open(whole.storage)[name].parent for name in bank] == [
        bank[name].parent for name in bank
    ]


def forged(bank, change):
    """The bank with another catalog, whose digest is right."""
    catalog = bank._catalog
    tasks = change(dict(catalog.tasks))
    bank.storage.put("zarr.json", encode_root(msgspec.structs.replace(catalog, tasks=tasks)))


def start(entry, task, revision):
    return msgspec.structs.replace(
        entry, parent=msgspec.structs.replace(entry.parent, task=task, revision=revision)
    )


def test_broken_chains_are_refused_at_once(bank):
    tasks = dict(bank._catalog.tasks)
    lost = {n: e for n, e in tasks.items() if n != "step-2"}
    other = tasks | {"step-3": start(tasks["step-3"], "step-2", "0" * 64)}
    circle = tasks | {
        "step-2": start(tasks["step-2"], "step-3", tasks["step-3"].revision),
    }
    inexact = tasks | {"step-1": msgspec.structs.replace(tasks["step-1"], element="float32")}
    whole = tasks | {"step-1": msgspec.structs.replace(tasks["step-1"], replaced=("embedding",))}
    silent = tasks | {"step-5": msgspec.structs.replace(tasks["step-5"], features=())}
    for wrong, message in (
        (lost, "lacks"), (other, "replaced since"), (circle, "ancestors"),
        (inexact, "exact"), (whole, "keeps whole"), (silent, "without the feature"),
    ):  # fmt: skip
        forged(bank, lambda _, wrong=wrong: wrong)
        with pytest.raises(CorruptionError, match=message) as caught:
            tvbank.open(bank.storage)
        assert caught.value.reason == "chain"


def test_a_chain_that_the_revision_does_not_state_is_refused(bank):
    tasks = dict(bank._catalog.tasks)
    tasks["step-5"] = start(tasks["step-5"], "step-3", tasks["step-3"].revision)
    forged(bank, lambda _: tasks)
    with pytest.raises(CorruptionError, match="contradicts"):
        tvbank.open(bank.storage)["step-5"].document  # noqa: B018


def test_steps_given_their_start_fold_beside_the_base(tmp_path):
    rng = np.random.default_rng(0)
    states = [{"w": rng.standard_normal((256, 256), dtype=np.float32)}]
    for _ in range(4):
        noise = rng.standard_normal((256, 256), dtype=np.float32)
        states.append({"w": states[-1]["w"] + np.float32(3e-7) * noise})
    bank = tvbank.create(tmp_path / "bank", states[0])
    for number in range(1, 5):
        parent = f"step-{number - 1}" if number > 1 else None
        compressor = tvbank.Exact()
        task = bank.add(f"step-{number}", states[number], compressor, parent=parent)
        assert task.needs_base
    for gone in ("step-2", "step-1"):
        bank.remove(gone, fold=True)
        assert bank.verify() == []
        for number in (3, 4):
            found = chained.exported(bank, f"step-{number}", tmp_path, states[0])
            chained.assert_state(found, states[number])
