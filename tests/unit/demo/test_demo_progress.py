"""A bar a stage on the console; nothing at all when quiet."""

import io

from rich.console import Console

from tvbank.demo.progress import Stages


def shown(quiet):
    console = Console(file=io.StringIO(), width=80)
    stages = Stages(console, quiet=quiet)
    with stages.steps("training", 3) as step:
        for _ in range(3):
            step()
    with stages.parts("reading", 2) as part:
        part(0)(5, 10)
        part(1)(0, 0)
    return console.file.getvalue()


def test_every_stage_leaves_its_bar():
    text = shown(quiet=False)
    assert len([line for line in text.splitlines() if "100%" in line]) == 2
    assert "training" in text
    assert "reading" in text


def test_quiet_shows_nothing():
    assert shown(quiet=True) == ""
