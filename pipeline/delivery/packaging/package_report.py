"""What a package is, for a terminal and for a program."""

from __future__ import annotations

import json

from pipeline.core.units import readable_multiple
from pipeline.delivery.choice import BestModel
from pipeline.delivery.packaging.package import Package

__all__ = ["package_json", "package_text"]


def package_text(made: Package, best: BestModel | None = None) -> str:
    """Say what is in a package, and why that model, if it was chosen."""
    size = sum(made.files.values())
    multiple = readable_multiple(size, "B")
    lines = [
        f"'{made.name}' is in {made.folder}: {len(made.files)} files, {size / multiple.divisor:.4g} {multiple.unit}. In a process "
        f"of its own it answered {made.compared} instances as the results say"
    ]
    if best is not None:
        others = f"; {best.alike} others cannot be told apart from it" if best.alike else ""
        lines.insert(0, f"The best by {best.goal}: '{best.name}'{others}")
    return "\n".join(lines)


def package_json(made: Package, best: BestModel | None = None) -> str:
    """Return that as one JSON object."""
    content = {
        "folder": str(made.folder),
        "model": {"name": made.name, "model_key": made.model_key},
        "best": None if best is None else {"goal": best.goal, "alike": best.alike},
        "files": made.files,
        "compared": made.compared,
    }
    return json.dumps(content, indent=2) + "\n"
