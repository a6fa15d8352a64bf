"""How much too good the figure of the best of many models is, and whether a confirmed figure is right.

    python scripts/bench/confirmation.py                       52 versions of a classifier of digits
    python scripts/bench/confirmation.py --results FILE        the stored answers of these results

Nothing is trained for a sweep: instances are drawn, with replacement, from those that all models have answered, some to
choose the best model by and others to confirm it. Over all instances each model's accuracy is known, so that every sweep
tells how far off both figures of its winner were. Without results, the answers are those of one logistic regression on
scikit-learn's digits and of versions of it, with weights rounded to few levels or the smallest set to zero.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.core.statistics import CONFIDENCE, Interval, wilson, wilson_bounds
from pipeline.measure.uncertain_values import Mean
from pipeline.store.reader import open_results

SWEEPS, EVALUATED, CONFIRMED = 500, 400, 200


@dataclass(frozen=True, slots=True)
class Simulation:
    """What many sweeps told of their winners; each figure less the winner's true accuracy, with its 95 % interval."""

    optimism: Interval
    """Of the figure that the winner was chosen by."""
    confirmed: Interval
    """Of the confirmed figure."""
    covered: Interval
    """Share of sweeps whose confirmed interval holds the true accuracy."""
    chosen_covered: Interval
    """The same of the interval of the figure that the winner was chosen by."""


def simulate(correct: np.ndarray, *, sweeps: int, evaluated: int, confirmed: int, seed: int = 0) -> Simulation:
    """Draw instances for many sweeps, choose the best model of each, and compare with what is true.

    Args:
        correct: bool (models, instances): right answers.
        sweeps: how many.
        evaluated: instances that a sweep chooses by.
        confirmed: instances that it confirms by.
        seed: of the draws.
    """
    rng, count = np.random.default_rng(seed), correct.shape[1]
    truth, odds = correct.mean(axis=1), np.full(count, 1 / count)
    hits = rng.multinomial(evaluated, odds, size=sweeps) @ correct.T.astype(np.int64)  # (sweeps, models)
    again = rng.multinomial(confirmed, odds, size=sweeps) @ correct.T.astype(np.int64)
    winners = _best(hits, rng)
    rows = np.arange(sweeps)
    first, second, true = hits[rows, winners], again[rows, winners], truth[winners]
    return Simulation(
        Mean.of(first / evaluated - true).interval(CONFIDENCE),
        Mean.of(second / confirmed - true).interval(CONFIDENCE),
        _coverage(second, confirmed, true),
        _coverage(first, evaluated, true),
    )


def _best(hits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The model with the most hits in every sweep; of several, one by chance."""
    winners: np.ndarray = (hits + rng.random(hits.shape)).argmax(axis=1)
    return winners


def _coverage(hits: np.ndarray, count: int, truth: np.ndarray) -> Interval:
    low, high = wilson_bounds(hits, np.full(len(hits), count))
    return wilson(int(((low <= truth) & (truth <= high)).sum()), len(hits))


def stored_answers(results: Path) -> np.ndarray:
    """Return the right answers of all models of some results that answered the same instances, bool (models, instances).

    Raises:
        SystemExit: if fewer than two did.
    """
    with open_results(results) as db:
        rows = db.execute(
            "SELECT target, dataset_key, model_key, list(correct ORDER BY position) FROM predictions WHERE split = 'evaluation'"
            " GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    groups: dict[tuple[str, str], list[list[bool]]] = {}
    for target, data, _, correct in rows:
        groups.setdefault((target, data), []).append(correct)
    largest = max(groups.values(), key=len, default=[])
    if len(largest) < 2:
        raise SystemExit(f"{results}: no two models answered the same instances")
    return np.array(largest, bool)


def drawn_versions(versions: int = 52) -> np.ndarray:
    """Return the right answers of versions of one classifier on digits that it was not fitted to, bool (versions, 897)."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    fitted, held = order[:900], order[900:]
    model = LogisticRegression(max_iter=2000).fit(images[fitted] / 16, labels[fitted])
    answers = []
    for number in range(versions):
        weights = _version(model.coef_, number)
        answers.append((images[held] / 16 @ weights.T + model.intercept_).argmax(axis=1) == labels[held])
    return np.array(answers)


def _version(weights: np.ndarray, number: int) -> np.ndarray:
    """Weights of which some are zero (even numbers), or that have few levels (odd numbers); the original is number 0."""
    if number % 2 == 0:
        threshold = np.quantile(np.abs(weights), number / 100)
        return np.where(np.abs(weights) < threshold, 0, weights)
    step = np.abs(weights).max() / (3 + number // 2)
    rounded: np.ndarray = np.round(weights / step) * step
    return rounded


def main() -> None:
    """Print the figures; exit status 1 if the confirmed figure is off by more than chance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="results whose stored answers are drawn from")
    parser.add_argument("--sweeps", type=int, default=SWEEPS)
    parser.add_argument("--evaluated", type=int, default=EVALUATED, help="instances that a sweep chooses by")
    parser.add_argument("--confirmed", type=int, default=CONFIRMED, help="instances that it confirms by")
    options = parser.parse_args()
    correct = drawn_versions() if options.results is None else stored_answers(options.results)
    best = correct.mean(axis=1)
    print(
        f"{options.sweeps} sweeps of {len(correct)} models ({best.min():.1%} to {best.max():.1%} right on {correct.shape[1]:,} instances), "
        f"chosen by {options.evaluated:,}, confirmed by {options.confirmed:,}"
    )
    done = simulate(correct, sweeps=options.sweeps, evaluated=options.evaluated, confirmed=options.confirmed)
    print(
        f"  chosen at, too good by     {_points(done.optimism)}; its interval holds the truth in {_share(done.chosen_covered)}"
    )
    print(
        f"  confirmed at, too good by  {_points(done.confirmed)}; its interval holds the truth in {_share(done.covered)}"
    )
    sys.exit(int(not done.confirmed.low <= 0 <= done.confirmed.high))


def _points(interval: Interval) -> str:
    return f"{100 * interval.value:+.2f} points [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"


def _share(interval: Interval) -> str:
    return f"{interval.value:.1%} [{interval.low:.1%}, {interval.high:.1%}] of the sweeps"


if __name__ == "__main__":
    main()
