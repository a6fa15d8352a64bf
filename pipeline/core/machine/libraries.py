"""Releases of libraries: those that are part of keys, and why.

A release is in the key of a result where the library's own code decides what comes out:

- `torch`, `onnx` and `onnxscript` decide the graph of an export, and with it sizes and speeds;
- `onnxruntime` decides what its quantizer writes; `torch-pruning` decides which channels go together (declared by the
  operations themselves with `libraries=`);
- a runtime's full version is in the keys of what is observed with it: predictions and times;
- `timm` decides which weights `weights: pretrained` means.

It is not where a new release gives the same result but for the last bits, as another processor does: training, pruning,
evidence about weights. There the versions are recorded with the run and the artifact. Otherwise every update would throw
away days of training that are as right as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata

EXPORTER = ("torch", "onnx", "onnxscript")
_PARTS = 2  # of a version: a release is `2.13`, whatever its repairs are


def releases(names: Iterable[str], installed: Mapping[str, str]) -> dict[str, str]:
    """Return the releases of those distributions that are known."""
    return {name: installed[name] for name in names if name in installed}


@cache
def version(name: str) -> str | None:
    """Return the full version of an installed distribution; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def release(name: str) -> str | None:
    """Return the first two numbers of an installed distribution's version."""
    full = version(name)
    return None if full is None else ".".join(full.partition("+")[0].split(".")[:_PARTS])


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return the releases of those distributions that are installed."""
    return {name: result for name in names if (result := release(name)) is not None}
