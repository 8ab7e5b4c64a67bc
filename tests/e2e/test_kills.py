"""A writer may die at any moment: the bank is the old one or the new one, whole, and goes on."""

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import banks
import pytest
import safetensors

import tvbank

HERE = Path(__file__).parent
VERBS = ["add", "replace", "remove", "gc"]
RANDOM_KILLS = 12


@pytest.fixture(scope="module")
def victim():
    """Send an order to the process that forks and kills; its answer."""
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment = os.environ | one_thread | {"PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen(
        [sys.executable, HERE / "victim.py"], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert json.loads(process.stdout.readline()) == "ready"

        def order(**wishes):
            process.stdin.write(json.dumps(wishes) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert not answer["failed"]
            return answer

        yield order
        process.stdin.close()


@pytest.fixture(autouse=True)
def nothing_waits_for_the_disk(monkeypatch):
    """Our own writes need not survive anything; those of the victim are its own."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A bank with two tasks, and garbage: a removed task and a replaced revision."""
    path = tmp_path_factory.mktemp("sound") / "bank"
    bank = banks.small_bank(path)
    bank.add("removed", banks.fine_tune(3), tvbank.Exact())
    bank.add("lossy", banks.fine_tune(4), tvbank.Exact(), replace=True)
    bank.remove("removed")
    bank.add("lossy", banks.fine_tune(0), tvbank.TSwitch(drop=0.5), replace=True)
    return path


def go_on(path):
    """Add and collect, as if nothing had happened; everything but the catalog's generation."""
    bank = tvbank.open(path)
    bank.add("later", banks.fine_tune(9), tvbank.TSwitch(drop=0.5), base=banks.base_model())
    bank.gc()
    assert bank.verify() == []
    objects = banks.contents(bank.storage)
    del objects["zarr.json"]
    return banks.all_numbers(bank), objects


def states(sound, verb, folder, victim):
    """What a bank may be after a kill, and what it must become: before and after the verb."""
    found = []
    for done in (False, True):
        path = shutil.copytree(sound, folder / f"{verb}-{done}" / "bank")
        if done:
            assert not victim(do=verb, bank=str(path))["killed"]
        found.append((banks.all_numbers(tvbank.open(path)), *go_on(path)))
    return found


def assert_survived(path, allowed):
    """The bank is one of those allowed, sound, and goes on to the same bytes, without debris."""
    bank = tvbank.open(path)
    assert bank.verify() == []
    numbers = banks.all_numbers(bank)
    futures = [future for before, *future in allowed if before == numbers]
    assert futures
    assert list(go_on(path)) in futures
    folders = [place for place in path.rglob("*") if place.is_dir()]
    assert all(any(folder.iterdir()) for folder in folders)


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
    assert kills >= {"add": 20, "replace": 20, "remove": 2, "gc": 20}[verb]


@pytest.mark.parametrize("verb", ["add", "replace", "remove"])
def test_killed_with_half_a_file_written(victim, sound, verb, tmp_path):
    kills = killed_everywhere(victim, sound, verb, tmp_path, "torn")
    assert kills >= {"add": 20, "replace": 20, "remove": 2}[verb]


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
        bank.gc()
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
