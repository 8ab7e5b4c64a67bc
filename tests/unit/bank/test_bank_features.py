"""A bank is of 1.0 until a task needs a feature; it then requires that wherever the task goes."""

import json

import pytest
from banks import base_model, fine_tune, small_bank

import tvbank
from tvbank.bank import documents
from tvbank.bank.publish import publish_task
from tvbank.bank.writer import RevisionWriter, Spool
from tvbank.errors import UnsupportedError
from tvbank.storage.memory import MemoryStorage


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Two features that this reader knows, though nothing needs them."""
    known = documents.KNOWN_FEATURES | {"x-first", "x-second"}
    monkeypatch.setattr(documents, "KNOWN_FEATURES", known)


def publish(bank: tvbank.Bank, name: str, *features: str) -> None:
    """Publish a task without entries that needs features."""
    with Spool() as spool:
        writer = RevisionWriter(bank.layout, "float32", spool)
        covered = sum(unit.size for unit in bank.layout.units)
        prepared = writer.finish([], covered, {"name": "none"}, {}, features)
        publish_task(bank.storage, bank.layout, name, prepared, replace=False)


def stated(storage) -> tuple[str, list[str]]:
    """The version of a bank, and what it requires."""
    body = json.loads(storage.get("zarr.json"))["attributes"]["tvbank"]
    return body["format"], body["required_features"]


def test_a_bank_rises_with_the_first_task_that_needs_a_feature_and_stays():
    bank = small_bank()
    assert stated(bank.storage) == ("1.0", [])
    publish(bank, "plain")
    assert stated(bank.storage) == ("1.0", [])
    assert b"features" not in bank.storage.get("zarr.json").replace(b"required_features", b"")
    publish(bank, "later", "x-second")
    assert stated(bank.storage) == ("1.1", ["x-second"])
    publish(bank, "both", "x-second", "x-first")
    assert stated(bank.storage) == ("1.1", ["x-first", "x-second"])
    bank = tvbank.open(bank.storage)
    bank.add("lossy2", fine_tune(3), tvbank.TSwitch(0.5), base=base_model())
    bank.remove("later")
    bank.remove("both")
    assert stated(bank.storage) == ("1.1", ["x-first", "x-second"])
    assert bank.verify() == []


def test_a_copy_requires_what_its_own_tasks_need():
    bank = small_bank()
    publish(bank, "new", "x-first")
    plain, all_of_them = MemoryStorage(), MemoryStorage()
    tvbank.copy(bank.storage, plain, ["lossy"])
    assert stated(plain) == ("1.0", [])
    tvbank.copy(bank.storage, all_of_them)
    assert stated(all_of_them) == ("1.1", ["x-first"])
    assert tvbank.open(all_of_them).verify() == []


def test_a_root_document_made_anew_requires_what_its_tasks_need():
    bank = small_bank()
    publish(bank, "new", "x-first")
    bank.storage.delete("zarr.json")
    tvbank.repair(bank.storage)
    assert stated(bank.storage) == ("1.1", ["x-first"])
    assert "new" in tvbank.open(bank.storage)


def test_who_does_not_know_a_feature_is_told_its_name(monkeypatch):
    bank = small_bank()
    publish(bank, "new", "x-first")
    monkeypatch.setattr(documents, "KNOWN_FEATURES", frozenset({"x-second"}))
    with pytest.raises(UnsupportedError, match=r"the bank needs 'x-first'.*newer tvbank"):
        tvbank.open(bank.storage)
