"""Tasks in memory: within the budget, the least recently used one goes first."""

import copy

import live
import pytest
import torch

import tvbank
from tvbank.errors import CorruptionError, TaskNotFoundError, UsageError

NAMES = tuple("abcdef")


@pytest.fixture(scope="module")
def once():
    torch.manual_seed(0)
    model = live.perceptron(width=80)
    state = live.state_of(model)
    bank = tvbank.create(live.MemoryStorage(), base=state, chunk_length=2**12)
    for seed, name in enumerate(NAMES):
        bank.add(name, live.fine_tune(state, seed), tvbank.TSwitch(drop=0.9), base=state)
    return model, state, bank


@pytest.fixture
def made(once):
    model, state, bank = once
    return copy.deepcopy(model), state, bank


def size_of(made, name="a"):
    switch = tvbank.attach(made[0], made[2])
    switch.prefetch(name)
    return switch.resident[name]


def test_nothing_stays_without_a_budget(made):
    model, state, bank = made
    switch = tvbank.attach(model, bank, resident_bytes=0)
    for name in NAMES:
        switch.to(name)
        assert switch.resident == {}
    switch.to({"a": 0.5, "b": 0.5, "c": 0.5})
    switch.prefetch("a", "b")
    assert switch.resident == {}
    switch.off()
    live.assert_same(model, state)


def test_the_least_recently_used_goes_first(made):
    _, _, bank = made
    switch = tvbank.attach(made[0], bank, resident_bytes=int(3.9 * size_of(made)))
    switch.prefetch(*"abc")
    assert list(switch.resident) == ["a", "b", "c"]
    switch.to("a")
    switch.prefetch("d")
    assert list(switch.resident) == ["c", "a", "d"]
    switch.prefetch("c")
    switch.to({"e": 1, "a": 1})
    assert set(switch.resident) == {"c", "a", "e"}
    switch.off()


def test_a_budget_is_kept_after_every_call(made):
    model, _, bank = made
    one = size_of(made)
    for budget in (one // 2, one, 2 * one, 3 * one):
        switch = tvbank.attach(model, bank, resident_bytes=budget)
        for step in ("a", "b", {"a": 1.0, "c": 2.0, "d": 0.1}, "c", dict.fromkeys(NAMES, 0.1), "a"):
            switch.to(step)
            assert sum(switch.resident.values()) <= budget
        switch.close()


def test_prefetch_reads_and_a_switch_reads_no_more(made):
    model, state, _ = made

    class Counting(live.MemoryStorage):
        reads = 0

        def get(self, key, *limit):
            self.reads += "/delta/c/" in key
            return super().get(key, *limit)

    storage = Counting()
    bank = live.bank_of(state, {"a": live.fine_tune(state)}, storage=storage)
    switch = tvbank.attach(model, bank)
    storage.reads = 0
    switch.prefetch("a", "a-exact", "a")
    assert storage.reads == 2
    assert set(switch.resident) == {"a", "a-exact"}
    for _ in range(3):
        switch.to("a")
        switch.to({"a": 0.5, "a-exact": 0.5})
        switch.off()
    assert storage.reads == 2
    live.assert_same(model, state)


def test_prefetch_finds_damage(made):
    model, state, _ = made
    storage = live.MemoryStorage()
    bank = live.bank_of(state, {"a": live.fine_tune(state)}, storage=storage)
    key = next(o.key for o in storage.list("tasks/a/") if "/delta/c/" in o.key)
    data = bytearray(storage.get(key))
    data[30] ^= 4
    storage.put(key, bytes(data))
    switch = tvbank.attach(model, bank)
    with pytest.raises(CorruptionError, match="task 'a'") as caught:
        switch.prefetch("a-exact", "a")
    assert caught.value.key == key
    assert list(switch.resident) == ["a-exact"]
    storage.delete(key)
    with pytest.raises(CorruptionError, match="missing"):
        switch.to("a")
    assert switch.active is None


@pytest.mark.parametrize(
    ("tasks", "error"),
    [
        ("nobody", TaskNotFoundError),
        ({"a": 1, "nobody": 1}, TaskNotFoundError),
        ({"a": float("nan")}, UsageError),
        ({"a": float("inf")}, UsageError),
        ({"a": "much"}, UsageError),
        ({"a": None}, UsageError),
        (["a"], UsageError),
        (None, UsageError),
    ],
)
def test_what_cannot_be_asked_for(made, tasks, error):
    model, state, bank = made
    switch = tvbank.attach(model, bank)
    with pytest.raises(error):
        switch.to(tasks)
    with pytest.raises(TaskNotFoundError):
        switch.to({"a": 1}, heads="nobody")
    assert switch.active is None
    live.assert_same(model, state)
    assert "active=None" in repr(switch)


def test_weights_may_be_any_number(made):
    model, state, bank = made
    switch = tvbank.attach(model, bank)
    weights = {"a": torch.tensor(0.5), "b": 1}
    switch.to(weights)
    live.assert_same(model, tvbank.merge(bank, {"a": 0.5, "b": 1.0}, base=state))
    switch.off()
