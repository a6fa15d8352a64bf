"""The trial of a package before it leaves: its own program answers in a process without our code, as the results do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.answer_text import answer_numbers
from pipeline.delivery.packaging.deployed import DeployedModel
from pipeline.delivery.packaging.package_error import PackageError
from pipeline.store.queries.model_facts import Answer

__all__ = ["try_package"]

_TOLERANCE = 2e-3
"""Of probabilities: the results keep them to 0.05 %, and other batches round in another order."""
_SECONDS = 3600.0


def try_package(model: DeployedModel, folder: Path) -> int:
    """Run the program of a package on instances that the results hold answers to; return how many.

    Args:
        model: that was packaged.
        folder: the package.

    Raises:
        PackageError: if it fails, or answers otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="bouillon-trial-") as place:
        rows = [model.data.write_row(each.instance, Path(place)) for each in model.answers]
        lines = _run(folder, rows)
    if len(lines) != len(rows):
        raise PackageError(f"predict.py gave {len(lines)} answers to {len(rows)} instances")
    differing = [
        (expected, line)
        for expected, line in zip(model.answers, lines, strict=True)
        if not _agrees(expected, line, model)
    ]
    if differing:
        expected, line = differing[0]
        raise PackageError(
            f"The package does not answer as the results do: on {len(differing)} of {len(rows)} instances, first "
            f"'{expected.instance}' with {line.get('answer')!r} ({_percent(line.get('probability'))}) instead of "
            f"'{expected.predicted}' ({_percent(expected.confidence)}). Nothing was packaged"
        )
    return len(rows)


def _run(folder: Path, rows: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """`-I`: neither the environment nor the working folder add to what can be imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-B", "predict.py"],
            check=False,
            cwd=folder,
            env=environment,
            input="".join(json.dumps(row) + "\n" for row in rows),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise PackageError(f"predict.py took more than {_SECONDS:.0f} s for {len(rows)} instances") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise PackageError(f"predict.py fails in a process of its own: {last}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _agrees(expected: Answer, line: Mapping[str, Any], model: DeployedModel) -> bool:
    """Whether a program gives the stored answer; of two classes that are as likely, either."""
    if "outputs" in line:
        return _are_close(line["outputs"], model.outputs.get(expected.instance))
    if "values" in line:
        return _same_numbers(expected, line, model)
    answer, shares, classes = line["answer"], expected.probabilities, model.facts.dataset.classes
    if answer is None or expected.confidence is None or shares is None:
        return (answer is None) == (shares is None and bool(classes)) and (
            answer is None or answer == expected.predicted
        )
    if "thresholds" in line:
        return _same_labels(expected, line, classes)
    close = abs(float(line["probability"]) - expected.confidence) <= _TOLERANCE
    return close and shares[classes.index(answer)] >= expected.confidence - _TOLERANCE


def _same_labels(expected: Answer, line: Mapping[str, Any], classes: Sequence[str]) -> bool:
    """Whether every label's probability is the stored one, and so is the set, but for labels at their threshold."""
    assert expected.probabilities is not None  # the caller has looked
    own = np.array([line["probabilities"][name] for name in classes])
    if not np.allclose(own, expected.probabilities, rtol=0, atol=_TOLERANCE):
        return False
    at_threshold = np.abs(own - np.array([line["thresholds"][name] for name in classes])) <= _TOLERANCE
    return bool(line["answer"] == expected.predicted or at_threshold.any())


def _same_numbers(expected: Answer, line: Mapping[str, Any], model: DeployedModel) -> bool:
    """Whether all numbers are the stored ones, to a five-hundredth of the range of those that are compared."""
    stored = np.array([answer_numbers(each.predicted) for each in model.answers])
    finite = stored[np.isfinite(stored).all(axis=1)]
    reach = np.ptp(finite, axis=0) if len(finite) else 0.0
    own = np.array(answer_numbers(expected.predicted))
    away = np.abs(np.array(list(line["values"].values())) - own)
    return bool((away <= _TOLERANCE * np.maximum(reach, np.maximum(np.abs(own), 1e-6))).all())


def _are_close(outputs: Mapping[str, Any], expected: Mapping[str, np.ndarray] | None) -> bool:
    """Whether outputs are those that were observed, to a thousandth of their largest."""
    if expected is None:
        raise PackageError(
            "what the model gave was removed from the workspace, so that nothing can be compared; run again"
        )
    for name, values in expected.items():
        largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
        output = np.asarray(outputs.get(name, np.nan), np.float64)
        if not np.allclose(output, values, rtol=0, atol=_TOLERANCE * max(largest, 1e-6), equal_nan=True):
            return False
    return True


def _percent(value: object) -> str:
    return f"{100 * value:.2f}%" if isinstance(value, float) else "no probability"
