"""What a container may use of the machine, read off the files of control groups as text."""

import os

import pytest

from pipeline.core.machine import cpu_quota
from pipeline.core.machine.cpu_quota import parse_cfs, parse_max, quota


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("150000 100000\n", 1.5),
        ("400000 100000\n", 4.0),
        ("max 100000\n", None),
        ("max\n", None),
        ("", None),
        ("0 100000", None),
        ("100000 0", None),
        ("not a number", None),
    ],
)
def test_version_2(text, cores):
    assert parse_max(text) == cores


@pytest.mark.parametrize(
    ("limit", "period", "cores"),
    [("50000\n", "100000\n", 0.5), ("-1\n", "100000\n", None), ("200000", "", None), ("", "100000", None)],
)
def test_version_1(limit, period, cores):
    assert parse_cfs(limit, period) == cores


@pytest.fixture
def root(tmp_path):
    """Files below a root, by their paths."""

    def make(**files):
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return make


def test_the_smallest_limit_on_the_way_up_counts(root):
    made = root(**{
        "proc/self/cgroup": "0::/slice/pod/box\n",
        "sys/fs/cgroup/slice/cpu.max": "300000 100000\n",
        "sys/fs/cgroup/slice/pod/cpu.max": "200000 100000\n",
        "sys/fs/cgroup/slice/pod/box/cpu.max": "max 100000\n",
    })  # fmt: skip
    assert quota(made) == 2.0


def test_in_a_container_the_mount_is_its_group(root):
    """The path is that of the host, and not to be seen inside."""
    made = root(**{"proc/self/cgroup": "0::/docker/0123abc\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"})
    assert quota(made) == 1.5


@pytest.mark.parametrize("folder", ["cpu,cpuacct", "cpu"])
def test_version_1_is_found_under_both_names(root, folder):
    made = root(**{
        "proc/self/cgroup": "5:memory:/box\n4:cpu,cpuacct:/box\n0::/\n",
        f"sys/fs/cgroup/{folder}/box/cpu.cfs_quota_us": "250000\n",
        f"sys/fs/cgroup/{folder}/box/cpu.cfs_period_us": "100000\n",
        f"sys/fs/cgroup/{folder}/cpu.cfs_quota_us": "-1\n",
        f"sys/fs/cgroup/{folder}/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/box/cpu.max": "1 1000\n",  # of no meaning there
    })  # fmt: skip
    assert quota(made) == 2.5


def test_without_groups_there_is_no_limit(tmp_path, root):
    assert quota(tmp_path / "nothing") is None
    assert quota(root(**{"proc/self/cgroup": "0::/\n"})) is None


@pytest.mark.parametrize(("allowed", "cores"), [(None, 8), (2.0, 2), (2.9, 2), (0.4, 1), (64.0, 8)])
def test_threads_are_those_that_the_quota_carries(monkeypatch, allowed, cores):
    monkeypatch.setattr(cpu_quota, "quota", lambda: allowed)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert cpu_quota.cores() == cores
