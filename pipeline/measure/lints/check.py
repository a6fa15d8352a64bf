"""Apply every lint to what the store holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from pipeline.core.errors import blame
from pipeline.core.statistics import CONFIDENCE
from pipeline.measure.lints.api import LINTS, Measured, Subject, SubjectSpeedup, SubjectTiming
from pipeline.measure.uncertain_values import Differences, paired_difference
from pipeline.store.documents import json_mapping
from pipeline.store.records.run_records import Lint

Rows = Sequence[Mapping[str, Any]]
_STATED = "single_stream"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Rows of the views of the same name, of one machine and one data set."""

    models: Rows
    measurements: Rows
    timings: Rows
    speedups: Rows
    answers: Rows
    """(model_key, target, most_frequent, most_frequent_label)."""
    differences: Rows = ()
    """(model_key, metric, is_share, target, other) and the fields of `Differences`: values by instance on a target less
    those on another."""


def run_lints(
    evidence: Evidence,
    *,
    run_id: str,
    at: datetime,
    overlap: float | None = None,
    failed: dict[str, str] | None = None,
) -> list[Lint]:
    """Return a fact per finding, and one without a lint per model without any.

    Args:
        evidence: what was measured of the models.
        run_id: the run that finds it.
        at: when.
        overlap: the share of the calibration instances that also stand in the evaluation split, 0 to 1; None: not known.
        failed: receives name -> reason of the lints that raise, and the others go on; without it they end the check.
    """
    subjects = subjects_of(evidence, overlap)
    findings: list[Lint] = []
    for subject in subjects:
        place = subject.model_key, subject.target
        for name in LINTS:
            try:
                result = LINTS[name](subject)
                if result is not None:
                    texts = result.message, result.advice, result.evidence
                    findings.append(Lint(place[0], name, place[1], *texts, run_id, at))
            except Exception as error:  # boundary: a lint of the user's may raise anything
                if failed is None:
                    raise
                failed.setdefault(name, f"{blame(error)}, at '{subject.name}' on {subject.target}")
    odd = {finding.model_key for finding in findings}
    fine = sorted({subject.model_key for subject in subjects} - odd)
    return findings + [Lint(key, "", "", "", "", {}, run_id, at) for key in fine]


def subjects_of(evidence: Evidence, overlap: float | None = None) -> list[Subject]:
    """Join the rows: one subject per model and target that it was measured on.

    Its ancestors are those of the recipe, whether they were measured there or not.
    """
    metrics = _metrics(evidence.measurements)
    timings: dict[tuple[str, str], list[SubjectTiming]] = defaultdict(list)
    for row in evidence.timings:
        timings[row["model_key"], row["target"]].append(
            SubjectTiming(**{f.name: row[f.name] for f in fields(SubjectTiming)})
        )
    answers = {(row["model_key"], row["target"]): row for row in evidence.answers}
    speedups, differences = _speedups(evidence.speedups), _differences(evidence.differences)
    targets = sorted({target for own in metrics.values() for target in own} - {""})
    subjects: dict[tuple[str, str], Subject] = {}
    for model in evidence.models:
        own = metrics.get(model["model_key"], {})
        for target in targets:
            place = model["model_key"], target
            answered = answers.get(place, {})
            subjects[place] = Subject(
                model_key=model["model_key"],
                name=model["name"],
                op=model["op"],
                kind=model["kind"],
                params=_mapping(model["params"]),
                notes=_mapping(model.get("notes") or {}),
                target=target,
                metrics={**own.get("", {}), **own.get(target, {})},
                timings=tuple(timings[place]),
                speedups=speedups.get(place, {}),
                elsewhere={other: result for other, result in own.items() if other not in ("", target)},
                differences=differences.get(place, {}),
                most_frequent=answered.get("most_frequent"),
                most_frequent_label=answered.get("most_frequent_label"),
                overlap=overlap,
            )
    measured = {place: subject for place, subject in subjects.items() if place[1] in metrics.get(place[0], {})}
    parents = {model["model_key"]: model["parent_key"] for model in evidence.models}
    for (key, target), subject in subjects.items():
        subject.parent = subjects.get((parents[key] or "", target))
    _relate_siblings(measured, parents)
    return list(measured.values())


def _relate_siblings(subjects: Mapping[tuple[str, str], Subject], parents: Mapping[str, str | None]) -> None:
    families: dict[tuple[str | None, str, str], list[Subject]] = defaultdict(list)
    for (key, target), subject in subjects.items():
        families[parents[key], subject.op, target].append(subject)
    for family in families.values():
        for subject in family:
            subject.siblings = tuple(other for other in family if other is not subject)


def _metrics(rows: Rows) -> dict[str, dict[str, dict[str, Measured]]]:
    """Model key -> target (empty: none) -> metric -> value."""
    metrics: dict[str, dict[str, dict[str, Measured]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        metrics[row["model_key"]][row["target"] or ""][row["metric"]] = Measured(row["value"], row["low"], row["high"])
    return metrics


def _speedups(rows: Rows) -> dict[tuple[str, str], dict[str, SubjectSpeedup]]:
    """Single stream on the fewest threads, by CPU time where there is any."""
    result: dict[tuple[str, str], dict[str, SubjectSpeedup]] = defaultdict(dict)
    stated = [row for row in rows if row["scenario"] == _STATED and row["relation"] in ("base", "parent")]
    # the last one written stays: fewest threads, CPU time before wall-clock time
    for row in sorted(stated, key=lambda row: (-row["threads"], row["clock"] == "cpu")):
        result[row["model_key"], row["target"]][row["relation"]] = SubjectSpeedup(
            **{f.name: row[f.name] for f in fields(SubjectSpeedup)}
        )
    return result


def _differences(rows: Rows) -> dict[tuple[str, str], dict[tuple[str, str], Measured]]:
    """(model key, target) -> (metric, other target) -> mean difference by instance."""
    result: dict[tuple[str, str], dict[tuple[str, str], Measured]] = defaultdict(dict)
    for row in rows:
        values = Differences(**{f.name: row[f.name] for f in fields(Differences)})
        estimate = paired_difference(values, is_share=row["is_share"])
        if estimate is not None:
            interval = estimate.interval(CONFIDENCE)
            difference = Measured(interval.value, interval.low, interval.high)
            result[row["model_key"], row["target"]][row["metric"], row["other"]] = difference
    return result


def _mapping(document: Any) -> Mapping[str, Any]:
    mapping: Mapping[str, Any] = json_mapping(document) if isinstance(document, str) else document
    return mapping
