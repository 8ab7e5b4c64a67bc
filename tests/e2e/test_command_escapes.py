"""What a stranger's bank, checkpoint or manifest says is shown, and never obeyed by a terminal."""

import io
import json

import banks
import manifests
import pytest
from rich.console import Console

import tvbank
from tvbank import errors
from tvbank._progress import Bar
from tvbank.cli._output import print_json, print_table, say

EVIL = (
    "\x1b]0;pwned\x07\x1b[2J\r\nsound \x9b31m \x7f \u202etxt.exe\u202c \u2066 \u2028 [red]x[/red]"
)
SHOWN = r"\x1b]0;pwned\x07\x1b[2J\r\nsound \x9b31m \x7f \u202etxt.exe\u202c \u2066 \u2028 [red]x"


def assert_harmless(text):
    """Every letter can be seen; lines end with a line feed."""
    assert text.replace("\n", "").isprintable(), ascii(text)
    assert "pwned" in text
    assert "\nsound" not in text


@pytest.mark.parametrize(
    "kind",
    [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Exception)],
)
def test_every_error(kind):
    reason = ("syntax",) if issubclass(kind, errors.FormatError) else ()
    key = {"key": EVIL} if kind is errors.CorruptionError else {}
    error = kind(*reason, f"unit {EVIL}", **key)
    assert str(error).startswith(f"unit {SHOWN}")
    assert str(error) == errors.escaped(str(error))


def test_lines_tables_and_bars(capsys, monkeypatch):
    say(f"task {EVIL}")
    say(EVIL, err=True)
    rows = [[EVIL, "1"], ["x" * 300 + EVIL, "2"]]
    print_table(["task", "number"], rows[:1])
    print_table(["task", "number"], rows)  # folded
    printed = capsys.readouterr()
    assert_harmless(printed.out)
    assert_harmless(printed.err)
    assert "[red]x[/red]" in printed.out.replace("\n", "")
    plain = io.StringIO()
    with Bar(EVIL, Console(file=plain, width=400), keep=True) as bar:
        bar.report(f"stage {EVIL}", 1, 2, "units", f"detail {EVIL}")
    assert_harmless(plain.getvalue())


def test_json_is_exact_and_ascii(capsys):
    print_json({EVIL: EVIL})
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable()
    assert printed.isascii()
    assert json.loads(printed) == {EVIL: EVIL}


class Stranger(tvbank.Exact):
    """Claims to be what it likes."""

    def describe(self):
        return {"name": EVIL, f"k{EVIL}": EVIL}


def test_what_a_bank_claims(shell):
    place = shell.folder / "strange"
    bank = tvbank.create(place, shell.base, chunk_length=64)
    bank.add("t", shell.cats, Stranger())
    for verb in (("ls", place), ("show", place, "t")):
        assert_harmless(shell(*verb).out)
    listed = json.loads(shell("ls", place, "--json").out)
    assert listed[0]["compressor"]["name"] == EVIL


def test_names_in_checkpoints_and_manifests(shell):
    base = manifests.save(shell.folder / "b.safetensors", {EVIL: banks.ODD})
    ended = shell("init", shell.folder / "new", "--base", base)
    assert ended.status != 0
    assert_harmless(ended.err)
    for content in ({"tasks": {EVIL: {}}}, {EVIL: 1}, {"bank": "b", "tasks": {"t": {EVIL: 1}}}):
        path = shell.folder / "m.json"
        path.write_text(json.dumps({"bank": "b"} | content))
        ended = shell("build", path)
        assert ended.status != 0
        assert_harmless(ended.err)
