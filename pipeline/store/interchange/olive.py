"""The run history of Microsoft Olive: a `footprint.json`, as its engine writes it beside the models of a run.

It maps the id of a model to its parent, the pass that made it (`from_pass`), that pass's configuration and the metrics:
name -> value, and whether higher is better (olive/engine/footprint.py of Olive 0.13).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.core.text import show
from pipeline.core.keys import digest
from pipeline.core.metric_kinds import Better
from pipeline.store.interchange.errors import InterchangeError, refuse
from pipeline.store.interchange.foreign import ForeignExperiment, ForeignMetric, ForeignModel
from pipeline.store.interchange.json_document import read_document
from pipeline.store.interchange.parents import family_problems

__all__ = ["read_footprint"]

_FORMAT = "olive"
_FILE = "footprint.json"


def read_footprint(path: Path) -> ForeignExperiment:
    """Read a run history, or the one that lies in a folder.

    Raises:
        InterchangeError: if anything is wrong with it, naming each bad model.
    """
    file = _file_of(path)
    raw = read_document(file)
    problems = list(_problems(raw))
    if problems:
        raise refuse(file, problems)
    nodes: Mapping[str, Mapping[str, Any]] = raw
    name = file.parent.resolve().name if file.name == _FILE else file.stem
    metrics: dict[str, ForeignMetric] = {}
    for node in nodes.values():
        for metric, value in _values(node).items():
            better = value.get("higher_is_better")
            direction = "" if better is None else Better.HIGHER if better else Better.LOWER
            metrics.setdefault(metric, ForeignMetric(metric, better=direction))
    return ForeignExperiment(
        format=_FORMAT,
        name=name,
        source=digest({"what": "import", "format": _FORMAT, "name": name, "content": raw}),
        origin=file.name,
        when=datetime.fromtimestamp(file.stat().st_mtime, UTC),
        models=[_model(model, node) for model, node in nodes.items()],
        metrics=list(metrics.values()),
        config={"file": file.name},
    )


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    files = sorted(path.rglob(_FILE))
    if len(files) != 1:
        found = f"there are {len(files)}: {', '.join(str(file) for file in files[:5])}" if files else "there is none"
        raise InterchangeError(f"{path} should hold one {_FILE}, and {found}. Name the file.")
    return files[0]


def _problems(raw: Any) -> Iterator[str]:
    if not isinstance(raw, Mapping) or not raw:
        yield f"the file is {show(raw)}; a footprint maps models to what made them"
        return
    parents: dict[str, str | None] = {}
    for model, node in raw.items():
        if not isinstance(node, Mapping) or "from_pass" not in node:
            yield f"'{model}': expected an object with from_pass, parent_model_id and metrics, got {show(node)}"
            return
        parents[model] = node.get("parent_model_id")
        for metric, value in _values(node).items():
            if isinstance(value.get("value"), bool) or not isinstance(value.get("value"), int | float):
                yield f"'{model}': {metric} has the value {show(value.get('value'))}, which is no number"
    yield from family_problems(parents)


def _values(node: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Metric -> its value and direction; older versions have bare numbers."""
    metrics = node.get("metrics")
    values = metrics.get("value") if isinstance(metrics, Mapping) else None
    pairs = values.items() if isinstance(values, Mapping) else ()
    return {name: value if isinstance(value, Mapping) else {"value": value} for name, value in pairs}


def _model(model: str, node: Mapping[str, Any]) -> ForeignModel:
    parent, operation = node.get("parent_model_id"), node.get("from_pass")
    figures = {name: float(value["value"]) for name, value in _values(node).items()}
    return ForeignModel(
        id=model,
        parent=parent,
        operation=operation or ("base" if parent is None else "unknown"),
        params=node.get("pass_run_config") or {},
        figures={name: value for name, value in figures.items() if math.isfinite(value)},
    )
