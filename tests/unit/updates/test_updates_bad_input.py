"""What goes wrong on the way of an update, and what must come through to the bit: frames that
stand alone and such as are given the base, chains, folds, files, followers, layouts of others."""

from contextlib import closing

import chained
import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import tvbank
from tvbank.errors import BaseMismatchError, StorageError, TvbankError, UnitMismatchError
from tvbank.merging.tensor import to_torch
from tvbank.storage import MemoryStorage
from tvbank.updates import follow_file

KINDS = {
    # Element type; sign bit, infinity and the lowest bit of a quiet NaN among its bits.
    "float32": (np.float32, 0x8000_0000, 0x7F80_0000, 0x7FC0_0000),
    "float16": (np.float16, 0x8000, 0x7C00, 0x7E00),
    "bfloat16": (ml_dtypes.bfloat16, 0x8000, 0x7F80, 0x7FC0),
}


def odd_bits(kind):
    """Zeros, infinities, subnormals and NaNs of several payloads, of both signs."""
    _, sign, infinity, quiet = KINDS[kind]
    one_sign = [0, 1, infinity, infinity + 1, quiet, quiet + 3]
    return np.array([*one_sign, *(sign + bits for bits in one_sign)], np.uint64)


def states_of(kind, count=3, resized=()):
    """A training's states: most weights move a little, and every odd value becomes every other."""
    dtype = KINDS[kind][0]
    rng = np.random.default_rng(7)
    weights = rng.standard_normal((300, 40)) * 2.0 ** -rng.integers(2, 9, 40)
    odd = odd_bits(kind)
    at = rng.choice(weights.size, len(odd) ** 2, replace=False)
    states = []
    for number in range(count):
        array = weights.astype(np.float32).astype(dtype)
        bits = array.reshape(-1).view(f"u{array.dtype.itemsize}")
        # Pairs (i, j) of odd values: entry k is the first of its pair, then the second, and so on.
        bits[at] = (np.repeat(odd, len(odd)), np.tile(odd, len(odd)))[number % 2]
        states.append({"w": array, "still": np.arange(5, dtype=np.float32)})
        weights = weights + 2e-4 * rng.standard_normal(weights.shape)
    for number in resized:
        states[number]["w"] = np.concatenate([states[number]["w"], states[number]["w"][:2]])
    return states


def bank_of(states, chunk_length=4096, *, standalone=False, **how):
    """A chain of tasks ``v1``, ``v2`` and so on over the first state."""
    bank = tvbank.create(MemoryStorage(), states[0], chunk_length=chunk_length)
    for number, state in enumerate(states[1:], 1):
        parent = f"v{number - 1}" if number > 1 else None
        bank.add(f"v{number}", state, tvbank.Exact(standalone), parent=parent, **how)
    return bank


class Holder(torch.nn.Module):
    """A live model of the state's floats."""

    def __init__(self, state):
        super().__init__()
        for name, array in state.items():
            self._parameters[name] = torch.nn.Parameter(to_torch(array.copy()))

    def state(self):
        return {n: t.detach().view(torch.uint8).numpy() for n, t in self._parameters.items()}


@pytest.mark.parametrize("standalone", [False, True], ids=["given", "alone"])
@pytest.mark.parametrize("chunk_length", [512, 4096, 2**18])
@pytest.mark.parametrize("kind", KINDS)
def test_odd_values_come_through_every_way(kind, chunk_length, standalone, tmp_path):
    states = states_of(kind)
    base = states[0]
    bank = bank_of(states, chunk_length, standalone=standalone)
    assert bank["v2"].needs_base is not standalone
    for number in (1, 2):
        found = chained.exported(bank, f"v{number}", tmp_path, base)
        chained.assert_state(found, states[number])
    assert bank.verify(base=base, prove=True) == []

    model = Holder(base)
    with closing(tvbank.attach(model, bank)) as switch:
        for name, state in {"v1": states[1], "v2": states[2]}.items():
            switch.to(name, prove=True)
            chained.assert_state(model.state(), state)
    chained.assert_state(model.state(), base)

    follow_file(bank, tmp_path / "model.safetensors", base=base)
    chained.assert_state(load_file(tmp_path / "model.safetensors"), states[2])

    got = {name: array.copy() for name, array in states[1].items()}
    for patch in tvbank.patches(bank, "v2", after="v1", base=base):
        bits = got[patch.name].reshape(-1).view(f"i{patch.values.element_size()}")
        bits[patch.indices.numpy()] = patch.values.view(
            torch.int32 if kind == "float32" else torch.int16
        ).numpy()
    chained.assert_state(got, states[2])

    bank.remove("v1", fold=True)
    assert bank["v2"].needs_base is not standalone
    chained.assert_state(chained.exported(bank, "v2", tmp_path, base), states[2])


@pytest.mark.parametrize("kind", KINDS)
def test_odd_values_come_through_files_and_others_layouts(kind, tmp_path):
    states = states_of(kind)
    save_file(states[0], tmp_path / "old.safetensors")
    tvbank.diff(states[0], states[1], out=tmp_path / "update.zip")
    tvbank.patch(tmp_path / "old.safetensors", tmp_path / "update.zip", in_place=True)
    chained.assert_state(load_file(tmp_path / "old.safetensors"), states[1])

    bank = bank_of(states)
    updates = {}
    for how in ("xor", "overwrite"):
        updates[how] = tmp_path / how / "weight_v000001"
        updates[how].parent.mkdir()
        tvbank.write_hf_delta(bank, "v1", out=updates[how], encoding=how, checksums="adler32")
    given = {}
    if kind == "bfloat16":
        updates["sparse"] = tmp_path / "sparse.safetensors"
        tvbank.write_sparse(bank, "v1", out=updates["sparse"])
        given = {"sparse": {"before": "base"}}
    for how, update in updates.items():
        bank.add(how, update, tvbank.Exact(), given=given.get(how))
        chained.assert_state(chained.exported(bank, how, tmp_path, states[0]), states[1])


def test_a_resized_unit_in_mid_chain_of_frames_that_are_given_the_base(tmp_path):
    states = states_of("bfloat16", 4, resized=(2, 3))
    bank = bank_of(states, replace_mismatched=True)
    assert bank["v1"].needs_base
    path, model = tmp_path / "model.safetensors", Holder(states[0])
    for number in (1, 2, 3):
        found = chained.exported(bank, f"v{number}", tmp_path, states[0])
        chained.assert_state(found, states[number])
    follow_file(tvbank.open(bank.storage), path, base=states[0])
    chained.assert_state(load_file(path), states[3])
    with closing(tvbank.attach(model, bank)) as switch:
        for number in (1, 2, 3, 1):
            switch.to(f"v{number}")
            chained.assert_state(model.state(), states[number])
    chained.assert_state(model.state(), states[0])
    for write, place in ((tvbank.write_hf_delta, "weight_v000001"), (tvbank.write_sparse, "s")):
        with pytest.raises(UnitMismatchError, match="'w'"):
            write(bank, "v2", out=tmp_path / f"{place}", after="v1", base=states[0])
    bank.remove("v1", fold=True)
    chained.assert_state(chained.exported(bank, "v3", tmp_path, states[0]), states[3])


def one_bit(weights):
    weights = weights.copy()
    weights.reshape(-1).view(np.uint16)[-1] ^= 1
    return weights


def other_bases():
    """Bases that the bank was not made of; what their error names."""
    base = states_of("bfloat16")[0]
    return {
        "element type": base | {"w": base["w"].astype(np.float16)},
        "renamed": {"still": base["still"], "wholly other": base["w"]},
        "one bit": base | {"w": one_bit(base["w"])},
    }


@pytest.mark.parametrize("standalone", [False, True], ids=["given", "alone"])
@pytest.mark.parametrize("other", ["element type", "renamed", "one bit"])
def test_another_base_is_named_by_unit_and_nothing_is_written(other, standalone, tmp_path):
    states = states_of("bfloat16")
    bank, wrong = bank_of(states, standalone=standalone), other_bases()[other]
    out = tmp_path / "out.safetensors"
    tvbank.diff(states[0], states[1], out=tmp_path / "update.zip")
    for refused in (
        lambda: tvbank.export(bank, "v2", base=wrong, out=out),
        lambda: tvbank.patch(wrong, tmp_path / "update.zip", out=out),
        lambda: follow_file(bank, out, base=wrong),
        lambda: bank.add("v3", states[2], parent="v2", base=wrong),
        lambda: bank.verify(base=wrong, prove=True),
        lambda: tvbank.write_hf_delta(bank, "v2", out=tmp_path / "weight_v000002", base=wrong),
        lambda: tvbank.write_sparse(bank, "v2", out=out, base=wrong),
        lambda: list(tvbank.patches(bank, "v2", base=wrong)),
        lambda: tvbank.attach(Holder(wrong), bank),
    ):
        with pytest.raises(BaseMismatchError, match="'w'"):
            refused()
    if not standalone:  # what folds without a base asks for none
        for refused in (
            lambda: bank.remove("v1", fold=True, base=wrong),
            lambda: tvbank.copy(bank.storage, MemoryStorage(), ["v2"], fold=True, base=wrong),
        ):
            with pytest.raises(BaseMismatchError, match="'w'"):
                refused()
    assert [path.name for path in tmp_path.iterdir()] == ["update.zip"]
    assert tvbank.open(bank.storage)["v2"].parent == "v1"


@pytest.mark.parametrize("live", [True, False])
def test_a_chain_that_was_published_anew_under_the_same_names(live, tmp_path):
    """A follower of the old one goes over the base to the new one; never by its steps."""
    states = states_of("bfloat16", 4)
    bank = bank_of(states[:3])
    reader, path, model = tvbank.open(bank.storage), tmp_path / "model.safetensors", None
    if live:
        model = Holder(states[0])
        follower = tvbank.follow(model, reader)
        look = follower.update
    else:

        def look():
            return follow_file(reader, path, base=states[0])

        look()
    for name in ("v2", "v1"):
        bank.remove(name)
    bank.add("v1", states[3], tvbank.Exact())
    bank.add("v2", states[1], parent="v1")
    report = look()
    assert (report.before, report.version, report.route) == ("v2", "v2", "base")
    assert report.tasks == ("v1", "v2")
    chained.assert_state(model.state() if live else load_file(path), states[1])
    if live:
        follower.close()
        chained.assert_state(model.state(), states[0])


def test_updates_of_others_applied_twice(tmp_path):
    states = states_of("bfloat16")
    bank = bank_of(states)
    places = {}
    for how in ("xor", "overwrite"):
        places[how] = tmp_path / how / "weight_v000002"
        places[how].parent.mkdir()
        tvbank.write_hf_delta(bank, "v2", out=places[how], after="v1", encoding=how)
    tvbank.write_sparse(bank, "v2", out=tmp_path / "two.safetensors", after="v1")
    after = tvbank.create(MemoryStorage(), states[2], chunk_length=4096)
    with pytest.raises(BaseMismatchError, match="is not the version '000001'"):
        after.add("twice", places["xor"], tvbank.Exact())
    for name, update, given in (  # values, and not differences: once more changes nothing
        ("overwrite", places["overwrite"], None),
        ("sparse", tmp_path / "two.safetensors", {"before": "base"}),
    ):
        assert after.add(name, update, tvbank.Exact(), given=given).nonzeros == 0


@pytest.mark.parametrize("how", ["xor", "overwrite", "sparse"])
def test_truncated_updates_of_others(how, tmp_path):
    states = states_of("bfloat16")
    bank = bank_of(states[:2])
    place, given = tmp_path / "weight_v000001", None
    if how == "sparse":
        place, given = tmp_path / "s.safetensors", {"before": "base"}
        tvbank.write_sparse(bank, "v1", out=place)
    else:
        tvbank.write_hf_delta(bank, "v1", out=place, encoding=how)
    for file in [place] if place.is_file() else sorted(place.iterdir()):
        whole = file.read_bytes()
        for cut in (0, 7, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:cut])
            with pytest.raises(TvbankError) as caught:
                bank.add("cut", place, tvbank.Exact(), given=given)
            assert place.name in str(caught.value)
        file.write_bytes(whole)
    assert list(tvbank.open(bank.storage)) == ["v1"]
    bank.add("whole", place, tvbank.Exact(), given=given)


def test_a_disk_that_refuses_an_update_of_others(tmp_path, monkeypatch):
    bank = bank_of(states_of("bfloat16", 2))
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot make"):
        tvbank.write_sparse(bank, "v1", out=tmp_path / "file" / "step_000001.safetensors")
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_how: open("/dev/full", "w+b"))  # noqa: SIM115
    for write in (tvbank.write_sparse, tvbank.write_hf_delta):
        with pytest.raises(StorageError, match="TMPDIR"):
            write(bank, "v1", out=tmp_path / "weight_v000001")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
