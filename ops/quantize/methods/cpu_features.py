"""Integer arithmetic of the CPU: it decides the types that run fast and do not saturate."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

from ops.core.operation import Processor

_CPUINFO = Path("/proc/cpuinfo")


@cache
def integer_arithmetic() -> Processor:
    """Return the types that suit this machine: U8S8 on x86 (7-bit weights where it has no VNNI), S8S8 elsewhere (ARM)."""
    if platform.machine().lower() not in {"x86_64", "amd64", "i686"}:
        return Processor("int8", reduce_range=False)
    return Processor("uint8", reduce_range=not _has_vnni())


def _has_vnni() -> bool:
    """Whether the kernel lists VNNI (Linux). Where it cannot be known, no: 7 bits are right on every CPU."""
    if not _CPUINFO.exists():
        return False
    flags = next((line for line in _CPUINFO.read_text().splitlines() if line.startswith("flags")), "")
    return not {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(flags.split())
