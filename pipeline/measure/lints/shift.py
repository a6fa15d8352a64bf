"""Lints of what compression costs on shifted data: on evaluation sets beside the data set's own."""

from __future__ import annotations

from statistics import NormalDist

from pipeline.core.statistics import CONFIDENCE, holm
from pipeline.measure.lints.api import Finding, Subject, lint
from pipeline.measure.uncertain_values import Spread

_EXTRA = " extra_loss @ "
"""In the names of figures that say how much more is lost on a set (`pipeline.stages.evaluation_sets.set_figures`)."""
_MOST = 3
"""Sets that a message names."""
_NORMAL = NormalDist()


@lint
def costs_more_under_shift(subject: Subject) -> Finding | None:
    """Compression costs more on another evaluation set than on the data set's own, by more than chance."""
    places = {
        name: each
        for name, each in subject.metrics.items()
        if _EXTRA in name and each.low is not None and each.high is not None
    }
    if not places:
        return None
    names = sorted(places)
    # one-sided, corrected for the number of sets (Holm)
    p_values = holm(
        [_NORMAL.cdf(-Spread(places[n].value, places[n].low or 0, places[n].high or 0).z(0.0)) for n in names]
    )
    worse = [name for name, p in zip(names, p_values, strict=True) if p <= (1 - CONFIDENCE) / 2]
    if not worse:
        return None
    worse.sort(key=lambda name: -places[name].value)
    parts = [
        f"{100 * places[name].value:.1f} points [{100 * (places[name].low or 0):.1f}, {100 * (places[name].high or 0):.1f}] more "
        f"{name.partition(_EXTRA)[0]} on {name.partition(_EXTRA)[2]}"
        for name in worse[:_MOST]
    ]
    more = f" and on {len(worse) - _MOST} more sets" if len(worse) > _MOST else ""
    return Finding(
        f"Against its base it loses {', '.join(parts)}{more} than on the data set's own evaluation split",
        "Judge it by those sets (a budget on `accuracy @ SET`), tune it with augmented data, or compress less",
        {name: places[name].value for name in worse},
    )
