"""The memory that there is: the machine's, or what a control group or the process is limited to."""

import math
import resource

import pytest

from tvbank.bank import limits
from tvbank.bank.limits import group_limit, memory_limit

TWO = "40 31 0:38 {top} /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
ONE = "34 31 0:32 {top} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
OTHERS = "11 32 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,memory_not\n12 1 0:1 / / rw -\n"


@pytest.fixture
def system(tmp_path):
    """Writes the files of a system below a folder, which it returns."""

    def make(groups, mounts, files):
        for path, text in {
            "proc/self/cgroup": groups, "proc/self/mountinfo": mounts, **files
        }.items():  # fmt: skip
            at = tmp_path / path
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_text(text)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"a/b/memory.max": "1000\n"}, 1000),
        ({"a/b/memory.max": "max\n", "a/memory.max": "5000\n"}, 5000),
        ({"a/b/memory.max": "9000\n", "a/memory.max": "5000\n", "memory.max": "max\n"}, 5000),
        ({"a/b/memory.max": "9000\n", "a/b/memory.high": "700\n"}, 700),
        ({"a/memory.high": "600\n", "a/b/memory.max": "max\n"}, 600),
        ({"a/b/memory.max": "max\n"}, math.inf),
        ({"a/b/memory.max": "what\n"}, math.inf),
        ({"c/memory.max": "1\n"}, math.inf),
        ({}, math.inf),
    ],
)
def test_of_version_2_the_lowest_of_all_groups_around_counts(system, files, limit):
    files = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    assert group_limit(system("0::/a/b\n", TWO.format(top="/"), files)) == limit


def test_of_version_1_too(system):
    unlimited = str(2**63 - 4096)
    files = {
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "3000\n",
        "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": unlimited,
        "sys/fs/cgroup/memory/memory.limit_in_bytes": unlimited,
    }
    groups = "11:cpu:/z\n4:cpuset,memory:/a/b\n1:name=systemd:/q\n0::/\n"
    assert group_limit(system(groups, OTHERS + ONE.format(top="/"), files)) == 3000


def test_of_both_the_lower_one_counts(system):
    files = {
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "3000\n",
        "sys/fs/cgroup/a/memory.max": "2000\n",
    }
    mounts = ONE.format(top="/") + TWO.format(top="/")
    assert group_limit(system("4:memory:/a\n0::/a\n", mounts, files)) == 2000


@pytest.mark.parametrize("group", ["/docker/abc", "/", "/../../other", "/docker/abc/../x"])
def test_in_a_container_that_sees_only_its_own_group(system, group):
    """Docker mounts the container's group where the hierarchy would be."""
    files = {"sys/fs/cgroup/memory/memory.limit_in_bytes": "4000\n"}
    made = system(f"4:memory:{group}\n", ONE.format(top="/docker/abc"), files)
    assert group_limit(made) == 4000


def test_a_mount_point_with_a_space(system):
    mounts = "40 31 0:38 / /my\\040groups rw - cgroup2 cgroup2 rw\n"
    made = system("0::/a b\n", mounts, {"my groups/a b/memory.max": "800\n"})
    assert group_limit(made) == 800


def test_a_system_without_groups(tmp_path):
    assert group_limit(tmp_path) == math.inf


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_the_limit_of_the_process_counts_where_it_is_lower(monkeypatch, kind):
    there = memory_limit()
    assert 0 < there < math.inf
    for soft, limit in ((1000, 1000), (resource.RLIM_INFINITY, there), (2**60, there)):
        monkeypatch.setattr(
            resource, "getrlimit",
            lambda asked, soft=soft: (
                (soft, soft) if asked == getattr(resource, kind) else (resource.RLIM_INFINITY,) * 2
            ),
        )  # fmt: skip
        assert memory_limit() == limit


def test_the_lowest_of_all_counts(monkeypatch):
    for name, limit in (("_machine", 5.0), ("_groups", 4.0), ("_process", 6.0)):
        monkeypatch.setattr(limits, name, lambda limit=limit: limit)
    assert memory_limit() == 4
