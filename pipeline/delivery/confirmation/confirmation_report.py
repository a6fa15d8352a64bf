"""A confirmation in words and as JSON: each figure beside the one that it was chosen by, and what a look is worth."""

from __future__ import annotations

import math
from dataclasses import asdict
from statistics import NormalDist
from typing import Any

from pipeline.core.metric_kinds import Better
from pipeline.core.statistics import CONFIDENCE, holm
from pipeline.delivery.confirmation.confirm import Confirmation, ConfirmedModel
from pipeline.delivery.confirmation.figures import CORRECT
from pipeline.measure.metrics.api import METRICS
from pipeline.measure.uncertain_values import Spread
from pipeline.store.records.run_records import ConfirmationFigure

__all__ = ["confirmation_json", "confirmation_text", "is_within_noise", "parts_within_noise"]

_MOST_PARTS = 5
"""Classes and groups of a model that the text names: those that lost most."""
_NORMAL = NormalDist()
_CURSE = (
    "The best of many is partly the luckiest of them, so that the figure which a model was chosen by is too good on average. "
    "The confirmed figure is of instances that no choice had seen."
)


def confirmation_text(confirmation: Confirmation) -> str:
    """Return lines for a terminal."""
    look = confirmation.look
    lines = [
        f"{_models(len(confirmation.models))} of {confirmation.dataset} on {look.target}, confirmed on {look.instances:,} instances "
        "that nothing else reads"
    ]
    for model in confirmation.models:
        lines += [model.name, *_lines(model, look.among, look.metric)]
    return "\n".join([*lines, *_meaning(confirmation)])


def confirmation_json(confirmation: Confirmation) -> dict[str, Any]:
    """Return the same for programs; figures in the units of the results, shares as parts of one."""
    look = confirmation.look
    return {
        "look": {
            **asdict(look),
            "looked_at": look.looked_at.isoformat(),
            "number": len(confirmation.earlier) + 1,
            "number_of_question": _asked_before(confirmation) + 1,
            "meaning": _meaning(confirmation),
        },
        "dataset": confirmation.dataset,
        "models": [
            {
                "model_key": model.key,
                "name": model.name,
                "figures": [
                    {
                        **{name: value for name, value in asdict(each).items() if name not in ("look_id", "model_key")},
                        "within_noise": within[each.part] if each.part else is_within_noise(each),
                    }
                    for within in (parts_within_noise(model),)
                    for each in model.figures
                ],
            }
            for model in confirmation.models
        ],
    }


def is_within_noise(figure: ConfirmationFigure) -> bool | None:
    """Whether the two figures differ by no more than chance, of this figure alone; None without an interval."""
    if figure.change_low is None or figure.change_high is None:
        return None
    return figure.change_low <= 0 <= figure.change_high


def parts_within_noise(model: ConfirmedModel) -> dict[str, bool | None]:
    """Return the same of each class and group of a model, corrected for their number (Holm): of many, some differ by chance."""
    parts = [each for each in model.figures if each.part]
    p_values = holm([_p(each) for each in parts])
    return {
        each.part: None if math.isnan(p) else bool(p > 1 - CONFIDENCE) for each, p in zip(parts, p_values, strict=True)
    }


def _p(figure: ConfirmationFigure) -> float:
    """Two-sided, of no difference; NaN without an interval."""
    if figure.change is None or figure.change_low is None or figure.change_high is None:
        return math.nan
    return 2 * _NORMAL.cdf(-abs(Spread(figure.change, figure.change_low, figure.change_high).z(0.0)))


def _lines(model: ConfirmedModel, among: int, first: str) -> list[str]:
    whole = sorted(
        (each for each in model.figures if not each.part), key=lambda each: (each.metric != first, each.metric)
    )
    width = max((len(each.metric) for each in whole), default=0)
    lines = [f"  {each.metric:<{width}}  {_sentence(each, among if each.metric == first else None)}" for each in whole]
    within = parts_within_noise(model)
    parts = [each for each in model.figures if within.get(each.part) is False]
    worst = sorted(parts, key=lambda each: each.change or 0.0)[:_MOST_PARTS]
    lines += [f"  {each.part}: {_sentence(each, None)}" for each in worst]  # beyond chance alone, too: Holm only widens
    if len(parts) > len(worst):
        lines.append(
            f"  and {len(parts) - len(worst)} more classes or groups that differ by more than chance (see --json)"
        )
    return lines


def _sentence(figure: ConfirmationFigure, among: int | None) -> str:
    """One figure in words; `among` how many the model was chosen, where it is the figure that it was chosen by."""
    value = _text(figure, figure.value)
    ends = "" if figure.low is None or figure.high is None else f" [{_ends(figure, figure.low, figure.high)}]"
    if figure.chosen_value is None:
        return f"confirmed at {value}{ends}; it had not been measured before"
    origin = "was" if among is None else "chosen at"
    words = f"{origin} {_text(figure, figure.chosen_value)}{f' among {among:,}' if among else ''}, confirmed at {value}{ends}"
    words += f": {_verdict(figure)}"
    if figure.base_change is not None and figure.base_change_low is not None and figure.base_change_high is not None:
        signs = _ends(figure, figure.base_change_low, figure.base_change_high, signed=True)
        words += f"; against its base {_text(figure, figure.base_change, signed=True)} [{signs}]"
    return words


def _verdict(figure: ConfirmationFigure) -> str:
    within = is_within_noise(figure)
    if within is None or figure.change is None:
        return "nothing tells whether the difference is chance"
    if within:
        return "the difference is within noise"
    better = Better.HIGHER if figure.metric == CORRECT else METRICS[figure.metric].better
    if better is Better.NEITHER:
        return "they differ by more than chance"
    return f"{'better' if (figure.change > 0) == (better is Better.HIGHER) else 'worse'} by more than chance"


def _text(figure: ConfirmationFigure, value: float, *, signed: bool = False) -> str:
    if figure.metric == CORRECT:
        return f"{value:{'+' if signed else ''}.1%}"
    spec = METRICS[figure.metric]
    return f"{'+' if signed and value >= 0 else ''}{spec.text(value)}"


def _ends(figure: ConfirmationFigure, low: float, high: float, *, signed: bool = False) -> str:
    return f"{_text(figure, low, signed=signed)}, {_text(figure, high, signed=signed)}"


def _asked_before(confirmation: Confirmation) -> int:
    return sum(each.question == confirmation.look.question for each in confirmation.earlier)


def _meaning(confirmation: Confirmation) -> list[str]:
    """Return sentences that say how far the figures of this look can be trusted."""
    lines, earlier = [_CURSE], confirmation.earlier
    if len(confirmation.models) > 1:
        lines.append(
            f"To choose again among these {len(confirmation.models)} by their confirmed figures would be a choice again, and the best of "
            "them a little too good."
        )
    if not earlier:
        return lines
    number = len(earlier) + 1
    models = {key for each in earlier for key in each.models}
    begin = (
        f"This was look {number} at the confirmation split of {confirmation.dataset}; the first was on {earlier[0].looked_at:%Y-%m-%d}, "
        f"and {_models(len(models))} had been looked at before."
    )
    if _asked_before(confirmation):
        return [
            *lines,
            f"{begin} The same question had been asked: nothing new was learnt, and the first figures stand.",
        ]
    return [
        *lines,
        f"{begin} If what was seen then had a part in choosing these, the split is evaluation data like any other, and its figures are "
        "too good as well. Instances that nobody has seen would tell.",
    ]


def _models(count: int) -> str:
    return f"{count} model{'' if count == 1 else 's'}"
