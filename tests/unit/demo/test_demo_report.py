"""The table, the totals and the JSON say what was measured."""

import io
import json

from rich.console import Console

from tvbank.demo.claims import check_claims
from tvbank.demo.folder import DemoFolder
from tvbank.demo.report import DemoResult, Row, print_plan, print_result
from tvbank.demo.settings import Settings
from tvbank.demo.tasks import TASKS

ROWS = (
    Row("turned", "which way up?", False, 3_193_400, 101_282, 1.0164, 0.8143, 0.9331, 0.9273),
    Row("ghost", "which digit?", False, 3_196_496, 0, 0.0, 0.84, 0.93, None, "[lost] shard"),
    Row("digit-exact", "which digit?", True, 3_196_496, 2_469_444, 24.758, 0.95, 0.978, 0.978),
)


def result(tmp_path, rows=ROWS, faults=()):
    settings = Settings()
    return DemoResult(
        folder=DemoFolder(tmp_path / "a demo"),
        rows=rows,
        claims=tuple(check_claims(rows, faults, [], 0.8, settings)),
        base_bytes=3_190_000,
        bank_bytes=2_600_000,
        test_images=599,
        compressor={"name": "tswitch", "drop": 0.8, "knob": "norm"},
        settings=settings,
        seed=0,
        seconds=61.4,
    )


def printed(found, width=80, **options):
    console = Console(file=io.StringIO(), width=width, **options)
    print_result(found, console)
    return console.file.getvalue()


def test_the_table_shows_every_row(tmp_path):
    text = printed(result(tmp_path))
    turned = next(line for line in text.splitlines() if "turned" in line)
    for cell in ("3,193,400", "101,282", "1.016", "81.4", "93.3", "92.7"):
        assert cell in turned
    ghost = next(line for line in text.splitlines() if "ghost" in line)
    assert "93.0 │        -" in ghost
    assert "599 held-out" in text
    assert "drop 0.8, knob norm" in " ".join(text.split())


def test_it_fits_a_terminal_of_80_columns(tmp_path):
    lines = printed(result(tmp_path, ROWS[:1])).splitlines()
    commands = [line for line in lines if line.startswith("  tvbank ")]
    [left] = [line for line in lines if line.startswith("Left in")]
    assert len(commands) == 3
    assert all(len(line) <= 80 for line in lines if line not in [*commands, left])


def test_totals_leave_the_exact_copy_out(tmp_path):
    found = result(tmp_path)
    assert found.checkpoint_bytes == 3_193_400 + 3_196_496
    assert found.exact_bytes == 2_469_444
    assert "2 checkpoints, 6.09 MiB" in printed(found)


def test_commands_quote_the_folder(tmp_path):
    assert f"tvbank ls '{tmp_path / 'a demo' / 'bank'}'" in printed(result(tmp_path))


def test_failures_are_shown_with_their_reasons(tmp_path):
    found = result(tmp_path, faults=["shard c/0 of [turned] is damaged"])
    text = printed(found)
    assert text.count("FAILED") == 2
    assert "shard c/0 of [turned] is damaged" in text
    assert "ghost: [lost] shard" in text
    assert len(found.failures) == 2


def test_json_says_everything(tmp_path):
    found = json.loads(json.dumps(result(tmp_path).to_json()))
    assert [row["task"] for row in found["rows"]] == ["turned", "ghost", "digit-exact"]
    assert found["rows"][0]["bank_accuracy"] == 0.9273
    assert found["failures"] == ["all 3 tasks came back from disk: ghost: [lost] shard"]
    assert found["settings"]["margin"] == Settings().margin


def test_the_plan_names_every_task():
    console = Console(file=io.StringIO(), width=80)
    print_plan(1198, TASKS, console)
    text = console.file.getvalue()
    assert "1,198" in text
    assert all(task.question in text for task in TASKS)
