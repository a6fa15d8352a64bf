"""Accelerators of this machine, found without starting them: two machines that differ in their GPU are two devices."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_NVIDIA = Path("/proc/driver/nvidia/gpus")
_AMD = Path("/sys/class/kfd/kfd/topology/nodes")
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_SECONDS = 10.0


@cache
def accelerators() -> tuple[str, ...]:
    """Return the names of the GPUs that this process may use, sorted; nothing where there is none."""
    return tuple(sorted([*visible(_nvidia(), os.environ.get(_VISIBLE)), *_amd()]))


def visible(result: Sequence[tuple[str, str]], setting: str | None) -> list[str]:
    """Return the names of those (id, name) that CUDA_VISIBLE_DEVICES leaves: by number or by id, up to the first wrong one."""
    if setting is None:
        return [name for _, name in result]
    names = []
    for word in (part.strip() for part in setting.split(",")):
        matches = [name for number, (place, name) in enumerate(result) if _is_meant(word, number, place)]
        if len(matches) != 1:
            break
        names += matches
    return names


def _is_meant(word: str, number: int, place: str) -> bool:
    return word == str(number) or (word.startswith("GPU-") and place.startswith(word))


def _nvidia() -> list[tuple[str, str]]:
    """(id, name), from the driver's own files, or else from its tool."""
    results = []
    for folder in sorted(_NVIDIA.glob("*")):
        fields = _fields(folder / "information", ":")
        if "Model" in fields:
            results.append((fields.get("GPU UUID", ""), fields["Model"]))
    return results or _listed()


def _listed() -> list[tuple[str, str]]:
    """Ask `nvidia-smi`, where the driver has no such files (Windows, some containers)."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=uuid,name", "--format=csv,noheader"],
            check=True,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    rows = (line.partition(",") for line in done.stdout.splitlines() if "," in line)
    return [(uuid.strip(), name.strip()) for uuid, _, name in rows]


def _amd() -> list[str]:
    """Nodes of AMD's compute driver that have shader units; processors are nodes too."""
    results = []
    for folder in sorted(_AMD.glob("*")):
        if int(_fields(folder / "properties", " ").get("simd_count", "0") or 0) > 0:
            with contextlib.suppress(OSError):
                results.append((folder / "name").read_text().strip() or "AMD GPU")
    return results


def _fields(file: Path, separator: str) -> dict[str, str]:
    try:
        rows = [line.partition(separator) for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in rows}
