"""Every benchmark runs on something tiny, and real numbers come out."""

import json
import math

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import tvbank
from tools.bench import coding, routing, sizes
from tools.bench._checkpoints import Checkpoints
from tools.bench.multitask import _rivals, _routed, _switched
from tools.bench.multitask._trial import bank_of, trial_of
from tools.bench.realtasks import load
from tools.bench.updates import _child as updates
from tools.bench.updates._entropy import entropy


def numbers(value):
    """Every number in what a command printed."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for part in value for number in numbers(part)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def sound(rows, *names):
    """Whether rows have finite numbers, and those named are positive."""
    assert rows
    assert all(map(math.isfinite, numbers(rows)))
    return all(row[name] > 0 for row in rows for name in names)


@pytest.mark.parametrize("name", ["adding", "reading", "switching"])
def test_ratios_of_tiny_fine_tunes(name, run, tiny):
    found = run("bench", name, *tiny, "--rounds", 1, "--json")
    assert sound(found["base"], "ratio", "quiet")


def test_bytes_of_tiny_fine_tunes(run, tiny):
    rows = [row.figures() for row in sizes.real(Checkpoints("", tiny[1], tuple(tiny[3:])), True)]
    assert all(row["ratio"] is None or row["ratio"] > 0 for row in rows)
    assert sum(row["ratio"] is not None for row in rows) > 5
    (rows,) = (v for n, v in run("bench", "masks", *tiny, "--json").items() if "entropy" in n)
    assert sound(rows, "blocks", "u8 gaps + zstd-19", "ratio")


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated", "ignore:The given buffer is")
def test_updates_are_measured(run, tiny, tmp_path):
    weights = {"w": np.random.default_rng(0).standard_normal((64, 64)).astype(np.float16)}
    save_file(weights, tmp_path / "old.safetensors")
    save_file({"w": weights["w"] + np.float16(1e-3)}, tmp_path / "new.safetensors")
    pair = [tmp_path / "old.safetensors", tmp_path / "new.safetensors"]
    rows = run("bench", "updates", "--pair", *pair, "--ways", "update", "--rounds", 0, "--json")
    assert sound(rows["old to new"], "bytes", "encode, s", "restore, s")
    found = run("bench", "updates", "--live", pair[0], *pair[::-1], "--rounds", 1, "--json")
    assert sound(found["old"], "ratio")
    found = updates.measure(*pair, 1, list(updates.WAYS))  # what is restored is compared in it
    there = {name: row for name, row in found.items() if "note" not in row}
    assert sound(there.values(), "bytes")
    assert there.keys() >= {"update", "alone", "xor", "planes", "sparse"}  # peers: where installed


def test_the_entropy_of_what_changes(tmp_path):
    """A quarter of the weights at 1 changes by one step or two; of those at 2, none does."""
    old = np.repeat(np.array([1, 2], ml_dtypes.bfloat16), 32)
    new = old.copy()
    new.view(np.uint16)[:8] += np.tile(np.array([1, 2], np.uint16), 4)
    save_file({"w": old}, tmp_path / "old.safetensors")
    save_file({"w": new}, tmp_path / "new.safetensors")
    found = entropy(tmp_path / "old.safetensors", tmp_path / "new.safetensors")

    def of(share, count):
        return -count * sum(p * math.log2(p) for p in (share, 1 - share)) / 2**23

    changes = 2 * 8 / 2**23  # one bit says which of two steps, and one is the sign
    assert found["changed"] == 8 / 64
    assert math.isclose(found["mask + size + sign"], of(1 / 8, 64) + changes)
    assert math.isclose(found["given the exponent"], of(1 / 4, 32) + changes)


def test_frames_are_measured():
    of_bytes, of_speed, of_masks = coding.measure(3000, 0.1, 0)
    assert sound([of_bytes], "ratio", "frame")
    assert sound([of_speed], "decode")
    assert sound([of_masks], "gaps")


def test_building_makes_the_same_bank(run, tiny):
    found = run("bench", "building", *tiny, "--method", "exact", "--workers", 1, "--json")
    assert (found["tasks"], found["units"]) == (2, 8)
    assert found["ratio started"] > 0


def test_requests_are_counted(run, tiny):
    found = run("bench", "stores", *tiny[:4], "--rounds", 1, "--json")
    assert found["requests to open"] == 2
    assert sound(found["times"], "ms")


def test_merges_agree_with_mergekit(run):
    pytest.importorskip("mergekit")
    for row in run("bench", "mergekit", "--json")["entry by entry, against mergekit's"]:
        assert row["largest difference"] < 1e-6


def test_compressors_are_scored_on_tasks(run, tasks, tmp_path):
    out, picture = tmp_path / "out.json", tmp_path / "out.svg"
    run(
        "bench", "compress", "--tasks", tasks, "--family", "vit", "--only", "first", "--held-out",
        3, "--methods", "bitdelta", "ultradelta", "--settings", "scale mean", "rate 0.9", "--seeds",
        2, "--json", out, "--plot", picture,
    )  # fmt: skip
    rows = json.loads(out.read_text())["rows"]
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("BitDelta", 0), ("UltraDelta", 0), ("UltraDelta", 1)
    ]  # fmt: skip
    assert sound(rows, "stored_bytes", "seconds")
    assert picture.stat().st_size > 1000


def test_many_tasks_in_one_model(run, tasks, tmp_path):
    out = tmp_path / "out.json"
    run(
        "bench", "multitask", "--tasks", tasks, "--family", "vit", "--tests", 6, "--tuning", 4,
        "--json", out, "--parts", "references",
    )  # fmt: skip
    rows = {row["method"]: row for row in json.loads(out.read_text())["rows"]}
    assert set(rows) == {"base", "fine-tuned", "EMR-Merging"}
    assert all(0 <= row["mean"] <= 1 for row in rows.values())


def test_rivals_that_keep_a_mask_or_factors_a_task(tasks):
    trial = trial_of(load(tasks, "vit"), routing=12, tuning=4, tests=6)
    bank = tvbank.create(tvbank.storage.MemoryStorage(), base=trial.family.base)
    for name, task in trial.tasks.items():
        bank.add(name, task.tuned, tvbank.Exact())
    emr = _switched.emr_of_bank(trial, bank)
    rows = {row.method: row for row in _rivals.rows(trial, bank, emr, lambda _: None)}
    assert set(rows) == {"EMR-Merging, coded", "TALL-masks", "TALL-masks, coded", "Twin-Merging"}
    assert rows["EMR-Merging, coded"].stored < 1.1 * emr.stored
    for name in ("TALL-masks", "Twin-Merging"):
        assert rows[name].stored > 4 * sum(unit.numel() for unit in emr.unified.values())
    one, two = torch.tensor([3.0, -1.0, 0.1, 0.0]), torch.tensor([1.0, 1.0, 2.0, 0.0])
    mask = _rivals.tall_mask({"w": one}, {"w": one + two}, 0.5)["w"]
    assert mask.tolist() == [True, False, False, False]  # τ_MTL of the second entry is zero
    near, numbers = _rivals.low_rank(torch.outer(one, two), 0.25)
    torch.testing.assert_close(near, torch.outer(one, two))
    assert numbers == 8


def test_routed_tasks_in_one_model(tasks, tmp_path):
    trial = trial_of(load(tasks, "vit"), routing=12, tuning=4, tests=6)
    bank = bank_of(trial, tmp_path / "bank", lambda _: tvbank.Exact())
    model, examples = trial.family.model(), trial.examples(0)
    features = {name: tvbank.routing.features(model, trial.family.inputs(x), at="")
                for name, x in examples.items()}  # fmt: skip
    router = tvbank.Router.fit(features, metric="euclidean", reject=None)
    way = _routed.Way("Auto-Switch", "plain", tasks=1, pool=True)
    row = _routed.routed(trial, bank, " of x", way, {0: {"plain": router}}, 1)
    assert row.method == "Auto-Switch of x"
    assert set(row.passes) == {"one task", "four tasks"}
    for name in trial.tasks:
        assert (row.hits[name] <= row.own_head[name]).all()
        assert sum(row.confusion[name].values()) == 6


def test_the_papers_methods_beside_ours(run, tasks, tmp_path):
    out = tmp_path / "out.json"
    words = [
        "bench", "paper", "--tasks", tasks, "--family", "vit", "--only", "first", "second",
        "--steps", 1, "--tests", 6, "--tuning", 4, "--routing", 32, "--folder", tmp_path / "kept",
        "--size", "2 %", "--json", out, "--ways",
    ]  # fmt: skip
    ways = ["tswitch", "auto-flexswitch", "budget-looks"]
    run(*words, *ways)
    rows = json.loads(out.read_text())["rows"]
    assert [row["method"] for row in rows] == [
        "base", "T-Switch", "Auto-FlexSwitch, Eq. 19, input by input",
        "Budget, routed, input by input, two looks",
    ]  # fmt: skip
    assert all(0 <= row["mean"] <= 1 for row in rows)
    assert sound(rows[1:], "stored")
    kept = sorted(path.name for path in (tmp_path / "kept" / "vit").iterdir())
    assert len([name for name in kept if name.endswith(".json")]) == 4
    assert not [name for name in kept if name.endswith(".npz")]  # resume files of finished tasks
    run(*words, *ways)  # from what was kept
    assert json.loads(out.read_text())["rows"] == rows


def test_no_example_serves_two_purposes(tasks):
    trial = trial_of(load(tasks, "vit"), routing=5, tuning=4, tests=6)
    for name in trial.tasks:
        parts = [trial.examples(1)[name], trial.tuning[name].x, trial.tests[name].x]
        assert [len(part) for part in parts] == [5, 4, 6]
        assert len({image.tobytes() for part in parts for image in part}) == 15
    drawn = [trial.examples(seed)["first"].tobytes() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_routers_as_tasks_grow_and_on_tasks(run, tasks):
    features = routing.clusters(3, 24, np.random.default_rng(0))
    fitted = {f"t{k}": rows[:20] for k, rows in enumerate(features)}
    queries = np.concatenate([rows[20:] for rows in features])
    row = routing.growth(fitted, queries, np.repeat(range(3), 4))
    assert (row["keys"], row["rank"], row["inputs"], row["recall"]) == (60, 2, 12, 1)
    found = run("bench", "routing", "--tasks", tasks, "--family", "vit", "--seeds", 1, "--json")
    assert sound(found["by_layer"])
    assert all(0 <= row["rejected"] <= 1 for row in found["rejection"])


def test_a_model_that_routes_itself(run, tasks):
    found = run(
        "bench", "autoswitch", "--tasks", tasks, "--family", "vit", "--rounds", 1, "--more", 0,
        "--sizes", 4, "--fit", 12, "--held", 6, "--threads", 1, "--only", "layer 2: ", "--json",
    )  # fmt: skip
    assert numbers(found)
