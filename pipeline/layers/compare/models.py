"""Two models, layer by layer: every tensor one after the other, and the samples of their activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.keys import Key
from pipeline.layers.compare.alignment import Pair, TensorView, make_view, pairs
from pipeline.layers.compare.difference import Difference, compare
from pipeline.layers.stats.describe import summary_of
from pipeline.layers.stats.histogram import robust_range
from pipeline.layers.tensors.constant_gathers import Lookup
from pipeline.layers.tensors.open import tensors_of
from pipeline.store.records.run_records import Change, Distribution

__all__ = ["Side", "changes", "layer_divergence", "summaries"]

Samples = Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models: where it is and what is known of it."""

    key: Key
    folder: Path
    edits: Sequence[Mapping[str, Any]] = ()
    """Structural edits of the model, or of the torch model that an ONNX file came from."""
    original: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes of the root's tensors, which narrowed layers are numbered by."""
    eps: Mapping[str, float] = field(default_factory=dict)
    folds: Mapping[str, str] = field(default_factory=dict)
    """Of an ONNX file: which normalisation was folded into which convolution."""
    lookups: Mapping[str, Lookup] = field(default_factory=dict)
    """Of an ONNX file: what its export looks up in tables whatever the input is."""
    distributions: Mapping[tuple[str, str, str], Distribution] = field(default_factory=dict)
    """(place, stage, site) -> its distribution."""
    samples: Samples = field(default_factory=dict)


def changes(new: Side, old: Side, *, progress: Callable[[int, int], None] | None = None) -> Iterator[Change]:
    """Compare all tensors and activations of two models; one tensor of each at a time.

    Raises:
        LayerError: if the files of one of them are gone or damaged.
    """
    matched_pairs = list(pairs(_view(new), _view(old)))
    for position, pair in enumerate(matched_pairs):
        yield _tensor_change(new, old, pair, position)
        if progress:
            progress(position + 1, len(matched_pairs))
    yield from layer_divergence(new, old)


def layer_divergence(new: Side, old: Side) -> Iterator[Change]:
    """Compare the outputs of layers, of every stage of the model with the reference's network (or file, if it has none).

    A model with itself: its exported file with its network.
    """
    reference = "torch" if any(key.startswith("torch|") for key in old.samples) else "onnx"
    for key, (values, present) in new.samples.items():
        stage, _, site = key.partition("|")
        if new.key == old.key and stage == reference:
            continue
        yield _activation_change(new, old, (stage, reference, site), values, present)


def _view(side: Side) -> TensorView:
    return make_view(
        tensors_of(side.folder),
        edits=side.edits,
        folds=side.folds,
        lookups=side.lookups,
        original=side.original,
        eps=side.eps,
    )


def _tensor_change(new: Side, old: Side, pair: Pair, position: int) -> Change:
    record = new.distributions.get(("parameter", "", pair.name)) or new.distributions.get(("buffer", "", pair.name))
    reference = old.distributions.get(("parameter", "", pair.name)) or old.distributions.get(("buffer", "", pair.name))
    either = record or reference
    place = either.place if either else "parameter"
    if pair.status != "compared":
        return _change(new, old, place, ("", "", pair.name), position, status=pair.status, reason=pair.reason)
    values, others = pair.new(), pair.old()
    limits = (record.low, record.high) if record else robust_range(values.reshape(-1))
    summaries = None
    if pair.whole and record and reference and record.count == reference.count == values.size:
        summaries = summary_of(record), summary_of(reference)
    difference = compare(values, others, limits=limits, summaries=summaries)
    return _change(new, old, place, ("", "", pair.name), position, difference=difference, limits=limits, how=pair.how)


def _activation_change(
    new: Side, old: Side, where: tuple[str, str, str], values: np.ndarray, present: np.ndarray
) -> Change:
    stage, reference, site = where
    record = new.distributions.get(("activation", stage, site))
    position = record.position if record else 0
    other = old.samples.get(f"{reference}|{site}")
    if other is None:
        return _change(new, old, "activation", where, position, status="new", reason="not in the reference")
    both = present & other[1]
    if not both.any():
        reason = "the two have no channel in common"
        return _change(new, old, "activation", where, position, status="incomparable", reason=reason)
    mine, theirs = values[both], other[0][both]
    limits = (record.low, record.high) if record else robust_range(mine)
    difference = compare(mine, theirs, limits=limits)
    how = () if both.all() else ("the channels that both have",)
    return _change(new, old, "activation", where, position, difference=difference, limits=limits, how=how)


_NOTHING = Difference(0, 0, 0, 0, 0, None, None, None, None, (), 0)


def _change(
    new: Side,
    old: Side,
    place: str,
    where: tuple[str, str, str],
    position: int,
    *,
    status: str = "compared",
    reason: str = "",
    difference: Difference = _NOTHING,
    limits: tuple[float | None, float | None] = (None, None),
    how: Sequence[str] = (),
) -> Change:
    stage, reference_stage, site = where
    module = site if place == "activation" else site.rpartition(".")[0]
    return Change(
        model_key=new.key,
        reference_key=old.key,
        place=place,
        stage=stage,
        reference_stage=reference_stage,
        site=site,
        module=module,
        position=position,
        status=status,
        reason=reason,
        how=list(how),
        count=difference.count,
        nonfinite=difference.nonfinite,
        zero_both=difference.zero_both,
        zero_here=difference.zero_here,
        zero_there=difference.zero_there,
        mean_abs_change=difference.mean_abs_change,
        relative_change=difference.relative_change,
        sqnr_db=difference.sqnr_db,
        cosine=difference.cosine,
        low=limits[0],
        high=limits[1],
        counts=list(difference.counts),
        counted=difference.counted,
    )


def summaries(records: Sequence[Distribution]) -> dict[tuple[str, str, str], Distribution]:
    """Return records by (place, stage, site)."""
    return {(record.place, record.stage, record.site): record for record in records}
