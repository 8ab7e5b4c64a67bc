"""``tvbank add --method budget``."""

import pytest

import tvbank


def test_add_keeps_to_a_size(shell):
    added = shell("add", shell.bank, "dogs", shell.dogs, "--method", "budget", "--target", "4 KiB")
    assert added.status == 0
    assert "budget target=4 KiB" in added.out
    task = tvbank.open(shell.bank)["dogs"]
    assert task.compressor == {"name": "budget", "target": "4 KiB"}
    assert task.stored_bytes <= 4096


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "budget"), "needs a size: --target"),
        (("--method", "budget", "--target", "many"), "such as '0.3 bits/param'"),
        (("--method", "budget", "--target", "10 B"), "the smallest that this task can take"),
        (("--method", "budget", "--target", "1 %", "--drop", "0.5"), "budget chooses both"),
        (("--method", "exact", "--target", "1 %"), "belongs to --method budget"),
        (("--target", "1 %"), "belongs to --method budget"),
        (("--method", "flexswitch", "--target", "1 %"), "belongs to --method budget"),
    ],
)
def test_what_contradicts_itself_is_refused(shell, options, message):
    before = shell.digest()
    ended = shell("add", shell.bank, "dogs", shell.dogs, *options)
    assert ended.status == 2
    assert message in ended.err
    assert shell.digest() == before
