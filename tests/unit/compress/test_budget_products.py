"""``Budget(products=True)``: matrices of a full fine-tune as packed products, read like others."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import tvbank
from spec.reference.bank import open_bank
from tvbank import Budget
from tvbank.compress import lossy
from tvbank.compress.budget import products as products_of
from tvbank.compress.budget.products import leading_of
from tvbank.errors import NonFiniteError, UsageError
from tvbank.storage import MemoryStorage

SIZE = "2600 bytes"


def changes():
    """Low rank and some noise; a table of which few entries change; and what has no two sides."""
    rng = np.random.default_rng(0)

    def low_rank(rows, columns):
        made = rng.standard_normal((rows, 2)) @ rng.standard_normal((2, columns))
        return made + 0.1 * rng.standard_normal((rows, columns))

    found = {
        "first": low_rank(64, 96),
        "kernel": low_rank(32, 72).reshape(32, 8, 3, 3),
        "last": low_rank(48, 64),
        "table": 9.0 * (rng.random((2000, 16)) < 0.001),
        "bias": rng.standard_normal(64),
        "still": np.zeros((8, 8)),
        "row": rng.standard_normal((1, 30)),
        "nothing": np.zeros((0, 3)),
        "scalar": rng.standard_normal(()),
    }
    return {name: np.asarray(0.01 * each, np.float32) for name, each in found.items()}


def weights():
    rng = np.random.default_rng(1)
    base = {
        name: np.asarray(rng.standard_normal(each.shape), np.float32)
        for name, each in changes().items()
    }
    return base, {name: np.asarray(base[name] + each) for name, each in changes().items()}


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """One task as entries, one with products."""
    base, tuned = weights()
    made = tvbank.create(tmp_path_factory.mktemp("products") / "bank", base=base)
    made.add("entries", tuned, Budget(SIZE))
    made.add("products", tuned, Budget(SIZE, products=True))
    return made


def lost(task, name):
    """Share of a unit's squares."""
    base, tuned = weights()
    change = tuned[name] - base[name]
    near = task[name].to_dense() if name in task else 0
    return float(np.square(change - near).sum() / np.square(change).sum())


def test_matrices_become_products_and_what_is_sparse_does_not(bank):
    task = bank["products"]
    assert list(task.products) == ["first", "kernel", "last"]
    assert {task.products.record(unit).dtype for unit in task.products} == {"packed"}
    assert {*task.document.features} >= {"products", "packed-products"}
    assert task.document.adapter == {}
    assert task.compressor == {"name": "budget", "budget": SIZE, "products": True}
    for name in ("first", "kernel", "last"):
        assert lost(task, name) < 0.05 < lost(bank["entries"], name)
    assert lost(task, "table") < 0.5


@pytest.mark.parametrize("size", ["2.6 KB", "3.3 KB", "6.0 KB"])
def test_it_lands_within_three_per_cent_below_the_size(size):
    base, tuned = weights()
    task = tvbank.create(MemoryStorage(), base=base).add("t", tuned, Budget(size, products=True))
    assert 0.97 * 1000 * float(size[:3]) <= task.stored_bytes <= 1000 * float(size[:3])


def test_one_matrix_alone_fills_most_of_the_size():
    rng = np.random.default_rng(2)
    change = rng.standard_normal((128, 8)) @ rng.standard_normal((8, 128))
    tuned = {"w": np.asarray(change, np.float32)}
    bank = tvbank.create(MemoryStorage(), base={"w": np.zeros((128, 128), np.float32)})
    task = bank.add("t", tuned, Budget("2500 bytes", products=True))
    assert list(task.products) == ["w"]
    assert 2250 <= task.stored_bytes <= 2500


def test_more_bytes_lose_fewer_squares():
    base, tuned = weights()
    bank = tvbank.create(MemoryStorage(), base=base)
    errors = []
    for size in ("2500 bytes", "2700 bytes", "3 KiB"):
        task = bank.add(size.replace(" ", ""), tuned, Budget(size, products=True))
        errors.append(sum(
            float(np.square(tuned[name] - base[name] - task[name].to_dense()).sum())
            for name in base if name in task
        ))  # fmt: skip
    assert errors == sorted(errors, reverse=True)


def test_all_that_reads_takes_it(bank, tmp_path):
    base, task = weights()[0], bank["products"]
    assert bank.verify() == []
    state = bank.state_dict("products", base=base)
    for name, change in task.to_dense().items():
        assert np.array_equal(np.asarray(state[name]), base[name] + change), name
    tvbank.export(bank, "products", base=base, out=tmp_path / "out.safetensors")
    written = load_file(tmp_path / "out.safetensors")
    assert all(np.array_equal(written[name], np.asarray(state[name])) for name in base)
    merged = tvbank.merge(bank, {"products": 0.5, "entries": 0.5}, base=base)
    both = task["first"].to_dense(), bank["entries"]["first"].to_dense()
    expected = base["first"] + 0.5 * both[0] + 0.5 * both[1]
    assert np.allclose(np.asarray(merged["first"]), expected, atol=1e-6)
    facts = {each.name: each for each in tvbank.report(bank, base=base).tasks}
    assert [each.unit for each in facts["products"].products] == list(task.products)


def test_the_reference_reader_gets_the_same_weights(bank):
    base, state = weights()[0], bank.state_dict("products", base=weights()[0])
    reference = open_bank(bank.location)
    for name in ("first", "kernel", "table"):
        found = reference.weights("products", name, base[name].tobytes())
        assert found == np.asarray(state[name]).tobytes(), name


def test_a_live_model_becomes_it_and_comes_back():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(24, 32), torch.nn.Linear(32, 8))
    before = {name: each.clone() for name, each in model.state_dict().items()}
    tuned = {name: each + 0.01 * torch.randn_like(each) for name, each in before.items()}
    bank = tvbank.create(MemoryStorage(), base=before)
    bank.add("entries", tuned)
    task = bank.add("products", tuned, Budget("3 KiB", products=True))
    assert list(task.products) == ["0.weight", "1.weight"]
    switch = tvbank.attach(model, bank)
    for name in ("products", "entries", "products"):
        switch.to(name)
        state = bank.state_dict(name, base=before)
        assert all(torch.equal(each, state[key]) for key, each in model.state_dict().items())
    switch.close()
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_no_adapter_is_written_of_it_but_by_rank(bank, tmp_path):
    with pytest.raises(UsageError, match="is no adapter"):
        tvbank.export_adapter(bank, "products", out=tmp_path / "none")
    tvbank.export_adapter(bank, "products", out=tmp_path / "out", rank=2, base=weights()[0])


def test_the_same_bytes_whatever_blocks_are_read(bank, monkeypatch):
    base, tuned = weights()
    monkeypatch.setattr(lossy, "RANGE", 1 << 12)
    monkeypatch.setattr(lossy, "BLOCK", 1 << 8)
    again = tvbank.create(MemoryStorage(), base=base)
    assert again.add("products", tuned, Budget(SIZE, products=True)).revision == (
        bank["products"].revision
    )


def test_largest_singular_values_are_found(monkeypatch):
    monkeypatch.setattr(products_of, "_BLOCK", 300)
    rng = np.random.default_rng(3)
    matrix = np.float32(rng.standard_normal((70, 5)) @ rng.standard_normal((5, 40)))
    found = leading_of(matrix, 4)
    expected = np.linalg.svd(matrix.astype(float), compute_uv=False)[:4]
    assert np.allclose(found.values, expected, rtol=1e-4)
    assert np.allclose(found.u.T @ matrix @ found.v.T, np.diag(found.values), atol=1e-3)


def test_where_no_product_pays_it_is_what_entries_alone_are():
    rng = np.random.default_rng(5)
    base = {"w": np.zeros((64, 48), np.float32)}
    tuned = {"w": np.asarray(rng.standard_normal((64, 48)), np.float32)}
    bank = tvbank.create(MemoryStorage(), base=base)
    alone = bank.add("entries", tuned, Budget("3 KiB"))
    task = bank.add("products", tuned, Budget("3 KiB", products=True))
    assert not task.products
    assert abs(task.stored_bytes - alone.stored_bytes) < 40


def test_without_changes_nothing_is_kept():
    base = weights()[0]
    task = tvbank.create(MemoryStorage(), base=base).add("t", base, Budget("1 %", products=True))
    assert not task.products
    assert task.nonzeros == 0


@pytest.mark.parametrize("size", [3e38, 1e20, 1e-20, 1e-45])
def test_what_float32_cannot_multiply_stays_entries(size):
    rng = np.random.default_rng(6)
    tuned = {"w": np.float32(size) * (rng.random((40, 30)) < 0.5).astype(np.float32)}
    bank = tvbank.create(MemoryStorage(), base={"w": np.zeros((40, 30), np.float32)})
    task = bank.add("t", tuned, Budget("1900 bytes", products=True))
    assert not task.products
    assert np.isfinite(task["w"].to_dense()).all()


def test_bad_input_is_refused():
    with pytest.raises(UsageError, match="products is True or False"):
        Budget("1 %", products="yes")
    base, tuned = weights()
    tuned["first"][3, 4] = np.nan
    bank = tvbank.create(MemoryStorage(), base=base)
    with pytest.raises(NonFiniteError, match="'first'"):
        bank.add("t", tuned, Budget(SIZE, products=True))
    with pytest.raises(UsageError, match="smallest that this task"):
        bank.add("t", base, Budget("300 bytes", products=True))
