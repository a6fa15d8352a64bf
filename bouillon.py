"""Bouillon from other programs: plan and run recipes, read results, and log models of scripts of your own.

    import bouillon

    recipe = bouillon.Recipe("quickstart", "results=digits.duckdb")
    bouillon.run(recipe)
    bouillon.Results("digits.duckdb").models()

Everything here is stable: it changes only with a new major version, and says so in CHANGELOG.md.
"""

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
