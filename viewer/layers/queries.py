"""Queries for what is inside models: distributions, changes and findings of the models on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from pipeline.store.reader import StoreError, open_results

__all__ = [
    "ContrastRow",
    "Found",
    "LayerDamage",
    "LayerData",
    "LayerSite",
    "able_models",
    "read_contrast",
    "read_damages",
    "read_layer_data",
    "side_file",
]


@dataclass(frozen=True, slots=True)
class LayerSite:
    """One tensor, or one layer's output, of one model."""

    site: str
    module: str
    module_type: str
    position: int
    place: str
    stage: str
    shape: tuple[int, ...]
    numbers: Mapping[str, float | None]
    """count, zeros, nans, infs, minimum, maximum, mean_abs, dead_share, saturated, bits, bytes, macs, ..."""
    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """One site of a model against the base's."""

    status: str
    reason: str
    how: tuple[str, ...]
    position: int
    numbers: Mapping[str, float | None]
    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A finding in words."""

    model_key: str
    kind: str
    site: str
    weight: float
    text: str
    proposal: str


Key = tuple[str, str, str]
"""Place (`tensor` or `activation`), stage, site."""


@dataclass(frozen=True, slots=True)
class LayerData:
    """Everything about some models beside a base."""

    sites: Mapping[str, Mapping[Key, LayerSite]]
    """Model key -> its sites, in the order of the network."""
    changes: Mapping[str, Mapping[Key, Changed]]
    """Model key -> its changes against the base; empty where the two were never compared."""
    findings: Sequence[Found]
    along: Mapping[tuple[str, str], Sequence[tuple[str, float]]] = field(default_factory=dict)
    """(model key, stage) -> layers along the network with the SQNR of their outputs against the base's, in dB."""
    timed: frozenset[str] = frozenset()
    """Keys of the models whose runtime told the time of each layer."""


def side_file(results: Path) -> Path:
    """Return the file of the comparisons that were asked for on the page."""
    return results.with_suffix(".layers.duckdb")


@dataclass(frozen=True, slots=True)
class ContrastRow:
    """What a layer changed by on some instances and on others, as `pipeline.layers.compare.contrast` says it."""

    stage: str
    site: str
    changed: float
    same: float
    ratio: float
    low: float
    high: float
    p: float
    instances_changed: int
    instances_same: int


def read_contrast(results: Path, contrast: str) -> list[ContrastRow]:
    """Read the layers of a contrast that was asked for on the page, the largest ratio first; nothing where it was not.

    Args:
        results: the results file; the contrasts are beside it.
        contrast: its digest.
    """
    file = side_file(results)
    if not file.exists():
        return []
    query = """
        SELECT stage, site, changed, same, ratio, low, high, p, instances_changed, instances_same
        FROM results.layer_contrast WHERE contrast = ? ORDER BY isnan(ratio), ratio DESC, position"""
    try:
        with open_results(file) as db:
            return [ContrastRow(*row) for row in db.execute(query, [contrast]).fetchall()]
    except (StoreError, duckdb.Error):  # of before there were any; it is made anew
        return []


@dataclass(frozen=True, slots=True)
class LayerDamage:
    """What a candidate does to one layer alone, as the view `sensitivities` says it."""

    model_key: str
    candidate: str
    layer: str
    members: tuple[str, ...]
    numbers: Mapping[str, float | None]
    """score, kl, kl_se, loss, loss_se, flips, flips_se, weight_bytes, compressed_weight_bytes, macs, saved_seconds, ..."""
    reason: str
    target: str


_DAMAGES = (
    "score", "kl", "kl_se", "loss", "loss_se", "flips", "flips_se", "weight_bytes", "compressed_weight_bytes", "macs",
    "saved_seconds", "saved_se", "before_seconds", "whole_seconds", "whole_se", "instances",
)  # fmt: skip


def read_damages(path: Path, models: Sequence[str]) -> list[LayerDamage]:
    """Read the sensitivity of some models' layers, in the order of the network.

    Raises:
        StoreError: if the results cannot be read.
    """
    query = f"""
        SELECT model_key, candidate, layer, members, reason, target, {", ".join(_DAMAGES)} FROM sensitivities
        WHERE model_key IN (SELECT unnest(?::VARCHAR[])) ORDER BY position, layer, candidate"""
    with open_results(path) as db:
        rows = db.execute(query, [list(models)]).fetchall()
    return [
        LayerDamage(
            key, candidate, layer, tuple(members), dict(zip(_DAMAGES, numbers, strict=True)), reason, target or ""
        )
        for key, candidate, layer, members, reason, target, *numbers in rows
    ]


def able_models(path: Path) -> frozenset[str]:
    """Keys of the models whose tensors are known."""
    with open_results(path) as db:
        return frozenset(key for (key,) in db.execute("SELECT DISTINCT model_key FROM distribution").fetchall())


def read_layer_data(path: Path, models: Sequence[str], base: str, *, target: str = "") -> LayerData:
    """Read what is known of models (the base among them) from the results and from comparisons on demand.

    Times are those on `target` where it told them, else on any other.

    Raises:
        StoreError: if the results cannot be read.
    """
    with open_results(path) as db:
        times = _times(db, models, target)
        sites = _with_macs(_sites(db, models, times))
        changes, along = _changes(db, models, base)
        findings = _findings(db, models, base)
    missing = [key for key in models if key != base and not changes.get(key)]
    extra = side_file(path)
    if missing and extra.exists():
        try:
            with open_results(extra) as db:
                more, farther = _changes(db, missing, base)
                findings += _findings(db, missing, base)
        except StoreError:
            more, farther = {}, {}  # the comparison is made again
        changes, along = {**changes, **more}, {**along, **farther}
    heaviest = sorted(findings, key=lambda finding: -finding.weight)
    return LayerData(sites, changes, heaviest, along, frozenset(model for model, _ in times))


_NUMBERS = (
    "count",
    "zeros",
    "nans",
    "infs",
    "minimum",
    "maximum",
    "mean",
    "std",
    "mean_abs",
    "abs_sum",
    "dead_channels",
    "channels",
    "dead_share",
    "saturated",
    "macs",
)
_CHANGES = (
    "count",
    "nonfinite",
    "zero_both",
    "zero_here",
    "zero_there",
    "mean_abs_change",
    "relative_change",
    "sqnr_db",
    "cosine",
    "counted",
)


def _times(
    db: duckdb.DuckDBPyConnection, models: Sequence[str], target: str
) -> dict[tuple[str, str], tuple[float, float | None]]:
    """(model key, module) -> its seconds for one instance, and its share of the model's."""
    query = """
        SELECT model_key, module, seconds, share FROM layer_times WHERE model_key IN (SELECT unnest(?::VARCHAR[]))
        QUALIFY rank() OVER (PARTITION BY model_key ORDER BY target = ? DESC, target, device) = 1"""
    rows = db.execute(query, [list(models), target]).fetchall()
    return {(model, module): (seconds, share) for model, module, seconds, share in rows}


def _with_macs(sites: dict[str, dict[Key, LayerSite]]) -> dict[str, dict[Key, LayerSite]]:
    """Give weights the work of their layers, which is known of outputs; where a file has these under the name of what
    was folded in, it is that of another model's layer of the same shape."""
    work: dict[tuple[str, tuple[int, ...]], float | None] = {}
    for own in sites.values():
        macs = {site.module: site.numbers["macs"] for site in own.values() if site.place == "activation"}
        for key, site in own.items():
            if key[0] == "tensor" and site.site == f"{site.module}.weight" and macs.get(site.module):
                work.setdefault((site.site, site.shape), macs[site.module])
    return {
        model: {
            key: replace(site, numbers={**site.numbers, "macs": work[site.site, site.shape]})
            if (site.site, site.shape) in work
            else site
            for key, site in own.items()
        }
        for model, own in sites.items()
    }


def _sites(
    db: duckdb.DuckDBPyConnection, models: Sequence[str], times: Mapping[tuple[str, str], tuple[float, float | None]]
) -> dict[str, dict[Key, LayerSite]]:
    query = f"""
        SELECT d.model_key, d.site, d.module, d.module_type, d.position, d.place, d.stage, d.shape, d.low, d.high, d.counts,
               {", ".join(f"d.{name}" for name in _NUMBERS)}, l.bits, l.bytes
        FROM distributions d
        LEFT JOIN layers l ON l.model_key = d.model_key AND l.tensor = d.site AND d.place = 'parameter'
        WHERE d.model_key IN (SELECT unnest(?::VARCHAR[]))
        ORDER BY d.model_key, d.place = 'activation', d.stage, d.position"""
    sites: dict[str, dict[Key, LayerSite]] = {key: {} for key in models}
    for row in db.execute(query, [list(models)]).fetchall():
        key, site, module, kind, position, place, stage, shape, low, high, counts, *numbers = row
        by_name = dict(zip((*_NUMBERS, "bits", "bytes"), numbers, strict=True))
        if place == "activation" or site == f"{module}.weight":  # once per layer, so that groups have the sums
            by_name["seconds"], by_name["time_share"] = times.get((key, module), (None, None))
        sites[key][_key(place, stage, site)] = LayerSite(
            site, module, kind, position, place, stage, tuple(shape), by_name, low, high, tuple(counts)
        )
    return sites


def _changes(
    db: duckdb.DuckDBPyConnection, models: Sequence[str], base: str
) -> tuple[dict[str, dict[Key, Changed]], dict[tuple[str, str], list[tuple[str, float]]]]:
    query = f"""
        SELECT model_key, place, stage, site, status, reason, how, position, low, high, counts, {", ".join(_CHANGES)}
        FROM changes
        WHERE reference_key = ? AND (model_key IN (SELECT unnest(?::VARCHAR[])))
        ORDER BY model_key, place, stage, position"""
    changes: dict[str, dict[Key, Changed]] = {}
    along: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for row in db.execute(query, [base, list(models)]).fetchall():
        key, place, stage, site, status, reason, how, position, low, high, counts, *numbers = row
        by_name = dict(zip(_CHANGES, numbers, strict=True))
        changes.setdefault(key, {})[_key(place, stage, site)] = Changed(
            status, reason, tuple(how), position, by_name, low or 0.0, high or 0.0, tuple(counts)
        )
        if place == "activation" and status == "compared" and by_name["sqnr_db"] is not None:
            along.setdefault((key, stage), []).append((site, by_name["sqnr_db"]))
    return changes, along


def _findings(db: duckdb.DuckDBPyConnection, models: Sequence[str], base: str) -> list[Found]:
    query = """
        SELECT model_key, kind, site, weight, text, proposal FROM findings
        WHERE model_key IN (SELECT unnest(?::VARCHAR[])) AND reference_key IN (?, model_key)"""
    return [Found(*row) for row in db.execute(query, [list(models), base]).fetchall()]


def _key(place: str, stage: str, site: str) -> Key:
    """Whether a tensor is a parameter or a buffer does not tell it apart from another model's."""
    return ("activation" if place == "activation" else "tensor", stage, site)
