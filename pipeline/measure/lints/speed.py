"""Lints of speed: compression that did not pay."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.measure.lints.api import Finding, Subject, SubjectSpeedup, SubjectTiming, lint
from pipeline.measure.metrics.size import integer_mac_share, macs

_FEWER = 0.98
_UNSTEADY = 1.5
_APART = 1.1
_ROUND_TO = 8


@lint
def slower_with_fewer_macs(subject: Subject) -> Finding | None:
    """The model computes less than its parent and takes longer."""
    parent, speedup = subject.parent, subject.speedups.get("parent")
    work, before = subject.value(macs), parent.value(macs) if parent else None
    if not work or not before or work > _FEWER * before or not _slower(speedup):
        return None
    assert speedup is not None
    return Finding(
        f"{work / before:.0%} of the parent's MACs, yet {_times(speedup)} as fast on {subject.target}",
        f"Channel counts that are no multiple of {_ROUND_TO} leave vector units idle: prune with `round_to: {_ROUND_TO}`. "
        "Small matrices of a factorised layer may cost more than the large one: factorise fewer layers",
        {macs.__name__: work, "macs_of_parent": before, **_evidence(speedup)},
    )


@lint
def int8_slower_than_float(subject: Subject) -> Finding | None:
    """The quantized model takes longer than the float model that it was made from."""
    speedup = subject.speedups.get("parent")
    if subject.kind != "quantize" or not _slower(speedup):
        return None
    assert speedup is not None
    share = subject.value(integer_mac_share)
    kernels = "" if share is None else f", with {share:.0%} of the MACs in integer kernels"
    return Finding(
        f"{_times(speedup)} as fast as its parent on {subject.target}{kernels}",
        "Quantize statically with uint8 activations and int8 weights per channel after pre-processing (the defaults of "
        "`quantize`); dynamic quantization of convolutions is slow; on a CPU without VNNI expect little",
        {integer_mac_share.__name__: share, **_evidence(speedup)},
    )


@lint
def unsteady_latency(subject: Subject) -> Finding | None:
    """The 90th percentile of the latency is far above the median."""
    for timing in subject.timings:
        if timing.scenario != "single_stream" or not timing.p50_ms or not timing.p90_ms:
            continue
        if timing.p90_ms > _UNSTEADY * timing.p50_ms:
            return Finding(
                f"p90 is {timing.p90_ms:.3g} ms where p50 is {timing.p50_ms:.3g} ms "
                f"({timing.p90_ms / timing.p50_ms:.1f} times) on {timing.threads} thread(s)",
                "Measure again on a quiet machine with bench=publish; if it stays, the model's time depends on its input",
                {"p50_ms": timing.p50_ms, "p90_ms": timing.p90_ms, "evidence_key": timing.evidence_key},
            )
    return None


@lint
def contended(subject: Subject) -> Finding | None:
    """Others used the machine while the model was timed."""
    contended_timings = [timing for timing in subject.timings if timing.contended]
    if not contended_timings:
        return None
    worst = max(contended_timings, key=lambda timing: timing.foreign_cores)
    return Finding(
        f"While it was timed others kept {worst.foreign_cores:.2f} cores busy ({_conditions(contended_timings, subject)})",
        "Trust the CPU times and their intervals, not the wall-clock times; measure again when the machine is quiet",
        {"foreign_cores": worst.foreign_cores, "evidence_key": worst.evidence_key},
    )


@lint
def drifted(subject: Subject) -> Finding | None:
    """The machine became faster or slower while nobody else was seen to use it."""
    drifted_timings = [timing for timing in subject.timings if timing.drifted and not timing.contended]
    if not drifted_timings:
        return None
    return Finding(
        f"While it was timed the machine's own speed changed ({_conditions(drifted_timings, subject)})",
        "Trust the speed-ups, whose two models ran in the same rounds, more than the times; for steady times fix the clock of "
        "the processor, or measure again",
        {"foreign_cores": drifted_timings[0].foreign_cores, "evidence_key": drifted_timings[0].evidence_key},
    )


@lint
def timed_apart(subject: Subject) -> Finding | None:
    """The model was timed in another session than its base, and the machine was not as fast in both."""
    for timing in subject.timings:
        base, beside = timing.base_p50_ms, timing.base_beside_ms
        if (
            timing.scenario != "single_stream"
            or not base
            or not beside
            or timing.evidence_key == timing.base_evidence_key
        ):
            continue
        if max(base, beside) > _APART * min(base, beside):
            return Finding(
                f"Its time is of another session than its base's: the base took {beside:.3g} ms then, "
                f"and {base:.3g} ms when its own time was taken ({timing.threads} thread(s))",
                "Compare the two by their speed-up, which is measured within one session, not by their times; to have all times "
                "from one session, run the recipe with a preset of another name (`bench.name=again`)",
                {
                    "base_p50_ms": base,
                    "base_beside_ms": beside,
                    "evidence_key": timing.evidence_key,
                    "base_evidence_key": timing.base_evidence_key,
                },
            )
    return None


def _conditions(timings: Sequence[SubjectTiming], subject: Subject) -> str:
    return f"{len(timings)} of {len(subject.timings)} conditions"


def _slower(speedup: SubjectSpeedup | None) -> bool:
    return speedup is not None and speedup.verdict == "slower"


def _times(speedup: SubjectSpeedup) -> str:
    return f"{speedup.ratio:.2f}x ({speedup.low:.2f} to {speedup.high:.2f})"


def _evidence(speedup: SubjectSpeedup) -> dict[str, float | str | None]:
    return {"speedup": speedup.ratio, "low": speedup.low, "high": speedup.high, "evidence_key": speedup.evidence_key}
