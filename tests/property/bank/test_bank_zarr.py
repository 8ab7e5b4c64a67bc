"""Plain zarr and tvbank's own reader see the same numbers."""

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from stories import bits, folder, grids, stories

import tvbank
from tvbank.dtypes import DTYPES

#: Fine-tunes in another element type than the base's; the warning has tests of its own.
pytestmark = pytest.mark.filterwarnings("ignore:.*are kept whole, since they are:UserWarning")


def dense(bank, task):
    """A task as one vector, by tvbank's reader."""
    whole = np.zeros(bank.layout.length, bank[task].element)
    for name, unit in bank[task].items():
        start = bank.layout.by_name[name].offset
        whole[start : start + unit.size] = unit.to_dense().reshape(-1)
    return whole


@given(stories(), grids)
@settings(max_examples=40)
def test_zarr_reads_what_tvbank_reads(story, grid):
    with folder() as place, grid.applied():
        bank = tvbank.create(place / "bank", base=story.base, chunk_length=grid.chunk_length)
        bank.add("exact", story.tuned, tvbank.Exact(), replace_mismatched=True)
        bank.add("lossy", story.base, tvbank.TSwitch(drop=0.5))
        group = zarr.open_group(place / "bank", mode="r")
        for name, task in bank.items():
            folder_of_task = group[f"tasks/{name}/{task.revision}"]
            delta = folder_of_task["delta"]
            assert delta.shape == (bank.layout.length,)
            assert bits(delta[...]) == bits(dense(bank, name))
            for number, extra in enumerate(task.extras):
                stored = folder_of_task[f"extras/{number}"][...]
                array = task.extras[extra]
                assert stored.shape == array.shape
                assert stored.tobytes() == array.tobytes()
                as_bits = array.dtype.name.startswith(("bfloat16", "float8"))
                expected = f"uint{8 * array.dtype.itemsize}" if as_bits else array.dtype.name
                assert stored.dtype.name == expected


def test_extras_of_every_element_type(tmp_path):
    base = {"w": np.zeros(3, np.float32)}
    raw = np.random.default_rng(5).integers(0, 256, 48, np.uint8)
    heads = {name: (raw & 1 if name == "bool" else raw).view(DTYPES[name]) for name in DTYPES}
    bank = tvbank.create(tmp_path / "bank", base=base)
    task = bank.add("t", base | heads, tvbank.Exact())
    stored = zarr.open_group(tmp_path / "bank", mode="r")[f"tasks/t/{task.revision}/extras"]
    for number, name in enumerate(task.extras):
        array = stored[str(number)][...]
        assert array.shape == task.extras[name].shape
        assert array.tobytes() == task.extras[name].tobytes()
        as_bits = name.startswith(("uint", "bfloat16", "float8"))
        assert (array.dtype.kind == "u") == as_bits


@given(stories(), grids)
@settings(max_examples=20)
def test_the_folder_is_a_clean_hierarchy(story, grid):
    with folder() as place, grid.applied():
        bank = tvbank.create(place / "bank", base=story.base, chunk_length=grid.chunk_length)
        bank.add("a", story.tuned, tvbank.Exact(), replace_mismatched=True)
        bank.add("b", story.base)
        bank.remove("a")
        bank.gc(grace=0)
        bank.add("c", story.base)
        members = dict(zarr.open_group(place / "bank", mode="r").members(max_depth=None))
        arrays = {path for path, node in members.items() if isinstance(node, zarr.Array)}
        assert {path for path in arrays if path.endswith("/delta")} == {
            f"tasks/{name}/{bank[name].revision}/delta" for name in ("b", "c")
        }
        assert {"base", "tasks", "tasks/b", "tasks/c"} <= set(members) - arrays
