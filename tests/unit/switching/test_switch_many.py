"""Two hundred tasks under a budget of bytes, used and read ahead by several threads."""

import threading
from random import Random

import live
import pytest
import torch

import tvbank

COUNT = 200


@pytest.fixture(scope="module")
def made():
    torch.manual_seed(0)
    model = live.perceptron(width=16)
    state = live.state_of(model)
    bank = tvbank.create(live.MemoryStorage(), base=state, chunk_length=256)
    for seed in range(COUNT):
        bank.add(f"t{seed:03}", live.fine_tune(state, seed), tvbank.TSwitch(drop=0.8), base=state)
    whole = tvbank.attach(model, bank)
    wanted = {}
    for name in bank:
        whole.to(name)
        wanted[name] = live.bits(model)
    whole.off()
    whole.prefetch(*bank)
    assert len(whole.resident) == COUNT
    return model, state, bank, wanted, sum(whole.resident.values())


def test_any_order_of_tasks_keeps_the_budget_and_every_bit(made):
    model, state, bank, wanted, everything = made
    budget = everything // 10
    switch = tvbank.attach(model, bank, resident_bytes=budget)
    random = Random(1)
    names = [f"t{number:03}" for number in range(COUNT)]
    for name in [*names, *random.choices(names[:40], k=200), *random.choices(names, k=100)]:
        switch.to(name)
        assert list(switch.resident)[-1] == name
        assert sum(switch.resident.values()) <= budget
    live.assert_same(model, wanted[name])
    for name in random.sample(names, 40):
        switch.to(name)
        live.assert_same(model, wanted[name])
    several = random.sample(names, 30)  # more than the budget holds
    switch.to(dict.fromkeys(several, 0.1))
    live.assert_same(model, tvbank.merge(bank, dict.fromkeys(several, 0.1), base=state))
    assert sum(switch.resident.values()) <= budget
    switch.off()
    live.assert_same(model, state)


def test_who_was_used_last_stays(made):
    model, _, bank, _, everything = made
    switch = tvbank.attach(model, bank, resident_bytes=everything // 10)
    names = list(bank)
    for name in names:
        switch.prefetch(name, names[0])
        assert list(switch.resident)[-1] == names[0]
    kept = list(switch.resident)
    assert 10 < len(kept) < COUNT // 5
    assert kept[:-1] == names[-len(kept) + 1 :]


def test_several_threads_under_a_budget(made):
    model, state, bank, wanted, everything = made
    budget = everything // 20
    switch = tvbank.attach(model, bank, resident_bytes=budget)
    failures = []

    def work(seed):
        random = Random(seed)
        try:
            for name in random.sample(list(bank), 30):
                if seed % 2:
                    switch.prefetch(name, *random.sample(list(bank), 3))
                else:
                    with switch(name):
                        live.assert_same(model, wanted[name])
                assert sum(switch.resident.values()) <= 2 * budget  # others may be reading
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    switch.prefetch("t000")
    assert sum(switch.resident.values()) <= budget
    live.assert_same(model, state)
