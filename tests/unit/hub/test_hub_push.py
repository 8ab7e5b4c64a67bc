"""Banks are pushed to the hub as one commit, with a card, and are read from there."""

import json
import re
import sys

import banks
import hub as hubs
import pytest

import tvbank
from tvbank import errors

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(autouse=True)
def token(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hubs.TOKEN)


@pytest.fixture
def bank(tmp_path):
    return banks.small_bank(tmp_path / "bank")


def files(hub, name="org/repo", branch="main"):
    repository = hub.repositories[name]
    return repository.commits[repository.branches[branch]]


def test_a_bank_comes_back_as_it_was_pushed(hub, bank):
    report = tvbank.push(bank, "org/repo", private=True)
    assert (report.place, report.tasks, report.removed) == ("hf://org/repo", ("exact", "lossy"), ())
    repository = hub.repositories["org/repo"]
    assert repository.private
    assert len(repository.commits) == 2  # that which made it, and one
    assert report.commit == repository.branches["main"]
    there = tvbank.open("hf://org/repo")
    assert banks.all_numbers(there) == banks.all_numbers(bank)
    assert there.verify() == []
    expected = {key: data for key, data in banks.contents(bank.storage).items()
                if "tmp" not in key and key != "base/location/zarr.json"}  # fmt: skip
    pushed = files(hub)
    assert set(pushed) - set(expected) == {"README.md", ".gitattributes"}
    assert {key: pushed[key] for key in expected} == expected
    assert any(request.path.startswith("/upload/") for request in hub.requests)


def test_the_lines_of_the_card_run(hub, bank, capsys, monkeypatch, tmp_path):
    tvbank.push(bank, "org/repo", base_model="org/base")
    text = files(hub)["README.md"].decode()
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(text.split("---\n")[1]) == {
        "base_model": "org/base", "base_model_relation": "finetune", "library_name": "tvbank",
        "tags": ["tvbank", "task-vectors"],
    }  # fmt: skip
    for name, task in bank.items():
        assert f"| {name} | {task.compressor['name']}" in text
        assert f"| {task.stored_bytes:,} | {task.bits_per_parameter:.3f} |" in text
    [lines] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(lines, {})
    assert capsys.readouterr().out == "embedding (7, 5)\n"
    [command] = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert command == "tvbank export hf://org/repo exact --base hf://org/base -o exact/\n"


def test_what_is_there_already_is_not_written_again_and_what_was_removed_goes(hub, bank):
    first = tvbank.push(bank, "org/repo/some/folder")
    assert first.place == "hf://org/repo/some/folder"
    bank.add("new", banks.fine_tune(3), tvbank.TSwitch(0.5))
    hub.forget()
    second = tvbank.push(bank, "hf://org/repo/some/folder/")
    assert second.present == first.objects - 5  # all but the root, the layout, three groups
    assert second.objects < first.objects
    assert sorted(tvbank.open("hf://org/repo/some/folder")) == ["exact", "lossy", "new"]
    bank.remove("lossy")
    with pytest.raises(errors.UsageError, match=r"'lossy'.*tvbank cp"):
        tvbank.push(bank, "org/repo/some/folder")
    third = tvbank.push(bank, "org/repo/some/folder", force=True)
    assert third.removed == ("lossy",)
    assert not [path for path in files(hub) if "/lossy/" in path]
    assert sorted(tvbank.open("hf://org/repo/some/folder")) == ["exact", "new"]
    old = tvbank.open(f"hf://org/repo@{second.commit}/some/folder")
    assert sorted(old) == ["exact", "lossy", "new"]


def test_branches(hub, bank):
    tvbank.push(bank, "org/repo")
    bank.add("new", banks.fine_tune(3))
    report = tvbank.push(bank, "org/repo", revision="dev")
    assert report.place == "hf://org/repo@dev"
    assert "new" in tvbank.open("hf://org/repo@dev")
    assert "new" not in tvbank.open("hf://org/repo")
    with pytest.raises(errors.UsageError, match="give a branch"):
        tvbank.push(bank, f"org/repo@{report.commit}")


def test_a_card_keeps_what_its_owner_wrote(hub, bank):
    tvbank.push(bank, "org/repo")
    repository = hub.repositories["org/repo"]
    card = files(hub)["README.md"].decode()
    repository.commit({**files(hub), "README.md": f"Mine.\n{card}\nMore.\n".encode()})
    bank.add("new", banks.fine_tune(3))
    assert tvbank.push(bank, "org/repo").card
    text = files(hub)["README.md"].decode()
    assert text.startswith("Mine.\n")
    assert text.endswith("\nMore.\n")
    assert "| new | " in text
    repository.commit({**files(hub), "README.md": b"All mine."})
    assert not tvbank.push(bank, "org/repo", message="again").card
    assert files(hub)["README.md"] == b"All mine."


def test_who_pushed_meanwhile_is_not_overwritten(hub, bank):
    tvbank.push(bank, "org/repo")
    repository = hub.repositories["org/repo"]
    bank.add("new", banks.fine_tune(3))
    hub.between.append(lambda: repository.commit({**files(hub), "other": b"theirs"}))
    with pytest.raises(errors.ConflictError, match="push again"):
        tvbank.push(bank, "org/repo")
    assert files(hub)["other"] == b"theirs"
    assert "new" not in tvbank.open("hf://org/repo")
    tvbank.push(bank, "org/repo")
    assert files(hub)["other"] == b"theirs"
    assert "new" in tvbank.open("hf://org/repo")


def test_another_bank_is_not_replaced(hub, bank, tmp_path):
    tvbank.push(bank, "org/repo")
    base = {"w": banks.base_model()["embedding"]}
    other = tvbank.create(tmp_path / "other", base)
    with pytest.raises(errors.BaseMismatchError, match="another base"):
        tvbank.push(other, "org/repo")
    assert tvbank.push(other, "org/repo", force=True).removed == ("exact", "lossy")
    assert list(tvbank.open("hf://org/repo")) == []
    hub.add("org/zarr", {"zarr.json": b"{}"})
    with pytest.raises(errors.UsageError, match="no sound bank"):
        tvbank.push(bank, "org/zarr")


def test_nothing_damaged_is_pushed(hub, bank, tmp_path):
    shard = next((tmp_path / "bank" / "tasks" / "lossy").glob("*/delta/c/*"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(errors.CorruptionError, match="lossy"):
        tvbank.push(bank, "org/repo")
    assert hub.repositories == {}


def test_refusals_say_what_to_do_and_show_no_token(hub, bank, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrongtoken")
    with pytest.raises(errors.StorageError, match="hf auth login") as refused:
        tvbank.push(bank, "org/repo")
    assert "hf_wrong" not in str(refused.value)
    for name in ("repo", "org/re po", "org/repo/../x"):
        with pytest.raises(errors.UsageError, match="names no repository"):
            tvbank.push(bank, name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(errors.StorageError, match=r"tvbank\[hub\]"):
        tvbank.push(bank, "org/repo")


def test_a_bank_that_lies_in_no_folder(hub, bank, tmp_path):
    tvbank.pack(bank, tmp_path / "bank.zip")
    tvbank.push(tmp_path / "bank.zip", "org/repo")
    assert banks.all_numbers(tvbank.open("hf://org/repo")) == banks.all_numbers(bank)
    tvbank.push("hf://org/repo", "org/copy")
    assert banks.all_numbers(tvbank.open("hf://org/copy")) == banks.all_numbers(bank)


def test_the_command(hub, bank, capsys, monkeypatch):
    from tvbank.cli import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tvbank", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().out

    status, out = run("push", bank.location, "org/repo", "--private", "--json")
    assert status == 0
    assert json.loads(out)["commit"] == hub.repositories["org/repo"].branches["main"]
    assert hub.repositories["org/repo"].private
    status, out = run("push", bank.location, "org/repo")
    assert status == 0
    assert "pushed 2 tasks to hf://org/repo" in out
    assert run("ls", "hf://org/repo")[0] == 0
    assert run("push", bank.location, "repo")[0] == 2
