"""Budget meets the size, keeps signs and zeros, and harms less for more bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from watching import Seen

import tvbank
from tvbank import Budget
from tvbank.errors import NonFiniteError, UsageError
from tvbank.storage import MemoryStorage

FLOATS = st.floats(-(2.0**60), 2.0**60, width=32)
ODD = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 1.0, 1e-45, -1e-45, 3.0e38])
DELTAS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=0, max_dims=3, max_side=20), elements=FLOATS | ODD
)


def model(seed=0):
    """Units of several kinds, their sizes like those of a small model."""
    rng = np.random.default_rng(seed)
    update = {
        "table": rng.standard_normal((3000, 16)) * (rng.random((3000, 1)) < 0.1),
        "matrix": rng.standard_t(4, (200, 300)),
        "kernel": rng.standard_normal((30, 4, 5, 5)),
        "bias": rng.standard_normal(200),
        "scalar": rng.standard_normal(()),
        "still": np.zeros(50),
        "nothing": np.zeros((0, 3)),
    }
    return {name: np.asarray(0.01 * entries, np.float32) for name, entries in update.items()}


def stored(update, target, **extras):
    base = {name: np.zeros_like(entries) for name, entries in update.items()}
    bank = tvbank.create(MemoryStorage(), base=base)
    return bank.add("task", update | extras, Budget(target))


def harm(task, update):
    return sum(float(np.square(task[name].to_dense() - update[name]).sum()) for name in update)


@pytest.mark.parametrize(
    "target", ["10 KiB", "20000 bytes", "0.7 bits/param", "1 bits/param", "2 bits/param", "9 %"]
)
def test_lands_within_three_per_cent_below_the_target(target):
    task = stored(model(), target)
    parameters = sum(entries.size for entries in model().values())
    goal = {
        "10 KiB": 10240, "20000 bytes": 20000, "0.7 bits/param": 0.7 * parameters / 8,
        "1 bits/param": parameters / 8, "2 bits/param": parameters / 4,
        "9 %": 0.36 * parameters,
    }[target]  # fmt: skip
    assert 0.97 * goal <= task.stored_bytes <= goal
    assert task.compressor == {"name": "budget", "budget": target}


def test_lands_where_all_magnitudes_are_equal():
    signs = np.random.default_rng(0).choice(np.float32([-1, 1]), 100_000)
    task = stored({"unit": signs}, "8 KiB")
    assert 0.97 * 8192 <= task.stored_bytes <= 8192


def test_what_is_kept_whole_counts():
    head = np.random.default_rng(1).standard_normal(1500).astype(np.float32)
    task = stored(model(), "16 KiB", head=head)
    assert 0.97 * 16384 <= task.stored_bytes <= 16384
    assert (task.extras["head"] == head).all()


def test_more_bytes_harm_less():
    harms = [harm(stored(model(), f"{size} %"), model()) for size in (8, 15, 25)]
    assert harms[0] > harms[1] > harms[2]


def test_a_target_beyond_need_takes_what_is_needed():
    task = stored(model(), "200 %")
    norm = sum(float(np.square(entries).sum()) for entries in model().values())
    assert harm(task, model()) < 5e-3 * norm
    assert task.stored_bytes < 4 * sum(entries.size for entries in model().values())


def test_an_unreachable_target_says_what_the_smallest_is():
    with pytest.raises(UsageError, match=r"100 bytes, but the smallest .* [\d,]+ bytes"):
        stored(model(), "100 bytes")


def test_by_default_it_takes_one_per_cent_of_the_base():
    update = {"unit": np.random.default_rng(0).standard_normal((3000, 1000)).astype(np.float32)}
    task = stored(update, None)
    assert 0.97 <= task.stored_bytes / (0.01 * 4 * 3_000_000) <= 1
    assert task.compressor == {"name": "budget", "budget": "1 %"}
    assert (task["unit"].to_dense() == stored(update, "1 %")["unit"].to_dense()).all()


@pytest.mark.parametrize("size", [8, 1000, 60_000])
def test_by_default_small_models_and_large_heads_leave_entries_their_bytes(size):
    update = {"unit": np.random.default_rng(0).standard_normal(size).astype(np.float32)}
    head = np.random.default_rng(1).standard_normal(20_000).astype(np.float32)
    bare, headed = stored(update, None), stored(update, None, head=head)
    for task in (bare, headed):
        kept = task["unit"].to_dense()
        angle = float(kept @ update["unit"] / np.linalg.norm(kept) / np.linalg.norm(update["unit"]))
        assert angle > 0.75
    assert (headed.extras["head"] == head).all()
    assert headed.stored_bytes - bare.stored_bytes < 1.01 * head.nbytes + 1000


def test_the_same_task_takes_the_same_bytes():
    first, second = (stored(model(), "0.7 bits/param") for _ in range(2))
    assert first.revision == second.revision


@settings(max_examples=40)
@given(st.lists(DELTAS, min_size=1, max_size=3), st.sampled_from(["3 KiB", "4 KiB", "1 MiB"]))
def test_signs_and_zeros_stay(deltas, target):
    update = {f"unit{number}": delta for number, delta in enumerate(deltas)}
    task = stored(update, target)
    for name, delta in update.items():
        kept = task[name].to_dense()
        assert np.isfinite(kept).all()
        assert (kept[delta == 0] == 0).all()
        assert (np.sign(kept[kept != 0]) == np.sign(delta[kept != 0])).all()


def test_progress_is_shown_to_its_end():
    base = {name: np.zeros_like(entries) for name, entries in model().items()}
    seen = Seen()
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("task", model(), Budget("16 KiB"), progress=seen)
    assert list(seen.counts) == ["choosing", ""]
    for reports in seen.counts.values():
        done, totals = zip(*reports, strict=True)
        assert list(done) == sorted(done)
        assert len(set(totals)) == 1
        assert done[-1] == totals[0] > 0


def test_nan_is_refused():
    with pytest.raises(NonFiniteError, match="'unit'"):
        stored({"unit": np.float32([1, np.nan])}, "4 KiB")


def test_alone_it_cannot_prepare():
    with pytest.raises(UsageError, match="chooses over all units"):
        Budget("1 %").compress("unit", np.zeros(3, np.float32), np.ones(3, np.float32))
