"""All that one call takes is compared together with the memory that there is."""

import banks
import numpy as np
import pytest

import tvbank
from tvbank.bank import allocating as module
from tvbank.bank.allocating import working_bytes, zeros, zeros_of_all
from tvbank.errors import TooLargeError
from tvbank.storage import MemoryStorage

N = 2**16
FLOAT, LONG = np.dtype(np.float32), np.dtype(np.int64)
HEAD = np.ones((64, 1024), np.float32)


@pytest.fixture
def there(monkeypatch):
    """Sets how much memory the machine is said to have."""
    return lambda size: monkeypatch.setattr(module, "_physical", lambda: float(size))


@pytest.fixture(scope="module")
def bank():
    base = {"v": np.zeros(N, np.float32), "w": np.zeros(N, np.float32)}
    made = tvbank.create(MemoryStorage(), base, chunk_length=N // 4)
    tuned = {name: value + np.float32(0.5) for name, value in base.items()}
    made.add("t", tuned | {"head": HEAD}, tvbank.TSwitch(drop=0))
    return made


def test_arrays_are_counted_together(there):
    there(12_000)
    arrays = zeros_of_all([(1000, LONG), (1000, FLOAT)], "it", "wait")
    assert [len(array) for array in arrays] == [1000, 1000]
    with pytest.raises(TooLargeError, match=r"it would take .* GiB, more .*: wait"):
        zeros_of_all([(1000, LONG), (1001, FLOAT)], "it", "wait")


def test_what_is_taken_beside_counts(there):
    there(4100)
    assert len(zeros(1000, FLOAT, "it", "wait", 100)) == 1000
    with pytest.raises(TooLargeError):
        zeros(1000, FLOAT, "it", "wait", 101)


def test_decoding_takes_a_chunk_at_most():
    assert working_bytes(1000, 50, threads=2) == 2 * working_bytes(50, 50, threads=1)
    assert working_bytes(50, 1000, threads=1) == working_bytes(50, 50, threads=1)


#: What each call takes at least, in bytes: positions of 8 bytes and entries of 4.
CALLS = {
    "a unit, sparse": (lambda bank: bank["t"]["w"].to_sparse(), 12 * N),
    "a task, sparse": (lambda bank: bank["t"].to_sparse(), 2 * 12 * N),
    "a unit, dense": (lambda bank: bank["t"]["w"].to_dense(), 4 * N),
    "a task, dense": (lambda bank: bank["t"].to_dense(), 2 * 4 * N),
    "an extra, and a chunk of it": (lambda bank: bank["t"].extras["head"], 2 * HEAD.nbytes),
}


@pytest.mark.parametrize("what", CALLS)
def test_a_call_is_refused_that_takes_more_than_there_is(bank, there, what):
    call, size = CALLS[what]
    there(size - 1)
    with pytest.raises(TooLargeError, match="more memory than there is"):
        call(bank)
    there(size + working_bytes(N, N))
    call(bank)


def test_the_arrays_of_a_router_are_counted_together(there):
    bank = banks.routed_bank()
    router = bank.router("main")
    metric = router.metric
    arrays = [router.keys, router.owners]
    arrays += [] if metric is None else [metric.centre, metric.matrix]
    elements = sum(array.size for array in arrays)
    there(9 * elements - 1)
    with pytest.raises(TooLargeError, match="router 'main' would take"):
        bank.router("main")
    there(9 * elements)
    bank.router("main")
