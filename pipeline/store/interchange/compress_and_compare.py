"""The `models.json` of Apple's Compress and Compare: in, and out again without loss.

A file has `operations`, `metrics` and `models`; a model has an `id`, a `base` (its parent's id), an `operation` and
`metrics`. What the files in use do beyond that is accepted: parameters declared as a mapping or as a list of names or
not at all, undeclared operations and values, children before their parents, missing tags and formats, null metrics.

Imported models are named by the file's name and content together with their id, so two files may hold the same ids. A
metric whose unit or meaning contradicts one of the same name in the store is stored as `NAME (FILE)`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.keys import digest
from pipeline.store.interchange import exported
from pipeline.store.interchange.d3 import to_python
from pipeline.store.interchange.errors import InterchangeError
from pipeline.store.interchange.guess import better_of, operation_kind, role_of
from pipeline.store.interchange.models_json import Document, number, parse_models
from pipeline.store.records.run_records import ImportDetail, Ingested, Measurement, Metric, Model, Record, Run, RunEnd

if TYPE_CHECKING:
    from pipeline.store.reader import Connection
    from pipeline.store.writer import Store

FORMAT = "compress-and-compare"


@dataclass(frozen=True, slots=True)
class Imported:
    """The outcome of an import."""

    recipe: str
    models: int
    measurements: int
    is_repeated: bool
    """The same file had been imported before: nothing was changed."""


def import_file(store: Store, path: Path) -> Imported:
    """Write a models.json to the store and publish it.

    Raises:
        InterchangeError: if anything is wrong with the file, naming each bad record. Nothing is imported then.
    """
    records = read(path, store.metrics())
    models = sum(isinstance(record, Model) for record in records)
    measurements = sum(isinstance(record, Measurement) for record in records)
    imported = any(isinstance(record, Ingested) and record.evidence_key in store.ingested() for record in records)
    if not imported:
        store.write(records)
    store.publish()
    return Imported(path.stem, models, measurements, imported)


def read(path: Path, metrics: Mapping[str, Metric] | None = None) -> list[Record]:
    """Return a models.json as records. `metrics` are the store's metrics, whose names must keep their meaning.

    Raises:
        InterchangeError: if anything is wrong with the file, naming each bad record.
    """
    document = parse_models(path)
    source = digest({"what": "import", "format": FORMAT, "name": path.stem, "content": document.fingerprint})
    return list(_Import(path, document, source, metrics or {}).records())


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


class _Import:
    """One file on its way to records."""

    def __init__(self, path: Path, document: Document, source: str, defined: Mapping[str, Metric]) -> None:
        self._path, self._document, self._source = path, document, source
        self._defined = defined
        self._when = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        self._run = f"import-{source[:16]}"
        declared = {metric["name"]: metric for metric in document.metrics}
        self._metrics = {name: self._metric(name, declared.get(name, {}), defined) for name in document.metric_names()}

    def records(self) -> Iterable[Record]:
        """All of them, in no particular order."""
        config = {"import": FORMAT, "file": self._path.name, "content": self._document.fingerprint}
        yield Run(self._run, self._path.stem, config, {}, {}, None, self._when)
        yield from (metric for metric in self._metrics.values() if metric not in self._defined.values())
        for model in self._document.models:
            yield self._model(model)
            yield from self._measurements(model)
        yield from self._details()
        yield Ingested(self._source)
        yield RunEnd(self._run, self._when, 0)

    def _key(self, model_id: str) -> str:
        return digest({"what": "imported model", "source": self._source, "id": model_id})

    def _model(self, model: Mapping[str, Any]) -> Model:
        operation, base = model.get("operation") or {}, model.get("base")
        name = operation.get("name") or ("base" if base is None else "unknown")
        return Model(
            model_key=self._key(model["id"]),
            parent_key=None if base is None else self._key(base),
            name=model["id"],
            title=model.get("tag") or "",
            recipe=self._path.stem,
            op=name,
            op_version=0,
            kind=operation_kind(name, is_root=base is None),
            format="",
            params=operation.get("parameters") or {},
        )

    def _measurements(self, model: Mapping[str, Any]) -> Iterable[Measurement]:
        for name, value in model["metrics"].items():
            measured = number(value)
            if measured is not None:
                yield Measurement(
                    model_key=self._key(model["id"]),
                    target="",
                    device="",
                    dataset_key="",
                    metric=self._metrics[name].metric,
                    value=measured,
                    low=None,
                    high=None,
                    count=None,
                    run_id=self._run,
                    measured_at=self._when,
                    evidence_key=self._source,
                )

    def _metric(self, name: str, declared: Mapping[str, Any], defined: Mapping[str, Metric]) -> Metric:
        """The store's own definition if it means the same."""
        unit, better = declared.get("unit") or "", better_of(name)
        same = defined.get(name)
        if same is not None and (same.unit, same.better) == (unit, better):
            return same
        return Metric(
            metric=name if same is None else f"{name} ({self._path.stem})",
            unit=unit,
            format=to_python(declared.get("format"), self._document.largest(name)),
            better=better,
            primary=bool(declared.get("primary")),
            description=f"{name}, as imported from {self._path.name}",
            role=role_of(name),
        )

    def _details(self) -> Iterable[ImportDetail]:
        document = self._document
        yield self._detail("file", 0, document.frame())
        for part, items in (("operations", document.operations), ("metrics", document.metrics)):
            for position, item in enumerate(items):
                yield self._detail(part, position, item)
        for position, model in enumerate(document.models):
            yield self._detail("models", position, model, self._key(model["id"]))

    def _detail(self, part: str, position: int, content: Any, model_key: str | None = None) -> ImportDetail:
        return ImportDetail(self._run, part, position, json.dumps(content), model_key)
