"""Bouillon from other programs: plan and run recipes, read results, and log models of scripts of your own.

    import bouillon

    recipe = bouillon.Recipe("quickstart", "results=digits.duckdb")
    bouillon.run(recipe)
    bouillon.Results("digits.duckdb").models()

Everything here is stable: it changes only with a new major version, and says so in CHANGELOG.md.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_ROOT = Path(__file__).resolve().parent
for _name in ("ops", "pipeline", "viewer"):  # generic names: a package of somebody else's may have one of them
    _spec = importlib.util.find_spec(_name)
    if _spec is None or _spec.origin is None or Path(_spec.origin).resolve().parents[1] != _ROOT:
        _place = "nowhere" if _spec is None else str(_spec.origin or list(_spec.submodule_search_locations or ()))
        raise ImportError(
            f"Bouillon's own package '{_name}' lies in {_ROOT}, but Python finds {_place}: another package has that name. "
            "Install Bouillon into an environment of its own, for instance with pipx"
        )

from ops.core.registry import nearest
from pipeline.cli.library import RunRecipe as Recipe
from pipeline.cli.library import plan
from pipeline.cli.library import run_recipe as run
from pipeline.core.errors import BouillonError
from pipeline.delivery.evaluation_set import EvaluationSet
from pipeline.delivery.logged_models import LoggedFigure as Figure
from pipeline.delivery.logged_models import log
from pipeline.delivery.result_frames import ResultFrames
from pipeline.sweep.prepare import Prepared
from pipeline.sweep.reporter import Reporter
from pipeline.sweep.run import Result

__all__ = [
    "BouillonError",
    "EvaluationSet",
    "Figure",
    "Prepared",
    "Recipe",
    "Reporter",
    "Result",
    "Results",
    "log",
    "plan",
    "run",
]


class UnknownMetricError(BouillonError, LookupError):
    """The results have no such metric."""


class Results(ResultFrames):
    """Some results as data frames, and models chosen as on the page: what chance does not tell apart stands together."""

    def pareto(self, x: str, y: str) -> pd.DataFrame:
        """Return the models that no other measurably beats in two metrics: `model_key`, `model` and the metrics.

        Args:
            x: a metric.
            y: another.

        Raises:
            BouillonError: if there is no such metric, with the nearest.
        """
        import pandas as pd

        from viewer.best import front_of
        from viewer.results.results import load_results

        results = load_results(self.path)
        for metric in (x, y):
            if metric not in results.columns_by_name:
                names = list(results.columns_by_name)
                raise UnknownMetricError(
                    f"These results have no figure of '{metric}'.{nearest(metric, names)} Known: {', '.join(names)}"
                )
        return pd.DataFrame(front_of(results, x, y), columns=["model_key", "model", x, y])

    def best(self, budget: str = "", count: int = 1) -> pd.DataFrame:
        """Return the best models within a budget: `model_key`, `model`, and how many others are `alike`.

        Args:
            budget: as it is typed on the page: "file_bytes <= 5 MB and accuracy >= 90%".
            count: how many at most.

        Raises:
            BouillonError: if the budget cannot be read, or no model is within it.
        """
        import pandas as pd

        from viewer.best import named_best
        from viewer.results.results import load_results

        answer = named_best(load_results(self.path), count, budget)
        if "problem" in answer:
            raise BouillonError(answer["problem"])
        frame = pd.DataFrame(answer["models"], columns=["key", "name", "alike"])
        return frame.rename(columns={"key": "model_key", "name": "model"})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, as `python -m pipeline` does, and exit."""
    from pipeline.cli.main import main as run_command_line

    run_command_line(arguments)
