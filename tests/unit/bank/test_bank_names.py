"""Names of tasks: safe as a folder's name on every system."""

import re

import banks
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tvbank
from tvbank.bank.names import check_task_name
from tvbank.errors import InvalidNameError, TaskExistsError

SAFE = [
    "a",
    "A",
    "0",
    "x" * 128,
    "a.b-c_d",
    "cats.v2",
    "null",
    "con2x",
    "prnt",
    "lpt10",
    "c",
    "tmp",
]
UNSAFE = [
    "", " ", "a b", "a/b", "a\\b", "/a", "..", ".", ".a", "a.", "-a", "_a", "a\0", "a\n", "a\t",
    "é", "x" * 129, "a:b", "a*", "a?", "~", "$a", "CON", "con", "con.txt", "Prn", "aux", "nul.x",
    "com0", "COM9", "lpt1.y", "zarr.json", "Zarr.JSON", "a.tmp-b", "a.TMP-", "\ud800", "\uff41",
]  # fmt: skip


@pytest.mark.parametrize("name", SAFE)
def test_safe_names(name):
    assert check_task_name(name) == name


@pytest.mark.parametrize("name", UNSAFE, ids=ascii)
def test_unsafe_names_are_refused_and_told(name):
    with pytest.raises(InvalidNameError, match="cannot be a task's name: use") as caught:
        check_task_name(name)
    assert str(caught.value).startswith(repr(name[:140]))


@given(st.text(max_size=10) | st.from_regex(re.compile("[A-Za-z0-9._-]{1,9}"), fullmatch=True))
def test_whatever_is_allowed_is_one_plain_part_of_a_path(name):
    try:
        check_task_name(name)
    except InvalidNameError:
        return
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set("/\\:*?\"<>| '$~")
    assert name[0].isalnum()
    assert name[-1] != "."


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "con", "zarr.json"])
def test_a_bank_takes_no_unsafe_name(name):
    bank = banks.small_bank()
    before = banks.contents(bank.storage)
    with pytest.raises(InvalidNameError):
        bank.add(name, banks.fine_tune())
    assert banks.contents(bank.storage) == before


@pytest.mark.parametrize("replace", [False, True])
def test_a_bank_takes_no_name_that_differs_in_case_only(replace):
    bank = banks.small_bank()
    before = banks.contents(bank.storage)
    with pytest.raises(TaskExistsError, match=r"'lossy'.*'Lossy'.*case"):
        bank.add("Lossy", banks.fine_tune(), replace=replace)
    assert banks.contents(bank.storage) == before


def test_unknown_names_are_no_errors_of_others():
    bank = banks.small_bank()
    assert "nope" not in bank
    assert ("a", 1) not in bank
    with pytest.raises(tvbank.errors.TaskNotFoundError, match="'exact', 'lossy'"):
        bank["nope"]
    with pytest.raises(tvbank.errors.UnitNotFoundError, match=r"'exact' has no unit 'nope'"):
        bank["exact"]["nope"]
    with pytest.raises(tvbank.errors.UnitNotFoundError, match=r"'nope'.*'new head'"):
        bank["exact"].extras["nope"]
    with pytest.raises(tvbank.errors.UnitNotFoundError):
        list(bank["exact"].frames("nope"))
