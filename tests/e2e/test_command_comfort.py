"""Sorting, patterns, completion, colour, logging, and JSON of every verb."""

import json
import logging

import pytest

from tvbank.cli._app import app, load_verbs

PROGRAM = load_verbs()
VERBS = sorted(name for name, verb in PROGRAM.commands.items() if not verb.hidden)


@pytest.fixture(autouse=True)
def _quiet_again():
    logger = logging.getLogger("tvbank")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def names(ended):
    assert ended.status == 0, ended.err
    return [row["task"] for row in json.loads(ended.out)]


def test_tasks_are_sorted(shell):
    sizes = {
        row["task"]: row["stored_bytes"]
        for row in json.loads(shell("ls", shell.bank, "--json").out)
    }
    assert len(set(sizes.values())) > 1
    largest = sorted(sizes, key=sizes.get, reverse=True)
    assert names(shell("ls", shell.bank, "--sort", "size", "--json")) == largest
    assert names(shell("ls", shell.bank, "--sort", "size", "--reverse", "--json")) == largest[::-1]
    assert names(shell("ls", shell.bank, "--sort", "name", "--json")) == sorted(sizes)
    assert shell("ls", shell.bank, "--sort", "colour").status == 2


def test_tasks_are_filtered_by_patterns(shell):
    assert names(shell("ls", shell.bank, "--filter", "c*", "--json")) == ["cats"]
    assert names(shell("ls", shell.bank, "--filter", "[ce]*", "--json")) == ["cats", "exact"]
    both = ("--filter", "ex?ct", "--filter", "cats")
    assert sorted(names(shell("ls", shell.bank, *both, "--json"))) == ["cats", "exact"]
    assert names(shell("ls", shell.bank, "--filter", "dogs", "--json")) == []
    assert shell("ls", shell.bank, "--filter", "dogs").out.split()[0] == "task"


def test_units_are_shown_by_patterns(shell):
    every = [
        unit["name"]
        for unit in json.loads(shell("show", shell.bank, "cats", "--json").out)["units"]
    ]
    assert len(every) > 1
    shown = shell("show", shell.bank, "cats", "--unit", f"{every[1][:-1]}?", "--json")
    assert every[1] in [unit["name"] for unit in json.loads(shown.out)["units"]]
    assert every[0] not in [unit["name"] for unit in json.loads(shown.out)["units"]]
    none = shell("show", shell.bank, "cats", "--unit", "nothing.*")
    assert none.status == 2
    assert "task 'cats' has no unit that matches 'nothing.*'" in none.err
    assert shell("show", shell.bank, "--unit", "a*").status == 2


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_prints_json_if_asked(verb):
    options = [option for parameter in PROGRAM.commands[verb].params for option in parameter.opts]
    assert "--json" in options


def test_what_changes_a_bank_prints_json(shell):
    place = shell.folder / "new"
    made = json.loads(shell("init", place, "--base", shell.base, "--json").out)
    assert made["parameters"] > made["units"] > 0
    added = json.loads(shell("add", place, "t", shell.cats, "--json").out)
    listed = json.loads(shell("ls", place, "--json").out)[0]
    assert {key: listed[key] for key in ("task", "revision", "stored_bytes")} == {
        key: added[key] for key in ("task", "revision", "stored_bytes")
    }
    assert json.loads(shell("rm", place, "t", "--json").out) == {"removed": "t"}


def complete(monkeypatch, capsys, *words):
    """What the shell is offered after these words, by the protocol of bash."""
    monkeypatch.setenv("COMP_WORDS", "tvbank " + " ".join(map(str, words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    monkeypatch.setenv("_TVBANK_COMPLETE", "complete_bash")
    with pytest.raises(SystemExit):
        app(args=[], prog_name="tvbank")
    return capsys.readouterr().out.split()


def test_the_shell_completes_verbs_tasks_and_units(shell, monkeypatch, capsys):
    units = [
        unit["name"]
        for unit in json.loads(shell("show", shell.bank, "cats", "--json").out)["units"]
    ]
    assert complete(monkeypatch, capsys, "ro") == ["routers"]
    assert complete(monkeypatch, capsys, "show", shell.bank, "c") == ["cats"]
    assert complete(monkeypatch, capsys, "ls", shell.bank, "--filter", "e") == ["exact"]
    asked = ("show", shell.bank, "cats", "--unit", units[0][:3])
    assert complete(monkeypatch, capsys, *asked) == [n for n in units if n.startswith(units[0][:3])]
    assert complete(monkeypatch, capsys, "show", shell.folder / "nowhere", "c") == []


def test_no_colour_if_none_is_wanted(shell, monkeypatch, capsys):
    from tvbank.cli._output import print_table

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_table(["task"], [["a"]])
    assert "\x1b[1m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(["task"], [["a"]])
    assert "\x1b" not in capsys.readouterr().out


def test_work_is_logged_if_asked_and_never_else(shell):
    place = shell.folder / "logged"
    assert shell("init", place, "--base", shell.base).err == ""
    assert shell("add", place, "quiet", shell.cats).err == ""
    told = shell("-v", "add", place, "told", shell.cats)
    assert "published task told, revision " in told.err
    assert all(line.startswith("tvbank: ") for line in told.err.splitlines())
    assert "read the catalog" not in told.err
    assert "read the catalog, generation 2" in shell("-vv", "ls", place).err
    assert "removed task told" in shell("-v", "rm", place, "told").err


def test_the_logger_is_quiet_by_itself():
    handlers = logging.getLogger("tvbank").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)
