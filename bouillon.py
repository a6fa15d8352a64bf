"""Bouillon from other programs: plan and run recipes, read results, and log models of scripts of your own.

    import bouillon

    recipe = bouillon.Recipe("quickstart", "results=digits.duckdb")
    bouillon.run(recipe)
    bouillon.Results("digits.duckdb").models()

Everything here is stable: it changes only with a new major version, and says so in CHANGELOG.md.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parent
for _name in ("ops", "pipeline", "viewer"):  # generic names: a package of somebody else's may have one of them
    _spec = importlib.util.find_spec(_name)
    if _spec is None or _spec.origin is None or Path(_spec.origin).resolve().parents[1] != _ROOT:
        _place = "nowhere" if _spec is None else str(_spec.origin or list(_spec.submodule_search_locations or ()))
        raise ImportError(
            f"Bouillon's own package '{_name}' lies in {_ROOT}, but Python finds {_place}: another package has that name. "
            "Install Bouillon into an environment of its own, for instance with pipx"
        )

from pipeline.cli.library import RunRecipe as Recipe
from pipeline.cli.library import plan
from pipeline.cli.library import run_recipe as run
from pipeline.core.errors import BouillonError
from pipeline.delivery.evaluation_set import EvaluationSet
from pipeline.delivery.logged_models import LoggedFigure as Figure
from pipeline.delivery.logged_models import log
from pipeline.delivery.result_frames import ResultFrames as Results
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, as `python -m pipeline` does, and exit."""
    from pipeline.cli.main import main as run_command_line

    run_command_line(arguments)
