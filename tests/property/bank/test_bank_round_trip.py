"""What goes into a bank comes out of it, bit for bit, whatever the model and the grid."""

import re
from dataclasses import replace

import banks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import (
    bits,
    bits_in,
    bits_of,
    folder,
    grids,
    models,
    stories,
)

import tvbank
from tvbank.errors import NonFiniteError
from tvbank.storage import MemoryStorage

#: Fine-tunes in another element type than the base's; the warning has tests of its own.
pytestmark = pytest.mark.filterwarnings("ignore:.*are kept whole, since they are:UserWarning")

drops = st.sampled_from([0.0, 0.3, 0.5, 0.9])


@given(stories(), grids)
def test_an_exact_task_is_restored_bit_for_bit(story, grid):
    with folder() as place, grid.applied():
        created = tvbank.create(place / "bank", base=story.base, chunk_length=grid.chunk_length)
        created.add("task", story.tuned, tvbank.Exact(), replace_mismatched=True)
        bank = tvbank.open(place / "bank")
        assert bank.verify() == []
        out = tvbank.export(bank, "task", base=story.base, out=place / "out.safetensors")
        assert bits_in(out) == bits_of(story.restored)


@given(stories(), grids)
def test_what_was_exported_is_the_same_task_again(story, grid):
    with folder() as place, grid.applied():
        bank = tvbank.create(MemoryStorage(), base=story.base, chunk_length=grid.chunk_length)
        bank.add("first", story.tuned, tvbank.Exact(), replace_mismatched=True)
        out = tvbank.export(bank, "first", base=story.base, out=place / "out.safetensors")
        bank.add("again", out, tvbank.Exact(), replace_mismatched=True)
        again = tvbank.export(bank, "again", base=story.base, out=place / "again.safetensors")
        assert bits_in(again) == bits_in(out)
        for name, unit in bank["first"].items():
            assert bits(unit.to_dense()) == bits(bank["again"][name].to_dense())


def compressed(compressor, base, tuned):
    """Every unit's entries in memory, or the error that refuses one."""
    try:
        return {name: compressor.compress(name, base[name], tuned[name]) for name in base}
    except NonFiniteError as error:
        return error


@given(models(), drops, st.sampled_from(["rms", "norm"]), grids)
def test_tswitch_through_a_bank_is_tswitch_in_memory(model, drop, knob, grid):
    base, tuned, _ = model
    compressor = tvbank.TSwitch(drop=drop, knob=knob)
    expected = compressed(compressor, base, tuned)
    with grid.applied():
        bank = tvbank.create(MemoryStorage(), base=base, chunk_length=grid.chunk_length)
        check_entries(bank, tuned, compressor, expected)


def check_entries(bank, tuned, compressor, expected):
    if isinstance(expected, NonFiniteError):
        with pytest.raises(NonFiniteError, match=re.escape(str(expected))):
            bank.add("task", tuned, compressor)
        assert len(tvbank.open(bank.storage)) == 0
        return
    bank.add("task", tuned, compressor)
    assert bank.verify() == []
    task = tvbank.open(bank.storage)["task"]
    assert task.nonzeros == sum(np.count_nonzero(entries) for entries in expected.values())
    for name, entries in expected.items():
        for unit in (task[name], task.by_shard()[name]):
            assert bits(unit.to_dense()) == bits(entries.reshape(unit.shape))
            positions, values = unit.to_sparse()
            assert positions.dtype == np.int64
            assert positions.tolist() == np.flatnonzero(entries).tolist()
            assert bits(values) == bits(entries[positions])


@given(stories(), grids, grids, drops)
@settings(max_examples=50)
def test_same_input_same_bytes(story, grid, another, drop):
    machine = replace(grid, large=another.large, window=another.window)
    with folder() as place, grid.applied():
        stores = []
        for where in (MemoryStorage(), place / "bank"):
            bank = tvbank.create(where, base=story.base, chunk_length=grid.chunk_length)
            bank.add("a", story.tuned, tvbank.Exact(), {"z": 1, "y": 2}, replace_mismatched=True)
            bank.add("b", story.base, tvbank.TSwitch(drop=drop))
            stores.append(bank.storage)
        with machine.applied():
            other = tvbank.create(MemoryStorage(), story.base, chunk_length=grid.chunk_length)
            other.add("b", story.base, tvbank.TSwitch(drop=drop))
            metadata = {"y": 2, "z": 1}
            other.add("a", story.tuned, tvbank.Exact(), metadata, replace_mismatched=True)
        first = banks.contents(stores[0])
        assert first == banks.contents(stores[1])
        assert first == banks.contents(other.storage)


@given(stories(), grids)
@settings(max_examples=50)
def test_the_catalog_counts_what_is_there(story, grid):
    with grid.applied():
        bank = tvbank.create(MemoryStorage(), base=story.base, chunk_length=grid.chunk_length)
        task = bank.add("task", story.tuned, tvbank.Exact(), replace_mismatched=True)
    objects = banks.contents(bank.storage)
    folder = f"tasks/task/{task.revision}/"
    assert task.stored_bytes == sum(len(v) for k, v in objects.items() if k.startswith(folder))
    assert task.nonzeros == sum(len(unit.to_sparse()[0]) for unit in task.values())
    entries = sum(unit.size for unit in task.values())
    entries += sum(task.extras[name].size for name in task.extras)
    assert task.bits_per_parameter == (8 * task.stored_bytes / entries if entries else 0)
