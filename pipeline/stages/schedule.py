"""From a plan to jobs: the operations, and the evidence that every model in the tree gets.

Timings are taken elsewhere: a rough one early (`early`), the real ones by a session at the end (`timing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ops.core.operation import Format, Kind
from pipeline.core.keys import Key, evidence_key
from pipeline.core.machine.libraries import releases
from pipeline.core.versions import (
    ACTIVATIONS_VERSION,
    COMPARE_VERSION,
    LAYERS_VERSION,
    MEASURE_VERSION,
    PREDICT_VERSION,
    TIMES_VERSION,
    TIMING_VERSION,
)
from pipeline.engine.jobs import Job, What
from pipeline.plan.steps import Plan, Step
from pipeline.stages.layer_sources import Sources

_LOSSY = (Kind.PRUNE, Kind.QUANTIZE, Kind.FACTORIZE, Kind.CLUSTER)
"""Operations that take something away, so that leaving a layer out is a remedy."""


def jobs_of(plan: Plan, *, targets: Mapping[str, Mapping[str, Any]], metrics: tuple[str, ...]) -> list[Job]:
    """Return every job of the plan; a job comes after all that it needs.

    `targets` are the conf/target entries of the recipe's targets, `metrics` the names of the registered metrics: a new
    metric is computed from evidence that exists, and reruns no operation.
    """
    jobs: dict[Key, Job] = {}
    steps = plan.by_key()
    sources = _SourcesByKey(plan, steps)
    for step in plan.steps:
        for job in (*_model_jobs(step, plan), *_evidence_jobs(step, steps, plan, targets, metrics, sources=sources)):
            jobs.setdefault(job.key, job)
    return list(jobs.values())


def _model_jobs(step: Step, plan: Plan) -> Iterator[Job]:
    source = step.export or step.parent
    yield Job(
        key=step.key,
        what=What.OPERATION,
        path=step.path,
        model=step.key,
        needs=tuple(dict.fromkeys([*([source] if source else []), *step.references.values()])),
        details={
            "op": step.op,
            "version": step.version,
            "params": dict(step.params),
            "seed": step.seed,
            "source": source,
            "references": {str(step.params[name]): key for name, key in step.references.items()},
            "interface": dict(plan.facts.interface),
            "code": plan.facts.code.get(step.op),
            # all others wait for the root of a single tree; whether it is alone must not depend on who is done first
            "alone": all(other.root == step.key for other in plan.steps),
        },
    )
    if step.format is Format.TORCH:
        yield Job(plan.facts.export_key(step.key), What.EXPORT, step.path, step.key, (step.key,))


def _evidence_jobs(
    step: Step,
    steps: Mapping[Key, Step],
    plan: Plan,
    targets: Mapping[str, Mapping[str, Any]],
    metrics: tuple[str, ...],
    *,
    sources: _SourcesByKey,
) -> Iterator[Job]:
    layers = Job(sources[step.key].layers, What.LAYERS, step.path, step.key, (step.key,))
    yield layers
    yield from _comparison_jobs(step, sources)
    for name in plan.recipe.targets:
        predict = predict_job(step, name, plan, targets)
        if predict is None:
            continue
        yield predict
        if name in plan.facts.profilers:
            yield _times_job(predict, targets[name], plan)
        base = predict_job(steps[step.root], name, plan, targets)
        deployed = plan.facts.export_key(step.key) if step.format is Format.TORCH else step.key
        evidence = {"predictions": predict.key, "layers": layers.key, "file": deployed}
        evidence |= {"base": base.key} if base and base.key != predict.key else {}
        yield Job(
            key=evidence_key(
                "measures", version=MEASURE_VERSION, model=step.key, evidence=evidence, metrics=sorted(metrics)
            ),
            what=What.MEASURE,
            path=step.path,
            model=step.key,
            needs=tuple(dict.fromkeys(evidence.values())),
            details={"target": name, "metrics": sorted(metrics), **evidence},
        )


def _times_job(predict: Job, target: Mapping[str, Any], plan: Plan) -> Job:
    """Where the time goes of what `predict` runs, on this machine."""
    source = predict.details["source"]
    key = evidence_key(
        "layer_times", version=TIMES_VERSION, model=predict.model, source=source, target=dict(target),
        data=plan.facts.data_fingerprint, **_place(predict.details["target"], plan),
    )  # fmt: skip
    return Job(key, What.LAYER_TIMES, predict.path, predict.model, (source,), predict.details)


class _SourcesByKey(dict[Key, Sources]):
    """Where the layers of each model are known from; each is worked out once, for many models are compared with one."""

    def __init__(self, plan: Plan, steps: Mapping[Key, Step]) -> None:
        self._plan, self._steps = plan, steps

    def __missing__(self, key: Key) -> Sources:
        self[key] = _sources(self._steps[key], self._steps, self._plan)
        return self[key]


def _comparison_jobs(step: Step, known: _SourcesByKey) -> Iterator[Job]:
    """What the layers give, and how they differ from those of the parent and the root."""
    sources = known[step.key]
    files = (step.key, step.root, sources.origin, *([sources.export] if sources.export else []))
    yield Job(
        key=sources.activations,
        what=What.ACTIVATIONS,
        path=step.path,
        model=step.key,
        needs=tuple(dict.fromkeys(files)),
        details={"sources": sources.plain()},
    )
    relatives = dict.fromkeys(key for key in (step.parent, step.root) if key is not None and key != step.key)
    references = [known[key] for key in relatives]
    everything = [key for each in (sources, *references) for key in (each.model, each.layers, each.activations)]
    yield Job(
        key=evidence_key("compare", version=COMPARE_VERSION, model=step.key, evidence=everything),
        what=What.COMPARE,
        path=step.path,
        model=step.key,
        needs=tuple(dict.fromkeys([*files, *everything])),
        details={
            "op": step.op if step.kind in _LOSSY else "",
            "parent": step.parent,
            "sources": sources.plain(),
            "references": [reference.plain() for reference in references],
        },
    )


def _sources(step: Step, steps: Mapping[Key, Step], plan: Plan) -> Sources:
    origin = step
    while origin.format is not Format.TORCH and origin.parent is not None:
        origin = steps[origin.parent]
    export = plan.facts.export_key(origin.key) if origin.format is Format.TORCH else None
    return Sources(
        model=step.key,
        root=step.root,
        layers=evidence_key("layers", version=LAYERS_VERSION, model=step.key),
        activations=evidence_key(
            "activations",
            version=ACTIVATIONS_VERSION,
            model=step.key,
            data=plan.facts.data_fingerprint,
            export=export,
            **(_integer_arithmetic(plan) if step.format is Format.ONNX else {}),
        ),
        origin=origin.key,
        export=export,
    )


def predict_job(step: Step, target: str, plan: Plan, targets: Mapping[str, Mapping[str, Any]]) -> Job | None:
    """The job that runs a model on a target; None where the target cannot open that kind of model."""
    accepts = plan.facts.accepts[target]
    if accepts is Format.TORCH and step.format is Format.ONNX:
        return None
    exported = accepts is Format.ONNX and step.format is Format.TORCH
    source = plan.facts.export_key(step.key) if exported else step.key
    key = evidence_key(
        "predictions", version=PREDICT_VERSION, model=step.key, source=source, target=dict(targets[target]),
        data=plan.facts.data_fingerprint, **_place(target, plan),
    )  # fmt: skip
    return Job(key, What.PREDICT, step.path, step.key, (source,), {"target": target, "source": source})


def _integer_arithmetic(plan: Plan) -> dict[str, Any]:
    """The runtime and the processor as far as they decide what integer kernels give, which may saturate."""
    processor = plan.facts.processor
    return {
        "libraries": releases(("onnxruntime",), plan.facts.libraries),
        "device": f"{processor.activations} {'without' if processor.reduce_range else 'with'} VNNI",
    }


def _place(target: str, plan: Plan) -> dict[str, Any]:
    """The runtime and the machine: with others, kernels and so answers and times differ."""
    return {"runtime": dict(plan.facts.runtimes.get(target, {})), "device": plan.facts.device}


def timing_key(
    model: Key,
    *,
    source: Key,
    target: Mapping[str, Any],
    preset: Mapping[str, Any],
    device: str,
    data: str,
    runtime: Mapping[str, str] | None = None,
) -> Key:
    """Key of a model's timings.

    Args:
        model: the model.
        source: what is run: its export, or itself.
        target: the conf/target entry.
        preset: the whole conf/bench entry.
        device: short name of the machine.
        data: fingerprint of the data set, whose instances are run.
        runtime: versions of what runs it.
    """
    return evidence_key(
        "timing", version=TIMING_VERSION, model=model, source=source, target=dict(target), preset=dict(preset),
        device=device, data=data, runtime=dict(runtime or {}),
    )  # fmt: skip
