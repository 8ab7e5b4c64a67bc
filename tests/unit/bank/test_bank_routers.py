"""Routers in a bank: they come back bit for bit, whole or not at all, and any damage is found."""

import json

import banks
import numpy as np
import pytest

import tvbank
from tvbank.errors import (
    CorruptionError,
    InvalidNameError,
    RouterExistsError,
    RouterNotFoundError,
    TaskNotFoundError,
)
from tvbank.storage import MemoryStorage


def features(tasks=("lossy", "exact"), count=12, width=5, seed=0):
    rng = np.random.default_rng(seed)
    return {
        task: (rng.standard_normal(width) * 3 + rng.standard_normal((count, width))).astype("f4")
        for task in tasks
    }


def routed_bank(place=None, **options):
    bank = banks.small_bank(place)
    bank.add_router("main", tvbank.Router.fit(features(), neighbours=3, **options))
    return bank


def assert_same(found, wanted):
    assert found.tasks == wanted.tasks
    assert found.recipe == wanted.recipe
    assert found.method == wanted.method
    assert (found.spread, found.rejection) == (wanted.spread, wanted.rejection)
    assert found.keys.tobytes() == wanted.keys.tobytes()
    assert found.owners.tobytes() == wanted.owners.tobytes()
    assert (found.metric is None) == (wanted.metric is None)
    if wanted.metric is not None:
        assert found.metric.centre.tobytes() == wanted.metric.centre.tobytes()
        assert found.metric.matrix.tobytes() == wanted.metric.matrix.tobytes()
    queries = np.concatenate(list(features(seed=5).values()))
    assert found.weights(queries).tobytes() == wanted.weights(queries).tobytes()


@pytest.mark.parametrize(
    "options",
    [{}, {"reject": None}, {"metric": "euclidean"}, {"at": ["a.b", ""], "pooling": "first"},
     {"pooling": "summary"},
     {"centres": 4}, {"centres": 4, "rank": 2}],
)  # fmt: skip
def test_a_router_comes_back_bit_for_bit(tmp_path, options):
    bank = banks.small_bank(tmp_path / "bank")
    router = tvbank.Router.fit(features(), neighbours=3, **options)
    bank.add_router("main", router)
    opened = tvbank.open(tmp_path / "bank")
    assert list(opened.routers) == list(bank.routers) == ["main"]
    assert_same(opened.router("main"), router)
    assert opened.verify() == []


def test_features_beyond_half_precision_are_stored_whole():
    bank = banks.small_bank()
    router = tvbank.Router.fit({task: 1e6 * rows for task, rows in features().items()},
                               neighbours=3)  # fmt: skip
    bank.add_router("main", router)
    assert_same(bank.router("main"), router)


def test_a_bank_without_routers_does_not_mention_them():
    bank = banks.small_bank()
    before = json.loads(bank.storage.get("zarr.json"))
    assert "routers" not in before["attributes"]["tvbank"]
    bank.add_router("main", tvbank.Router.fit(features(), neighbours=3))
    bank.remove_router("main")
    assert "routers" not in json.loads(bank.storage.get("zarr.json"))["attributes"]["tvbank"]


def test_equal_routers_have_equal_revisions_whatever_else_the_bank_has():
    one, two = routed_bank(), routed_bank()
    two.add("third", banks.fine_tune(7), tvbank.Exact(), base=banks.base_model())
    two.add_router("main", tvbank.Router.fit(features(), neighbours=3), replace=True)
    assert one.stored_router("main").revision == two.stored_router("main").revision
    assert two.gc(grace=0).objects == 0


def test_stored_bytes_are_those_of_the_objects():
    bank = routed_bank()
    sizes = [len(data) for key, data in banks.contents(bank.storage).items()
             if key.startswith("routers/main/") and key.count("/") > 2]  # fmt: skip
    assert bank.stored_router("main").stored_bytes == sum(sizes)


def test_replacing_and_removing():
    bank = routed_bank()
    other = tvbank.Router.fit(features(seed=1), neighbours=2)
    with pytest.raises(RouterExistsError, match="already has a router 'main'"):
        bank.add_router("main", other)
    with pytest.raises(RouterExistsError, match="differs in case only"):
        bank.add_router("Main", other)
    bank.add_router("main", other, replace=True)
    assert_same(bank.router("main"), other)
    assert bank.gc().objects == 0  # too young
    assert bank.gc(grace=0).objects > 0
    assert_same(bank.router("main"), other)
    bank.remove_router("main")
    assert not bank.routers
    with pytest.raises(RouterNotFoundError, match="no router 'main'; it has none yet"):
        bank.router("main")
    with pytest.raises(RouterNotFoundError):
        bank.remove_router("main")
    bank.gc(grace=0)
    assert not [key for key in banks.contents(bank.storage) if key.startswith("routers")]
    assert bank.verify() == []
    assert set(bank) == {"lossy", "exact"}


def test_tasks_that_the_bank_lacks_are_named():
    bank = banks.small_bank()
    stranger = tvbank.Router.fit(features(("lossy", "here", "there")), neighbours=3)
    with pytest.raises(TaskNotFoundError, match="'here', 'there'"):
        bank.add_router("main", stranger)
    assert not bank.routers
    bank = routed_bank()
    bank.remove("exact")
    assert bank.verify() == []
    with pytest.raises(TaskNotFoundError, match="lacks: 'exact'"):
        bank.router("main")
    assert bank.router("main", partial=True).tasks == ("lossy", "exact")
    assert bank.stored_router("main").missing == ("exact",)
    with pytest.raises(InvalidNameError, match="cannot be a router's name"):
        bank.add_router("../main", stranger)


def test_a_router_says_which_tasks_changed_since():
    bank = routed_bank()
    assert bank.stored_router("main").replaced == ()
    bank.add("lossy", banks.fine_tune(9), tvbank.Exact(), base=banks.base_model(), replace=True)
    assert bank.stored_router("main").replaced == ("lossy",)
    assert bank.router("main").tasks == ("lossy", "exact")


def test_adding_a_task_keeps_the_routers():
    bank = routed_bank()
    bank.add("third", banks.fine_tune(3), tvbank.Exact(), base=banks.base_model())
    bank.remove("third")
    assert list(bank.routers) == ["main"]


def test_routers_are_copied_and_packed_with_their_tasks(tmp_path):
    bank = routed_bank(tmp_path / "bank")
    bank.add("third", banks.fine_tune(3), tvbank.Exact(), base=banks.base_model())
    bank.add_router("all", tvbank.Router.fit(features(("third", "exact")), neighbours=3))
    some = tvbank.copy(tmp_path / "bank", tmp_path / "some", ["lossy", "exact"])
    assert some.routers == ("main",)
    copied = tvbank.open(tmp_path / "some")
    assert list(copied.routers) == ["main"]
    assert copied.verify() == []
    assert_same(copied.router("main"), bank.router("main"))
    assert tvbank.copy(tmp_path / "bank", tmp_path / "some").routers == ("all",)
    assert tvbank.copy(tmp_path / "bank", tmp_path / "some").routers == ()
    copied = tvbank.open(tmp_path / "some")
    copied.add_router("main", tvbank.Router.fit(features(seed=3), neighbours=2), replace=True)
    with pytest.raises(RouterExistsError):
        tvbank.copy(tmp_path / "bank", tmp_path / "some")
    assert tvbank.copy(tmp_path / "bank", tmp_path / "some", replace=True).routers == ("main",)
    packed = tvbank.pack(tmp_path / "bank", tmp_path / "bank.zip", ["exact", "third"])
    assert packed.routers == ("all",)
    opened = tvbank.open(tmp_path / "bank.zip")
    assert opened.verify() == []
    assert_same(opened.router("all"), bank.router("all"))


def test_every_flipped_byte_is_found():
    sound = banks.contents(routed_bank().storage)
    for key in [key for key in sound if key.startswith("routers/")]:
        data = sound[key]
        for at in range(0, len(data), max(1, len(data) // 40)):
            flipped = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
            faults = tvbank.open(banks.store(sound | {key: flipped})).verify()
            assert [fault.key for fault in faults] == [key], (key, at)
        rest = {other: each for other, each in sound.items() if other != key}
        assert tvbank.open(banks.store(rest)).verify() != []


def forged(edit, arrays=None):
    """A bank whose router's document was edited, with every digest put right again."""
    bank = routed_bank()
    sound = banks.contents(bank.storage)
    stored = bank.stored_router("main")
    document = json.loads(sound.pop(f"{stored.folder}/zarr.json"))
    body = document["attributes"]["tvbank"]
    objects = {key.removeprefix(f"{stored.folder}/"): sound.pop(key)
               for key in list(sound) if key.startswith(stored.folder)}  # fmt: skip
    for key, data in (arrays or {}).items():
        objects[key] = data
        body["objects"][key] = banks.stored_record(data)
    edit(body)
    data = json.dumps(document, separators=(",", ":")).encode()
    named = banks.stored_record(data)
    for key, each in {**objects, "zarr.json": data}.items():
        sound[f"routers/main/{named['sha256']}/{key}"] = each
    root = json.loads(sound["zarr.json"])
    root["attributes"]["tvbank"]["routers"]["main"] = {
        "revision": named["sha256"], "size": named["size"],
        "stored_bytes": len(data) + sum(map(len, objects.values())),
    }  # fmt: skip
    sound["zarr.json"] = banks.sealed(json.dumps(root, separators=(",", ":")).encode())
    return tvbank.open(banks.store(sound))


def put(*path, value):
    def edit(body):
        for step in path[:-1]:
            body = body[step]
        body[path[-1]] = value

    return edit


def chunk(array):
    from tvbank.bank.extras import compress

    return compress(np.ascontiguousarray(array).tobytes())


@pytest.mark.parametrize(
    ("reason", "edit"),
    [
        ("layout", put("layout", value="0" * 64)),
        ("document-syntax", put("tasks", value=[{"name": "exact", "revision": "0" * 64}])),
        ("document-syntax", put("recipe", "pooling", value="median")),
        ("document-syntax", put("recipe", "at", value=[])),
        ("document-syntax", put("rejection", value={"evidence": None, "distance": 1.0})),
        ("document-syntax", put("neighbours", value=0)),
        ("document-syntax", put("spread", value=0.0)),
        ("document-syntax", put("objects", "../x", value={"size": 1, "sha256": "0" * 64})),
        ("name", put("tasks", 0, "name", value="a/b")),
        ("router", put("tasks", 0, "name", value="Exact")),
        ("router", put("recipe", "at", value=["a", "a"])),
        ("router", put("recipe", "width", value=6)),
        ("router", put("neighbours", value=25)),
        ("router", put("extras", 0, "name", value="points")),
        ("router", put("extras", 0, "dtype", value="bfloat16")),
        ("router", put("extras", 1, "shape", value=[23])),
        ("router", put("extras", 3, "shape", value=[5, 1])),
        ("extra", put("objects", "extras/4/zarr.json", value={"size": 1, "sha256": "0" * 64})),
        ("extra", put("objects", "delta/zarr.json", value={"size": 1, "sha256": "0" * 64})),
        ("document-syntax", put("extras", 0, "dtype", value="float32")),
    ],
)  # fmt: skip
def test_contradictions_are_found(reason, edit):
    bank = forged(edit)
    assert reason in {fault.reason for fault in bank.verify()}
    if edit.__closure__[1].cell_contents != "float32":
        with pytest.raises(CorruptionError) as raised:
            bank.router("main")
        assert raised.value.reason == reason


@pytest.mark.parametrize(
    "arrays",
    [
        {"extras/1/c/0": chunk(np.repeat(np.array([1, 0], np.int32), 12))},
        {"extras/1/c/0": chunk(np.zeros(24, np.int32))},
        {"extras/1/c/0": chunk(np.repeat(np.array([0, 2], np.int32), 12))},
        {"extras/0/c/0/0": chunk(np.full((24, 5), np.nan, np.float16))},
        {"extras/2/c/0": chunk(np.full(5, np.inf, np.float32))},
    ],
)
def test_numbers_that_make_no_router_are_found(arrays):
    bank = forged(lambda body: None, arrays)
    assert [fault.reason for fault in bank.verify()] == ["router"]
    with pytest.raises(CorruptionError):
        bank.router("main")


def test_a_method_that_is_not_known_is_no_fault():
    bank = forged(put("method", value={"metric": "of tomorrow", "moons": 2}))
    assert bank.verify() == []
    assert bank.router("main").neighbours == 3


def test_a_router_takes_one_request_an_object():
    storage = banks.CountingStorage(routed_bank(MemoryStorage()).storage)
    bank = tvbank.open(storage)
    storage.reset()
    bank.router("main")
    assert storage.calls == {"get": 5}  # the document, four arrays
