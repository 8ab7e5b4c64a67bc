"""Every claim can fail and says why; the table, the totals and the JSON say what was measured."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tvbank.demo.pictures import TASKS
from tvbank.demo.report import print_plan, print_result
from tvbank.demo.result import DemoResult, Routed, Row, Settings, allowed_share, check_claims
from tvbank.demo.run import make_folder
from tvbank.errors import StorageError, UsageError

LOSSY = Row("turned", "which way up?", False, 1000, 30, 0.96, 0.80, 0.93, 0.92)
EXACT = Row("digit-exact", "which digit?", True, 1000, 800, 25.0, 0.90, 0.95, 0.95)
SETTINGS = Settings(margin=0.03, overhead=0.005, gain=0.0)


@pytest.mark.parametrize(
    ("lossy", "exact", "faults", "differing", "expected"),
    [
        ({}, {}, (), (), []),
        ({}, {}, ["a shard is damaged"], (), ["a shard is damaged"]),
        ({}, {}, (), ["norm.weight"], ["norm.weight differs from the checkpoint's"]),
        ({"bank_accuracy": None, "error": "damaged"}, {}, (), (), ["turned: damaged"]),
        ({"bank_accuracy": 0.91}, {}, (), (), []),
        ({"bank_accuracy": 0.89}, {}, (), (), ["turned lost 4.0 points"]),
        ({}, {"bank_accuracy": 0.949}, (), (), ["digit-exact lost 0.1 points"]),
        ({"base_accuracy": 0.92}, {}, (), (), ["turned scores 92.0, the base 92.0"]),
        ({"stored_bytes": 40}, {}, (), (), ["turned takes 4.0 %"]),
    ],
)
def test_what_contradicts_a_claim_is_named(lossy, exact, faults, differing, expected):
    rows = [replace(LOSSY, **lossy), replace(EXACT, **exact)]
    claims = check_claims(rows, faults, differing, 0.8, SETTINGS)
    assert len(claims) == 6
    assert [why for claim in claims for why in claim.failures] == expected


@pytest.mark.parametrize(("drop", "bits"), [(0.0, 1.0), (0.5, 1.5), (0.9, 0.569), (0.98, 0.1614)])
def test_the_allowed_share_is_the_shannon_limit_and_the_overhead(drop, bits):
    assert allowed_share(drop, 0.01) == pytest.approx(bits / 32 + 0.01, rel=1e-3)


ROWS = (
    Row("turned", "which way up?", False, 3_193_400, 101_282, 1.0164, 0.8143, 0.9331, 0.9273),
    Row("ghost", "which digit?", False, 3_196_496, 0, 0.0, 0.84, 0.93, None, "[lost] shard"),
    Row("digit-exact", "which digit?", True, 3_196_496, 2_469_444, 24.758, 0.95, 0.978, 0.978),
)


def result(rows=ROWS, faults=()):
    return DemoResult(
        folder=Path("a demo"),
        rows=rows,
        claims=check_claims(rows, faults, [], 0.8, Settings()),
        base_bytes=3_190_000,
        bank_bytes=2_600_000,
        test_images=599,
        compressor={"name": "tswitch", "drop": 0.8, "knob": "norm"},
        settings=Settings(),
        seed=0,
        seconds=61.4,
    )


def printed(show, *arguments):
    console = Console(file=io.StringIO(), width=80)
    show(*arguments, console)
    return console.file.getvalue()


def test_the_table_shows_every_row_and_the_totals_leave_the_exact_copy_out():
    text = printed(print_result, result())
    turned = next(line for line in text.splitlines() if "turned" in line)
    for cell in ("3,193,400", "101,282", "1.016", "81.4", "93.3", "92.7"):
        assert cell in turned
    ghost = next(line for line in text.splitlines() if "ghost" in line)
    assert "93.0 │        -" in ghost
    assert "599 held-out" in text
    assert "drop 0.8, knob norm" in " ".join(text.split())
    assert "2 checkpoints, 6.09 MiB" in text
    assert result().exact_bytes == 2_469_444
    assert "tvbank ls 'a demo/bank'" in text


def test_what_the_router_made_of_mixed_pictures_is_said():
    routed = Routed(750, 40_960, 0.81, 0.75, 0.9, 0.91, 1.83)
    text = printed(print_result, replace(result(), routed=routed))
    for said in ("40 KiB", "750 pictures", "91.0 % right if told", "90.0 % in batches of one task",
                 "75.0 %", "81.0 % find their task", "1.83 passes"):  # fmt: skip
        assert said in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_it_fits_a_terminal_of_80_columns():
    assert max(map(len, printed(print_result, result(ROWS[:1])).splitlines())) <= 80


def test_failures_are_shown_with_their_reasons():
    found = result(faults=["shard c/0 of [turned] is damaged"])
    text = printed(print_result, found)
    assert text.count("FAILED") == 2
    assert "shard c/0 of [turned] is damaged" in text
    assert "ghost: [lost] shard" in text
    assert len(found.failures) == 2


def test_json_says_everything():
    found = json.loads(json.dumps(result().to_json()))
    assert set(found) == {
        "finished", "folder", "bank", "base", "rows", "claims", "failures", "base_bytes",
        "checkpoint_bytes", "bank_bytes", "exact_bytes", "test_images", "compressor", "settings",
        "seed", "seconds", "routed",
    }  # fmt: skip
    assert [row["task"] for row in found["rows"]] == ["turned", "ghost", "digit-exact"]
    assert found["rows"][0]["bank_accuracy"] == 0.9273
    assert found["failures"] == ["all 3 tasks came back from disk: ghost: [lost] shard"]
    assert found["settings"]["margin"] == Settings().margin


def test_the_plan_names_every_task():
    text = printed(print_plan, 1198, TASKS)
    assert "1,198" in text
    assert all(task.question in text for task in TASKS)


def test_a_new_or_an_empty_folder_is_taken_and_an_earlier_demo_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "new" / "my demo", tmp_path / "empty"):
        make_folder(path)
        assert json.loads((path / "demo.json").read_text())["finished"] is False
    with pytest.raises(UsageError, match=r"earlier demo: remove it \(rm -r '.*my demo'\)"):
        make_folder(tmp_path / "new" / "my demo")


@pytest.mark.parametrize("summary", [None, "{", "[]", '{"made_by": "me"}', "\udcff"])
def test_a_folder_with_anything_else_is_refused_and_stays_as_it_is(tmp_path, summary):
    (tmp_path / "precious").write_text("x")
    if summary is not None:
        (tmp_path / "demo.json").write_text(summary, errors="surrogateescape")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match="not empty and no demo made it") as caught:
        make_folder(tmp_path)
    assert "rm -r" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_is_refused_and_so_is_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        make_folder(tmp_path / "file")
    with pytest.raises(StorageError, match="cannot make the folder"):
        make_folder(tmp_path / "file" / "demo")
