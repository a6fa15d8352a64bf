"""Probabilities and validity of outputs, row by row, with NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from ops.core.tasks.task import Evaluation


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log probabilities along the last axis in float64. Rows that are not valid (see `valid_rows`) become NaN."""
    import numpy as np

    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        shifted = wide - wide.max(axis=-1, keepdims=True)
        result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def valid_rows(evaluation: Evaluation) -> np.ndarray:
    """True for instances whose outputs give probabilities: bool (N,).

    NaN or +inf in a row makes it invalid, -inf (a masked entry) does not, unless all are.
    """
    import numpy as np

    valid = np.ones(len(evaluation.ids), dtype=bool)
    for output in evaluation.outputs.values():
        valid &= np.isfinite(output.reshape(len(output), -1).max(axis=1)) if output.size else True
    return valid


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """float64 (N,) of logits (N, classes); NaN where the target lies outside, as training ignores it too."""
    import numpy as np

    inside = (targets >= 0) & (targets < logits.shape[1])
    rows = np.full(len(targets), np.nan)
    rows[inside] = -log_softmax(logits[inside])[np.arange(inside.sum()), targets[inside]]
    return rows


def divergence(base: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence of probabilities from the base's: float64 (N,) of logits (N, classes)."""
    import numpy as np

    reference, other = log_softmax(base), log_softmax(logits)
    probability = np.exp(reference)
    with np.errstate(invalid="ignore"):  # 0 * (-inf - x): no probability, no term
        terms = np.where(probability > 0, probability * (reference - other), 0.0)
    rows: np.ndarray = np.maximum(terms.sum(axis=1), 0)  # rounding may give -1e-17 for equal models
    return rows
