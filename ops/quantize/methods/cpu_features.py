"""Which integer arithmetic the CPU has: it decides the types that run fast and do not saturate."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class IntegerArithmetic:
    """What suits 8-bit products on a CPU."""

    activations: Literal["uint8", "int8"]
    reduce_range: bool
    """Weights of 7 bits: without VNNI, x86 adds pairs of 8-bit products in 16 bits, which saturates."""


@cache
def integer_arithmetic() -> IntegerArithmetic:
    """What suits this machine: U8S8 on x86 (7-bit weights where it has no VNNI), S8S8 elsewhere (ARM)."""
    if platform.machine().lower() not in {"x86_64", "amd64", "i686"}:
        return IntegerArithmetic("int8", reduce_range=False)
    return IntegerArithmetic("uint8", reduce_range=not _has_vnni())


def _has_vnni() -> bool:
    """Whether the kernel lists VNNI (Linux). Where it cannot be known, no: 7 bits are right on every CPU."""
    if not _CPUINFO.exists():
        return False
    flags = next((line for line in _CPUINFO.read_text().splitlines() if line.startswith("flags")), "")
    return not {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(flags.split())
