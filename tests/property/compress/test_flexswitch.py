"""Hard entries of FlexSwitch: signs, zeros, levels and their sizes, whatever the unit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tvbank.coding import frame_sizes
from tvbank.compress import Difference
from tvbank.flexswitch.paper.gates import WIDTHS, Levels, initial, survey
from tvbank.flexswitch.paper.units import HardUnit

FLOATS = st.floats(-1e6, 1e6, width=32) | st.floats(-(2.0**-10), 2.0**-10, width=32)
LOPSIDED = st.sampled_from([-1.0, -0.5, 0.25, 3.0, 100.0, 1e5])
DELTAS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=40),
    elements=FLOATS | LOPSIDED | st.just(0.0),
)  # fmt: skip


def harden(delta, bits, thresholds=(0.0, 0.0), kappa=0.5, heat=0.01):
    base = np.zeros_like(delta)
    facts = survey("unit", base, delta)
    if facts.empty:
        return None, np.zeros(delta.size, np.float32)
    row = initial(1)[0]
    row[:2], row[2] = thresholds, kappa
    row[3 + WIDTHS.index(bits)] = 1
    hard = HardUnit.of(facts, row, heat)
    assert hard.bits == bits
    return facts, hard.entries(Difference("unit", base, delta))(0, delta.size)


@given(DELTAS, st.sampled_from(WIDTHS), st.tuples(*[st.floats(-50, 50)] * 2), st.floats(-80, 5),
       st.sampled_from([1.0, 0.1, 0.005]))  # fmt: skip
def test_kept_entries_keep_their_sign_and_are_not_zero(delta, bits, thresholds, kappa, heat):
    facts, found = harden(delta, bits, thresholds, kappa, heat)
    flat = delta.reshape(-1)
    kept = found != 0
    assert np.all(np.isfinite(found))
    assert np.all(np.sign(found[kept]) == np.sign(flat[kept]))
    if facts is not None:
        gate, clear = paper_gate(facts, flat.astype(np.float64), thresholds, heat)
        assert np.array_equal(kept[clear], (gate > 0.5)[clear])


def paper_gate(facts, flat, thresholds, heat):
    """M of [F] Eq. 8, but 0 for entries of zero; and where float32 can tell it from one half."""
    gate, clear = np.zeros(flat.size), flat != 0
    for number, (sign, logit) in enumerate(zip((1, -1), thresholds, strict=True)):
        if facts.greatest[number]:
            start, length = facts.range(number)
            distance = sign * flat - start - (np.arctan(logit) / np.pi + 0.5) * length
            clear &= np.abs(distance) > 1e-5 * (start + length)
            gate += 1 / (1 + np.exp(-np.clip(distance / (heat * length), -500, 500)))
    return gate, clear & (np.abs(gate - 0.5) > 1e-3)


@given(DELTAS, st.sampled_from(WIDTHS))
def test_codes_take_the_bits_that_were_chosen(delta, bits):
    facts, found = harden(delta, bits, (-1e9, -1e9))
    if facts is None:
        return
    levels = np.unique(found[found != 0])
    assert len(levels) <= 2**bits
    if levels.size:
        values = frame_sizes(found).values
        smallest = min(size for size in values.values() if size is not None)
        count = np.count_nonzero(found)
        # One grid: an offset and a step, but where a bin went to the other sign or codes are few.
        assert smallest <= max(8, 4 * min(len(levels), 2**bits + 1)) + -(-count * bits // 8)
    if bits == 1 and min(facts.greatest) > 0:
        assert len(np.unique(np.sign(levels))) == len(levels)


@given(DELTAS, st.sampled_from(WIDTHS))
def test_values_are_the_papers_wherever_those_have_the_right_sign(delta, bits):
    facts, found = harden(delta, bits, (-1e9, -1e9), kappa=np.log(np.e - 1))
    if facts is None:
        return
    flat = delta.reshape(-1).astype(np.float64)
    positive, negative = facts.greatest
    step = (positive + negative) / 2**bits
    place = (flat + negative) / step
    code = np.clip(np.ceil(place), 1, 2**bits) - 1
    paper = (code + 0.5) * step - negative
    levels = Levels.of(facts, bits)
    usual = levels.first in (0, 2**bits) or (
        levels.lowest == levels.offset + levels.first * levels.step
        and levels.highest == levels.offset + (levels.first - 1) * levels.step
    )
    edge = np.abs(place - np.rint(place)) < 1e-3
    same = (np.sign(paper) == np.sign(flat)) & (found != 0) & ~edge
    if usual:
        rounding = 2.0**-22 * (positive + negative)  # levels near zero are differences in float32
        np.testing.assert_allclose(found[same], paper[same], rtol=1e-4, atol=rounding)


def test_the_known_fault_of_one_bit_does_not_happen():
    delta = np.array([4.0, 3.9, 0.1, -1.0, -0.9, -0.8, -0.1], np.float32)
    found = harden(delta, 1, (-50.0, -50.0))[1]
    assert np.array_equal(np.sign(found), [1, 1, 0, -1, -1, -1, 0])
    assert len(np.unique(found)) == 3  # one value a sign, and zero


def test_a_sign_of_tiny_magnitudes_beside_a_large_one():
    delta = np.array([-1.1754944e-38, 1.0, 0.5], np.float32)
    for thresholds in ((-50.0, -50.0), (0.0, 1.0)):
        found = harden(delta, 1, thresholds, heat=0.1)[1]
        assert np.isfinite(found).all()
        assert found[0] == 0  # as if the sign did not occur
        assert found[1] > 0
    assert found[0] <= 0
