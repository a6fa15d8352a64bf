"""The `models.json` of Apple's Compress and Compare: in, and out again without loss.

A file has `operations`, `metrics` and `models`; a model has an `id`, a `base` (its parent's id), an `operation` and
`metrics`. What the files in use do beyond that is accepted: parameters declared as a mapping or as a list of names or
not at all, undeclared operations and values, children before their parents, missing tags and formats, null metrics.

Imported models are named by the file's name and content together with their id, so two files may hold the same ids. A
metric whose unit or meaning contradicts one of the same name in the store is stored as `NAME (FILE)`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.keys import digest
from pipeline.store.interchange import exported
from pipeline.store.interchange.d3 import to_python
from pipeline.store.interchange.errors import InterchangeError
from pipeline.store.interchange.foreign import (
    ForeignExperiment,
    ForeignMetric,
    ForeignModel,
    Imported,
    import_experiment,
)
from pipeline.store.interchange.models_json import Document, number, parse_models
from pipeline.store.records.run_records import ImportDetail, Metric, Record

if TYPE_CHECKING:
    from pipeline.store.reader import Connection
    from pipeline.store.writer import Store

FORMAT = "compress-and-compare"
_SHARE = ".2%"
"""Of a metric from 0 to 1 that has neither a unit nor a format."""


def import_file(store: Store, path: Path) -> Imported:
    """Write a models.json to the store and publish it.

    Raises:
        InterchangeError: if anything is wrong with the file, naming each bad record. Nothing is imported then.
    """
    experiment, details = _read(path)
    return import_experiment(store, experiment, details)


def read(path: Path, metrics: Mapping[str, Metric] | None = None) -> list[Record]:
    """Return a models.json as records. `metrics` are the store's metrics, whose names must keep their meaning.

    Raises:
        InterchangeError: if anything is wrong with the file, naming each bad record.
    """
    experiment, details = _read(path)
    return [*experiment.records(metrics or {}), *details]


def write(db: Connection, path: Path, recipe: str | None = None) -> int:
    """Write one recipe of the results as a models.json and return the number of its models.

    An imported file comes back as it was, unless the recipe has models from elsewhere too. Without `recipe`, the results must hold only one.

    Raises:
        InterchangeError: if there is no such recipe, if `path` exists, or if it cannot be written.
    """
    document = exported.document(db, FORMAT, recipe)
    try:
        with path.open("x", encoding="utf-8") as file:
            json.dump(document, file, indent=1, ensure_ascii=False)
            file.write("\n")
    except FileExistsError:
        raise InterchangeError(f"{path} exists. Move it away, or name another file.") from None
    except OSError as error:
        raise InterchangeError(f"{path} cannot be written: {error.strerror}.") from None
    return len(document["models"])


def _read(path: Path) -> tuple[ForeignExperiment, list[Record]]:
    """The models of a file, and the file's own pieces."""
    document = parse_models(path)
    experiment = ForeignExperiment(
        format=FORMAT,
        name=path.stem,
        source=digest({"what": "import", "format": FORMAT, "name": path.stem, "content": document.fingerprint}),
        origin=path.name,
        when=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        models=[_model(model) for model in document.models],
        metrics=[_metric(name, document) for name in document.metric_names()],
        config={"file": path.name, "content": document.fingerprint},
    )
    return experiment, list(_details(document, experiment))


def _model(model: Mapping[str, Any]) -> ForeignModel:
    operation, base = model.get("operation") or {}, model.get("base")
    figures = {name: number(value) for name, value in model["metrics"].items()}
    return ForeignModel(
        id=model["id"],
        parent=base,
        operation=operation.get("name") or ("base" if base is None else "unknown"),
        params=operation.get("parameters") or {},
        figures={name: value for name, value in figures.items() if value is not None},
        title=model.get("tag") or "",
    )


def _metric(name: str, document: Document) -> ForeignMetric:
    declared = next((metric for metric in document.metrics if metric["name"] == name), {})
    unit, format_ = declared.get("unit") or "", declared.get("format")
    is_share = not unit and not format_ and (declared.get("min"), declared.get("max")) == (0, 1)
    return ForeignMetric(
        name,
        unit=unit,
        format=_SHARE if is_share else to_python(format_, document.largest(name)),
        primary=bool(declared.get("primary")),
    )


def _details(document: Document, experiment: ForeignExperiment) -> Iterator[ImportDetail]:
    """The file, piece by piece."""

    def detail(part: str, position: int, content: Any, model_key: str | None = None) -> ImportDetail:
        return ImportDetail(experiment.run, part, position, json.dumps(content), model_key=model_key)

    yield detail("file", 0, document.frame())
    for part, items in (("operations", document.operations), ("metrics", document.metrics)):
        for position, item in enumerate(items):
            yield detail(part, position, item)
    for position, model in enumerate(document.models):
        yield detail("models", position, model, experiment.key(model["id"]))
