"""Publishing: into the bank that was opened, whole, and never on a store's word alone."""

import banks
import numpy as np
import pytest
import servers

import tvbank
from tvbank.errors import BankExistsError, BaseMismatchError, StorageError
from tvbank.storage import LosesWritesError, MemoryStorage, open_storage


@pytest.fixture(params=["local", "memory", "s3"])
def place(request, tmp_path):
    if request.param == "local":
        return str(tmp_path / "bank")
    return MemoryStorage() if request.param == "memory" else request.getfixturevalue("s3")


def replaced(place, base=None):
    """A bank, and another that has taken its place since it was opened."""
    first = banks.small_bank(place)
    first.add_router("main", router())
    for key in list(banks.contents(first.storage)):
        first.storage.delete(key)
    other = {"w": np.arange(64, dtype=np.float32)} if base is None else base
    second = tvbank.create(place, other)
    second.add("precious", other, tvbank.Exact())
    return first, second


def router():
    dice = np.random.default_rng(0)
    tasks = {name: dice.standard_normal((12, 5)).astype("f4") for name in ("lossy", "exact")}
    return tvbank.Router.fit(tasks, neighbours=3)


USES = {
    "add": lambda bank: bank.add("late", banks.fine_tune(3), tvbank.Exact()),
    "replace": lambda bank: bank.add("lossy", banks.fine_tune(3), tvbank.Exact(), replace=True),
    "remove": lambda bank: bank.remove("lossy"),
    "gc": lambda bank: bank.gc(grace=0),
    "add router": lambda bank: bank.add_router("second", router()),
    "remove router": lambda bank: bank.remove_router("main"),
}


@pytest.mark.parametrize("use", USES)
def test_a_bank_that_took_the_place_of_the_one_that_was_opened_stays_as_it_is(use, place):
    first, second = replaced(place)
    before = banks.contents(second.storage)
    with pytest.raises(BaseMismatchError, match=r"another bank.* open it again"):
        USES[use](first)
    assert banks.contents(second.storage) == before
    assert tvbank.open(place).verify() == []


def test_one_of_equal_shapes_is_another_all_the_same(place):
    base = banks.base_model()
    base = {name: np.asarray(one + one.dtype.type(1)) for name, one in base.items()}
    first, second = replaced(place, base)
    with pytest.raises(BaseMismatchError, match="another bank"):
        USES["add"](first)
    assert list(tvbank.open(place)) == ["precious"]
    assert second.verify() == []


class Replacing(banks.CountingStorage):
    """A source whose target is replaced when the first task is read."""

    then = staticmethod(lambda: None)

    def get(self, key, limit=None):
        if key.startswith("tasks/"):
            self.then()
        return super().get(key, limit)


def test_a_copy_into_a_bank_that_was_replaced_meanwhile(place):
    made = banks.small_bank(place)
    source = Replacing(banks.small_bank().storage)
    tvbank.open(source).remove("exact")
    tvbank.open(source).add("third", banks.fine_tune(3), base=banks.base_model())
    other = tvbank.create(MemoryStorage(), {"w": np.zeros(8, np.float32)})

    def replace():
        for key, data in banks.contents(other.storage).items():
            made.storage.put(key, data)

    source.then = replace
    with pytest.raises(BaseMismatchError, match="another bank"):
        tvbank.copy(source, place, ["third"])
    assert list(tvbank.open(place)) == []


class Unsound(banks.CountingStorage):
    """Loses what it is told to lose."""

    lost = ""

    def put(self, key, data):
        if not (self.lost and key.endswith(self.lost)):
            super().put(key, data)

    def put_if_unchanged(self, key, data, tag):
        if self.lost != "catalogs":
            super().put_if_unchanged(key, data, tag)


@pytest.fixture
def unsound(monkeypatch):
    monkeypatch.setattr("tvbank.bank.publish.time.sleep", lambda _seconds: None)
    return Unsound(banks.small_bank().storage)


@pytest.mark.parametrize("lost", ["delta/c/0", "delta/zarr.json"])
def test_no_revision_is_named_whose_objects_are_not_there(lost, unsound):
    bank, before = tvbank.open(unsound), banks.all_numbers(tvbank.open(unsound))
    unsound.lost = lost
    with pytest.raises(StorageError, match=f"{lost}' is not there any more as it was just written"):
        bank.add("new", banks.fine_tune(3), tvbank.Exact(), base=banks.base_model())
    assert banks.all_numbers(tvbank.open(unsound)) == before


def test_a_catalog_that_was_accepted_and_is_not_there(unsound):
    bank = tvbank.open(unsound)
    unsound.lost = "catalogs"
    with pytest.raises(LosesWritesError, match=r"accepted generation 3 .* does not have it"):
        bank.remove("lossy")


def test_another_writers_catalog_of_the_same_generation(unsound):
    bank = tvbank.open(unsound)
    inner = unsound.inner

    def meet(key, data, tag):
        inner.put(key, data)
        rival = banks.CountingStorage(MemoryStorage())
        for one, content in before.items():
            rival.inner.put(one, content)
        tvbank.open(rival).remove("exact")
        inner.put("zarr.json", rival.inner.get("zarr.json"))

    before = banks.contents(inner)
    unsound.put_if_unchanged = meet
    with pytest.raises(LosesWritesError, match="loses writes where writers meet"):
        bank.remove("lossy")


def test_what_a_later_writer_removed_is_not_lost(unsound):
    bank = tvbank.open(unsound)
    inner = unsound.inner

    def follow(key, data, tag):
        inner.put_if_unchanged(key, data, tag)
        tvbank.open(inner).remove("new")

    unsound.put_if_unchanged = follow
    bank.add("new", banks.fine_tune(3), tvbank.Exact(), base=banks.base_model())
    assert set(tvbank.open(inner)) == {"lossy", "exact"}


class Gateway(servers.Proxy):
    """Passes on no condition of those that it is told to drop, or weakens tags."""

    dropped: tuple[str, ...] = ()
    weak = False

    def _upstream(self, handler, port, body):
        for name in self.dropped:
            while name in handler.headers:
                del handler.headers[name]
        status, headers, answer = super()._upstream(handler, port, body)
        if self.weak:
            headers = [(k, f"W/{v}" if k.lower() == "etag" else v) for k, v in headers]
        return status, headers, answer


@pytest.fixture
def gateway(s3_port, s3):
    with Gateway(s3_port) as running, servers.environment(servers.s3_environment(running.port)):
        yield running


KINDS = {
    "If-Match": "ignores If-Match", "If-None-Match": "ignores If-None-Match",
    "both": "ignores If-None-Match", "weak": "weak tag",
}  # fmt: skip


def spoil(gateway, kind):
    gateway.weak = kind == "weak"
    gateway.dropped = ("If-Match", "If-None-Match") if kind == "both" else (kind,)


@pytest.mark.parametrize("kind", KINDS)
def test_no_bank_is_made_where_writers_would_overwrite_each_other(kind, gateway, s3):
    spoil(gateway, kind)
    with pytest.raises(LosesWritesError, match=KINDS[kind]):
        banks.small_bank(s3)
    assert list(open_storage(s3).list()) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use", ["add", "remove", "copy", "gc"])
def test_nothing_is_published_through_a_gateway_that_drops_conditions(
    kind, use, s3, s3_port, gateway
):
    with servers.environment(servers.s3_environment(s3_port)):
        banks.small_bank(s3)
    spoil(gateway, kind)
    source = banks.small_bank()
    source.add("third", banks.fine_tune(3), tvbank.Exact())
    bank = tvbank.open(s3)
    before = banks.contents(bank.storage)
    uses = {
        "add": lambda: bank.add("late", banks.fine_tune(3), base=banks.base_model()),
        "remove": lambda: bank.remove("lossy"),
        "copy": lambda: tvbank.copy(source.storage, s3),
    }
    if use == "gc":  # which publishes nothing
        assert bank.gc(grace=0).objects == 0
    else:
        with pytest.raises(LosesWritesError, match=KINDS[kind]):
            uses[use]()
    assert banks.contents(bank.storage) == before


def test_what_is_proven_is_not_proven_again_and_leaves_nothing(gateway, s3):
    bank = banks.small_bank(s3)
    before = banks.contents(bank.storage)
    tvbank.open(s3).remove("lossy")
    gateway.requests.clear()
    tvbank.open(s3).remove("exact")
    puts = [seen.path for seen in gateway.requests if seen.method == "PUT"]
    assert len(puts) == 2  # the revision made young, and the catalog
    assert set(banks.contents(bank.storage)) == set(before)


def test_a_bank_is_made_once_where_conditions_are_heeded(gateway, s3):
    banks.small_bank(s3)
    with pytest.raises(BankExistsError):
        banks.small_bank(s3)
