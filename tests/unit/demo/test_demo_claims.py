"""Every claim can fail, and says why."""

from dataclasses import replace

import pytest

from tvbank.demo.claims import allowed_share, check_claims
from tvbank.demo.report import Row
from tvbank.demo.settings import Settings

LOSSY = Row("turned", "which way up?", False, 1000, 30, 0.96, 0.80, 0.93, 0.92)
EXACT = Row("digit-exact", "which digit?", True, 1000, 800, 25.0, 0.90, 0.95, 0.95)
SETTINGS = Settings(margin=0.03, overhead=0.005, gain=0.0)


def failures(lossy=LOSSY, exact=EXACT, faults=(), differing=()):
    claims = check_claims([lossy, exact], faults, differing, 0.8, SETTINGS)
    assert len(claims) == 6
    return [why for claim in claims for why in claim.failures]


def test_all_claims_hold():
    assert failures() == []


def test_a_fault_fails():
    assert failures(faults=["a shard is damaged"]) == ["a shard is damaged"]


def test_a_unit_that_is_not_bit_for_bit_fails():
    assert failures(differing=["norm.weight"]) == ["norm.weight differs from the checkpoint's"]


def test_a_task_that_cannot_be_read_fails_once():
    lost = replace(LOSSY, bank_accuracy=None, error="damaged")
    assert failures(lost) == ["turned: damaged"]


@pytest.mark.parametrize(("accuracy", "expected"), [(0.91, []), (0.89, ["turned lost 4.0 points"])])
def test_more_than_the_margin_fails(accuracy, expected):
    assert failures(replace(LOSSY, bank_accuracy=accuracy)) == expected


def test_an_exact_task_may_lose_nothing():
    assert failures(exact=replace(EXACT, bank_accuracy=0.949)) == ["digit-exact lost 0.1 points"]


def test_a_task_no_better_than_the_base_fails():
    found = failures(replace(LOSSY, base_accuracy=0.92))
    assert found == ["turned scores 92.0, the base 92.0"]


def test_a_task_that_takes_too_many_bytes_fails():
    assert failures(replace(LOSSY, stored_bytes=40)) == ["turned takes 4.0 %"]


@pytest.mark.parametrize(("drop", "bits"), [(0.0, 1.0), (0.5, 1.5), (0.9, 0.569), (0.98, 0.1614)])
def test_the_allowed_share_is_the_shannon_limit_and_the_overhead(drop, bits):
    assert allowed_share(drop, 0.01) == pytest.approx(bits / 32 + 0.01, rel=1e-3)
