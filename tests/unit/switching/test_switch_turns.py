"""Blocks that do not end where they began: on another thread, too late, or never."""

import asyncio
import gc
import threading
from contextlib import ExitStack, suppress

import live
import pytest

import tvbank
from tvbank.errors import UsageError


def elsewhere(function):
    """Call a function on a thread of its own, and return what it returned."""
    results, errors = [], []

    def work():
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "hangs"
    if errors:
        raise errors[0]
    return results[0]


def stream(switch, task="a"):
    with switch(task):
        yield switch.active
        yield switch.active


def test_a_generator_that_another_thread_ends(attached):
    model, state, switch = attached
    generator = stream(switch)
    assert next(generator) == "a"
    assert elsewhere(lambda: list(generator)) == ["a"]
    assert switch.active is None
    live.assert_same(model, state)
    elsewhere(lambda: switch.to("b"))
    assert switch.active == "b"


def test_a_generator_that_another_thread_began(attached):
    model, state, switch = attached
    generator = stream(switch)
    elsewhere(lambda: next(generator))
    generator.close()
    assert switch.active is None
    with switch("b"):
        pass
    elsewhere(switch.off)
    live.assert_same(model, state)


def test_an_exit_stack_that_another_thread_closes(attached):
    model, state, switch = attached
    stack = ExitStack()
    stack.enter_context(switch("a"))
    stack.enter_context(switch({"b": 0.5}))
    elsewhere(stack.close)
    live.assert_same(model, state)
    elsewhere(lambda: switch.to("a"))


def test_others_wait_until_it_ends(attached):
    _, _, switch = attached
    generator = stream(switch)
    next(generator)
    order = []

    def work():
        switch.to("b")
        order.append(switch.active)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(0.3)
    order.append(switch.active)
    elsewhere(generator.close)
    thread.join(60)
    assert order == ["a", "b"]


@pytest.mark.parametrize("in_a_cycle", [False, True])
def test_a_generator_that_nobody_holds(attached, in_a_cycle):
    model, state, switch = attached

    def begin():
        generator = stream(switch)
        next(generator)
        if in_a_cycle:
            cycle = [generator]
            cycle.append(cycle)

    elsewhere(begin)
    elsewhere(gc.collect)
    assert switch.active is None
    elsewhere(lambda: switch.to("b"))
    switch.off()
    live.assert_same(model, state)


def test_a_block_of_a_thread_that_has_ended_is_told_of(attached):
    model, state, switch = attached
    generator = stream(switch)
    elsewhere(lambda: next(generator))
    for call in (switch.off, lambda: switch.to("b"), lambda: next(stream(switch, "b"))):
        with pytest.raises(UsageError, match=r"thread that began it has ended.*off\(force=True\)"):
            call()
    assert switch.active == "a"
    switch.off(force=True)
    switch.to("b")
    generator.close()  # it was given up: what came after it stays
    assert switch.active == "b"
    switch.off()
    live.assert_same(model, state)


def test_blocks_that_overlap_are_told_of(attached):
    model, state, switch = attached
    first, second = stream(switch, "a"), stream(switch, "b")
    next(first)
    next(second)
    with pytest.raises(UsageError, match=r"switch\('a'\), ended before another"):
        list(first)
    assert switch.active == "b"
    assert list(second) == ["b"]
    assert switch.active is None
    live.assert_same(model, state)


def test_overlapping_generators_that_are_closed(attached):
    model, state, switch = attached
    streams = [stream(switch, name) for name in ("a", "b", "a-exact")]
    for each in streams:
        next(each)
    for each in (streams[1], streams[0], streams[2]):
        elsewhere(each.close)
    live.assert_same(model, state)


def test_tasks_of_asyncio_do_not_mix(attached):
    model, state, switch = attached
    found = {}

    async def use(task):
        try:
            with switch(task):
                await asyncio.sleep(0.01)
                found[task] = switch.active
        except UsageError as error:
            found[task] = str(error)

    async def both():
        await asyncio.gather(use("a"), use("b"))

    asyncio.run(both())
    assert found["a"] == "a"
    assert "another task of asyncio" in found["b"]
    live.assert_same(model, state)
    with switch("a"):  # begun outside of any task: what runs within it is within it
        asyncio.run(use("b"))
        assert found["b"] == "b"
        assert switch.active == "a"


def test_an_asynchronous_generator_that_is_never_ended(attached):
    model, state, switch = attached

    async def numbers():
        with switch("a"):
            yield 1
            yield 2

    async def main():
        async for _ in numbers():
            break

    asyncio.run(main())
    gc.collect()
    live.assert_same(model, state)
    elsewhere(lambda: switch.to("b"))


def test_a_block_that_ends_in_the_middle_of_a_call(attached, monkeypatch):
    """As when the collector of garbage finds its generator there."""
    model, state, switch = attached
    streams = [stream(switch)]
    next(streams[0])
    check = switch._weights.check

    def collecting(force=False):
        with suppress(IndexError):
            streams.pop().close()
        check(force)

    monkeypatch.setattr(switch._weights, "check", collecting)
    switch.to("b")
    assert switch.active == "b"
    elsewhere(switch.off)
    live.assert_same(model, state)


def test_an_error_within_a_block_that_another_thread_ends(attached):
    model, state, switch = attached
    block = switch("a")
    block.__enter__()

    def leave():
        error = ZeroDivisionError()
        return block.__exit__(ZeroDivisionError, error, None)

    assert elsewhere(leave) is False
    live.assert_same(model, state)


def test_a_block_that_cannot_begin_leaves_the_turn(attached):
    _, _, switch = attached
    with pytest.raises(tvbank.errors.TaskNotFoundError), switch("nothing"):
        pass
    elsewhere(lambda: switch.to("b"))


def test_a_block_whose_end_was_interrupted(attached, monkeypatch):
    model, state, switch = attached
    end = switch._turns.end

    def interrupted(block):
        monkeypatch.setattr(switch._turns, "end", end)
        raise KeyboardInterrupt

    with switch("b"):
        monkeypatch.setattr(switch._turns, "end", interrupted)
        with suppress(KeyboardInterrupt), switch("a"):
            pass
        assert switch.active == "a"
    live.assert_same(model, state)
    monkeypatch.setattr(switch._turns, "end", interrupted)
    with suppress(KeyboardInterrupt), switch("a"):
        pass

    def use():
        with switch("b"):
            return switch.active

    assert elsewhere(use) == "b"
    live.assert_same(model, state)
