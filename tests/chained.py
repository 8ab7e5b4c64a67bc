"""What the tests of chains share: a training whose every checkpoint is a task."""

import banks
import numpy as np

import tvbank
from tvbank.storage import MemoryStorage


def stepped(state, seed):
    """The next checkpoint: any bits at some entries, NaN and -0.0 among them."""
    rng = np.random.default_rng(seed)
    after = {}
    for name, array in state.items():
        array = array.copy()
        if array.dtype.kind == "i":
            array = np.asarray(array + 1)
        elif array.size:
            bits = array.reshape(-1).view(f"u{array.dtype.itemsize}")
            at = rng.random(bits.size) < 0.3
            bits[at] = rng.integers(0, 2 ** (8 * array.dtype.itemsize), at.sum(), np.uint64)
            bits[:1] = 1 << (8 * array.dtype.itemsize - 1)
        after[name] = array
    after["head again"] = after["head"]
    return after


def states_of(count):
    """The base, and so many checkpoints."""
    states = [banks.base_model()]
    for seed in range(count):
        states.append(stepped(states[-1], seed))
    return states


def chain(states, place=None, **how):
    """A bank with tasks ``step-1``, ``step-2``… of some states; the first starts from the base."""
    bank = tvbank.create(MemoryStorage() if place is None else place, states[0], chunk_length=8)
    for number, state in enumerate(states[1:], 1):
        parent = {"parent": f"step-{number - 1}", **how} if number > 1 else {}
        bank.add(f"step-{number}", state, tvbank.Exact(), **parent)
    return bank


def assert_state(found, expected):
    """Bit for bit, under every name."""
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes(), name


def exported(bank, task, folder, base=None):
    """The numpy arrays of an exported task."""
    from safetensors.numpy import load_file

    base = banks.base_model() if base is None else base
    return load_file(tvbank.export(bank, task, base=base, out=folder / "exported.safetensors"))
