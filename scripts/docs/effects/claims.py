"""What a table of effects shows, in sentences whose figures and verdicts come from the results."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.docs.effects.networks import THEN, Change, Network, change, is_int8, label
from scripts.docs.effects.queries import Measured

_POINT = 1.0


def claims(network: Network) -> str:
    """Return one line per claim that the network's models can speak for, as a Markdown list."""
    return "\n".join(
        f"- {line}" for part in (_recalibration, _one_shot, _distillation, _int8) for line in part(network)
    )


def _recalibration(network: Network) -> Iterator[str]:
    """Does recalibration lift a pruned network?"""
    pairs = [
        (model, network.models[model.parent or ""]) for model in network.models.values() if model.op == "calibrate"
    ]
    gains = {(label(parent), change(model, parent)) for model, parent in pairs}
    if not gains:
        return
    what, best = max(gains, key=lambda gain: gain[1].points)
    better = sum(gain.low > 0 for _, gain in gains)
    yield (
        f"Recalibration raises {network.quality} in {better} of {len(gains)} cases, by {best} points at most "
        f"(after {what})."
    )


def _one_shot(network: Network) -> Iterator[str]:
    """Does activation-aware pruning beat magnitude at the same sparsity, layer by layer?"""
    rows = network.children(network.base)
    for model in (row for row in rows if row.op == "activation_prune"):
        alike = ("sparsity", "include", "exclude")
        rival = next(
            (
                row
                for row in rows
                if row.op == "magnitude_prune"
                and row.params["scope"] == "layer"
                and all(row.params[name] == model.params[name] for name in alike)
            ),
            None,
        )
        if rival:
            yield f"{label(model)} is {_verdict(change(model, rival))} {label(rival)}."


def _distillation(network: Network) -> Iterator[str]:
    """Does a teacher help, all else being equal?"""
    for model in filter(THEN["distilled"], network.models.values()):
        parent = network.models[model.parent or ""]
        plain = {**model.params, "teacher": None}
        rival = next((other for other in network.children(parent) if other.params == plain), None)
        if rival:
            yield f"Distillation after {label(parent)} is {_verdict(change(model, rival))} plain fine-tuning."


def _int8(network: Network) -> Iterator[str]:
    """Does int8 keep the quality of the float model that it was made from?"""
    losses: list[tuple[Change, Measured]] = [
        (change(model, network.models[model.parent or ""]), model)
        for model in network.models.values()
        if is_int8(model)
    ]
    if not losses:
        return
    kept = sum(loss.points >= -_POINT for loss, _ in losses)
    worst, model = min(losses, key=lambda loss: loss[0].points)
    yield (
        f"int8 loses no more than one point in {kept} of {len(losses)} cases; the largest change for the worse is {worst} "
        f"(`{model.name}`)."
        if worst.points < 0
        else f"int8 loses nothing in any of {len(losses)} cases."
    )


def _verdict(found: Change) -> str:
    if found.low <= 0 <= found.high:
        return f"no different ({found} points) from"
    return f"{'better' if found.points > 0 else 'worse'} by {found} points than"
