"""Whatever interrupts a change, wherever: the model is one of its states, never a mixture."""

import _thread
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import live
import pytest
import torch

import tvbank
from tvbank import switching
from tvbank.switching import _threads
from tvbank.switching._threads import Crew

FOLDER = str(Path(switching.__file__).parent)

#: Sums of models with units in float64, which stay as in the base.
pytestmark = pytest.mark.filterwarnings("ignore:the sum leaves units")


class Interrupter:
    """Raises once, at the n-th line that runs in the package on this thread; lists the lines."""

    def __init__(self, after=0, error=KeyboardInterrupt):
        self.left, self.error, self.lines = after, error, []

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _enter(self, frame, event, argument):
        return self._line if frame.f_code.co_filename.startswith(FOLDER) else None

    def _line(self, frame, event, argument):
        if event == "line":
            self.lines.append((frame.f_code.co_filename, frame.f_lineno))
            self.left -= 1
            if self.left == 0:
                raise self.error
        return self._line

    def moments(self):
        """When each line runs for the first time, and every line that ran last but once."""
        first = {line: number for number, line in reversed(list(enumerate(self.lines, 1)))}
        last = {line: number for number, line in enumerate(self.lines, 1)}
        changing = [
            n for (file, _), n in last.items() if file.endswith(("_change.py", "_threads.py"))
        ]
        return sorted({*first.values(), *changing})


@pytest.fixture(scope="module")
def attached():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_threads, "_LEAST", 10)  # threads for small tasks too
        yield build()


def build():
    torch.manual_seed(0)
    model = live.Mixed()
    model.head = torch.nn.Linear(4, 2)
    model.other = torch.nn.Linear(4, 2)
    state = {n: t for n, t in live.state_of(model).items() if not n.startswith(("head", "other"))}
    bank = tvbank.create(live.MemoryStorage(), base=state, chunk_length=32)
    for seed, name in enumerate("ab"):
        tuned = live.fine_tune(state, seed)
        tuned["head.weight"], tuned["other.weight"] = torch.randn(5, 4), torch.randn(2, 4)
        bank.add(name, tuned, tvbank.TSwitch(drop=0.5), base=state)
    return model, tvbank.attach(model, bank)


SUM = {"a": 0.5, "b": -0.5}
CALLS = {
    "base to a": (lambda s: s.off(), lambda s: s.to("a")),
    "a to b": (lambda s: s.to("a"), lambda s: s.to("b")),
    "a to a sum": (lambda s: s.to("a"), lambda s: s.to(SUM, heads="b")),
    "a sum to a": (lambda s: s.to(SUM), lambda s: s.to("a")),
    "a to base": (lambda s: s.to("a"), lambda s: s.off()),
    "a to base by force": (lambda s: s.to("a"), lambda s: s.off(force=True)),
    "a block": (lambda s: s.to("a"), lambda s: block(s)),
}


def block(switch):
    with switch("b"):
        pass


@pytest.mark.parametrize("call", CALLS)
def test_an_exception_at_any_line_leaves_one_of_the_states(attached, call):
    model, switch = attached
    prepare, change = CALLS[call]
    states = {}
    for step in ("a", "b", SUM, {}):
        switch.to(step)
        states[repr(switch.active)] = live.bits(model)
    prepare(switch)
    with Interrupter() as counted:
        change(switch)
    if isinstance(switch.active, dict):  # with a head
        states[repr(switch.active)] = live.bits(model)
    moments = counted.moments()
    assert len(moments) > 20
    for moment in moments:
        prepare(switch)
        error = (KeyboardInterrupt, MemoryError)[moment % 2]
        with suppress(error), Interrupter(moment, error):
            change(switch)
        live.assert_same(model, states[repr(switch.active)])
        if moment % 7 == 0:
            switch.to("b")
        switch.off()
        live.assert_same(model, states[repr(None)])


def test_an_interrupt_at_any_time_leaves_one_of_the_states(attached):
    model, switch = attached
    states = {}
    for step in ("a", "b", SUM, {}):
        switch.to(step)
        states[repr(switch.active)] = live.bits(model)
    random = Random(0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for _ in range(60):
            timer = threading.Timer(random.uniform(0, 4e-3), _thread.interrupt_main)
            with suppress(KeyboardInterrupt):
                timer.start()
                for step in ("a", "b", SUM, {}, "b", SUM, "a"):
                    switch.to(step)
                timer.join()
                time.sleep(0)
            live.assert_same(model, states[repr(switch.active)])
    finally:
        signal.signal(signal.SIGINT, before)
    switch.off()
    live.assert_same(model, states[repr(None)])


def test_an_interrupted_crew_leaves_nobody_at_work():
    crew = Crew()
    begun, ended = threading.Event(), threading.Event()

    def work(number):
        if number:
            begun.set()
            begun.wait()
            for _ in range(200_000):
                pass
            ended.set()
        else:
            begun.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crew.share(work, 2)
    assert ended.is_set()


def test_a_crew_that_comes_late_is_called_off():
    crew = Crew()
    calls = []
    assert crew.share(lambda number: calls.append(number) or number, 1) == [0]
    found = crew.share(lambda number: number, 4)
    assert found[0] == 0
    assert set(found) <= {0, 1, 2, 3}


def test_what_a_crew_raises_is_raised():
    crew = Crew()
    begun = threading.Event()

    def work(number):
        begun.set() if number else begun.wait()
        if number:
            raise MemoryError("too much")

    with pytest.raises(MemoryError, match="too much"):
        crew.share(work, 2)
