"""What a fine-tune changed, from two checkpoints."""

import numpy as np
import pytest
import reported

from tvbank.errors import UnitMismatchError
from tvbank.reporting import compare
from tvbank.reporting._compare import effective_rank


def test_units_are_what_dense_arrays_say():
    base, tuned = reported.base_model(), reported.fine_tune(1, 0.3)
    found = compare(base, tuned)
    assert [unit.unit for unit in found.units] == [name for name in base if name != "steps"]
    for unit in found.units:
        delta = tuned[unit.unit].astype(np.float64) - base[unit.unit]
        assert unit.changed == np.count_nonzero(delta) / delta.size
        assert unit.change == pytest.approx(np.linalg.norm(delta), rel=1e-6)
        assert unit.norm == pytest.approx(np.linalg.norm(base[unit.unit]), rel=1e-6)
        assert unit.relative == pytest.approx(unit.change / unit.norm)
    assert found.whole == ("steps",)
    total = sum(unit.size for unit in found.units)
    assert found.parameters == total
    assert found.changed == pytest.approx(sum(u.changed * u.size for u in found.units) / total)
    assert found.sentence.startswith(f"Of {total:,} parameters 2")
    assert "1 tensors are new" in found.sentence
    assert found.json()


@pytest.mark.parametrize("rank", [1, 3, 20])
def test_the_effective_rank_is_that_of_singular_values(rank):
    rng = np.random.default_rng(rank)
    base = rng.standard_normal((60, 40)).astype(np.float32)
    delta = rng.standard_normal((60, rank)) @ rng.standard_normal((rank, 40))
    tuned = (base + 0.1 * delta).astype(np.float32)
    singular = np.linalg.svd((tuned - base).astype(np.float64), compute_uv=False)
    singular = singular[singular > 1e-3 * singular[0]]
    shares = singular / singular.sum()
    found, most = effective_rank(base, tuned)
    assert found == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-3)
    assert most == 40
    turned, _ = effective_rank(base.T.copy(), tuned.T.copy())
    assert turned == pytest.approx(found, rel=1e-4)


def test_what_has_no_rank():
    zeros = np.zeros((4, 4), np.float32)
    assert effective_rank(zeros, zeros) == (None, None)
    assert effective_rank(zeros[0], zeros[0] + 1) == (None, None)
    assert effective_rank(zeros[:1], zeros[:1] + 1) == (None, None)


def test_low_and_full_rank_are_told_apart():
    rng = np.random.default_rng(0)
    base = {"w": rng.standard_normal((64, 64)).astype(np.float32)}
    thin = rng.standard_normal((64, 2)) @ rng.standard_normal((2, 64))
    assert "low rank" in compare(base, {"w": (base["w"] + thin).astype(np.float32)}).sentence
    full = base["w"] + rng.standard_normal((64, 64)).astype(np.float32)
    assert "full rank" in compare(base, {"w": full}).sentence


def test_equal_checkpoints():
    found = compare(reported.base_model(), reported.base_model())
    assert found.sentence == f"None of the {found.parameters:,} parameters changed."
    assert (found.changed, found.relative, found.rank_share) == (0, 0, None)
    assert found.html()


def test_tensors_of_another_kind_are_whole():
    base, tuned = reported.base_model(), reported.fine_tune(1)
    tuned["head"] = np.ones(3, np.float32)
    tuned["model.embed.weight"] = np.ones((41, 16), np.float32)
    found = compare(base, tuned)
    assert set(found.whole) == {"model.embed.weight", "steps", "head"}
    assert "model.embed.weight" not in {unit.unit for unit in found.units}


def test_what_is_not_finite_has_no_norm():
    base, tuned = reported.base_model(), reported.fine_tune(1)
    tuned["model.embed.weight"][0, 0] = np.nan
    found = compare(base, tuned)
    (odd,) = [unit for unit in found.units if unit.unit == "model.embed.weight"]
    assert (odd.change, odd.relative, odd.rank) == (None, None, None)
    assert odd.changed == 1
    assert found.relative > 0
    assert found.html()


def test_another_model_is_refused():
    with pytest.raises(UnitMismatchError, match="lacks"):
        compare(reported.base_model(), {"other": np.zeros(3, np.float32)})
