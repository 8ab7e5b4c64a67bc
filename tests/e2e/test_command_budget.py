"""``tvbank add --method budget``."""

import pytest

import tvbank


def test_add_keeps_to_a_size(shell):
    added = shell("add", shell.bank, "dogs", shell.dogs, "--method", "budget", "--budget", "4 KiB")
    assert added.status == 0
    assert "budget 4 KiB" in added.out
    task = tvbank.open(shell.bank)["dogs"]
    assert task.compressor == {"name": "budget", "budget": "4 KiB"}
    assert task.stored_bytes <= 4096


@pytest.mark.parametrize(
    ("options", "compressor"),
    [
        ((), {"name": "budget", "budget": "1 %"}),
        (("--budget", "4 KiB"), {"name": "budget", "budget": "4 KiB"}),
        (("--products",), {"name": "budget", "budget": "1 %", "products": True}),
        (("--drop", "0.5"), {"name": "tswitch", "drop": 0.5, "knob": "rms"}),
        (("--method", "exact"), {"name": "exact"}),
    ],
)
def test_options_say_which_method_is_meant(shell, options, compressor):
    assert shell("add", shell.bank, "dogs", shell.dogs, *options).status == 0
    assert tvbank.open(shell.bank)["dogs"].compressor == compressor


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "budget", "--budget", "many"), "such as '0.3 bits/param'"),
        (("--method", "budget", "--budget", "10 B"), "the smallest that this task can take"),
        (("--method", "budget", "--budget", "1 %", "--drop", "0.5"), "budget chooses both"),
        (("--method", "exact", "--budget", "1 %"), "belongs to --method budget"),
        (("--method", "tswitch", "--budget", "1 %"), "belongs to --method budget"),
        (("--budget", "1 %", "--drop", "0.5"), "budget chooses both"),
        (("--method", "exact", "--products"), "belongs to --method budget"),
    ],
)
def test_what_contradicts_itself_is_refused(shell, options, message):
    before = shell.digest()
    ended = shell("add", shell.bank, "dogs", shell.dogs, *options)
    assert ended.status == 2
    assert message in ended.err
    assert shell.digest() == before
