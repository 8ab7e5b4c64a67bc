"""Repair: what digests prove is restored bit for bit; nothing is guessed."""

import json
import warnings
import zipfile

import banks
import numpy as np
import pytest
import zarr

import tvbank
from tvbank.errors import (
    BankNotFoundError,
    CorruptionError,
    StorageError,
    UnsupportedError,
    UsageError,
)
from tvbank.storage import MemoryStorage, open_storage

BACKUP = "before-repair/"


def indented(document):
    return json.dumps(document, indent=2)


def in_order(document):
    return json.dumps(document, sort_keys=True)


def with_more(document):
    document["attributes"]["note"] = "mine"
    document["consolidated_metadata"] = {"kind": "inline", "metadata": {}}
    return json.dumps(document, ensure_ascii=True)


def backwards(document):
    def turned(value):
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return value

    return json.dumps(turned(document))


@pytest.fixture
def bank():
    bank = banks.small_bank()
    metadata = {"rate": 1e-05, "large": 1.5e22, "ä": ["ü", None, True, 2**53, -0.0]}
    bank.add("odd", banks.fine_tune(3), tvbank.Exact(), metadata)
    rng = np.random.default_rng(0)
    found = {name: rng.standard_normal((12, 5)).astype("f4") for name in ("exact", "lossy")}
    bank.add_router("main", tvbank.Router.fit(found, neighbours=3))
    return tvbank.open(bank.storage)


def rest(objects):
    return {key: data for key, data in objects.items() if not key.startswith(BACKUP)}


def assert_restored(objects, sound):
    """Repair an amended bank: dry, in truth, and once more; it ends as it was."""
    place = banks.store(objects)
    planned = tvbank.repair(place, dry_run=True)
    assert banks.contents(place) == objects
    assert planned.dry_run
    assert planned.backups == ()
    report = tvbank.repair(place)
    assert (report.restored, report.faults) == (planned.restored, planned.faults)
    after = banks.contents(place)
    assert rest(after) == sound
    assert {one.key for one in report.restored} == {
        key for key in objects.keys() | sound if objects.get(key) != sound.get(key)
    }
    former = sorted(objects[one.key] for one in report.restored if one.key in objects)
    assert sorted(after[key] for key in report.backups) == former
    assert report.faults == ()
    assert tvbank.open(place).verify() == []
    assert tvbank.open(place).gc(0).objects == 0  # what was there before stays
    assert banks.contents(place) == after
    assert tvbank.repair(place).restored == ()
    return report


@pytest.mark.parametrize("rewrite", [indented, in_order, with_more, backwards])
def test_a_document_that_was_rewritten_is_what_it_was(bank, rewrite):
    sound = banks.contents(bank.storage)
    documents = [key for key in sound if key.endswith("zarr.json")]
    assert len(documents) > 10
    for key in documents:
        rewritten = rewrite(json.loads(sound[key])).encode()
        report = assert_restored(sound | {key: rewritten}, sound)
        assert (report.unproved, report.left_out) == ((), ())
    every = {key: rewrite(json.loads(sound[key])).encode() for key in documents}
    assert_restored(sound | every, sound)


@pytest.mark.parametrize("key", ["zarr.json", "base/zarr.json"])
def test_opening_says_what_happened_and_what_helps(bank, key):
    sound = banks.contents(bank.storage)
    place = banks.store(sound | {key: with_more(json.loads(sound[key])).encode()})
    for verb in (tvbank.open, lambda place: tvbank.copy(place, MemoryStorage())):
        with pytest.raises(CorruptionError, match=r"another tool rewrote it") as e:
            verb(place)
        assert "`tvbank repair" in str(e.value)
        assert e.value.key == key


def consolidate(folder):
    zarr.consolidate_metadata(folder)


def set_attributes(folder):
    group = zarr.open_group(folder, mode="a")
    group.attrs.update(note="x")
    for path, node in list(group.members(max_depth=None)):
        if path.split("/")[0] in ("base", "tasks", "routers"):
            node.attrs.update(note="x")


@pytest.mark.parametrize("act", [consolidate, set_attributes])
def test_after_zarr_itself(bank, act, tmp_path):
    tvbank.copy(bank.storage, tmp_path / "bank")
    storage = open_storage(tmp_path / "bank")
    sound = banks.contents(storage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        act(tmp_path / "bank")
    assert banks.contents(storage) != sound
    assert_restored(banks.contents(storage), sound)
    report = tvbank.repair(tmp_path / "bank")
    assert report.faults == ()
    assert rest(banks.contents(storage)) == sound


def test_fixed_documents_that_are_missing(bank):
    sound = banks.contents(bank.storage)
    fixed = [key for key in sound if key.endswith("zarr.json") and b'tvbank":' not in sound[key]]
    assert len(fixed) > 8
    for key in fixed:
        assert_restored({other: sound[other] for other in sound if other != key}, sound)


@pytest.mark.parametrize("left", [None, b"", b"{", b'{"attributes":{},"node_type":"group"}', b"["])
def test_a_lost_root_is_made_anew_of_what_proves_itself(bank, left):
    sound = banks.contents(bank.storage)
    objects = {key: data for key, data in sound.items() if key != "zarr.json"}
    place = banks.store(objects | ({} if left is None else {"zarr.json": left}))
    report = tvbank.repair(place)
    assert report.faults == report.left_out == ()
    assert "whether a task that is here had been removed" in report.unproved[0]
    again = tvbank.open(place)
    assert banks.all_numbers(again) == banks.all_numbers(bank)
    assert list(again.routers) == ["main"]
    assert {name: task.stored_bytes for name, task in again.items()} == {
        name: task.stored_bytes for name, task in bank.items()
    }
    assert rest(banks.contents(place)) == sound  # as many publications as there are revisions


def test_a_root_and_a_layout_that_were_rewritten_together(bank):
    sound = banks.contents(bank.storage)
    objects = {key: data for key, data in sound.items() if key != "zarr.json"}
    objects["base/zarr.json"] = with_more(json.loads(sound["base/zarr.json"])).encode()
    place = banks.store(objects)
    assert tvbank.repair(place).faults == ()
    assert rest(banks.contents(place)) == sound


def test_several_revisions_and_no_catalog(bank):
    first = bank["lossy"].revision
    bank.add("lossy", banks.fine_tune(8), base=banks.base_model(), replace=True)
    second = bank["lossy"].revision
    objects = banks.contents(bank.storage)
    del objects["zarr.json"]
    place = banks.store(objects)
    report = tvbank.repair(place, dry_run=True)
    assert report.faults == ()
    (sentence,) = report.left_out
    assert all(word in sentence for word in (first, second, "--revision lossy="))
    for chosen in (first, second[:6]):
        place = banks.store(objects)
        assert tvbank.repair(place, revisions={"lossy": chosen}).left_out == ()
        assert tvbank.open(place)["lossy"].revision.startswith(chosen)
    for wrong in ("x", ""):
        place = banks.store(objects)
        with pytest.raises(UsageError, match=f"{first}|{second}"):
            tvbank.repair(place, revisions={"lossy": wrong})
        assert banks.contents(place) == objects


def test_a_root_that_was_edited_says_which_revisions_but_proves_nothing(bank):
    bank.add("lossy", banks.fine_tune(8), base=banks.base_model(), replace=True)
    bank.remove("odd")
    sound = banks.contents(bank.storage)
    document = json.loads(sound["zarr.json"])
    body = document["attributes"]["tvbank"]
    body["tasks"]["lossy"]["nonzeros"] = 1
    body["tasks"]["gone"] = body["tasks"]["lossy"] | {"revision": "0" * 64}
    place = banks.store(sound | {"zarr.json": json.dumps(document).encode()})
    report = tvbank.repair(place)
    assert "another digest than it states" in report.unproved[0]
    assert ["gone" in sentence for sentence in report.left_out] == [True]
    assert report.faults == ()
    again = tvbank.open(place)
    assert banks.all_numbers(again) == banks.all_numbers(bank)
    assert again["lossy"].nonzeros == bank["lossy"].nonzeros
    assert again.generation > bank.generation


def test_what_was_never_finished_is_left_out(bank):
    sound = banks.contents(bank.storage)
    shard = f"tasks/odd/{bank['odd'].revision}/delta/c/0"
    objects = {key: data for key, data in sound.items() if key not in ("zarr.json", shard)}
    place = banks.store(objects)
    report = tvbank.repair(place)
    assert "task 'odd' is left out: objects of it are missing" in report.left_out[0]
    assert sorted(tvbank.open(place)) == ["exact", "lossy"]


@pytest.mark.parametrize("part", ["/delta/c/0", "/zarr.json"])
def test_what_nothing_proves_is_a_fault_that_remains(bank, part):
    sound = banks.contents(bank.storage)
    key = f"tasks/lossy/{bank['lossy'].revision}{part}"
    data = sound[key]
    # Within a number: the document is still one.
    damaged = data.replace(b"0.5", b"0.6") if part == "/zarr.json" else data[:-1]
    assert damaged != data
    place = banks.store(sound | {key: damaged})
    report = tvbank.repair(place)
    assert report.restored == ()
    assert report.faults
    assert {fault.key for fault in report.faults} == {key}
    assert rest(banks.contents(place)) == sound | {key: damaged}


def test_a_lost_layout_is_made_again_of_the_base(bank):
    sound = banks.contents(bank.storage)
    objects = {key: data for key, data in sound.items() if key != "base/zarr.json"}
    place = banks.store(objects)
    report = tvbank.repair(place)
    assert [fault.reason for fault in report.faults] == ["document-missing"]
    assert "--base" in report.unproved[0]
    other = tvbank.repair(place, base=banks.fine_tune(0))
    assert other.restored == ()
    assert "not the one" in other.unproved[0]
    assert banks.contents(place) == objects
    assert tvbank.repair(place, base=banks.base_model()).faults == ()
    assert banks.contents(place) == sound


def test_a_sound_bank_stays_as_it_is(bank):
    before = banks.contents(bank.storage)
    report = tvbank.repair(bank.storage)
    assert (report.restored, report.unproved, report.faults, report.backups) == ((), (), (), ())
    assert banks.contents(bank.storage) == before


def test_every_flipped_byte_of_the_root_is_repaired_or_said(bank):
    """Repair of a damaged root never raises anything of its own, and never makes it worse."""
    sound = banks.contents(bank.storage)
    root = sound["zarr.json"]
    for at in range(0, len(root), 7):
        flipped = root[:at] + bytes([root[at] ^ 1 << at % 8]) + root[at + 1 :]
        place = banks.store(sound | {"zarr.json": flipped})
        try:
            report = tvbank.repair(place)
        except UnsupportedError:
            assert banks.contents(place)["zarr.json"] == flipped
            continue
        if not report.faults and not report.left_out:
            assert banks.all_numbers(tvbank.open(place)) == banks.all_numbers(bank)


def test_what_is_no_bank_stays_as_it_is(tmp_path):
    (tmp_path / "notes").write_bytes(b"mine")
    for place in (tmp_path, tmp_path / "missing", MemoryStorage()):
        with pytest.raises(BankNotFoundError, match="holds nothing of a bank"):
            tvbank.repair(place)
    assert not (tmp_path / "missing").exists()
    only = banks.store(
        {"base/zarr.json": banks.contents(banks.small_bank().storage)["base/zarr.json"]}
    )
    report = tvbank.repair(only)
    assert [fault.key for fault in report.faults] == ["zarr.json"]
    assert report.restored == ()


def test_where_nothing_can_be_written(bank, tmp_path):
    path = tmp_path / "bank.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for key, data in banks.contents(bank.storage).items():
            archive.writestr(key, data + b" " * (key == "zarr.json"))
    before = path.read_bytes()
    with pytest.raises(StorageError, match="can only be read: unpack or copy"):
        tvbank.repair(path)
    assert tvbank.repair(path, dry_run=True).faults == ()
    assert path.read_bytes() == before


def test_a_later_version_is_refused(bank):
    place = banks.store(banks.contents(bank.storage))
    document = json.loads(place.get("zarr.json"))
    document["attributes"]["tvbank"]["format"] = "2.0"
    place.put("zarr.json", json.dumps(document).encode())
    with pytest.raises(UnsupportedError, match=r"format 2\.0"):
        tvbank.repair(place)


def test_a_later_minor_version_is_proved_too(bank):
    """What this version does not know is kept, if the digest proves it."""
    forged = banks.forge(
        banks.contents(bank.storage),
        root=lambda body: body.update(format="1.7", more={"b": 1, "a": 2}),
    )
    rewritten = json.dumps(json.loads(forged["zarr.json"]), indent=1).encode()
    place = banks.store(forged | {"zarr.json": rewritten})
    assert tvbank.repair(place).faults == ()
    assert rest(banks.contents(place)) == forged
    edited = rewritten.replace(b'"exact"', b'"exakt"')
    place = banks.store(forged | {"zarr.json": edited})
    with pytest.raises(UnsupportedError, match=r"states format '1\.7'"):
        tvbank.repair(place)
    assert banks.contents(place) == forged | {"zarr.json": edited}
