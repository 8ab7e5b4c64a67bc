"""Several processes change one bank at once: nothing is lost, and readers see whole generations."""

import banks
import pytest

import tvbank

TASKS_EACH = 6


@pytest.fixture
def path(tmp_path):
    banks.small_bank(tmp_path / "bank")
    return tmp_path / "bank"


def written_by(*writers):
    return {f"{writer}-{number}" for writer in writers for number in range(TASKS_EACH)}


def test_two_writers_lose_nothing(victim, path):
    victim(do=["writer a", "writer b"], bank=str(path))
    bank = tvbank.open(path)
    assert set(bank) == {"lossy", "exact"} | written_by("a", "b")
    assert bank.generation == 2 + 2 * TASKS_EACH
    assert bank.verify() == []
    for number in range(TASKS_EACH):
        assert banks.numbers(bank[f"a-{number}"]) == banks.numbers(bank[f"b-{number}"])
    assert bank.gc(grace=0).objects == 0


def test_writers_collectors_and_readers(victim, path):
    before = banks.all_numbers(tvbank.open(path))
    roles = [
        "writer a", "writer b", "collect often", "read often", "add and remove", "verify often",
        "collect often",
    ]  # fmt: skip
    victim(do=roles, bank=str(path))
    bank = tvbank.open(path)
    assert set(bank) == {"lossy", "exact"} | written_by("a", "b")
    assert bank.generation == 2 + 4 * TASKS_EACH
    after = banks.all_numbers(bank)
    assert {name: after[name] for name in before} == before
    assert bank.verify() == []
    bank.gc(grace=0)
    assert bank.verify() == []
    assert not [key for key in banks.contents(bank.storage) if "fleeting" in key]


def test_a_bank_is_created_once(victim, tmp_path):
    assert victim(do=["create once"] * 4, bank=str(tmp_path / "bank"))["refused"] is None
    assert tvbank.open(tmp_path / "bank").verify() == []
