"""Findings in a model's layers, in words, with the change of the recipe that would avoid them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.core.keys import Key
from pipeline.store.records.run_records import Change, Distribution, Finding

__all__ = ["find"]

_NORM_PARTS = ("weight", "running_var")
_FLATTENED = 0.5
_PRUNED = 0.9
_SMALL_SHARE = 0.01
_DEAD = 0.1
_SATURATED = 0.01
_DROP_DB = 10.0
_LOW_DB = 20.0
_IDENTICAL_DB = 100.0
"""Rounding of float32 alone gives 120 to 150 dB."""
_OUTLIERS = 12.0
_LIMIT = 5
"""Findings of one kind per model and reference: the heaviest; the text of the last says how many more there are."""


def find(
    reference: Key,
    here: Sequence[Distribution],
    changes: Sequence[Change],
    there: Sequence[Distribution] = (),
    *,
    op: str = "",
    folds: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Return what stands out in a model's distributions (`here`) and in its changes against a reference.

    Args:
        reference: key of the model that is compared with.
        here: the model's distributions.
        changes: its differences from the reference.
        there: the reference's distributions. Without any, the reference is the model itself: what its export changed, and
            what needs no reference.
        op: the operation that a proposal is about, where one step lies between the two models; else empty.
        folds: convolution -> the normalisation that is part of it in the model's file.
    """
    if not there:
        raw = [*_not_finite(here, reference), *_saturated(here, reference), *_diverges(changes, op, exported=True)]
    else:
        before = {(record.place, record.stage, record.site): record for record in there}
        raw = [
            *_flattened(here, before, changes, op),
            *_over_pruned(here, changes, op),
            *_dead(here, before, reference, op),
            *_diverges(changes, op, exported=False),
            *_outliers(here, changes),
        ]
    by_kind: dict[str, list[Finding]] = {}
    for finding in sorted(raw, key=lambda finding: -finding.weight):
        by_kind.setdefault(finding.kind, []).append(finding)
    # an operation knows a folded normalisation by the convolution that it is part of
    behind = {norm: conv for conv, norm in (folds or {}).items()}
    return [_renamed(finding, behind) for findings in by_kind.values() for finding in _heaviest(findings)]


def _heaviest(findings: Sequence[Finding]) -> list[Finding]:
    """Return the first findings of one kind; the last of them says how many are left out."""
    first, left_out = list(findings[:_LIMIT]), len(findings) - _LIMIT
    if left_out > 0:
        first[-1] = replace(
            first[-1], text=f"{first[-1].text}. {left_out:,} more of this kind weigh less and are not listed"
        )
    return first


def _not_finite(here: Sequence[Distribution], reference: Key) -> Iterator[Finding]:
    for record in here:
        if record.nans or record.infs:
            text = f"'{record.site}' has {record.nans:,} NaN and {record.infs:,} infinite values of {record.count:,}"
            yield Finding(record.model_key, reference, "not_finite", record.site, 1.0, text, "")


def _saturated(here: Sequence[Distribution], reference: Key) -> Iterator[Finding]:
    for record in here:
        if record.saturated and record.saturated > _SATURATED:
            text = (
                f"{record.saturated:.1%} of the outputs of '{record.site}' lie outside what its 8-bit range can hold: "
                "they are cut off"
            )
            proposal = f"with: {{calibration: minmax, samples: 512}}   # or: {_exclude(record.site)}"
            yield Finding(
                record.model_key, reference, "saturated", record.site, min(1.0, record.saturated * 5), text, proposal
            )


def _flattened(
    here: Sequence[Distribution],
    before: Mapping[tuple[str, str, str], Distribution],
    changes: Sequence[Change],
    op: str,
) -> Iterator[Finding]:
    """Scales of normalisation layers that lost much of their size: every later layer feels it."""
    sites = {record.site: record for record in here if "Norm" in record.module_type}
    for change in changes:
        record = sites.get(change.site)
        if record is None or change.status != "compared" or not change.site.endswith(".weight"):
            continue
        old = before.get((change.place, "", change.site))
        if old is None or not old.abs_sum or not record.count:
            continue
        lost, zeroed = (
            1 - (record.abs_sum / record.count) / (old.abs_sum / old.count),
            change.zero_here / max(1, change.count),
        )
        if lost < _FLATTENED and zeroed < _DEAD:
            continue
        what = f"{zeroed:.0%} of its values became zero" if zeroed >= _DEAD else f"it lost {lost:.0%} of its size"
        text = f"The scale of the normalisation '{record.module}' was flattened: {what}"
        yield Finding(
            change.model_key,
            change.reference_key,
            "flattened_norm",
            change.site,
            max(lost, zeroed),
            text,
            _proposal(op, "exclude: [norm]"),
        )


def _over_pruned(here: Sequence[Distribution], changes: Sequence[Change], op: str) -> Iterator[Finding]:
    """Layers that are nearly all zero although there was little in them to gain."""
    sizes = {record.site: record for record in here if record.place == "parameter"}
    total = sum(record.count for record in sizes.values())
    for change in changes:
        record = sizes.get(change.site)
        if record is None or change.status != "compared" or len(record.shape) < 2:  # noqa: PLR2004 - a matrix
            continue
        sparsity, share = record.zeros / max(1, record.count), record.count / max(1, total)
        if sparsity < _PRUNED or share > _SMALL_SHARE or not change.zero_here:
            continue
        text = f"{sparsity:.0%} of '{record.module}' is zero while it holds {share:.2%} of the parameters"
        yield Finding(
            change.model_key,
            change.reference_key,
            "over_pruned",
            change.site,
            sparsity * (1 - share),
            text,
            _proposal(op, _exclude(record.module)),
        )


def _dead(
    here: Sequence[Distribution], before: Mapping[tuple[str, str, str], Distribution], reference: Key, op: str
) -> Iterator[Finding]:
    for record in here:
        old = before.get((record.place, record.stage, record.site))
        if not record.channels or record.dead_channels is None or old is None or not old.channels:
            continue
        share = record.dead_channels / record.channels
        grown = share - (old.dead_channels or 0) / old.channels
        if grown < _DEAD:
            continue
        where = "weights" if record.place == "parameter" else "outputs"
        text = (
            f"{record.dead_channels:,} of {record.channels:,} channels of '{record.module}' are dead in their {where} "
            f"({old.dead_channels or 0:,} before)"
        )
        yield Finding(
            record.model_key,
            reference,
            "dead_channels",
            record.site,
            grown,
            text,
            f"{_proposal(op, _exclude(record.module))}   # or remove them: channel_prune",
        )


def _diverges(changes: Sequence[Change], op: str, *, exported: bool) -> Iterator[Finding]:
    """The first layer of each stage at which the signal falls far below what came before it."""
    stages: dict[str, list[Change]] = {}
    for change in changes:
        if change.place == "activation" and change.status == "compared" and change.sqnr_db is not None:
            stages.setdefault(change.stage, []).append(change)
    if not exported and "torch" in stages:  # the file follows the network: once is enough
        stages = {"torch": stages["torch"]}
    for stage, along in stages.items():
        best = _IDENTICAL_DB
        for change in sorted(along, key=lambda change: change.position):
            level = min(change.sqnr_db or 0.0, _IDENTICAL_DB)
            if level < _LOW_DB and best - level > _DROP_DB:
                yield _divergence(change, stage, max(level, -_IDENTICAL_DB), best, op, exported=exported)
                break
            best = min(best, level)


def _divergence(change: Change, stage: str, level: float, best: float, op: str, *, exported: bool) -> Finding:
    before = "identical" if best >= _IDENTICAL_DB else f"{best:.0f} dB"
    where = "the exported file" if stage == "onnx" else "the network"
    than = "its own network" if exported else "the reference"
    text = f"Outputs of {where} first diverge from {than} at '{change.site}': {level:.0f} dB signal-to-noise, {before} before it"
    proposal = _proposal(op, _exclude(change.site)) if not exported else ""
    return Finding(
        change.model_key,
        change.reference_key,
        "diverges",
        change.site,
        max(0.0, min(1.0, (_LOW_DB - level) / 40)),
        text,
        proposal,
    )


def _outliers(here: Sequence[Distribution], changes: Sequence[Change]) -> Iterator[Finding]:
    """Tensors whose few extreme values set the scale that all others are rounded with."""
    rounded = {change.site: change for change in changes if any("int" in step for step in change.how)}
    for record in here:
        change = rounded.get(record.site)
        if change is None or not record.std or record.maximum is None or record.minimum is None:
            continue
        reach = max(abs(record.maximum), abs(record.minimum)) / record.std
        if reach > _OUTLIERS and (change.sqnr_db or 0) < _LOW_DB:
            text = f"'{record.site}' reaches to {reach:.0f} standard deviations: rounding to few bits loses the rest"
            yield Finding(
                change.model_key,
                change.reference_key,
                "outliers",
                record.site,
                min(1.0, reach / 100),
                text,
                f"quantize: {{per_channel: true, {_exclude(record.module)}}}",
            )


def _renamed(finding: Finding, behind: Mapping[str, str]) -> Finding:
    conv = behind.get(finding.site, finding.site)
    return replace(finding, proposal=finding.proposal.replace(f'"{finding.site}"', f'"{conv}"'))


def _proposal(op: str, words: str) -> str:
    return f"{op}: {{{words}}}" if op else words


def _exclude(module: str) -> str:
    return f'exclude: ["{module}"]'
