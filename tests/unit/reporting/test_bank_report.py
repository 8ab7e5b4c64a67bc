"""What a report says of a bank, against numbers computed from dense arrays that were read back."""

import json
import math
from itertools import combinations

import numpy as np
import pytest
import reported
from safetensors.numpy import save_file

import tvbank
from tvbank.errors import BaseMismatchError, TaskNotFoundError, UsageError
from tvbank.storage import MemoryStorage


@pytest.fixture(scope="module")
def bank():
    return reported.full_bank(MemoryStorage())


@pytest.fixture(scope="module")
def found(bank):
    tuned = {"cats": reported.fine_tune(1), "exact": reported.fine_tune(3, 0.3)}
    return tvbank.report(bank, tuned=tuned)


def own(bank, name):
    """What a task itself stores, as float differences, dense and by unit."""
    base, task = reported.base_model(), bank[name]
    if task.element == "float32":
        return {unit: each.astype(np.float64) for unit, each in task.to_dense().items()}
    start = base if task.parent is None else arrays(bank, task.parent)
    end = arrays(bank, name)
    return {unit: end[unit].astype(np.float64) - start[unit] for unit in task}


def arrays(bank, name):
    return {unit: tensor.numpy() for unit, tensor in bank.state_dict(name).items()}


def task_of(report, name):
    return next(task for task in report.tasks if task.name == name)


def test_sizes_are_the_catalogs(bank, found):
    assert [task.name for task in found.tasks] == sorted(bank)
    for task in found.tasks:
        stored = bank[task.name]
        assert (task.stored_bytes, task.nonzeros) == (stored.stored_bytes, stored.nonzeros)
        assert task.revision == stored.revision
    routers = sum(bank.stored_router(name).stored_bytes for name in bank.routers)
    assert found.stored_bytes == sum(task.stored_bytes for task in bank.values()) + routers
    units = 4 * sum(each.size for each in reported.base_model().values() if each.dtype.kind == "f")
    assert found.base_bytes == units
    assert task_of(found, "cats").checkpoint_bytes == units + 8  # and the buffer
    assert task_of(found, "exact").checkpoint_bytes == units + 8 + 4 * 3 * 16


@pytest.mark.parametrize("name", ["cats", "dogs", "exact", "given", "next"])
def test_units_are_what_dense_arrays_say(bank, found, name):
    from tvbank.bank.summary import inspect

    base, dense = reported.base_model(), own(bank, name)
    stored = {unit.name: unit for unit in inspect(bank[name])}
    facts = task_of(found, name)
    assert [unit.unit for unit in facts.units] == list(dense)
    for unit in facts.units:
        expected = np.linalg.norm(dense[unit.unit])
        assert unit.norm == pytest.approx(expected, rel=1e-6)
        assert unit.relative == pytest.approx(expected / np.linalg.norm(base[unit.unit]), rel=1e-5)
        assert unit.nonzeros == stored[unit.unit].nonzeros
        assert unit.density == stored[unit.unit].density
        assert unit.bits == stored[unit.unit].bits
        assert set(unit.masks) == set(stored[unit.unit].masks)
        assert set(unit.values) == set(stored[unit.unit].values)
    whole = math.sqrt(sum(np.square(each).sum() for each in dense.values()))
    assert facts.norm == pytest.approx(whole, rel=1e-6)


def test_errors_are_those_of_what_is_restored(bank, found):
    base, tuned, restored = reported.base_model(), reported.fine_tune(1), arrays(bank, "cats")
    for unit in task_of(found, "cats").units:
        name = unit.unit
        lost = np.linalg.norm(restored[name].astype(np.float64) - tuned[name])
        wanted = np.linalg.norm(tuned[name].astype(np.float64) - base[name])
        assert unit.error == pytest.approx(lost / wanted, rel=1e-6)
        assert 0 < unit.error < 1
    assert task_of(found, "exact").error == 0
    assert task_of(found, "dogs").error is None


def test_pairs_are_what_dense_arrays_say(bank, found):
    dense = {name: own(bank, name) for name in bank}
    assert len(found.pairs) == 10
    assert {frozenset((p.first, p.second)) for p in found.pairs} == {
        frozenset(pair) for pair in combinations(bank, 2)
    }
    for pair in found.pairs:
        one, two = (
            np.concatenate([dense[name][unit].reshape(-1) for unit in dense[name]])
            for name in (pair.first, pair.second)
        )
        both, either = (one != 0) & (two != 0), (one != 0) | (two != 0)
        assert pair.common == both.sum()
        assert pair.overlap == pytest.approx(both.sum() / either.sum())
        assert pair.agreement == pytest.approx((np.sign(one) == np.sign(two))[both].mean())
        cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
        assert pair.cosine == pytest.approx(cosine, rel=1e-5, abs=1e-7)


def test_overlap_by_chance_is_what_independent_masks_have():
    rng = np.random.default_rng(0)
    base = {"w": np.zeros((200, 200), np.float32)}
    bank = tvbank.create(MemoryStorage(), base=base)
    for name in ("one", "two"):
        tuned = np.where(rng.random((200, 200)) < 0.3, 1, 0).astype(np.float32)
        bank.add(name, {"w": tuned}, tvbank.Exact())
    (pair,) = tvbank.report(bank).pairs
    assert pair.chance == pytest.approx(0.09 / 0.51, rel=0.02)
    assert pair.overlap == pytest.approx(pair.chance, rel=0.03)


def test_what_ties_would_trim(bank, found):
    """Up to the 15 bits of a magnitude that the report looks at."""
    for name in ("dogs", "exact"):
        dense = own(bank, name)
        flat = np.concatenate([each.reshape(-1) for each in dense.values()]).astype(np.float32)
        places = np.abs(flat).view(np.uint32) >> 16
        for trim in task_of(found, name).ties:
            quota = math.ceil(trim.density * found.parameters)
            if np.count_nonzero(flat) <= quota:
                assert (trim.entries, trim.threshold) == (0, 0)
                continue
            least = np.sort(places)[-quota]
            below = (flat != 0) & (places < least)
            assert trim.entries == below.sum()
            assert trim.share == pytest.approx(below.sum() / np.count_nonzero(flat))
            energy = np.square(flat[below].astype(np.float64)).sum()
            assert trim.energy == pytest.approx(energy / np.square(flat, dtype=np.float64).sum())
    assert any(trim.entries for trim in task_of(found, "exact").ties)
    units = task_of(found, "exact").units
    kept = next(trim for trim in task_of(found, "exact").ties if trim.density == 0.2)
    assert sum(unit.trimmed * unit.nonzeros for unit in units) == pytest.approx(kept.entries)


def test_encodings_chosen_are_the_least_and_others_are_priced(bank, found):
    for task in found.tasks:
        stored = bank[task.name].own_steps()
        headers = [stored.header(f) for unit in stored for f in stored.frames(unit)]
        for kind, costs in (("mask", task.masks), ("values", task.values)):
            chosen = [getattr(header, kind) for header in headers]
            assert costs.frames == {name: chosen.count(name) for name in set(chosen)}
            assert 0 < costs.measured <= len(headers)
            known = [cost for cost in costs.costs.values() if cost is not None]
            assert known
            assert costs.chosen <= min(known)
    assert task_of(found, "given").masks.costs["gaps"] > 0


def test_routers(bank, found):
    by_name = {router.name: router for router in found.routers}
    known = by_name["examples"]
    assert np.sum(known.confusion) == 36
    assert np.sum(known.confusion, 1).tolist() == [12, 12, 12]
    assert known.right == np.trace(np.array(known.confusion)) / 36
    assert known.right > 0.4
    assert known.rejected == np.array(known.confusion)[:, -1].sum() / 36
    centres = by_name["centres"]
    assert (centres.confusion, centres.right) == (None, None)
    assert "centres in place of examples" in centres.remark


def test_provenance(found):
    cats, child = task_of(found, "cats"), task_of(found, "next")
    assert cats.compressor["name"] == "tswitch"
    assert cats.metadata == {"note": reported.HOSTILE}
    assert child.lineage == ("exact", "next")
    assert "chains" in child.features
    assert [(e.name, e.stands_for) for e in cats.extras] == [("steps", "buffer")]
    exact = {extra.name: extra for extra in task_of(found, "exact").extras}
    assert exact["head"].stands_for == "new"
    assert exact["head"].shape == (3, 16)
    assert exact["head"].stored_bytes > 0


def test_an_adapter_is_measured_by_its_factors(tmp_path):
    rng = np.random.default_rng(0)
    base = {"model.q.weight": rng.standard_normal((12, 8)).astype(np.float32)}
    factors = {
        "base_model.model.model.q.lora_A.weight": rng.standard_normal((2, 8)).astype(np.float32),
        "base_model.model.model.q.lora_B.weight": rng.standard_normal((12, 2)).astype(np.float32),
    }
    save_file(factors, tmp_path / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 3, "target_modules": ["q"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("tuned", tmp_path)
    bank.add("dense", tmp_path, tvbank.TSwitch(drop=0.5))
    report = tvbank.report(bank)
    task = task_of(report, "tuned")
    assert {product.rank for product in task.products} == {2}
    by_unit = {unit.unit: unit for unit in task.units}
    for product in task.products:
        dense = bank["tuned"][product.unit].to_dense().astype(np.float64)
        assert by_unit[product.unit].norm == pytest.approx(np.linalg.norm(dense), rel=1e-5)
    assert task.ties == ()
    assert any("products have no frames" in remark for remark in report.remarks)
    assert task.adapter["kind"] == "peft"
    assert report.html()


def test_without_a_base_what_it_takes_is_not_known(bank, tmp_path):
    tvbank.copy(bank, tmp_path / "copy")
    report = tvbank.report(tmp_path / "copy")
    assert "not at hand" in report.remarks[0]
    assert task_of(report, "cats").norm > 0
    assert task_of(report, "cats").units[0].relative is None
    for name in ("exact", "given", "next"):
        assert (task_of(report, name).norm, task_of(report, name).ties) == (None, ())
    pairs = {(pair.first, pair.second): pair for pair in report.pairs}
    known = pairs["cats", "exact"]
    assert known.common > 0
    assert 0 < known.agreement < 1
    assert known.cosine is None
    assert "exact" in " ".join(report.remarks)
    assert report.html()
    with pytest.raises(UsageError, match="base"):
        tvbank.report(tmp_path / "copy", tuned={"cats": reported.fine_tune(1)})


def test_some_tasks_come_with_those_they_start_from(bank):
    report = tvbank.report(bank, tasks=["next"])
    assert [task.name for task in report.tasks] == ["exact", "next"]


def test_equal_banks_give_equal_reports(bank, found):
    again = tvbank.report(bank, tuned={"cats": reported.fine_tune(1),
                                       "exact": reported.fine_tune(3, 0.3)})  # fmt: skip
    assert again.json() == found.json()
    assert again.html() == found.html()


def test_json_has_all_of_it_and_nothing_that_json_lacks(found):
    read = json.loads(found.json(), parse_constant=lambda name: pytest.fail(name))
    assert [task["name"] for task in read["tasks"]] == [task.name for task in found.tasks]
    assert read["tasks"][0]["units"][0]["norm"] == found.tasks[0].units[0].norm


def test_odd_floats_are_no_norm():
    base = {"w": np.zeros(8, np.float32)}
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("odd", {"w": np.array([np.nan, np.inf, 1, 0, 0, 0, 0, 0], np.float32)}, tvbank.Exact())
    report = tvbank.report(bank)
    assert report.tasks[0].norm is None
    assert "not finite" in " ".join(report.remarks)
    assert json.loads(report.json())["tasks"][0]["norm"] is None
    assert report.html()


def test_a_bank_without_tasks_or_parameters():
    bank = tvbank.create(MemoryStorage(), base={"empty": np.zeros((0, 4), np.float32)})
    assert tvbank.report(bank).tasks == ()
    bank.add("same", {"empty": np.zeros((0, 4), np.float32)}, tvbank.Exact())
    report = tvbank.report(bank)
    assert report.tasks[0].units[0].norm == 0
    assert report.html()


def test_what_is_refused(bank):
    with pytest.raises(UsageError, match="density must be"):
        tvbank.report(bank, density=0)
    with pytest.raises(TaskNotFoundError, match="none"):
        tvbank.report(bank, tasks=["none"])
    with pytest.raises(TaskNotFoundError, match="none"):
        tvbank.report(bank, tuned={"none": reported.fine_tune(1)})
    other = reported.base_model() | {"model.embed.weight": np.zeros((40, 16), np.float32)}
    with pytest.raises(BaseMismatchError, match=r"model\.embed"):
        tvbank.report(bank, base=other)


def test_damage_is_said(bank):
    import banks

    objects = banks.contents(bank.storage)
    key = next(key for key in objects if key.startswith("tasks/cats/") and "/delta/c/" in key)
    objects[key] = objects[key][:40] + bytes([objects[key][40] ^ 1]) + objects[key][41:]
    broken = tvbank.open(banks.store(objects))
    with pytest.raises(tvbank.errors.CorruptionError, match="cats"):
        tvbank.report(broken)
