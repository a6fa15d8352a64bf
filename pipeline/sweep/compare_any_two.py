"""Compare the layers of any two models of some results: for a base that no run compared them with.

The result is a store of its own beside the results, `results.layers.duckdb`, with the same tables and views, so that
whoever reads the one reads the other; the results themselves stay as they were published.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ops.core.operation import Format
from pipeline.core.artifacts import ArtifactStore, DamagedArtifactError
from pipeline.core.keys import Key
from pipeline.layers.compare.contrast import InstanceSets, LayerContrast
from pipeline.layers.compare.findings import find
from pipeline.layers.compare.models import changes
from pipeline.layers.tensors.tensor import LayerError
from pipeline.plan.steps import export_key
from pipeline.stages.activation_stats import ACTIVATIONS
from pipeline.stages.export import EXPORT
from pipeline.stages.layer_contrast import LayerContrastRecord, contrast_layers
from pipeline.stages.layer_sources import Sources, open_side
from pipeline.stages.tensor_stats import LAYERS
from pipeline.store.documents import json_mapping
from pipeline.store.errors import StoreError
from pipeline.store.queries.model_pair import find_model
from pipeline.store.reader import Connection, open_results
from pipeline.store.records.run_records import Change, Model, Record
from pipeline.store.writer import Store
from pipeline.sweep.open_known import open_known

__all__ = ["compare_models", "contrast_models", "evidence_in", "side_store", "workspace_of"]


def side_store(results: Path) -> Path:
    """Where comparisons on demand are kept."""
    return results.with_suffix(".layers.duckdb")


def compare_models(
    results: Path,
    model: str,
    reference: str,
    workspace: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, int]:
    """Compare all layers of `model` with those of `reference` (names, or beginnings of keys); write and publish.

    Returns the file and the number of comparisons.

    Raises:
        StoreError: if the results cannot be read, or do not know a model.
        LayerError: if a model's files are gone or damaged.
    """
    with open_results(results) as db:
        models = _Models(db)
        first, second = (Key(find_model(db, text).key) for text in (model, reference))
        artifacts = ArtifactStore(workspace_of(db, results, workspace) / "artifacts")
        evidence = evidence_in(artifacts)
        try:
            sides = [open_side(artifacts, models.sources(key, evidence)) for key in (first, second)]
        except DamagedArtifactError as error:
            raise LayerError(str(error)) from None
        records: list[Record] = [*models.lineage(first), *models.lineage(second)]
    differences: list[Change] = list(changes(*sides, progress=progress))
    here, there = (list(side.distributions.values()) for side in sides)
    records += [*differences, *find(second, here, differences, there, folds=sides[0].folds)]
    return _write(results, records), len(differences)


def contrast_models(
    results: Path,
    pair: tuple[str, str],
    sets: InstanceSets,
    workspace: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, list[LayerContrast]]:
    """Compare what the layers of two models give on one set of instances with what they give on another; write and publish.

    Both models are run on both sets: only beside results of the person's own, since models can bring code. Returns the file
    and the layers, those first that changed more on the first set.

    Args:
        results: the results file.
        pair: the model and its reference: names, or beginnings of keys.
        sets: the instances.
        workspace: where the models are; None: that of the last run.
        progress: called with how many batches are done, and their number.

    Raises:
        StoreError: if the results cannot be read, or do not know a model or the data set.
        DataError: if the data cannot be read, or models may not be run beside these results.
        LayerError: if a model's files are gone or damaged.
    """
    data = open_known(results, sets.dataset_key, runs=True)
    with open_results(results) as db:
        models = _Models(db)
        first, second = (Key(find_model(db, text).key) for text in pair)
        artifacts = ArtifactStore(workspace_of(db, results, workspace) / "artifacts")
        evidence = evidence_in(artifacts)
        sources = models.sources(first, evidence), models.sources(second, evidence)
        records: list[Record] = [*models.lineage(first), *models.lineage(second)]
    try:
        layers, counts = contrast_layers(artifacts, sources, data, sets, progress)
    except DamagedArtifactError as error:
        raise LayerError(str(error)) from None
    if not layers:
        raise LayerError("The two models have no layer in common whose outputs could be compared")
    key = sets.key(first, second)
    records += [
        LayerContrastRecord(first, second, key, **asdict(layer), instances_changed=counts[0], instances_same=counts[1])
        for layer in layers
    ]
    return _write(results, records), layers


def _write(results: Path, records: list[Record]) -> Path:
    store = Store(side_store(results))
    store.write(records)
    store.publish()
    store.close()
    return store.results


@dataclass(frozen=True, slots=True)
class _Row:
    key: Key
    parent: Key | None
    root: Key
    format: str
    record: Model


class _Models:
    """The models of some results, and where each one's evidence would be."""

    def __init__(self, db: Connection) -> None:
        query = (
            "SELECT model_key, parent_key, root_key, format, name, title, recipe, op, op_version, kind, params, "
            "reference_keys, notes FROM models"
        )
        self._rows = {Key(row[0]): _row(row) for row in db.execute(query).fetchall()}
        data = db.execute("SELECT model_key, any_value(dataset_key) FROM prediction_set GROUP BY model_key").fetchall()
        self._data = {Key(model): dataset for model, dataset in data}

    def sources(self, key: Key, evidence: Mapping[tuple[str, str], Key]) -> Sources:
        """Return the keys of a model's artifacts; `evidence` is what there is of (kind, model)."""
        origin = self._rows[key]
        while origin.format != Format.TORCH and origin.parent is not None:
            origin = self._rows[origin.parent]
        export = None
        if origin.format == Format.TORCH:
            export = evidence.get((EXPORT.name, origin.key), export_key(origin.key, EXPORT.version))
        activations = ACTIVATIONS.key_on(key, data=self._data.get(key), export=export)
        return Sources(
            model=key,
            root=self._rows[key].root,
            layers=LAYERS.key(key),
            activations=evidence.get((ACTIVATIONS.name, key), activations),
            origin=origin.key,
            export=export,
        )

    def lineage(self, key: Key) -> list[Model]:
        """Return the records of a model and its ancestors, which its facts refer to."""
        ancestors: list[Model] = []
        at: Key | None = key
        while at is not None:
            ancestors.append(self._rows[at].record)
            at = self._rows[at].parent
        return ancestors


def evidence_in(artifacts: ArtifactStore) -> dict[tuple[str, str], Key]:
    """Return (kind, model) -> key of the newest artifact: keys hold versions of libraries, which may not be those of today."""
    newest: dict[tuple[str, str], tuple[float, Key]] = {}
    for key in artifacts.keys():  # noqa: SIM118 - a store is no mapping
        with contextlib.suppress(OSError, ValueError):
            manifest = artifacts.manifest(key)
            place = (str(manifest.get("what")), str(manifest.get("model")))
            newest[place] = max(newest.get(place, (0.0, key)), (artifacts.path(key).stat().st_mtime, key))
    return {place: key for place, (_, key) in newest.items()}


def _row(row: tuple[Any, ...]) -> _Row:
    key, parent, root, form, name, title, recipe, op, version, kind, params, references, notes = row
    record = Model(
        model_key=key,
        parent_key=parent,
        name=name,
        title=title,
        recipe=recipe,
        op=op,
        op_version=version,
        kind=kind,
        format=form,
        params=json_mapping(params),
        references=json_mapping(references),
        notes=json_mapping(notes),
    )
    return _Row(Key(key), Key(parent) if parent else None, Key(root), form, record)


def workspace_of(db: Connection, results: Path, own: Path | None) -> Path:
    """Return the folder of the newest run; a relative one is looked for beside the results, then from here.

    Args:
        db: the open results.
        results: their file.
        own: a folder that the person names.

    Raises:
        StoreError: if it is gone.
    """
    if own is not None:
        return own
    rows = db.execute(
        "SELECT config->>'workspace' FROM runs WHERE config->>'workspace' IS NOT NULL ORDER BY started_at DESC LIMIT 1"
    ).fetchall()
    folder_name = Path(rows[0][0] if rows else ".bouillon").expanduser()
    for folder in (results.absolute().parent / folder_name, folder_name):
        if (folder / "artifacts").is_dir():
            return folder
    raise StoreError(
        f"The models' files are gone: there is no {results.absolute().parent / folder_name}. Name it: --workspace DIR"
    )
