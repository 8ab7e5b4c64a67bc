"""Between tvbank and S3 all fails that can: what ends well is right, what does not is clear."""

import itertools
from datetime import timedelta

import banks
import pytest
import servers

import tvbank
from tvbank.errors import ConflictError, CorruptionError, StorageError
from tvbank.storage import MemoryStorage
from tvbank.storage.objects import ObjectStorage

#: Quick, so that tests are; as many tries as by default.
RETRY = {
    "max_retries": 6,
    "backoff": {
        "init_backoff": timedelta(milliseconds=2), "max_backoff": timedelta(milliseconds=20),
        "base": 2,
    },
}  # fmt: skip
CLIENT = {"timeout": "1s"}

#: Faults that a client can notice and try again after.
PASSING = ["503", "500", "429", "reset", "torn"]


@pytest.fixture(scope="module")
def s3_port():
    with servers.s3_server() as port:
        yield port


@pytest.fixture
def proxy(s3_port):
    with (
        servers.Proxy(s3_port) as running,
        servers.environment(servers.s3_environment(running.port)),
    ):
        yield running


_places = itertools.count()


@pytest.fixture
def place():
    return f"s3://bucket/faulty-{next(_places)}"


def storage(place):
    return ObjectStorage(place, RETRY, CLIENT)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("tvbank.storage.objects.time.sleep", lambda _seconds: None)
    monkeypatch.setattr("tvbank.bank.publish.time.sleep", lambda _seconds: None)


def expected():
    return banks.all_numbers(banks.small_bank())


def test_faults_that_pass_are_not_noticed(proxy, place):
    """Every third request fails, now so, now so, of all that a bank's life takes."""
    turns = itertools.cycle(PASSING)
    proxy.plan = lambda number, _method, _path: next(turns) if number % 3 == 1 else None
    bank = banks.small_bank(storage(place))
    assert banks.all_numbers(tvbank.open(storage(place))) == expected()
    bank.add("third", banks.fine_tune(3), tvbank.Exact())
    bank.remove("third")
    bank.gc(grace=0)
    assert tvbank.open(storage(place)).verify() == []
    copied = MemoryStorage()
    tvbank.copy(storage(place), copied)
    assert banks.all_numbers(tvbank.open(copied)) == expected()


def test_answers_that_do_not_come(proxy, place):
    banks.small_bank(storage(place))
    proxy.plan = lambda number, _method, _path: "hang" if number % 6 == 1 else None
    patient = ObjectStorage(place, RETRY, {"timeout": "150ms"})
    assert banks.all_numbers(tvbank.open(patient)) == expected()


@pytest.mark.parametrize("fault", ["503", "reset", "torn", "403"])
def test_faults_that_stay_are_one_clear_sentence(fault, proxy, place):
    bank = banks.small_bank(storage(place))
    before = banks.contents(bank.storage)
    proxy.plan = lambda *_request: fault
    uses = [lambda: tvbank.open(bank.storage), lambda: bank["lossy"]["half"].to_dense(),
            lambda: bank["exact"].metadata, bank.verify]  # fmt: skip
    if fault != "torn":  # what has no body cannot be torn
        uses += [
            lambda: bank.remove("lossy"), bank.gc,
            lambda: bank.add("new", banks.fine_tune(3), base=banks.base_model()),
            lambda: tvbank.copy(banks.small_bank().storage, bank.storage),
        ]  # fmt: skip
    for use in uses:
        with pytest.raises(StorageError, match=f"^{place}: cannot ") as caught:
            use()
        assert "\n" not in str(caught.value)
    proxy.plan = lambda *_request: None
    assert banks.contents(bank.storage) == before


@pytest.mark.parametrize("fault", ["short", "flip", "stale"])
@pytest.mark.parametrize("method", ["read", "copy"])
def test_lies_give_no_wrong_numbers(fault, method, proxy, place):
    """The first requests in turn, then every fifth, are answered with a lie."""
    banks.small_bank(storage(place))
    proxy._first.clear()
    right = expected()
    for number in itertools.chain(range(4), itertools.count(4, 5)):
        asked = itertools.count()
        proxy.plan = lambda *_request, asked=asked, number=number: (
            fault if next(asked) == number else None
        )
        try:
            if method == "read":
                found = banks.all_numbers(tvbank.open(storage(place)))
            else:
                copied = MemoryStorage()
                tvbank.copy(storage(place), copied)
                found = banks.all_numbers(tvbank.open(copied))
            assert found == right
        except (CorruptionError, StorageError):
            assert fault != "stale"  # of what never changes the old answer is the right one
        if next(asked) <= number:
            assert number >= 2
            return


def test_an_old_catalog_is_a_whole_generation_and_is_never_built_upon(proxy, place):
    bank = banks.small_bank(storage(place))
    proxy._first.clear()
    assert set(tvbank.open(storage(place))) == {"lossy", "exact"}
    bank.remove("lossy")
    stale = itertools.count()
    proxy.plan = lambda _number, method, path: (
        "stale" if method == "GET" and path.endswith(f"{place[11:]}/zarr.json") and next(stale) < 4
        else None
    )  # fmt: skip
    assert set(tvbank.open(storage(place))) == {"lossy", "exact"}
    bank.add("third", banks.fine_tune(3), tvbank.Exact())
    found = tvbank.open(storage(place))
    assert set(found) == {"exact", "third"}
    assert found.generation == 4
    assert found.verify() == []


def test_a_catalog_that_stays_old(proxy, place, monkeypatch):
    bank = banks.small_bank(storage(place))
    proxy._first.clear()
    tvbank.open(storage(place))
    bank.remove("lossy")
    proxy.plan = lambda _number, method, _path: "stale" if method == "GET" else None
    monkeypatch.setattr("tvbank.bank.publish._TRIES", 4)
    with pytest.raises(ConflictError, match="other writers published first, 4 times"):
        bank.add("third", banks.fine_tune(3), tvbank.Exact())
    proxy.plan = lambda *_request: None
    assert set(tvbank.open(storage(place))) == {"exact"}


@pytest.mark.parametrize("verb", ["add", "replace", "remove"])
def test_a_publication_whose_answer_is_lost_happened_once(verb, proxy, place):
    bank = banks.small_bank(storage(place))
    lost = itertools.count()
    proxy.plan = lambda _number, method, path: (
        "lost" if method == "PUT" and path.endswith(f"{place[11:]}/zarr.json") and next(lost) < 1
        else None
    )  # fmt: skip
    if verb == "remove":
        bank.remove("lossy")
    else:
        name = "lossy" if verb == "replace" else "third"
        bank.add(name, banks.fine_tune(3), tvbank.Exact(), replace=verb == "replace")
    assert next(lost) >= 1
    found = tvbank.open(storage(place))
    assert found.generation == 3
    assert set(found) == {"add": {"lossy", "exact", "third"}, "replace": {"lossy", "exact"},
                          "remove": {"exact"}}[verb]  # fmt: skip
    assert found.verify() == []


def test_a_copy_that_the_network_ended_goes_on(proxy, place):
    source = banks.small_bank()
    proxy.plan = lambda number, method, _path: "503" if method == "PUT" and number > 20 else None
    with pytest.raises(StorageError, match="503"):
        tvbank.copy(source.storage, storage(place))
    proxy.plan = lambda *_request: None
    report = tvbank.copy(source.storage, storage(place))
    assert report.resumed > 0
    assert banks.all_numbers(tvbank.open(storage(place))) == expected()
