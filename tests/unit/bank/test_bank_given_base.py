"""Exact tasks whose frames are given the base: smaller, and bit for bit wherever the base is."""

import importlib
import json

import ml_dtypes
import numcodecs
import numpy as np
import pytest
import torch
import zarr
from safetensors.numpy import save_file
from typer.testing import CliRunner

import tvbank
from tvbank.bank.contents import contents_of
from tvbank.checkpoint import open_checkpoint
from tvbank.cli import app
from tvbank.compress.registry import compressor_named
from tvbank.errors import BaseMismatchError, BaseNeededError, CorruptionError, UsageError
from tvbank.hub._card import card
from tvbank.storage import MemoryStorage

DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
GIVEN = tvbank.Exact()


def model(dtype: str, seed: int = 0, moves: int = 0, size: int = 12_000) -> dict:
    """Weights of many exponents and zeros, after some updates of about one size."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((size // 40, 40)) * 2.0 ** -rng.integers(2, 9, 40)
    weights[:, ::7] = 0
    for step in range(moves):
        rng = np.random.default_rng(100 + step)
        weights = weights + 2e-4 * rng.standard_normal(weights.shape)
    tuned = weights.astype(np.float32).astype(DTYPES[dtype])
    if moves:
        tuned[0, :3] = np.array([np.nan, np.inf, -0.0]).astype(DTYPES[dtype])
    return {"w": tuned, "small": np.arange(5, dtype=np.float32) + moves}


def bank_of(dtype: str) -> tvbank.Bank:
    bank = tvbank.create(MemoryStorage(), model(dtype), chunk_length=4096)
    bank.add("given", model(dtype, moves=1), GIVEN)
    bank.add("alone", model(dtype, moves=1), tvbank.Exact(standalone=True))
    return bank


def steps(bank: tvbank.Bank, name: str, **base) -> dict:
    return {unit: entries.tobytes() for unit, entries in bank[name].to_dense(**base).items()}


@pytest.fixture(scope="module")
def banks():
    return {dtype: bank_of(dtype) for dtype in DTYPES}


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_task_given_the_base_is_smaller_and_comes_back_bit_for_bit(banks, dtype, tmp_path):
    bank, base = banks[dtype], model(dtype)
    assert bank["given"].stored_bytes < 0.95 * bank["alone"].stored_bytes
    body = json.loads(bank.storage.get("zarr.json"))["attributes"]["tvbank"]
    assert (body["format"], body["required_features"]) == ("1.1", ["frame-2", "given-base"])
    assert bank["given"].needs_base
    assert not bank["alone"].needs_base
    masks = {bank["given"].header(frame).mask for frame in bank["given"].frames("w")}
    assert masks == {"base-blocks"} or dtype == "float32"
    out = tmp_path / "out.safetensors"
    tvbank.export(bank, "given", base=base, out=out)
    with open_checkpoint(out) as checkpoint:
        for name, weights in model(dtype, moves=1).items():
            assert checkpoint.read(name).tobytes() == weights.tobytes()
    alone = steps(bank, "alone")
    assert steps(bank, "given", base=base) == alone
    positions, entries = bank["given"]["w"].to_sparse(base["w"])
    expected, there = bank["alone"]["w"].to_sparse()
    assert np.array_equal(positions, expected)
    assert np.array_equal(entries, there)
    assert np.array_equal(bank["given"]["w"].to_dense(base["w"]), bank["alone"]["w"].to_dense())


def test_without_the_base_it_is_said_what_is_needed(banks):
    task = banks["bfloat16"]["given"]
    for read in (task.to_dense, task.to_sparse, task["w"].to_dense, task["w"].to_sparse):
        with pytest.raises(BaseNeededError, match=r"task 'given' was stored given the base.*base="):
            read()


def test_another_base_is_refused_by_its_digest_before_anything_is_written(banks, tmp_path):
    bank, other = banks["bfloat16"], model("bfloat16", seed=5)
    out = tmp_path / "out.safetensors"
    with pytest.raises(BaseMismatchError):
        tvbank.export(bank, "given", base=other, out=out)
    assert not out.exists()
    with pytest.raises(BaseMismatchError):
        bank["given"].to_dense(base=other)
    with pytest.raises(BaseMismatchError):
        bank["given"]["w"].to_sparse(other["w"])
    for method in (tvbank.TaskArithmetic(), tvbank.Ties(density=0.1), tvbank.Dare(drop=0.5)):
        with pytest.raises(BaseMismatchError):
            tvbank.merge(bank, {"given": 0.5}, base=other, method=method)
    for read in (
        lambda: tvbank.report(bank, base=other),
        lambda: list(bank["given"].patches(other)),
        lambda: bank.state_dict("given", base=other),
        lambda: bank.verify(base=other, prove=True),
        lambda: bank.add("next", model("bfloat16", moves=2), parent="given", base=other),
        lambda: tvbank.write_hf_delta(bank, "given", out=tmp_path / "weight_v000001", base=other),
        lambda: tvbank.write_sparse(bank, "given", out=tmp_path / "sparse", base=other),
    ):
        with pytest.raises(BaseMismatchError):
            read()
    assert "next" not in bank
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["arithmetic", "ties", "dare"])
def test_merging_is_the_same_as_of_the_task_that_stands_alone(method):
    base = {k: v for k, v in model("bfloat16").items() if k == "w"}
    bank = tvbank.create(MemoryStorage(), base, chunk_length=4096)
    tuned = model("bfloat16", moves=1)["w"]
    tuned[0, :3] = 0
    for name, how in (("given", GIVEN), ("alone", tvbank.Exact(standalone=True))):
        bank.add(name, {"w": tuned}, how)
    merged = [
        tvbank.merge(bank, {name: 0.5}, base=base, method=method)["w"]
        for name in ("given", "alone")
    ]
    if method == "dare":  # what it drops depends on the task's name
        merged = [m.isfinite() for m in merged]
    assert torch.equal(*merged)


def test_verify_checks_headers_alone_and_everything_beside_the_base(tmp_path):
    base = model("float16")
    np_base = {name: torch.from_numpy(array) for name, array in base.items()}
    torch.save(np_base, tmp_path / "base.pt")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base.pt", chunk_length=4096)
    bank.add("given", model("float16", moves=1), GIVEN)
    assert bank.verify() == []
    assert bank.verify(base=tmp_path / "base.pt") == []
    importlib.import_module("tvbank.cli.reading")
    run = CliRunner().invoke(
        app, ["verify", str(tmp_path / "bank"), "--base", str(tmp_path / "base.pt")]
    )
    assert run.exit_code == 0, run.output
    with pytest.raises(BaseMismatchError):
        bank.verify(base=model("float16", seed=5))


class Net(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        for name, array in weights.items():
            bits = array.view(np.int16) if array.dtype.itemsize == 2 else array
            tensor = torch.from_numpy(bits.copy())
            if array.dtype == ml_dtypes.bfloat16:
                tensor = tensor.view(torch.bfloat16)
            elif array.dtype == np.float16:
                tensor = tensor.view(torch.float16)
            setattr(self, name, torch.nn.Parameter(tensor, requires_grad=False))


def bits(net) -> list[bytes]:
    return [p.detach().contiguous().view(torch.uint8).numpy().tobytes() for p in net.parameters()]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_switch_takes_it_on_from_wherever_the_model_is(banks, dtype):
    bank = banks[dtype]
    net = Net(model(dtype))
    before, tuned = bits(net), bits(Net(model(dtype, moves=1)))
    switch = tvbank.attach(net, bank)
    switch.to("alone")
    switch.to("given")
    assert bits(net) == tuned
    switch.off()
    assert bits(net) == before
    switch.to("given")
    assert bits(net) == tuned
    switch.close()
    assert bits(net) == before


def test_prefetching_comes_back_to_the_task_that_was_on(banks):
    net = Net(model("bfloat16"))
    switch = tvbank.attach(net, banks["bfloat16"])
    switch.to("alone")
    on = bits(net)
    switch.prefetch("given")
    assert (switch.active, bits(net)) == ("alone", on)
    switch.close()


def test_a_chain_of_tasks_given_what_they_start_from(tmp_path):
    base = model("bfloat16")
    bank = tvbank.create(MemoryStorage(), base, chunk_length=4096)
    parent = None
    for step in (1, 2, 3):
        bank.add(f"s{step}", model("bfloat16", moves=step), GIVEN, base=base, parent=parent)
        parent = f"s{step}"
    out = tmp_path / "out.safetensors"
    tvbank.export(bank, "s3", base=base, out=out)
    with open_checkpoint(out) as checkpoint:
        assert checkpoint.read("w").tobytes() == model("bfloat16", moves=3)["w"].tobytes()
    assert bank.verify(base=base) == []
    net = Net(base)
    switch = tvbank.attach(net, bank)
    for step in (2, 3, 1):
        switch.to(f"s{step}")
        assert bits(net) == bits(Net(model("bfloat16", moves=step)))
    switch.off()
    assert bits(net) == bits(Net(base))


def test_a_frame_that_is_damaged_is_found_beside_the_base():
    base = model("bfloat16")
    storage = MemoryStorage()
    bank = tvbank.create(storage, base, chunk_length=4096)
    bank.add("given", model("bfloat16", moves=1), GIVEN)
    key = f"tasks/given/{bank['given'].revision}/delta/c/0"
    data = bytearray(storage.get(key))
    data[60] ^= 1
    storage.delete(key)
    storage.put(key, bytes(data))
    with pytest.raises(CorruptionError):
        tvbank.open(storage)["given"].to_dense(base=base)
    assert tvbank.open(storage).verify() != []


def test_codecs_that_see_only_the_frame_say_what_is_needed(banks, tmp_path):
    bank = tvbank.create(tmp_path / "bank", model("bfloat16"), chunk_length=4096)
    task = bank.add("given", model("bfloat16", moves=1), GIVEN)
    array = zarr.open_array(tmp_path / "bank" / "tasks" / "given" / task.revision / "delta")
    with pytest.raises(BaseNeededError, match=r"tvbank.sass cannot decode.*standalone=True"):
        array[:]
    frame = next(task.frames("w")).data
    with pytest.raises(BaseNeededError, match=r"tvbank.sass cannot decode.*standalone=True"):
        numcodecs.get_codec({"id": "tvbank.sass"}).decode(frame)


def test_whoever_writes_may_choose_on_the_command_line():
    assert compressor_named("exact") == GIVEN == tvbank.Exact(standalone=False)
    assert GIVEN.describe() == {"name": "exact"}
    made = compressor_named("exact", standalone=True)
    assert made == tvbank.Exact(standalone=True)
    assert made.describe() == {"name": "exact", "standalone": True}


def test_a_parent_given_the_base_is_folded_into_a_child_only_beside_it():
    base = model("bfloat16")
    bank = tvbank.create(MemoryStorage(), base, chunk_length=4096)
    bank.add("s1", model("bfloat16", moves=1), GIVEN)
    bank.add("s2", model("bfloat16", moves=2), GIVEN, parent="s1")
    wanted = bank.state_dict("s2")
    with pytest.raises(UsageError, match="base"):
        tvbank.open(bank.storage).remove("s1", fold=True)
    assert set(tvbank.open(bank.storage)) == {"s1", "s2"}
    bank.remove("s1", fold=True)
    assert set(bank) == {"s2"}
    found = bank.state_dict("s2")
    assert all(
        torch.equal(wanted[n].view(torch.int16), t.view(torch.int16)) for n, t in found.items()
    )
    assert bank.verify(base=base) == []


def test_an_update_in_one_file_is_given_what_it_is_applied_to(tmp_path):
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    save_file({"w": model("float16")["w"]}, old)
    save_file({"w": model("float16", moves=1)["w"]}, new)
    tvbank.diff(old, new, out=tmp_path / "update.zip")
    (task,) = tvbank.open(tmp_path / "update.zip").values()
    assert task.needs_base
    tvbank.patch(old, tmp_path / "update.zip", out=tmp_path / "patched.safetensors")
    with (
        open_checkpoint(tmp_path / "patched.safetensors") as patched,
        open_checkpoint(new) as wanted,
    ):
        assert patched.read("w").tobytes() == wanted.read("w").tobytes()


def test_what_lists_and_shows_needs_no_base_and_what_writes_an_adapter_finds_it(tmp_path):
    torch.save({n: torch.from_numpy(a) for n, a in model("float32").items()}, tmp_path / "base.pt")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base.pt", chunk_length=4096)
    tuned = model("float32", moves=1)
    tuned["w"][0, :3] = 0
    bank.add("given", tuned, GIVEN)
    bank.add("alone", tuned, tvbank.Exact(standalone=True))
    assert (bank["given"].needs_base, bank["alone"].needs_base) == (True, False)
    for words in (["ls"], ["show", "given"], ["show", "alone"]):
        run = CliRunner().invoke(app, [words[0], str(tmp_path / "bank"), *words[1:]])
        assert run.exit_code == 0, run.output
    reports = [
        tvbank.export_adapter(bank, name, out=tmp_path / name, rank=2)
        for name in ("given", "alone")
    ]
    assert reports[0].error == reports[1].error
    contents = contents_of(bank.storage)
    text = card(contents, "hf://org/repo", "org/base", None)
    assert "to_dense()" in text  # of the first task, which stands alone
    bank.remove("alone")
    text = card(contents_of(bank.storage), "hf://org/repo", "org/base", None)
    assert 'bank["given"].to_dense(base="hf://org/base")' in text
