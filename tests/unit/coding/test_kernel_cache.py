"""Machine code on the disk: used if it can be, never trusted, and never in the way."""

import os
import shutil
import subprocess
import sys

import pytest

SCRIPT = """
import sys, tvbank
tvbank.__path__.append(sys.argv[1])
from tvbank.outer_sample import twice
{before}
print(twice(20), sum(twice.stats.cache_hits.values()))
"""
OUTER = """
from tvbank.coding.kernel import kernel
from tvbank.inner_sample import plus
@kernel
def twice(number):
    return 2 * plus(number)
"""
INNER = """
from tvbank.coding.kernel import kernel
@kernel
def plus(number):
    return number + {}
"""


class Process:
    """Runs a kernel in processes of its own, with the compiled code in one folder."""

    def __init__(self, folder):
        self.modules, self.cache = folder / "modules", folder / "cache"
        self.modules.mkdir()
        (self.modules / "outer_sample.py").write_text(OUTER)
        self.write_inner(1)

    def write_inner(self, added):
        (self.modules / "inner_sample.py").write_text(INNER.format(added))

    def run(self, before="", cache=None):
        """(result, how often code came from the disk), what was written to stderr."""
        environment = os.environ | {
            "NUMBA_CACHE_DIR": str(cache or self.cache),
            "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
            "PYTHONWARNINGS": "default",
        }
        command = [sys.executable, "-c", SCRIPT.format(before=before), str(self.modules)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return tuple(map(int, done.stdout.split())), done.stderr

    def files(self, ending):
        return sorted(self.cache.rglob(f"*.twice*{ending}"))


@pytest.fixture
def process(tmp_path):
    process = Process(tmp_path)
    assert process.run() == ((42, 0), "")
    return process


def test_code_is_kept_for_the_next_process(process):
    assert process.run() == ((42, 1), "")


def test_what_becomes_part_of_its_callers_is_not_kept_apart(process):
    assert [path.name.split("-")[0] for path in process.cache.rglob("*.nbc")] == [
        "outer_sample.twice"
    ]


def test_code_is_renewed_when_a_function_changes_that_it_calls_in_another_module(process):
    process.write_inner(2)
    assert process.run() == ((44, 0), "")
    assert process.run() == ((44, 1), "")


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", [cut, empty, flip])
def test_damaged_files_are_written_anew(process, ending, damage):
    (path,) = process.files(ending)
    damage(path)
    (result, _), errors = process.run()
    assert (result, errors) == (42, "")
    assert process.run() == ((42, 1), "")


def test_an_index_of_today_may_name_code_of_yesterday(process):
    (code,) = process.files(".nbc")
    old = code.read_bytes()
    process.write_inner(2)
    assert process.run() == ((44, 0), "")
    code.write_bytes(old)
    assert process.run() == ((44, 0), "")


def check_one_warning(errors):
    assert errors.count("RuntimeWarning") == 1
    assert "NUMBA_CACHE_DIR" in errors


def test_where_nothing_can_be_written_one_warning_says_what_to_do(process, tmp_path):
    (tmp_path / "file").touch()
    again = "from tvbank.coding.kernel import kernel; kernel(lambda n: n)(1)"
    found, errors = process.run(again, cache=tmp_path / "file" / "cache")
    assert found == (42, 0)
    check_one_warning(errors)


def test_a_folder_that_vanishes_is_made_again(process):
    vanish = f"import shutil; shutil.rmtree({str(process.cache)!r})"
    assert process.run(vanish) == ((42, 0), "")
    assert process.run() == ((42, 1), "")


def test_a_full_disk_is_no_failure(process):
    shutil.rmtree(process.cache)
    full = (
        "from numba.core.caching import IndexDataCacheFile\n"
        "def refuse(*_): raise OSError(28, 'No space left on device')\n"
        "IndexDataCacheFile._save_data = refuse\n"
    )
    found, errors = process.run(full)
    assert found == (42, 0)
    check_one_warning(errors)
    assert "No space left" in errors
    assert process.run() == ((42, 0), "")
