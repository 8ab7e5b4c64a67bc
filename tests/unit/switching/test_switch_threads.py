"""Blocks in several threads take turns; reading ahead does not wait for them."""

import threading

import live
import pytest

import tvbank


def run_all(functions):
    failures = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_blocks_take_turns(attached):
    model, state, switch = attached
    wanted = {}
    for name in ("a", "b", "a-exact", "b-exact"):
        switch.to(name)
        wanted[name] = live.bits(model)
    switch.off()

    def work(name):
        for _ in range(20):
            with switch(name):
                live.assert_same(model, wanted[name])

    run_all([lambda name=name: work(name) for name in wanted])
    live.assert_same(model, state)


def test_reading_ahead_goes_on_beside_switching(attached):
    model, state, switch = attached
    switch.close()
    small = tvbank.attach(model, switch._bank, resident_bytes=2000)

    def read():
        for _ in range(20):
            small.prefetch("a", "b-exact")

    def change():
        for _ in range(20):
            small.to("a")
            small.to({"a": 0.5, "b-exact": 0.5})

    run_all([change, read, read])
    small.off()
    live.assert_same(model, state)
    assert sum(small.resident.values()) <= 2000


def test_prefetch_does_not_wait_for_a_block(attached):
    _, _, switch = attached
    done = threading.Event()

    def read():
        switch.prefetch("b")
        done.set()

    with switch("a"):
        thread = threading.Thread(target=read)
        thread.start()
        assert done.wait(60)
        thread.join()


def test_blocks_nest(attached):
    model, state, switch = attached
    with switch("a") as same, switch({"b": 0.5}), switch("a"):
        assert same is switch
        assert switch.active == "a"
    assert switch.active is None
    with switch("a"):
        inside = live.bits(model)
        with pytest.raises(ZeroDivisionError), switch("b"):
            raise ZeroDivisionError
        live.assert_same(model, inside)
        switch.off()  # a block goes back to what was there before it, whatever happens inside
        switch.to("b")
    live.assert_same(model, state)
