"""Tables: aligned by what a terminal shows of the letters, and folded where it is too narrow."""

import pytest

from tvbank.cli import _output
from tvbank.cli._output import print_table

ROWS = [["a", "tswitch", "12"], ["日本", "exact", "3"]]


def printed(capsys, *arguments):
    print_table(*arguments)
    return capsys.readouterr().out.splitlines()


def test_columns_are_aligned(capsys):
    assert printed(capsys, ["task", "made by", "n"], ROWS, 2) == [
        "task  made by   n",
        "a     tswitch  12",
        "日本  exact     3",
    ]


def test_without_a_head_and_without_rows(capsys):
    assert printed(capsys, ["", "", ""], ROWS, 2) == ["a     tswitch  12", "日本  exact     3"]
    assert printed(capsys, ["task", "n"], []) == ["task  n"]
    assert printed(capsys, ["", ""], []) == []


@pytest.mark.parametrize("wide", [200, 300])
def test_what_is_too_wide_is_folded_and_complete(capsys, wide):
    lines = printed(capsys, ["name", "value"], [["x" * wide, "1" * 60]])
    assert max(map(len, lines)) <= _output._WIDE
    text = "".join(lines)
    assert text.count("x") == wide
    assert text.count("1") == 60


def test_the_head_is_bold_on_a_terminal_only(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    head, *rest = printed(capsys, ["task", "made by", "n"], ROWS, 2)
    assert head == "\x1b[1mtask  made by   n\x1b[0m"
    assert not any("\x1b" in line for line in rest)
