"""A writer may die at any moment: the bank is the old one or the new one, whole, and goes on."""

import itertools
import random
import shutil

import banks
import pytest
import safetensors
from survival import assert_survived, states

import tvbank

VERBS = ["add", "replace", "remove", "gc", "copy"]
RANDOM_KILLS = 12


def killed_everywhere(victim, sound, verb, tmp_path, how):
    """Kill at the first, second, … moment, until the verb is done before the next one."""
    allowed = states(sound, verb, tmp_path, victim)
    for number in itertools.count():
        path = shutil.copytree(sound, tmp_path / str(number) / "bank")
        killed = victim(do=verb, bank=str(path), **{how: number})["killed"]
        assert_survived(path, allowed)
        shutil.rmtree(path.parent)
        if not killed:
            return number
    return None


@pytest.mark.parametrize("verb", VERBS)
def test_killed_before_every_change_on_disk(victim, sound, verb, tmp_path):
    kills = killed_everywhere(victim, sound, verb, tmp_path, "before")
    assert kills >= {"add": 20, "replace": 20, "remove": 2, "gc": 20, "copy": 20}[verb]


@pytest.mark.parametrize("verb", ["add", "replace", "remove", "copy"])
def test_killed_with_half_a_file_written(victim, sound, verb, tmp_path):
    kills = killed_everywhere(victim, sound, verb, tmp_path, "torn")
    assert kills >= {"add": 20, "replace": 20, "remove": 2, "copy": 20}[verb]


@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_random_moments(victim, sound, verb, tmp_path):
    allowed = states(sound, verb, tmp_path, victim)
    path = shutil.copytree(sound, tmp_path / "measured" / "bank")
    span = victim(do=verb, bank=str(path))["seconds"]
    moments = random.Random(verb)
    kills = 0
    while kills < RANDOM_KILLS:
        path = shutil.copytree(sound, tmp_path / "bank")
        moment = moments.uniform(0, span)
        killed = victim(do=verb, bank=str(path), after=moment)["killed"]
        kills += killed
        span = span if killed else moment  # it came too late: the verb was done before
        assert_survived(path, allowed)
        shutil.rmtree(path)


def test_killed_while_creating(victim, tmp_path):
    for number in itertools.count():
        path = tmp_path / str(number) / "bank"
        path.parent.mkdir()
        killed = victim(do="create", bank=str(path), before=number)["killed"]
        if (path / "zarr.json").exists():
            bank = tvbank.open(path)
        else:
            bank = tvbank.create(path, base=banks.base_model(), chunk_length=8)
        bank.add("first", banks.fine_tune(0), base=banks.base_model())
        bank.gc(grace=0)
        assert bank.verify() == []
        assert not [place for place in path.rglob("*") if ".tmp-" in place.name]
        if not killed:
            assert number >= 4
            return


def test_killed_while_exporting(victim, sound, tmp_path):
    path = shutil.copytree(sound, tmp_path / "bank")
    out = tmp_path / "out.safetensors"
    before = banks.contents(tvbank.open(path).storage)
    assert not victim(do="export", bank=str(path))["killed"]
    new = out.read_bytes()
    safetensors.deserialize(new)
    for how in ("before", "torn"):
        out.write_bytes(b"the old file")
        for number in itertools.count():
            killed = victim(do="export", bank=str(path), **{how: number})["killed"]
            assert out.read_bytes() == new or (killed and out.read_bytes() == b"the old file")
            if not killed:
                assert number >= 2
                break
    assert banks.contents(tvbank.open(path).storage) == before
