"""The environment of a figure besides the model: the machine, the versions, the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.core.keys import digest
from pipeline.core.machine.accelerators import accelerators
from pipeline.core.machine.cpu_quota import cores, quota

_PACKAGES = ("bouillon", "torch", "onnx", "onnxruntime", "torch-pruning", "transformers", "numpy", "duckdb", "openvino")
_GIT_SECONDS = 10.0
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm")
"""CPU features that decide which integer and float kernels a runtime picks."""


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that make or run models."""
    result = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            result[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return result


@cache
def device() -> dict[str, Any]:
    """The machine as far as it decides speed: processor, its flags, the cores that this process may use, accelerators."""
    result = accelerators()
    return {
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "flags": [flag for flag in _FLAGS if flag in _cpu_flags()],
        "cores": cores(),
        "quota": quota(),
        "system": platform.system(),
        **({"accelerators": list(result)} if result else {}),
    }


def device_id() -> str:
    """Short name of this machine: equal machines share it."""
    return id_of(device())


def id_of(description: Mapping[str, Any]) -> str:
    """Short name of the machine that is described."""
    return digest(dict(description))[:12]


def host() -> dict[str, Any]:
    """The machine and its present state."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {**device(), "kernel": platform.release(), "load": load}


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout that `folder` is in, with `+` if files differ from it."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):  # no git, no checkout, or one that answers too slowly
        return None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True, timeout=_GIT_SECONDS
    ).stdout.strip()


@cache
def _cpu_info() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def _cpu_model() -> str:
    for line in _cpu_info().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    for line in _cpu_info().splitlines():
        if line.startswith(("flags", "Features")):
            return set(line.partition(":")[2].split())
    return set()
