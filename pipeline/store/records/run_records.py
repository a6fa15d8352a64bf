"""The facts that a run writes: frozen dataclasses of plain data, each declared with its table. `Store.write` takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar, Protocol

from pipeline.core.metric_kinds import Better, MetricRole, Pairing
from pipeline.store.records.answer_records import Instances, InstanceValues, PredictionSet
from pipeline.store.records.columns import Int32, Sql, record_table
from pipeline.store.records.confirmation_records import ConfirmationFigure, ConfirmationLook
from pipeline.store.records.evaluation_set_records import EvaluationSetContent
from pipeline.store.records.layer_records import Change, Distribution, Finding, Layer, LayerTime
from pipeline.store.records.sensitivity_records import Allocation, Sensitivity, SensitivityTime
from pipeline.store.records.timing_records import Lint, Speedup, TimingFailure, TimingSamples

__all__ = [
    "Allocation",
    "Change",
    "ConfirmationFigure",
    "ConfirmationLook",
    "DatasetInfo",
    "Device",
    "Distribution",
    "EvaluationSetContent",
    "Finding",
    "ImportDetail",
    "Ingested",
    "InstanceValues",
    "Instances",
    "Layer",
    "LayerTime",
    "Lint",
    "Measurement",
    "Metric",
    "Model",
    "PredictionSet",
    "Record",
    "Run",
    "RunEnd",
    "Sensitivity",
    "SensitivityTime",
    "Speedup",
    "Step",
    "TimingFailure",
    "TimingSamples",
]


@record_table("run", key="run_id", recorded=False)
@dataclass(frozen=True, slots=True)
class Run:
    """One `python -m pipeline` (or one import)."""

    run_id: Annotated[str, "Identifies the run."]
    recipe: Annotated[str, "Name of the recipe, or of the imported file."]
    config: Annotated[Mapping[str, Any], "JSON: the whole configuration after overrides."]
    versions: Annotated[Mapping[str, str], "JSON: versions of Python and the libraries."]
    host: Annotated[Mapping[str, Any], "JSON: the machine."]
    git_commit: Annotated[str | None, "Commit of the working directory, if it is a git checkout."]
    started_at: Annotated[datetime, "Start, UTC."]


@record_table("run_end", key="run_id", recorded=False, run_id="run")
@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended. A run without one is running, or was killed."""

    run_id: Annotated[str, "The run that ended."]
    finished_at: Annotated[datetime, "End, UTC; there is none while it runs, or if it was killed."]
    exit_code: Annotated[Int32, "0 if every step succeeded; there is none while it runs, or if it was killed."]


@record_table("model", key="model_key")
@dataclass(frozen=True, slots=True)
class Model:
    """One distinct model. Written once, whatever the number of runs that made it."""

    model_key: Annotated[str, "Names the model by what produced it: 64 hex digits."]
    parent_key: Annotated[str | None, "The model that it was made from; NULL for a root."]
    root_key: Annotated[str, "The model at the top of its tree; its own key for a root."] = field(
        init=False, default=""
    )
    """Of the row, like `depth`: the store finds them from the parent's."""
    depth: Annotated[Int32, "Steps from the root: 0 for a root."] = field(init=False, default=0)
    name: Annotated[
        str,
        "Name of a model: path of its step in the recipe that made it first, as that is now, e.g. resnet50/int8; the id of an "
        "imported one.",
    ]
    title: Annotated[str, "Short text for people."]
    recipe: Annotated[str, "The recipe that made it first."]
    op: Annotated[str, "The operation that made it."]
    op_version: Annotated[Int32, "Version of that operation."]
    kind: Annotated[str, "Kind of that operation: base, prune, quantize, ..."]
    format: Annotated[str, "How the model is stored: torch or onnx."]
    params: Annotated[Mapping[str, Any], "JSON: every parameter of the operation, defaults included."]
    references: Annotated[
        Mapping[str, str],
        Sql(name="reference_keys"),
        "JSON: other models that parameters name (a teacher, a model to restore from), parameter -> model_key.",
    ] = field(default_factory=dict)
    notes: Annotated[Mapping[str, Any], "JSON: what the operation noted about its result."] = field(
        default_factory=dict
    )


@record_table("step", run_id="run")
@dataclass(frozen=True, slots=True)
class Step:
    """What happened to one job of a run. Also rows for steps whose model never came to be."""

    run_id: Annotated[str, "The run."]
    path: Annotated[str, "Path of the step in the recipe."]
    job: Annotated[
        str,
        "operation (makes the model), or what observes it: export, predict, evaluate (on another set), layers, activations, "
        "compare, measure, layer_times, latency (a rough one), timing (only where it failed).",
    ]
    """Name of the stage: `pipeline.engine.stage.STAGES`; or `timing`, the session at the end."""
    target: Annotated[str, "The runtime; empty for jobs that use none."] = field(default="", kw_only=True)
    model_key: Annotated[str, "The model made or observed; of a failed step, the one that would have been made."]
    parent_key: Annotated[str | None, "The model that the step starts from; NULL for a root."]
    op: Annotated[str, "The operation."]
    kind: Annotated[str, "Kind of the operation."]
    params: Annotated[Mapping[str, Any], "JSON: parameters of the operation."]
    outcome: Annotated[str, Sql(values=("done", "cached", "failed", "skipped")), "done, cached, failed or skipped."]
    seconds: Annotated[float | None, "Wall-clock time; NULL unless it ran."] = None
    cpu_seconds: Annotated[float | None, "CPU time of the process that ran it."] = None
    peak_bytes: Annotated[int | None, "Peak resident memory of the process that ran it."] = None
    error: Annotated[str | None, "Why it failed or was skipped."] = None
    traceback: Annotated[str | None, "Python traceback of a failure."] = None
    finished_at: Annotated[datetime | None, "End, UTC."] = None


@record_table("dataset", key="dataset_key", recorded=False)
@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A data set, as it was opened."""

    dataset_key: Annotated[str, "Fingerprint of the content."]
    name: Annotated[str, "Name of the data set."]
    task: Annotated[str, "What is asked of a model, by the name that recipes have for it."]
    classes: Annotated[Sequence[str], "List of class names, in the order of the outputs."]
    splits: Annotated[Mapping[str, int], "JSON: split -> number of instances."]
    entry: Annotated[Mapping[str, Any], "JSON: how to open it again."]
    """The conf/dataset entry, for people to read: results may be anybody's, so nothing opens what it says."""


@record_table("metric", known_by="metric")
@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric means. A changed definition is a new row; views show the newest."""

    metric: Annotated[str, "Name, as in measurements."]
    unit: Annotated[str, "Unit of the stored values; empty for plain numbers and shares."]
    format: Annotated[str, "Python format specification for people, e.g. .1%; the unit follows it."]
    better: Annotated[str, Sql(values=tuple(Better)), "higher, lower or neither."]
    primary: Annotated[bool, Sql(name="is_primary"), "Shown first."]
    description: Annotated[str, "One sentence."]
    role: Annotated[
        str,
        Sql(values=tuple(MetricRole)),
        "quality (of the answers), cost (of running the model), size, change (against the base) or other.",
    ]
    pairing: Annotated[
        str,
        Sql(values=tuple(Pairing)),
        "Observations that two models share: instances (see instance_values), wall_time or cpu_time (of one session, "
        "see speedups), or none.",
    ] = "none"


@record_table("device", key="device", recorded=False)
@dataclass(frozen=True, slots=True)
class Device:
    """A machine that numbers were measured on."""

    device: Annotated[str, "Short id: hash of the description."]
    description: Annotated[Mapping[str, Any], "JSON: processor, its flags, cores, versions."]


@record_table("measurement", model_key="model", run_id="run", dataset_key="dataset", metric="metric", device="device")
@dataclass(frozen=True, slots=True)
class Measurement:
    """One number."""

    model_key: Annotated[str, "The model."]
    target: Annotated[str, "The runtime; empty if the number does not depend on one."]
    device: Annotated[str, "The machine; empty if the number does not depend on one."]
    dataset_key: Annotated[str, "Fingerprint of the data set; empty if the number does not depend on one."]
    metric: Annotated[str, "The metric."]
    value: Annotated[float, "The value, in its unit."]
    low: Annotated[float | None, "Lower end of the 95 % interval, if known."]
    high: Annotated[float | None, "Upper end of the 95 % interval, if known."]
    count: Annotated[int | None, "Number of observations behind the value, if known."]
    run_id: Annotated[str, "The run that measured it."]
    measured_at: Annotated[datetime, "When, UTC."]
    evidence_key: Annotated[str, "The artifact or session that the number was computed from."]


@record_table("ingestion", key="evidence_key")
@dataclass(frozen=True, slots=True)
class Ingested:
    """All records of one evidence artifact are in the store: write it in the same call as those records."""

    evidence_key: Annotated[str, "The artifact or session."]


@record_table("import_detail", run_id="run")
@dataclass(frozen=True, slots=True)
class ImportDetail:
    """A piece of an imported file beyond models and measurements, verbatim, so that an export gives it back."""

    run_id: Annotated[str, "The import."]
    part: Annotated[str, "The part of the file that it stood in."]
    position: Annotated[Int32, "Place in that part, from 0."]
    model_key: Annotated[str | None, "The model that it is about, if it is about one."] = field(
        default=None, kw_only=True
    )
    content: Annotated[str, "JSON, as it was written."]


class Record(Protocol):
    """A record: a dataclass whose table, or tables, it declares (`columns.record_table`, `columns.set_tables`, `own_table`)."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
