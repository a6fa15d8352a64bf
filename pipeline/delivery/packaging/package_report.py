"""What a package is, for a terminal and for a program."""

from __future__ import annotations

import json

from pipeline.core.units import readable_multiple
from pipeline.delivery.choice import BestModel
from pipeline.delivery.packaging.package import Package

__all__ = ["package_json", "package_text"]


def package_text(result: Package, best: BestModel | None = None) -> str:
    """Say what is in a package, and why that model, if it was chosen."""
    size = sum(result.files.values())
    multiple = readable_multiple(size, "B")
    lines = [
        f"'{result.name}' is in {result.folder}: {len(result.files)} files, {size / multiple.divisor:.4g} {multiple.unit}. In a process "
        f"of its own it answered {result.compared} instances as the results say"
    ]
    if best is not None:
        others = f"; {best.alike} others cannot be told apart from it" if best.alike else ""
        lines.insert(0, f"The best by {best.goal}: '{best.name}'{others}")
    return "\n".join(lines)


def package_json(result: Package, best: BestModel | None = None) -> str:
    """Return that as one JSON object."""
    content = {
        "folder": str(result.folder),
        "model": {"name": result.name, "model_key": result.model_key},
        "best": None if best is None else {"goal": best.goal, "alike": best.alike},
        "files": result.files,
        "compared": result.compared,
    }
    return json.dumps(content, indent=2) + "\n"
