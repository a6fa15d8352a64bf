"""Models as runs of an MLflow experiment: out, one run per model with its parent, and in, runs that name a parent.

An export can be repeated: a run is found again by the model's key, and only figures that are new are written to it. Files
stay where they are: a run says where.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.registry import nearest
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.errors import reason
from pipeline.core.extras import install_command
from pipeline.core.keys import Key, digest
from pipeline.store.documents import json_mapping
from pipeline.store.interchange.errors import InterchangeError, refuse
from pipeline.store.interchange.exported import recipe_of
from pipeline.store.interchange.foreign import ForeignExperiment, ForeignModel
from pipeline.store.interchange.parents import cycles

if TYPE_CHECKING:
    from pipeline.store.reader import Connection

__all__ = ["ExportedRuns", "export_runs", "read_runs"]

_FORMAT = "mlflow"
_KEY, _STORE, _OP = "bouillon.model_key", "bouillon.store", "bouillon.op"
_PARENT, _NAME = "mlflow.parentRunId", "mlflow.runName"
_LONGEST = 500
"""Characters of a parameter: every version of the server takes so many."""
_BATCH = 100
_UNFIT = re.compile(r"[^\w\-. /]", re.ASCII)
"""Characters that names of metrics cannot have."""
_MODELS = """
SELECT model_key, name, parent_key, op, kind, params, created_at FROM models WHERE list_contains(recipes, ?) ORDER BY depth, name
"""
_FIGURES = """
SELECT model_key, metric, target, device, dataset, value, low, high, epoch_ms(measured_at) FROM measurements
WHERE model_key IN (SELECT unnest(?::VARCHAR[])) ORDER BY ALL
"""
_WORKSPACE = """
SELECT config ->> 'workspace' FROM runs WHERE recipe = ? AND config ->> 'workspace' IS NOT NULL ORDER BY started_at DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class ExportedRuns:
    """The outcome of an export."""

    experiment: str
    created: int
    updated: int
    """Runs that were there and lacked figures."""
    unchanged: int


def export_runs(db: Connection, uri: str, recipe: str | None = None, experiment: str | None = None) -> ExportedRuns:
    """Write the models of a recipe as runs of an experiment.

    Args:
        db: an open results file.
        uri: of the tracking server or its database.
        recipe: whose models; None: the only one there is.
        experiment: its name, made if there is none; None: that of the recipe.

    Raises:
        InterchangeError: if there is no such recipe, or the server cannot be reached or refuses.
    """
    name = recipe_of(db, recipe)
    experiment = experiment or name
    models = db.execute(_MODELS, [name]).fetchall()
    ((store,),) = db.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchall()
    figures = _figures(db, [row[0] for row in models])
    artifacts = _artifacts(db, name)
    counts = {"created": 0, "updated": 0, "unchanged": 0}
    with _client(uri) as client:
        place = client.get_experiment_by_name(experiment)
        number = client.create_experiment(experiment) if place is None else place.experiment_id
        present = {run.data.tags[_KEY]: run for run in _all_runs(client, number) if run.data.tags.get(_STORE) == store}
        runs = {key: run.info.run_id for key, run in present.items()}
        for key, title, parent, op, kind, params, created_at in models:
            is_new = key not in runs
            if is_new:
                tags = {_KEY: key, _STORE: store, _OP: op, "bouillon.kind": kind, "bouillon.recipe": name}
                tags |= {_PARENT: runs[parent]} if parent in runs else {}
                tags |= {"bouillon.files": str(artifacts.path(Key(key)))} if artifacts else {}
                start = int(created_at.replace(tzinfo=UTC).timestamp() * 1000)
                run = client.create_run(number, start_time=start, tags=tags, run_name=title)
                runs[key] = run.info.run_id
                _log(client, runs[key], params=_params(json_mapping(params)))
            before = {} if is_new else present[key].data.metrics
            news = [figure for figure in figures.get(key, ()) if before.get(figure[0]) != figure[1]]
            _log(client, runs[key], metrics=news)
            if is_new:
                client.set_terminated(runs[key])
            counts["created" if is_new else "updated" if news else "unchanged"] += 1
    return ExportedRuns(experiment, **counts)


def read_runs(uri: str, experiment: str) -> tuple[ForeignExperiment, list[str]]:
    """Return the runs of an experiment as models, and what the person should know.

    Runs whose parent is not in the experiment stand as roots.

    Args:
        uri: of the tracking server or its database.
        experiment: its name.

    Raises:
        InterchangeError: if there is none of that name, if it is empty, or if runs descend from themselves.
    """
    with _client(uri) as client:
        place = client.get_experiment_by_name(experiment)
        if place is None:
            names = sorted(one.name for one in client.search_experiments())
            raise InterchangeError(
                f"{uri} has no experiment '{experiment}'.{nearest(experiment, names)} Known: {', '.join(names)}"
            )
        runs = list(_all_runs(client, place.experiment_id))
    if not runs:
        raise InterchangeError(f"The experiment '{experiment}' of {uri} has no runs: nothing to import.")
    named = {run.info.run_id: run.data.tags.get(_PARENT) for run in runs}
    parents = {run: parent if parent in named else None for run, parent in named.items()}
    circles = list(cycles(parents))
    if circles:
        raise refuse(Path(experiment), circles)
    lost = sum(parent is not None and parent not in named for parent in named.values())
    models = [_model(run, parents[run.info.run_id]) for run in runs]
    content = [[model.id, model.parent, dict(model.params), dict(model.figures)] for model in models]
    read = ForeignExperiment(
        format=_FORMAT,
        name=experiment,
        source=digest({"what": "import", "format": _FORMAT, "uri": uri, "name": experiment, "content": content}),
        origin=experiment,
        when=datetime.fromtimestamp(max(run.info.start_time or 0 for run in runs) / 1000, UTC),
        models=models,
        config={"experiment": experiment},
    )
    return read, [f"{lost} of its runs name a parent elsewhere: they stand as roots"] if lost else []


def _model(run: Any, parent: str | None) -> ForeignModel:
    tags = run.data.tags
    return ForeignModel(
        id=run.info.run_id,
        parent=parent,
        operation=tags.get(_OP) or ("base" if parent is None else run.info.run_name or "unknown"),
        params=dict(sorted(run.data.params.items())),
        figures={name: value for name, value in sorted(run.data.metrics.items()) if math.isfinite(value)},
        name=tags.get(_NAME) or run.info.run_name or run.info.run_id,
    )


def _figures(db: Connection, models: Sequence[str]) -> dict[str, list[tuple[str, float, int]]]:
    """Model -> (name, value, milliseconds since 1970), with the ends of intervals as metrics of their own.

    A figure that depends on target, machine or data names them as far as the models have several.
    """
    rows = db.execute(_FIGURES, [models]).fetchall()
    several = [len({row[at] for row in rows} - {None}) > 1 for at in (2, 3, 4)]
    figures: dict[str, dict[str, tuple[str, float, int]]] = defaultdict(dict)
    for key, metric, *place, value, low, high, when in rows:
        parts = [part for part, is_needed in zip(place, several, strict=True) if is_needed and part]
        name = _UNFIT.sub("_", "/".join([*parts, metric]))
        ends = {name: value, f"{name}_low": low, f"{name}_high": high}
        for one, end in ends.items():
            if end is not None and math.isfinite(end):
                figures[key].setdefault(one, (one, end, when))
    return {key: list(own.values()) for key, own in figures.items()}


def _artifacts(db: Connection, recipe: str) -> ArtifactStore | None:
    rows = db.execute(_WORKSPACE, [recipe]).fetchall()
    return ArtifactStore(Path(rows[0][0]) / "artifacts") if rows else None


def _params(params: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}
    return {_UNFIT.sub("_", name): text[:_LONGEST] for name, text in texts.items()}


def _log(
    client: Any, run: str, *, metrics: Sequence[tuple[str, float, int]] = (), params: Mapping[str, str] | None = None
) -> None:
    from mlflow.entities import Metric, Param

    for start in range(0, len(metrics), _BATCH):
        batch = [Metric(name, value, when, 0) for name, value, when in metrics[start : start + _BATCH]]
        client.log_batch(run, metrics=batch)
    if params:
        client.log_batch(run, params=[Param(name, value) for name, value in params.items()])


def _all_runs(client: Any, experiment: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment], order_by=["attributes.start_time ASC"], page_token=token)
        yield from page
        token = page.token
        if not token:
            return


@contextmanager
def _client(uri: str) -> Iterator[Any]:
    """A client of a tracking server; what it raises becomes one line.

    Raises:
        InterchangeError: without the extra `mlflow`, or where the server cannot be reached or refuses.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # a wrong address is told at once
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise InterchangeError(f"This needs the package mlflow-skinny. Try: {install_command('mlflow')}") from None
    try:
        yield MlflowClient(tracking_uri=uri)
    except (MlflowException, OSError) as error:
        raise InterchangeError(f"{uri}: {reason(error)}") from None
