"""The demo with few steps: a real bank on disk, and claims that notice when they are broken."""

import io
import json
import sys
from dataclasses import replace

import pytest
from rich.console import Console

import tvbank
from tvbank.cli import main
from tvbank.demo import Settings, run, run_demo
from tvbank.demo.model import differing_units
from tvbank.demo.run import BANKED, EXACT, EXACT_OF, file_of
from tvbank.errors import UsageError

FEW_STEPS = Settings(
    width=32, depth=2, heads=2, pretrain_steps=40, tune_steps=30, draws=1,
    margin=0.25, gain=-1.0, overhead=0.3,
)  # fmt: skip


def demo(folder, **options):
    console = Console(file=io.StringIO(), width=80)
    result = run_demo(folder, console=console, settings=FEW_STEPS, **options)
    return result, console.file.getvalue()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return demo(tmp_path_factory.mktemp("sound") / "demo")


def test_every_claim_holds(sound):
    result, text = sound
    assert result.failures == []
    assert "FAILED" not in text
    assert text.count("40/40") == 1
    assert text.count("30/30") == 5
    assert text.count("6/6") == 2
    assert "verifying every byte" in text
    assert [row.task for row in result.rows] == list(BANKED)


def test_a_router_in_the_bank_finds_tasks(sound):
    result, text = sound
    routed = result.routed
    assert tvbank.open(result.folder / "bank").router("demo").tasks == tuple(
        row.task for row in result.rows if not row.exact
    )
    assert routed.pictures == 750
    assert routed.alone <= routed.found
    assert routed.found > 1 / len(BANKED)
    assert 1 < routed.passes <= 2
    assert "find their task" in text


def test_what_is_left_can_be_played_with(sound):
    result, _ = sound
    folder = result.folder
    bank = tvbank.open(folder / "bank")
    assert set(bank) == set(BANKED)
    assert bank.verify() == []
    for row in result.rows:
        task = bank[row.task]
        assert task.stored_bytes == row.stored_bytes
        assert set(task.extras) == {"head.weight", "head.bias"}
        assert task.metadata["question"] == row.question
        assert file_of(folder, "exports", row.task).stat().st_size > 0
    trained = file_of(folder, "checkpoints", EXACT_OF)
    assert differing_units(trained, file_of(folder, "exports", EXACT)) == []
    assert differing_units(trained, file_of(folder, "exports", EXACT_OF)) != []
    summary = json.loads((folder / "demo.json").read_text())
    assert summary == {"made_by": "tvbank demo", **json.loads(json.dumps(result.to_json()))}


def test_the_same_seed_trains_the_same_weights(sound, tmp_path):
    first = sound[0].folder
    again, text = demo(tmp_path / "again", quiet=True)
    assert text == ""
    for name in ("base", "checkpoints/flipped", "checkpoints/ghost"):
        one, other = (folder / f"{name}.safetensors" for folder in (first, again.folder))
        assert one.read_bytes() == other.read_bytes()
    assert [r.bank_accuracy for r in again.rows] == [r.bank_accuracy for r in sound[0].rows]


def test_a_demo_does_not_write_over_another(sound):
    with pytest.raises(UsageError, match="rm -r"):
        demo(sound[0].folder)


def test_a_drop_that_makes_no_sense_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(UsageError, match="drop"):
        demo(tmp_path / "demo", drop=1.5)
    assert not (tmp_path / "demo").exists()


def after_building(monkeypatch, damage):
    """Do something to the bank between building it and reading it back."""

    def build_then_damage(folder, compressor, progress, build=run.build_bank):
        build(folder, compressor, progress)
        damage(folder)

    monkeypatch.setattr(run, "build_bank", build_then_damage)


def test_a_flipped_bit_fails_the_demo(tmp_path, monkeypatch):
    def flip(folder):
        [shard] = (folder / "bank" / "tasks" / "turned").glob("*/delta/c/0")
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)

    after_building(monkeypatch, flip)
    result, text = demo(tmp_path / "demo")
    broken = [claim.text for claim in result.claims if claim.failures]
    assert broken == [
        "verify read every byte of the bank and found no fault",
        "all 6 tasks came back from disk",
    ]
    assert all("turned" in why for why in result.failures)
    assert [row.task for row in result.rows if row.bank_accuracy is None] == ["turned"]
    assert text.count("FAILED") == 2


def test_an_interrupted_demo_leaves_whole_files_and_says_that_it_did_not_finish(
    tmp_path, monkeypatch
):
    def interrupt(folder):
        raise KeyboardInterrupt

    after_building(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path / "demo")
    summary = json.loads((tmp_path / "demo" / "demo.json").read_text())
    assert summary == {"made_by": "tvbank demo", "finished": False}
    assert tvbank.open(tmp_path / "demo" / "bank").verify() == []


def test_an_exact_task_that_is_not_exact_fails_the_demo(tmp_path, monkeypatch):
    def blur(folder):
        tuned = file_of(folder, "checkpoints", EXACT_OF)
        tvbank.open(folder / "bank").add(EXACT, tuned, tvbank.TSwitch(drop=0.5), replace=True)

    after_building(monkeypatch, blur)
    result, _ = demo(tmp_path / "demo")
    assert any("bit for bit: " in failure for failure in result.failures)


def test_a_task_that_is_gone_fails_the_demo(tmp_path, monkeypatch):
    after_building(monkeypatch, lambda folder: tvbank.open(folder / "bank").remove("ghost"))
    result, _ = demo(tmp_path / "demo")
    [failure] = result.failures
    assert "no task 'ghost'" in failure


def test_margins_that_are_not_met_fail_the_demo(tmp_path):
    few = replace(FEW_STEPS, pretrain_steps=2, tune_steps=2)
    strict = replace(few, margin=-1.0, gain=1.0, overhead=0.0)
    result = run_demo(tmp_path / "demo", console=Console(quiet=True), quiet=True, settings=strict)
    assert len([claim for claim in result.claims if claim.failures]) == 3


def command_line(monkeypatch, settings, *arguments):
    monkeypatch.setattr(run, "Settings", lambda: settings)
    monkeypatch.setattr(sys, "argv", ["tvbank", "demo", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


def test_the_command_line_prints_json_and_exits_with_0(tmp_path, monkeypatch, capsys):
    assert command_line(monkeypatch, FEW_STEPS, tmp_path / "demo", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["task"] for row in printed["rows"]] == list(BANKED)
    assert printed["failures"] == []


def test_the_command_line_exits_with_1_if_a_claim_fails(tmp_path, monkeypatch, capsys):
    strict = replace(FEW_STEPS, pretrain_steps=2, tune_steps=2, gain=1.0)
    assert command_line(monkeypatch, strict, tmp_path / "demo") == 1
    assert "FAILED each does better than the base" in capsys.readouterr().out


def test_the_command_line_refuses_a_folder_in_use(tmp_path, monkeypatch, capsys):
    (tmp_path / "precious").write_text("x")
    assert command_line(monkeypatch, FEW_STEPS, tmp_path) == 2
    assert "no demo made it" in capsys.readouterr().err
