"""Lints of what a model answers."""

from __future__ import annotations

from pipeline.measure.lints.api import Finding, Subject, lint
from pipeline.measure.metrics.api import METRICS, Better, MetricRole, MetricSpec, Pairing
from pipeline.measure.metrics.behaviour import (
    accuracy_drop,
    class_drop_p,
    group_drop_p,
    worst_class_drop,
    worst_group_drop,
)
from pipeline.measure.metrics.quality import invalid_outputs

_DIFFERENCE = 0.01
"""Of shares; of other figures the share of the value on the other runtime."""
_CONSTANT = 0.99
_SIGNIFICANT = 0.05
_MUCH_MORE = 0.05


@lint
def target_disagrees(subject: Subject) -> Finding | None:
    """The same model scores otherwise on another runtime."""
    for spec in _quality():
        own = subject.value(spec.name)
        for other, metrics in sorted(subject.elsewhere.items()):
            if own is None or spec.name not in metrics:
                continue
            theirs = metrics[spec.name].value
            if _loss(spec, own, theirs) > _DIFFERENCE and _beyond_noise(spec, subject, other):
                return Finding(
                    f"{spec.name} {spec.text(own)} on {subject.target} and {spec.text(theirs)} on {other}",
                    "Ship what was measured on the runtime that will run it. Compare the layers of both: an operator that "
                    "the export or the runtime's optimisation changed comes first",
                    {spec.name: own, f"{spec.name}_on_{other}": theirs},
                )
    return None


def _quality() -> list[MetricSpec]:
    """Metrics of quality, primary ones first, in which every instance counts: the worst class's differ by chance."""
    specs = [METRICS[name] for name in METRICS]
    quality = [spec for spec in specs if spec.role is MetricRole.QUALITY and spec.pairing is Pairing.INSTANCES]
    return sorted(quality, key=lambda spec: not spec.primary)


def _loss(spec: MetricSpec, own: float, theirs: float) -> float:
    """How much worse `own` is: absolute of a share, else relative; 0 without a direction."""
    if spec.better is Better.NEITHER:
        return 0.0
    worse = theirs - own if spec.better is Better.HIGHER else own - theirs
    return worse if spec.is_share else worse / abs(theirs) if theirs else 0.0


def _beyond_noise(spec: MetricSpec, subject: Subject, other: str) -> bool:
    """Whether a difference is no chance: the interval of the paired difference excludes zero.

    Where the results hold no values by instance, a share that differs by so much is told all the same.
    """
    difference = subject.differences.get((spec.name, other))
    if difference is None or difference.low is None or difference.high is None:
        return spec.is_share
    return difference.low > 0 or difference.high < 0


@lint
def a_few_pay(subject: Subject) -> Finding | None:
    """Accuracy hardly moved, but one class or group lost much more than the others, beyond chance."""
    parts = ("group", worst_group_drop, group_drop_p), ("class", worst_class_drop, class_drop_p)
    for what, worst, chance in parts:
        drop, p = subject.value(worst), subject.value(chance)
        overall = subject.value(accuracy_drop)
        if drop is None or p is None or overall is None or p >= _SIGNIFICANT:
            continue
        if drop < max(overall + _MUCH_MORE, 2 * overall):  # of a model that is lost, all pay
            continue
        all_together = f"{'lost' if overall >= 0 else 'gained'} {100 * abs(overall):.1f}"
        return Finding(
            f"One {what} lost {100 * drop:.1f} points of accuracy where all together {all_together} (p = {p:.1g}, corrected)",
            f"See Behaviours by {what}; {_remedy(subject, what)}, and put {worst.__name__} into the budget",
            {worst.__name__: drop, chance.__name__: p, accuracy_drop.__name__: overall},
        )
    return None


@lint
def constant_predictor(subject: Subject) -> Finding | None:
    """The model answers (nearly) the same to everything."""
    share, label = subject.most_frequent, subject.most_frequent_label
    if share is None or share < _CONSTANT or (label is not None and label >= _CONSTANT):
        return None
    return Finding(
        f"{share:.1%} of the instances get one and the same prediction",
        _constant_advice(subject),
        {"most_frequent_prediction": share, "most_frequent_label": label},
    )


def _remedy(subject: Subject, what: str) -> str:
    if subject.of_file:
        return "leave layers in float (`exclude`)"
    return f"prune less or fine-tune with the {what} in mind"


def _constant_advice(subject: Subject) -> str:
    """What can be done: a model that begins a tree was not compressed, and an ONNX file can only be quantized."""
    if subject.parent is None:
        return (
            "The model as it was given answers so: compare preprocessing and the order of the classes with what it was "
            "trained on, and whether its head is trained"
        )
    if subject.of_file:
        return (
            "Nothing is left of the model: leave layers in float (`exclude`), or choose another `method` of `quantize`"
        )
    return (
        "Nothing is left of the model: compress less, leave normalisation layers alone (`exclude: [norm]`), recalibrate "
        "(`calibrate`) or fine-tune"
    )


@lint
def not_a_number(subject: Subject) -> Finding | None:
    """Outputs are NaN or infinite."""
    share = subject.value(invalid_outputs)
    if not share:
        return None
    return Finding(
        f"{share:.2%} of the instances get NaN or infinity on {subject.target}",
        "Look in Layers for where it starts: float16 overflows beyond 65504, and a batch norm of zero variance divides by "
        "nothing",
        {invalid_outputs.__name__: share},
    )


@lint
def calibration_overlaps_evaluation(subject: Subject) -> Finding | None:
    """The model was calibrated on instances that it is judged by."""
    if not subject.overlap or subject.kind not in ("quantize", "calibrate"):
        return None
    return Finding(
        f"{subject.overlap:.1%} of the calibration instances also stand in the evaluation split",
        "Remove the copies from one of the two splits: the accuracy is flattered",
        {"overlap": subject.overlap},
    )
