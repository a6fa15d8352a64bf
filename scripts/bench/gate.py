"""How often a gate gives false alarms, how small a drop it sees, and how long it takes.

    python scripts/bench/gate.py                       drawn answers
    python scripts/bench/gate.py --results FILE        A/A pairs from the stored answers of these results too

- A/A: two models that are equally good differ on some instances. Which of the two is right there is drawn anew for each
  pair: whoever says "the accuracy drops" is wrong. With one rule, with five, and with rules on classes; at most 5 %.
- Power: how often a drop of 0.5, 1 and 2 points is seen, by the number of instances.
- Time: a gate of three rules on 10,000 instances, from the results on disk, in a process that has imported what it needs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.core.statistics import CONFIDENCE, wilson
from pipeline.delivery.gate import GateOutcome, judge_pair
from pipeline.measure.uncertain_values import PairedShares
from pipeline.store.queries.model_pair import ModelPair
from pipeline.store.reader import open_results
from tests.pipeline.answer_stores import CLASSES, Pair, publish

FALSE_ALARMS = 0.05
SECONDS = 2.0
RULES = ("accuracy drop > 0pt",)
MANY = (*RULES, "accuracy rise > 0pt", "worst_class drop > 0pt", "worst_class rise > 0pt", "worst_group drop > 0pt")


def failures(pairs: Sequence[Pair], rules: Sequence[str]) -> int:
    """Gate pairs of models through results on disk; returns how many fail."""
    with tempfile.TemporaryDirectory() as folder:
        path = publish(Path(folder) / "results.duckdb", pairs)
        outcomes = []
        for number in range(len(pairs)):
            with ModelPair(path, f"candidate {number}", f"reference {number}") as pair:
                outcomes.append(judge_pair(pair, rules).outcome)
    return outcomes.count(GateOutcome.FAILS)


def exchanged(pair: Pair, rng: np.random.Generator) -> Pair:
    """Say by a coin, instance by instance, which of two answers is whose: two models that are equally good."""
    first, second, labels = pair
    coin = rng.random(len(first)) < 0.5
    return np.where(coin, first, second), np.where(coin, second, first), labels


def stored_pairs(results: Path) -> list[Pair]:
    """Return the answers of all pairs of models in some results that answered the same instances, and the labels."""
    with open_results(results) as db:
        rows = db.execute(
            "SELECT model_key, target, dataset_key, list(correct ORDER BY position), list(label ORDER BY position)"
            " FROM predictions WHERE split = 'evaluation' GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    return [
        (np.array(one[3]), np.array(other[3]), np.unique(one[4], return_inverse=True)[1] % len(CLASSES))
        for one, other in itertools.combinations(rows, 2)
        if one[1:3] == other[1:3]
    ]


def drawn_pairs(rng: np.random.Generator) -> list[Pair]:
    """Return answers of pairs of models that are right on 70 to 99 % and differ on 1 to 10 % of 200 to 2,000 instances."""
    pairs = []
    for _ in range(20):
        count = int(rng.integers(200, 2000))
        first = rng.random(count) < rng.uniform(0.7, 0.99)
        second = first ^ (rng.random(count) < rng.uniform(0.01, 0.1))
        pairs.append((first, second, rng.integers(0, len(CLASSES), count)))
    return pairs


def power(count: int, drop: float, trials: int, rng: np.random.Generator, churn: float = 0.02) -> float:
    """Return how often a true drop is seen: the statistic of "accuracy drop > 0pt" on drawn answers.

    Args:
        count: instances.
        drop: share of all instances that the candidate loses for good.
        trials: draws.
        rng: draws them.
        churn: share of the instances on which the two differ besides, half of them in favour of each.
    """
    odds = (drop + churn / 2, churn / 2, 1 - drop - churn)
    critical = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    counts = rng.multinomial(count, odds, size=trials)
    return float(np.mean([PairedShares(int(lost), int(won), count).z(0.0) >= critical for lost, won, _ in counts]))


def main() -> None:
    """Print the three tables; exit status 1 if a gate gives too many false alarms or takes too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="results whose stored answers give A/A pairs")
    parser.add_argument(
        "--trials", type=int, default=200, help="A/A pairs; each figure of power has five times as many draws"
    )
    options = parser.parse_args()
    rng, failed = np.random.default_rng(0), False

    print(f"false alarms among {options.trials} A/A pairs (95 % interval):")
    sources = {"drawn": drawn_pairs(rng)} | ({"stored": stored_pairs(options.results)} if options.results else {})
    for source, pairs in sources.items():
        for rules in (RULES, MANY):
            trials = [exchanged(pairs[number % len(pairs)], rng) for number in range(options.trials)]
            alarms = failures(trials, rules)
            share = wilson(alarms, options.trials)
            failed |= share.low > FALSE_ALARMS
            print(f"  {source} answers, {len(rules)} rule(s): {share.value:.1%} [{share.low:.1%}, {share.high:.1%}]")

    counts, drops = (200, 500, 1000, 2000, 5000, 10000), (0.005, 0.01, 0.02)
    print('\nhow often "accuracy drop > 0pt" fails, by instances and true drop (2 % of the answers differ besides):')
    print("| instances | " + " | ".join(f"{100 * drop:g}pt" for drop in drops) + " |\n|---|---|---|---|")
    for count in counts:
        cells = [f"{power(count, drop, 5 * options.trials, rng):.0%}" for drop in drops]
        print(f"| {count:,} | " + " | ".join(cells) + " |", flush=True)

    first, second, labels = rng.random(10_000) < 0.9, rng.random(10_000) < 0.9, np.arange(10_000) % 10
    with tempfile.TemporaryDirectory() as folder:
        path = publish(Path(folder) / "results.duckdb", [(first, second, labels)])
        start, cpu = time.perf_counter(), time.process_time()
        with ModelPair(path, "candidate 0", "reference 0") as pair:
            judge_pair(pair, MANY)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    failed |= cpu > SECONDS
    print(f"\ngate of {len(MANY)} rules on 10,000 instances: {wall:.2f} s, {cpu:.2f} s of CPU (limit {SECONDS:g})")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
