"""Lints of how models of other people were read: what was missing from their files, and what is left out of ours."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.measure.lints.api import Finding, Subject, lint
from pipeline.measure.metrics import size

_TRAINS = ("finetune", "train")
_NAMED = 5
"""Names that are written out."""


@lint
def untrained_head(subject: Subject) -> Finding | None:
    """The classifier was not among the weights, or did not fit: its weights are random, and nothing has trained it."""
    model: Subject | None = subject
    while model is not None and model.op not in _TRAINS:
        names = model.notes.get("untrained_head")
        if names:
            return Finding(
                f"The head ({', '.join(names)}) was not among the weights: it is random, and has not been trained",
                "Begin with `train` in the place of `load`, or put `finetune` directly below `load` and the sweep below it",
                {"untrained_head": list(names)},
            )
        model = model.parent
    return None


@lint
def weights_left_out(subject: Subject) -> Finding | None:
    """The file of weights holds tensors that the network has no layer for."""
    names = subject.notes.get("weights_left_out")
    if not names:
        return None
    count = f"{len(names)} tensors" if len(names) > 1 else "a tensor"
    return Finding(
        f"The weights also hold {count} that the network has no layer for, left out: {_listed(names)}",
        "Nothing if they are of the old head or of a pooler; else name the network that they were trained in (`architecture`, "
        "`config`)",
        {"weights_left_out": list(names)},
    )


@lint
def matched_by_order(subject: Subject) -> Finding | None:
    """Inputs or outputs of an ONNX file have names of their own, and were taken in their order."""
    names = subject.notes.get("matched_by_order")
    if not names:
        return None
    return Finding(
        f"The file's names are not the task's, so its order was taken: {_listed(names)}. In another order it answers something else",
        "Compare the base's quality with what the model is known to reach, or export it under the task's names, which are taken "
        "whatever their order",
        {"matched_by_order": list(names)},
    )


@lint
def outputs_left_out(subject: Subject) -> Finding | None:
    """The network gives more than the task asks for, and the exported file does not."""
    names = subject.notes.get("outputs_left_out")
    if not names:
        return None
    return Finding(
        f"The network also returns {', '.join(names)}: the exported file leaves that out, and its figures are without it",
        "Let the network return what it is to be judged by, if the further outputs cost time that counts",
        {"outputs_left_out": list(names)},
    )


@lint
def further_outputs(subject: Subject) -> Finding | None:
    """The ONNX file gives more than the task asks for."""
    names = subject.notes.get("further_outputs")
    if not names:
        return None
    return Finding(
        f"The file also gives {', '.join(names)}: that is kept, and its time counts, but nothing judges it",
        "Remove the further outputs from the file if nothing uses them",
        {"further_outputs": list(names)},
    )


@lint
def fixed_length(subject: Subject) -> Finding | None:
    """The file takes texts of one length only."""
    length = subject.value(size.fixed_length)
    if not length:
        return None
    return Finding(
        f"The file takes texts of exactly {length:.0f} tokens: shorter ones are padded, so latencies are those of {length:.0f} "
        "tokens",
        "Export the network with a dynamic length, or set `text.max_length` of the data set to what is usual",
        {size.fixed_length.__name__: length},
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
