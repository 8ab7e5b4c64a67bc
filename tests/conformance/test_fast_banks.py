"""tvbank's own reader of banks against the vectors."""

import hashlib

import numpy as np
import pytest
from vectors import name_of, vectors

import tvbank
from tvbank.dtypes import DTYPES
from tvbank.errors import BankNotFoundError, FormatError
from tvbank.merging.apply import restore


@pytest.mark.parametrize("vector", vectors("banks/valid"), ids=name_of)
def test_valid_bank(vector):
    bank = tvbank.open(vector.path)
    assert bank.verify() == []
    assert set(bank) == set(vector.expected["tasks"])
    data = {name: bytes.fromhex(each) for name, each in vector.expected["base"].items()}
    base = {
        unit.name: np.frombuffer(data[unit.name], DTYPES[unit.dtype]) for unit in bank.layout.units
    }
    for name, expected in vector.expected["tasks"].items():
        whole, task = bank[name], bank[name].own_steps()
        assert task.element == expected["element"]
        for unit, entries in expected["units"].items():
            if unit in task:
                given = base[unit] if task.needs_base else None
                assert len(task[unit].to_sparse(given)[0]) == entries["nonzeros"]
                found = hashlib.sha256(task[unit].to_dense(given).tobytes()).hexdigest()
                assert found == entries["dense_sha256"]
            else:
                assert unit in task.extras
        assert list(task.extras) == list(expected["extras"])
        for extra, tensor in expected["extras"].items():
            array = task.extras[extra]
            assert (array.dtype.name, list(array.shape)) == (tensor["dtype"], tensor["shape"])
            assert hashlib.sha256(array.tobytes()).hexdigest() == tensor["sha256"]
        if len(whole.lineage) > 1:  # others are tested by what their entries are
            for unit in bank.layout.units:
                if unit.name in whole:
                    start = base[unit.name]
                    steps = whole[unit.name].to_sparse()
                    found = restore(unit.name, start, (steps[0].astype(np.uint32), steps[1]))
                    digest = hashlib.sha256(found.tobytes()).hexdigest()
                    assert digest == expected["weights_sha256"][unit.name]
    routers = vector.expected.get("routers", {})
    assert list(bank.routers) == sorted(routers)
    for name, expected in routers.items():
        router = bank.router(name)
        assert list(router.tasks) == expected["tasks"]
        assert (list(router.recipe.at), router.recipe.width) == (expected["at"], expected["width"])
        assert (router.neighbours, router.spread) == (expected["neighbours"], expected["spread"])
        arrays = {each: bytes.fromhex(data) for each, data in expected["arrays"].items()}
        assert router.owners.tobytes() == arrays["owners"]
        half = len(arrays["keys"]) < 4 * router.keys.size
        assert router.keys.astype("<f2" if half else "<f4").tobytes() == arrays["keys"]
        if router.metric is not None:
            assert router.metric.matrix.tobytes() == arrays["matrix"]


@pytest.mark.parametrize("vector", vectors("banks/invalid"), ids=name_of)
def test_invalid_bank(vector):
    try:
        reasons = [fault.reason for fault in tvbank.open(vector.path).verify()]
    except FormatError as error:
        reasons = [error.reason]
    except BankNotFoundError:
        reasons = ["document-missing"]
    assert vector.expected["reason"] in reasons
