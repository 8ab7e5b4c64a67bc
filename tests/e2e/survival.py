"""What a bank may be after a writer failed, and that it goes on from there."""

import shutil

import banks

import tvbank


def go_on(path):
    """Add and collect, as if nothing had happened; everything but the catalog's generation."""
    bank = tvbank.open(path)
    bank.add("later", banks.fine_tune(9), tvbank.TSwitch(drop=0.5), base=banks.base_model())
    bank.gc(grace=0)
    assert bank.verify() == []
    objects = banks.contents(bank.storage)
    del objects["zarr.json"]
    return banks.all_numbers(bank), objects


def states(sound, verb, folder, victim):
    """What a bank may be after a failure, and what it must become: before and after the verb."""
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
