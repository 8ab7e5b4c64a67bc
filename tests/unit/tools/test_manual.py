"""The man page names every verb and option, and man(1) has nothing to say against it."""

import re
import shutil
import subprocess

import pytest

from tools.release.manual import PAGE, manual
from tvbank.cli._app import load_verbs


def test_every_verb_and_option_is_in_the_manual():
    page = manual().replace("\\-", "-")
    for name, verb in load_verbs().commands.items():
        if verb.hidden:
            continue
        section = re.search(rf"^\.SS tvbank {name} (.*?)(?=^\.S)", page, re.M | re.S)[1]
        for parameter in verb.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert option in section, (name, option)


def test_wheels_bring_the_page_of_todays_help():
    assert PAGE.read_text() == manual(), "python -m tools.release manual writes it anew"


def test_no_line_of_text_is_taken_for_a_request():
    requests = {line.split()[0] for line in manual().splitlines() if line[:1] in (".", "'")}
    assert requests == {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".RI"}


@pytest.mark.skipif(shutil.which("man") is None, reason="no man(1) here")
def test_man_shows_it_without_a_warning(tmp_path):
    (tmp_path / "tvbank.1").write_text(manual())
    command = ["man", "--warnings", "-E", "UTF-8", "-l", "tvbank.1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "EXIT STATUS" in done.stdout
