"""The engine for other programs: what the command line does, as calls. `bouillon` has them under its own name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.core.params import not_finite
from pipeline.cli.configuration.compose import UsageError, compose
from pipeline.cli.configuration.yaml_reader import read_yaml
from pipeline.sweep.config import check_config
from pipeline.sweep.prepare import Entries, Prepared, prepare
from pipeline.sweep.reporter import Reporter
from pipeline.sweep.run import Result, run_all

__all__ = ["RunRecipe", "plan", "prepared_run", "run_recipe"]


class RunRecipe:
    """A recipe with the settings of a run.

    RunRecipe("quickstart", "executor.workers=2", "results=digits.duckdb")
    RunRecipe({"name": "mine", "model": "digits_resnet", "dataset": "digits", "tree": {"base": {"op": "train"}}})
    """

    def __init__(self, source: str | Path | Mapping[str, Any], *words: str, folder: str | Path | None = None) -> None:
        """Take a recipe by name or as data. Nothing is read before it is planned.

        Args:
            source: name of a recipe of conf/recipe or of the folder, the path of a file, or the recipe as a mapping.
            words: further settings, as on the command line.
            folder: of your own recipes, models and data sets: what `--config-dir` names.
        """
        self.source, self.words = source, words
        self.folder = None if folder is None else Path(folder)

    def composed(self) -> tuple[dict[str, Any], Entries]:
        """Return the whole configuration, and the entries of conf/ that recipes can name.

        Raises:
            UsageError: for an unknown name or a malformed word, with the nearest that would be right.
        """
        if isinstance(self.source, Path):
            return compose(self.words, extra=self.folder, recipe=read_yaml(self.source).data)
        if isinstance(self.source, str):
            return compose([f"recipe={self.source}", *self.words], extra=self.folder)
        return compose(self.words, extra=self.folder, recipe=self.source)


def plan(recipe: RunRecipe) -> Prepared:
    """Check and plan a recipe; nothing runs.

    Returns:
        The steps (`.plan.steps`), every job (`.jobs`), and those that have to run (`.missing()`).

    Raises:
        BouillonError: for every mistake that needs no computing, one line each.
    """
    return prepared_run(*recipe.composed())


def prepared_run(raw: Mapping[str, Any], entries: Entries) -> Prepared:
    """Check a composed configuration and plan its run.

    Raises:
        BouillonError: for every mistake that needs no computing, one line each.
    """
    odd = not_finite(raw)
    if odd is not None:
        raise UsageError(f"{odd[0]}: must be a finite number (got {odd[1]})")
    return prepare(check_config(raw), entries)


def run_recipe(recipe: RunRecipe | Prepared, reporter: Reporter | None = None) -> Result:
    """Run a recipe, or one that was planned before.

    Failures of steps are outcomes of the result, not exceptions. In a script, call it below `if __name__ == "__main__":`,
    since jobs run in processes that import the script.

    Args:
        recipe: what to run.
        reporter: receives what happens meanwhile; None: nobody does.

    Raises:
        BouillonError: for every mistake that needs no computing, one line each.
    """
    return run_all(recipe if isinstance(recipe, Prepared) else plan(recipe), reporter)[1]
