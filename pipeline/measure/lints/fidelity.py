"""Lints of operations that claim to keep or to approximate what a network computes."""

from __future__ import annotations

from ops.calibration.fidelity import NOTE
from pipeline.measure.lints.api import Finding, Subject, lint


@lint
def outputs_far_from_parent(subject: Subject) -> Finding | None:
    """The outputs are farther from the parent's than the operation can explain."""
    result = subject.notes.get(NOTE)
    if not isinstance(result, dict) or result["sqnr_db"] >= result["plausible_db"]:
        return None
    layer = result["begins_at"]
    where = f"; it begins at '{layer}'" if layer else ""
    return Finding(
        f"The outputs on {result['instances']} calibration instances are {result['sqnr_db']:.1f} dB from the parent's, below the "
        f"{result['plausible_db']:.0f} dB that this operation keeps{where}",
        f'`exclude: ["{layer}"]` leaves that layer alone' if layer else "Look at the notes of the model",
        {"sqnr_db": result["sqnr_db"], "plausible_db": result["plausible_db"], "begins_at": layer},
    )
