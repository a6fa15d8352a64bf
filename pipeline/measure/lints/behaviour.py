"""Lints of what a model answers."""

from __future__ import annotations

from pipeline.measure.lints.api import Finding, Subject, lint

_QUALITY = ("accuracy", "f1")
_DIFFERENCE = 0.01
_CONSTANT = 0.99
_SIGNIFICANT = 0.05
_MUCH_MORE = 0.05


@lint
def target_disagrees(subject: Subject) -> Finding | None:
    """The same model scores otherwise on another runtime."""
    for metric in _QUALITY:
        own = subject.metrics.get(metric)
        for other, metrics in sorted(subject.elsewhere.items()):
            if own is None or metric not in metrics:
                continue
            theirs = metrics[metric].value
            if own.value < theirs - _DIFFERENCE:
                return Finding(
                    f"{metric} {own.value:.1%} on {subject.target} and {theirs:.1%} on {other}",
                    "Ship what was measured on the runtime that will run it. Compare the layers of both: an operator that "
                    "the export or the runtime's optimisation changed comes first",
                    {metric: own.value, f"{metric}_on_{other}": theirs},
                )
    return None


@lint
def a_few_pay(subject: Subject) -> Finding | None:
    """Accuracy hardly moved, but one class or group lost much more than the others, beyond chance."""
    for what in ("group", "class"):
        drop, p = subject.value(f"worst_{what}_drop"), subject.value(f"{what}_drop_p")
        overall = subject.value("accuracy_drop")
        if drop is None or p is None or overall is None or p >= _SIGNIFICANT:
            continue
        if drop < max(overall + _MUCH_MORE, 2 * overall):  # of a model that is lost, all pay
            continue
        return Finding(
            f"One {what} lost {drop:.1%} of accuracy where all together lost {overall:.1%} (p = {p:.1g}, corrected)",
            f"See Behaviours by {what}; {_remedy(subject, what)}, and put worst_{what}_drop into the budget",
            {f"worst_{what}_drop": drop, f"{what}_drop_p": p, "accuracy_drop": overall},
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
    share = subject.value("invalid_outputs")
    if not share:
        return None
    return Finding(
        f"{share:.2%} of the instances get NaN or infinity on {subject.target}",
        "Look in Layers for where it starts: float16 overflows beyond 65504, and a batch norm of zero variance divides by "
        "nothing",
        {"invalid_outputs": share},
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
