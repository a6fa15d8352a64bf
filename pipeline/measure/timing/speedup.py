"""Speed-ups: ratios of times with intervals that hold what two equal models would differ by.

A round's figure is the lower quartile of its runs: neighbours can only add to a time, by emptying caches and slowing
memory, so what a model costs is found near the fast end (with the median, speed-ups of one pair in eight sessions beside
heavy load differed by up to 20 %, with the lower quartile by 5 %). Rounds are joined by the Hodges-Lehmann estimator, the
median of all averages of two: nearly as precise as the mean where nothing disturbs, and not moved by a few bad rounds.

Two sources of chance are in a ratio. Within a pair of processes the rounds scatter: they are resampled (a bootstrap,
paired by round). And a process as a whole is a little faster or slower than the next of the same model, through where
its memory happens to lie: rounds cannot show this, so it is estimated from the base's twins and drawn with the rounds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.measure.timing.results import Candidate, ProcessSamples, Role, SpeedupEstimate, Verdict

_RESAMPLES = 4000
_SCATTER_RESAMPLES = 400
_OWN = 0.5
"""Share of the variance of processes that is theirs at the least."""
FEWEST_ROUNDS = 6
"""Below it a comparison has no interval."""
_PAIR = 2
_FAST_END = 0.25
_TAILS = (0.025, 0.975)

Logs = Mapping[int, float]
"""Round -> logarithm of the lower quartile of the times of its runs."""


@dataclass(frozen=True, slots=True)
class ProcessNoise:
    """What processes of one model differ by."""

    sd: float
    """Standard deviation of a process's log time."""
    freedom: int
    """Degrees of freedom of `sd`; 0: unknown, taken as none."""


def compare_all(
    samples: Sequence[ProcessSamples], candidates: Iterable[Candidate], clock: str
) -> list[SpeedupEstimate]:
    """Compare every model with its base and its parent, and the base with its twins, where they were in one group.

    Two that have no round in common are not compared: one died in each launch that the other lived through.

    Args:
        samples: all of one target.
        candidates: models with their bases and parents; every model of `samples` is among them.
        clock: `cpu` or `wall`.
    """
    present = {candidate.model_key: candidate for candidate in candidates}
    noise = process_noise(samples, clock)
    results: list[SpeedupEstimate] = []
    for members in _groups(samples).values():
        by_model: dict[str, list[ProcessSamples]] = defaultdict(list)
        for member in members:
            if member.role is not Role.TWIN:
                by_model[member.case.model_key].append(member)
        for key, own in by_model.items():
            if own[0].role is Role.MODEL:
                results.extend(_relations(present[key], own, by_model, noise, clock))
        results.extend(_twins(members, by_model, noise, clock))
    return [result for result in results if result.rounds]


def _relations(
    candidate: Candidate,
    own: list[ProcessSamples],
    by_model: Mapping[str, list[ProcessSamples]],
    noise: ProcessNoise,
    clock: str,
) -> Iterator[SpeedupEstimate]:
    for relation, key in (("base", candidate.base_key), ("parent", candidate.parent_key)):
        if key is not None and key != candidate.model_key and key in by_model:
            yield estimate_speedups(own, by_model[key], relation=relation, noise=noise, clock=clock)


def _twins(
    members: list[ProcessSamples], by_model: Mapping[str, list[ProcessSamples]], noise: ProcessNoise, clock: str
) -> Iterator[SpeedupEstimate]:
    twins: dict[int, list[ProcessSamples]] = defaultdict(list)
    for member in members:
        if member.role is Role.TWIN:
            twins[member.process].append(member)
    for launches in twins.values():
        base = by_model.get(launches[0].case.model_key)
        if base:
            yield estimate_speedups(launches, base, relation="itself", noise=noise, clock=clock)


def estimate_speedups(
    model: Sequence[ProcessSamples],
    against: Sequence[ProcessSamples],
    *,
    relation: str,
    noise: ProcessNoise,
    clock: str,
) -> SpeedupEstimate:
    """Compare two models that were measured in one group, over all its launches.

    Args:
        model: samples of the one model, one per launch; at least one.
        against: samples of the other, likewise.
        relation: `base`, `parent` or `itself`.
        noise: how much equal processes differ; it widens the interval.
        clock: `cpu` or `wall`.
    """
    differences = list(_differences(model, against, clock))
    rounds = sum(map(len, differences))
    centre = float(np.mean([location(launch) for launch in differences])) if differences else math.nan
    low, high = _interval(differences, noise) if rounds >= FEWEST_ROUNDS else (None, None)
    return SpeedupEstimate(
        case=model[0].case,
        against_key=against[0].case.model_key,
        relation=relation,
        clock=clock,
        ratio=math.exp(centre),
        low=low,
        high=high,
        verdict=_verdict(low, high),
        rounds=rounds,
        noise=noise.sd,
        contended=any(member.contended for member in (*model, *against)),
        process=model[0].process,
    )


def process_noise(samples: Sequence[ProcessSamples], clock: str) -> ProcessNoise:
    """Estimate what processes of one model differ by, from the base and its twins, pooled over groups and conditions.

    The variance of the processes' locations, less what the scatter of rounds alone gives them. At least a half of it is
    taken to be theirs: of few processes the difference of the two estimates is often nothing, and then short steady rounds
    would make the intervals of equal models exclude 1.
    """
    between = within = 0.0
    freedom = 0
    for members in _groups(samples).values():
        for launch in sorted({member.launch for member in members}):
            table = _table([member for member in members if member.launch == launch], clock)
            processes, rounds = table.shape
            if processes < _PAIR or rounds < _PAIR:
                continue
            rest = table - np.median(table, axis=0)
            places = location(rest)
            between += float(((places - places.mean()) ** 2).sum())
            within += _scatter(rest) * (processes - 1)
            freedom += processes - 1
    if not freedom:
        return ProcessNoise(0.0, 0)
    return ProcessNoise(math.sqrt(max(_OWN * between, between - within) / freedom), freedom)


def _scatter(rest: np.ndarray) -> float:
    """Variance of a process's location through the scatter of its rounds: a bootstrap, the mean of all processes."""
    rounds = rest.shape[1]
    draws = np.random.default_rng(0).integers(0, rounds, (_SCATTER_RESAMPLES, rounds))
    return float(np.mean([location(row[draws]).var() for row in rest]) * rounds / (rounds - 1))


def _table(members: Sequence[ProcessSamples], clock: str) -> np.ndarray:
    """Log times of the processes of the twins' model, by the rounds that they have in common."""
    base = {member.case.model_key for member in members if member.role is Role.TWIN}
    logs = [round_logs(member, clock) for member in members if member.case.model_key in base]
    rounds = sorted(set.intersection(*map(set, logs))) if logs else []
    return np.array([[log[number] for number in rounds] for log in logs]).reshape(len(logs), len(rounds))


def round_logs(samples: ProcessSamples, clock: str) -> Logs:
    """Round -> log time of the runs that were kept."""
    times = samples.cpu_ns if clock == "cpu" else samples.wall_ns
    return {
        int(number): log_time(times[samples.kept & (samples.round == number)])
        for number in np.unique(samples.round[samples.kept])
    }


def log_time(times_ns: np.ndarray) -> float:
    """Logarithm of the lower quartile: what a run costs, whatever disturbed some of them."""
    return math.log(max(1.0, float(np.quantile(times_ns, _FAST_END))))


def location(values: np.ndarray) -> np.ndarray:
    """Hodges-Lehmann estimate along the last axis: the median of the averages of all pairs, each value with itself too."""
    first, second = np.triu_indices(values.shape[-1])
    estimate: np.ndarray = np.median((values[..., first] + values[..., second]) / 2, axis=-1)
    return estimate


def _differences(
    model: Sequence[ProcessSamples], against: Sequence[ProcessSamples], clock: str
) -> Iterator[np.ndarray]:
    """Of each launch: log speed-up by round."""
    others = {other.launch: round_logs(other, clock) for other in against}
    for member in model:
        own, other = round_logs(member, clock), others.get(member.launch, {})
        common = sorted(own.keys() & other.keys())
        if common:
            yield np.array([other[number] - own[number] for number in common])


def _interval(differences: Sequence[np.ndarray], noise: ProcessNoise) -> tuple[float, float]:
    """95 % interval of the ratio.

    A bootstrap of few rounds is too narrow: it is widened as Student's interval is against the normal one (Hesterberg,
    2015, "What Teachers Should Know About the Bootstrap", section on expanded percentiles).
    """
    from scipy.stats import norm, t

    generator = np.random.default_rng(0)
    launches = len(differences)
    draws = np.zeros(_RESAMPLES)
    for launch in differences:
        n = len(launch)
        if n < _PAIR:
            continue
        resampled = location(launch[generator.integers(0, n, (_RESAMPLES, n))]) - location(launch)
        widening = math.sqrt(n / (n - 1)) * t.ppf(_TAILS[1], n - 1) / norm.ppf(_TAILS[1])
        draws += resampled * widening / launches
    if noise.freedom:
        draws += noise.sd * math.sqrt(2 / launches) * generator.standard_t(noise.freedom, _RESAMPLES)
    centre = np.mean([location(launch) for launch in differences])
    low, high = np.exp(centre + np.quantile(draws, _TAILS))
    return float(low), float(high)


def _verdict(low: float | None, high: float | None) -> Verdict:
    if low is None or high is None:
        return Verdict.UNKNOWN
    if low > 1:
        return Verdict.FASTER
    return Verdict.SLOWER if high < 1 else Verdict.SAME


def _groups(samples: Sequence[ProcessSamples]) -> dict[int, list[ProcessSamples]]:
    """Samples by group; all of a group are of one condition."""
    groups: dict[int, list[ProcessSamples]] = defaultdict(list)
    for member in samples:
        groups[member.group].append(member)
    return groups
