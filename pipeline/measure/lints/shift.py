"""Lints of what compression costs on shifted data: on evaluation sets beside the data set's own."""

from __future__ import annotations

from statistics import NormalDist

from pipeline.core.statistics import CONFIDENCE, holm
from pipeline.measure.lints.api import Finding, Measured, Subject, lint
from pipeline.measure.metrics.api import METRICS
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
    parts = [_words(name, places[name]) for name in worse[:_MOST]]
    others = len(worse) - _MOST
    more = f", and more on {others} other set{'' if others == 1 else 's'}" if others > 0 else ""
    return Finding(
        f"Against its base it loses {', '.join(parts)}{more} than on the data set's own evaluation split",
        "Judge it by those sets (a budget on `accuracy @ SET`), tune it with augmented data, or compress less",
        {name: places[name].value for name in worse},
    )


def _words(name: str, extra: Measured) -> str:
    """`9.6 points [5.6, 13.8] more accuracy on blur`."""
    metric, _, where = name.partition(_EXTRA)
    low, high = extra.low or 0.0, extra.high or 0.0
    if metric in METRICS and METRICS[metric].is_share:
        return f"{100 * extra.value:.1f} points [{100 * low:.1f}, {100 * high:.1f}] more {metric} on {where}"
    return f"{extra.value:.3g} [{low:.3g}, {high:.3g}] more {metric} on {where}"
