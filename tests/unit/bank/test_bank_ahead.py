"""Work that runs ahead keeps its order and its window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvbank.bank import ahead
from tvbank.bank.ahead import run_ahead


@given(st.lists(st.integers(0, 20)), st.integers(0, 40))
def test_order_and_window(sizes, window):
    under_way = []

    def start(number):
        under_way.append(number)
        assert sum(sizes[n] for n in under_way) <= max(window, sizes[number])

        def finish():
            assert under_way.pop(0) == number
            return number

        return finish

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "WINDOW", window)
        results = run_ahead(range(len(sizes)), start, sizes.__getitem__)
        assert list(results) == list(range(len(sizes)))
    assert under_way == []


def test_later_work_begins_before_earlier_is_asked_for():
    started = []

    def start(number):
        started.append(number)
        return lambda: number

    results = run_ahead(range(5), start, lambda _number: 1)
    assert next(results) == 0
    assert started == [0, 1, 2, 3, 4]


def test_an_error_comes_when_its_item_is_due():
    def start(number):
        return lambda: 1 // (2 - number)

    results = run_ahead(range(4), start, lambda _number: 1)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_the_window_is_used_to_the_end(monkeypatch):
    monkeypatch.setattr(ahead, "WINDOW", 3)
    started = []

    def start(number):
        started.append(number)
        return lambda: number

    for result in run_ahead(range(20), start, lambda _number: 1):
        assert len(started) == min(result + 3, 20)
