"""The CPU quota of this process's control group: a container sees all cores, but may not use them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

_MOUNT = "sys/fs/cgroup"
_UNIFIED = ""  # what stands for the controllers in a line of version 2


@cache
def quota(root: Path = Path("/")) -> float | None:
    """Cores that the group and those around it allow at the most; None without a limit. Read once per process.

    `root` is where `proc` and `sys` are.
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text()
    except OSError:
        return None
    limits = [limit for folder in _folders(memberships, root / _MOUNT) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def parse_max(text: str) -> float | None:
    """Cores that a `cpu.max` of version 2 allows ("150000 100000": 1.5); None for "max" and for what is no such text."""
    limit, _, period = text.strip().partition(" ")
    return _ratio(limit, period)


def parse_cfs(quota_us: str, period_us: str) -> float | None:
    """Cores that version 1 allows by `cpu.cfs_quota_us` and `cpu.cfs_period_us`; None for -1, no limit."""
    return _ratio(quota_us.strip(), period_us.strip())


def _ratio(limit: str, period: str) -> float | None:
    if not limit.isdecimal() or not period.isdecimal() or not int(limit) or not int(period):
        return None
    return int(limit) / int(period)


def _folders(memberships: str, mount: Path) -> Iterator[Path]:
    """Folders of the group and of those around it, in both versions.

    Within a container the path may be that of the host, which is not to be seen there: the mount itself is then the
    container's group.
    """
    for line in memberships.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == _UNIFIED:
            bases = [mount, mount / "unified"]
        elif "cpu" in controllers.split(","):
            bases = [mount / controllers, mount / "cpu"]
        else:
            continue
        inside = PurePosixPath(path.lstrip("/"))
        for base in bases:
            yield from (base / part for part in (inside, *inside.parents))


def _limit(folder: Path) -> float | None:
    limit = parse_max(_read(folder / "cpu.max"))
    return (
        parse_cfs(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")) if limit is None else limit
    )


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def cores() -> int:
    """Cores that this process may use: those that it may run on, and no more than its control group's quota carries.

    Of a quota of 2.5 cores two are used: a third thread would be stopped half of the time, and all wait for it.
    """
    visible = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = quota()
    return visible if allowed is None else max(1, min(visible, math.floor(allowed)))
