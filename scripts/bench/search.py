"""How fast a search finds the front: stored sweeps replayed, in seconds of processor time that the models cost when they were made.

    python scripts/bench/search.py                       all tables of scripts/bench/data
    python scripts/bench/search.py --record RESULTS RECIPE FILE
                                                         make a table from the results of a sweep

A table has every model of a sweep with its figures and what it took. A strategy proposes chains as a search does; a chain costs what
its steps took that were not made before (or all of its steps, for the strategy without shared beginnings), and shows every model on
its way. What is compared is the area that the models so far dominate (the hypervolume of accuracy and file size, 1 is that of the
whole sweep), as a mean over the time: from 0 to a third of what the whole sweep cost. Per seed, the strategies are paired.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.core.statistics import bootstrap_mean
from pipeline.delivery.search.proposer import FinishedTrial, Proposer, ProposerSettings
from pipeline.delivery.search.space import ChainProposal, SearchSpace
from pipeline.measure.metrics.quality import accuracy
from pipeline.measure.metrics.size import file_bytes

DATA = Path(__file__).parent / "data"
OURS = "ours"
QUALITY, SIZE = accuracy.__name__, file_bytes.__name__
STRATEGIES = {  # sampler, whether costs count, whether beginnings are shared
    OURS: ("tpe", True, True),
    "TPE, shared beginnings": ("tpe", False, True),
    "TPE": ("tpe", False, False),
    "random, shared beginnings": ("random", False, True),
    "random": ("random", False, False),
}


@dataclass(frozen=True)
class Table:
    """A sweep that was run."""

    recipe: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, float]]
    """Path of a model, named as a search names it -> accuracy, file_bytes and cpu_seconds."""

    @property
    def cost(self) -> float:
        """Of the whole sweep."""
        return sum(row["cpu_seconds"] for row in self.rows.values())

    def point(self, path: str) -> tuple[float, float]:
        """Accuracy, and how much smaller than the largest file, as shares."""
        row = self.rows[path]
        largest = max(each[SIZE] for each in self.rows.values())
        return row[QUALITY], 1 - row[SIZE] / largest


def read_table(file: Path) -> Table:
    content = json.loads(file.read_text(encoding="utf-8"))
    return Table(content["recipe"], content["rows"])


def ways(proposal: ChainProposal) -> list[str]:
    """Paths of a chain's models, from the top."""
    names = [step.name for step in proposal.steps]
    return ["/".join(names[: at + 1]) for at in range(len(names))]


def area(points: Sequence[tuple[float, float]]) -> float:
    """Area that some points dominate, above and right of (0, 0)."""
    total, height = 0.0, 0.0
    for x, y in sorted(points, reverse=True):
        if y > height:
            total += x * (y - height)
            height = y
    return total


def replay(table: Table, strategy: str, seed: int) -> float:
    """Mean over the time of the area that the models so far dominate, as a share of what all dominate."""
    sampler, is_thrifty, is_shared = STRATEGIES[strategy]
    proposer = Proposer(
        SearchSpace(table.recipe),
        ProposerSettings(("maximize", "minimize"), seed, sampler, is_thrifty),
    )
    end, whole = table.cost / 3, area([table.point(path) for path in table.rows])
    made: set[str] = set()
    tried: set[str] = set()
    finished: list[FinishedTrial] = []
    spent, mean = 0.0, 0.0
    while spent < end:
        chosen = proposer.propose(
            finished, 1, is_tried=lambda proposal: proposal.path in tried, cost=_expected(_rates(table, made), made)
        )
        if not chosen:
            break
        ((trial, proposal),) = chosen
        paths = ways(proposal)
        price = sum(table.rows[path]["cpu_seconds"] for path in paths if not (is_shared and path in made))
        before = area([table.point(path) for path in made]) / whole
        mean += before * (min(spent + price, end) - spent) / end
        spent += price
        made |= set(paths)
        tried.add(proposal.path)
        row = table.rows[proposal.path]
        finished.append(FinishedTrial(trial.choices, trial.distributions, (row[QUALITY], row[SIZE])))
    return mean + area([table.point(path) for path in made]) / whole * max(0.0, end - spent) / end


def _expected(rates: Mapping[str, float], made: set[str]) -> Callable[[ChainProposal], float]:
    """What a chain would cost of steps that are not made, as far as a search knows."""

    def cost(proposal: ChainProposal) -> float:
        steps = zip(ways(proposal), proposal.steps, strict=True)
        return sum(rates.get(step.op, 1.0) * _work(step.params) for path, step in steps if path not in made)

    return cost


def _rates(table: Table, made: set[str]) -> dict[str, float]:
    """Seconds of an operation for each unit of its work, from what was made: a search knows no more."""
    rates: dict[str, list[float]] = {}
    for path in made:
        row = table.rows[path]
        rates.setdefault(row["op"], []).append(row["cpu_seconds"] / row["work"])
    return {op: float(np.median(each)) for op, each in rates.items()}


def _work(params: Mapping[str, Any]) -> float:
    return float(np.prod([params.get(name) or 1 for name in ("epochs", "samples")]))


def record(results: Path, recipe: Path, file: Path) -> None:
    """Write a table from the results of a sweep of all values."""
    import yaml

    from pipeline.plan.recipe import parse
    from pipeline.store.reader import open_results

    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    with open_results(results) as db:
        costs = dict(
            db.execute(
                "SELECT model_key, sum(coalesce(cpu_seconds, seconds)) FROM steps WHERE outcome = 'done' GROUP BY 1"
            ).fetchall()
        )
        keys = dict(db.execute("SELECT path, model_key FROM steps WHERE job = 'operation'").fetchall())
        figures = {
            (model, metric): value
            for model, metric, value in db.execute("SELECT model_key, metric, value FROM measurements").fetchall()
        }
    by_params = {}
    for node in parse(content).nodes:
        name = node.path.replace("[", "-").replace("]", "")
        path = "/".join(_named(part) for part in name.split("/"))
        key = keys[node.path]
        by_params[path] = {
            "op": node.op,
            "work": _work(node.params),
            QUALITY: round(figures[key, QUALITY], 6),
            SIZE: figures[key, SIZE],
            "cpu_seconds": round(costs[key], 3),
        }
    tree = {"name": content["name"], "tree": content["tree"]}
    file.write_text(json.dumps({"recipe": tree, "rows": by_params}, indent=1) + "\n", encoding="utf-8")


def _named(part: str) -> str:
    """`magnitude-sparsity=0.5` as a search names it: `magnitude-0.5`."""
    name, *values = part.split("-", 1)
    return "-".join([name, *(value.partition("=")[2] for each in values for value in each.split(","))])


def main() -> None:
    """Print for each table the mean area of every strategy, and by how much ours is ahead."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", nargs=3, type=Path, metavar=("RESULTS", "RECIPE", "FILE"))
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    if options.record:
        record(*options.record)
        return
    begun = time.monotonic()
    behind = False
    for file in sorted(DATA.glob("*.json")):
        table = read_table(file)
        print(f"{file.stem}: {len(table.rows)} models, {table.cost:.0f} s of processor time")
        areas = {name: np.array([replay(table, name, seed) for seed in range(options.seeds)]) for name in STRATEGIES}
        for name, own in areas.items():
            mean, ahead = bootstrap_mean(own), bootstrap_mean(areas[OURS] - own)
            text = "" if name == OURS else f"; ours is ahead by {ahead.value:.3f} [{ahead.low:.3f}, {ahead.high:.3f}]"
            print(f"  {name:26s} {mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}]{text}")
            behind |= name != OURS and ahead.low <= 0
    print(f"{options.seeds} seeds, {time.monotonic() - begun:.0f} s")
    sys.exit(1 if behind else 0)


if __name__ == "__main__":
    main()
