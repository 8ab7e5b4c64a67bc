"""A bank on disk against a dictionary: whatever is done to it, in whatever order."""

import tempfile
from functools import cache
from pathlib import Path

import banks
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from stories import bits

import tvbank
from tvbank.errors import NonFiniteError, TaskExistsError, TaskNotFoundError, UsageError

BASE = banks.base_model()
TUNED = [banks.fine_tune(seed) for seed in range(3)]
TUNED[2]["new head"] = np.arange(5, dtype=np.int16)
COMPRESSORS = [tvbank.TSwitch(drop=0.5), tvbank.TSwitch(drop=0.0, knob="norm"), tvbank.Exact()]
names = st.sampled_from(["cats", "dogs", "v1.5_x-y"])
tasks = st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from([None, {"n": [1, None]}]))


@cache
def expected_entries(fine_tune, compressor):
    """What the bank must hold of every unit."""
    tuned = TUNED[fine_tune]
    return {
        name: bits(COMPRESSORS[compressor].compress(name, BASE[name], tuned[name]))
        for name in BASE
        if name not in ("steps", "head again")
    }


class Machine(RuleBasedStateMachine):
    """Two open banks on one folder: one that changes it, one that is opened now and then."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "bank")
        self.bank = tvbank.create(self.path, base=BASE, chunk_length=8)
        self.model = {}
        self.stored = set()
        self.changes = 0

    def teardown(self):
        self.folder.cleanup()

    def put(self, name, task):
        self.model[name] = task
        self.stored.add((name, repr(task)))
        self.changes += 1

    def take(self, name):
        del self.model[name]
        self.changes += 1

    @rule(name=names, task=tasks, replace=st.booleans())
    def add(self, name, task, replace):
        fine_tune, compressor, metadata = task
        arguments = (name, TUNED[fine_tune], COMPRESSORS[compressor], metadata)
        if name in self.model and not replace:
            with pytest.raises(TaskExistsError, match=repr(name)):
                self.bank.add(*arguments, base=BASE)
            return
        self.bank.add(*arguments, base=BASE, replace=replace)
        self.put(name, task)

    @rule(name=names)
    def remove(self, name):
        if name not in self.model:
            with pytest.raises(TaskNotFoundError, match=repr(name)):
                self.bank.remove(name)
            return
        self.bank.remove(name)
        self.take(name)

    @rule(name=names)
    def add_what_is_refused(self, name):
        bad = TUNED[0] | {"half": np.full(11, np.nan, np.float16)}
        with pytest.raises(NonFiniteError, match="'half'"):
            self.bank.add(name + "_", bad, base=BASE)
        with pytest.raises(UsageError, match="metadata"):
            self.bank.add(name + "_", TUNED[0], metadata={"x": object()}, base=BASE)

    @rule()
    def collect(self):
        report = self.bank.gc(grace=0)
        live = {(name, repr(task)) for name, task in self.model.items()}
        assert (report.objects > 0) == (self.stored != live)
        self.stored = live

    @rule()
    def reopen(self):
        self.bank = tvbank.open(self.path)

    @rule(name=names)
    def changed_by_another(self, name):
        other = tvbank.open(self.path)
        if name in self.model:
            other.remove(name)
            self.take(name)
            with pytest.raises(TaskNotFoundError):
                self.bank.remove(name)
        else:
            other.add(name, TUNED[0], COMPRESSORS[2], base=BASE)
            self.put(name, (0, 2, None))
            with pytest.raises(TaskExistsError):
                self.bank.add(name, TUNED[0], base=BASE)
        self.bank = tvbank.open(self.path)

    @invariant()
    def holds_what_was_put_in(self):
        assert self.bank.generation == self.changes
        assert list(self.bank) == sorted(self.model)
        for name, (fine_tune, compressor, metadata) in self.model.items():
            task = self.bank[name]
            expected = expected_entries(fine_tune, compressor)
            assert {n: bits(u.to_dense().reshape(-1)) for n, u in task.items()} == expected
            assert task.metadata == (metadata or {})
            assert task.compressor == COMPRESSORS[compressor].describe()
            kept = {n: bits(TUNED[fine_tune][n]) for n in TUNED[fine_tune] if n not in expected}
            kept.pop("head again", None)
            assert {n: bits(array) for n, array in task.extras.items()} == kept

    @invariant()
    def is_sound(self):
        assert tvbank.open(self.path).verify() == []

    @invariant()
    def leaves_no_temporary_files(self):
        assert not [path for path in self.path.rglob("*") if ".tmp-" in path.name]


def test_a_bank_is_a_dictionary():
    run_state_machine_as_test(Machine, settings=settings(max_examples=20, stateful_step_count=25))
