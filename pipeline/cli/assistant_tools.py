"""What an assistant may do: look, check, plan, run within limits, and ask. Plain functions; `mcp_server` offers them.

An assistant is not the person: what it gives is a recipe of conf/'s own models and data sets, never code, files or plug-ins,
and nothing that changes where results go. Whatever it may do beyond that, the person said when the server was started.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.core.registry import nearest
from pipeline.cli.configuration.compose import CONF, UsageError, recipe_names
from pipeline.cli.configuration.yaml_reader import read_yaml, strings
from pipeline.cli.library import RunRecipe, prepared_run
from pipeline.core.errors import BouillonError
from pipeline.delivery.result_frames import ResultFrames
from pipeline.plan.entries import entries_in
from pipeline.plan.schema import operation_schemas
from pipeline.store.queries.model_pair import find_model
from pipeline.store.reader import open_results
from pipeline.sweep.plan_summary import plan_summary
from pipeline.sweep.prepare import Prepared

__all__ = ["AssistantTools"]

_SETTINGS = (
    "bench",
    "batch_size",
    "executor.threads",
    "executor.workers",
    "limits.memory_gb",
    "limits.seconds",
    "recipe.",
)
"""Words of the command line that an assistant may give, or their beginnings."""
_ENTRIES = ("recipe.dataset", "recipe.model")
_MOST_ROWS = 200
_STOP_SECONDS = 60


@dataclass(frozen=True)
class AssistantTools:
    """The tools of one server: what they read and write is what the person named at its start."""

    results: Path
    workspace: Path
    folder: Path | None = None
    """Of the person's own recipes, models and data sets."""
    most_minutes: float = 30.0
    """The longest run."""

    # ---- looking
    def list_recipes(self) -> list[dict[str, Any]]:
        """Recipes that can be run by name, with what they are for."""
        folders = [CONF, *([self.folder] if self.folder else [])]
        recipes = []
        for folder in folders:
            for name in recipe_names([folder]):
                raw = read_yaml(folder / "recipe" / f"{name}.yaml").data
                recipes.append({"name": name, "description": str(raw.get("description", ""))})
        return recipes

    def list_operations(self) -> dict[str, Any]:
        """Operations of recipes: what each does, consumes and produces, and the JSON schema of its parameters."""
        return operation_schemas()

    # ---- recipes
    def check_recipe(self, recipe: str | dict[str, Any], settings: list[str] | None = None) -> dict[str, Any]:
        """Check a recipe without running anything: every mistake that needs no computing, one line each.

        Args:
            recipe: the name of one, or its content: {name, model, dataset, targets, seed, tree: {step: {op, with, then}}}.
            settings: words such as "recipe.seed=1" or "executor.workers=2".
        """
        try:
            prepared = self._prepared(recipe, settings)
        except BouillonError as error:
            return {"ok": False, "problems": str(error).splitlines()}
        return {"ok": True, "steps": len(prepared.plan.steps), "jobs_to_run": len(prepared.missing())}

    def plan_recipe(self, recipe: str | dict[str, Any], settings: list[str] | None = None) -> dict[str, Any]:
        """Plan a recipe: its steps, which of them are there already, and how long the others took in earlier runs.

        Args:
            recipe: the name of one, or its content.
            settings: words such as "recipe.seed=1".
        """
        return plan_summary(self._prepared(recipe, settings))

    def run_recipe(
        self, recipe: str | dict[str, Any], settings: list[str] | None = None, minutes: float = 10.0
    ) -> dict[str, Any]:
        """Run a recipe for at most some minutes. What is finished then is kept: the same call goes on from there.

        Args:
            recipe: the name of one, or its content.
            settings: words such as "executor.workers=2".
            minutes: after which it is stopped.
        """
        self._prepared(recipe, settings)  # every mistake is told before anything starts
        limit = min(minutes, self.most_minutes)
        words = self._words(settings) + (["--config-dir", str(self.folder)] if self.folder else [])
        with tempfile.TemporaryDirectory() as scratch:
            name = recipe if isinstance(recipe, str) else Path(scratch, "recipe.yaml")
            if isinstance(name, Path):
                name.write_text(json.dumps(recipe))  # which is YAML, too
            code, output = _run([*words, f"recipe={name}"], limit)
        return {
            "finished": code in (0, 1),
            "succeeded": code == 0,
            "failures": self._failures() if self.results.exists() else [],
            "output": output[-4000:],
            "results": str(self.results),
        }

    # ---- results
    def list_models(self) -> dict[str, Any]:
        """Models of the results with the figures of their scoreboard."""
        return _table(ResultFrames(self.results).models())

    def query(self, sql: str) -> dict[str, Any]:
        """Ask the results in SQL (DuckDB). Nothing can be changed, and nothing outside the results can be read.

        Args:
            sql: one statement; the views are scoreboard, models, lineage, measurements, predictions, instances, layers,
                changes, findings, lints, steps, runs, metrics, datasets, timings, speedups. At most 200 rows come back.
        """
        return _table(ResultFrames(self.results).query(sql))

    def compare_models(self, candidate: str, reference: str) -> dict[str, Any]:
        """Compare two models in every metric that both have: paired, with 95 % intervals and a verdict.

        Args:
            candidate: name or key of a model.
            reference: likewise.
        """
        return _table(ResultFrames(self.results).compare(candidate, reference))

    def explain_findings(self, model: str) -> dict[str, Any]:
        """What is odd about a model, with the figures that show it, and what to try.

        Args:
            model: name or key.
        """
        with closing(open_results(self.results)) as db:
            key = find_model(db, model).key
        frames = ResultFrames(self.results)
        return {
            "lints": _table(frames.query("SELECT lint, message, advice FROM lints WHERE model_key = ?", key))["rows"],
            "layers": _table(
                frames.query(
                    "SELECT kind, site, text, proposal FROM findings WHERE model_key = ? ORDER BY weight DESC", key
                )
            )["rows"],
        }

    def _failures(self) -> list[dict[str, Any]]:
        """What failed in the last run."""
        last = "(SELECT run_id FROM runs ORDER BY started_at DESC LIMIT 1)"
        sql = f"SELECT path, job, error FROM steps WHERE outcome = 'failed' AND run_id = {last}"
        rows: list[dict[str, Any]] = self.query(sql)["rows"]
        return rows

    # ---- limits
    def _prepared(self, recipe: str | Mapping[str, Any], settings: Sequence[str] | None) -> Prepared:
        """Compose, check and plan. Nothing that is named is opened before all of it is known to be the person's."""
        if not isinstance(recipe, str):
            _check_references(recipe)
            _check_entries(recipe, {})
        words = self._words(settings)
        raw, entries = RunRecipe(recipe, *words, folder=self.folder).composed()
        own = RunRecipe(recipe, folder=self.folder).composed()[0]["recipe"] if isinstance(recipe, str) else {}
        _check_entries(raw["recipe"], own)
        return prepared_run(raw, entries)

    def _words(self, settings: Sequence[str] | None) -> list[str]:
        for word in settings or ():
            key = word.lstrip("+~").partition("=")[0]
            if not any(key == allowed or (allowed.endswith(".") and key.startswith(allowed)) for allowed in _SETTINGS):
                raise UsageError(
                    f"'{word}': an assistant cannot set {key}.{nearest(key, _SETTINGS)} It may give {', '.join(_SETTINGS)}"
                )
            if "${" in word:
                raise UsageError(f"'{word}': write the value out")
            if key.startswith(_ENTRIES) and (key not in _ENTRIES or "{" in word):
                raise UsageError(f"'{word}': name an entry of conf/; an assistant cannot write one")
        return [*(settings or ()), f"results={self.results}", f"workspace={self.workspace}"]


def _check_references(recipe: Mapping[str, Any]) -> None:
    """Refuse what would read the environment.

    Raises:
        UsageError: naming it.
    """
    reference = next((text for text in strings(dict(recipe)) if "${" in text), None)
    if reference is not None:
        raise UsageError(f"recipe: '{reference}': write the value out")


def _check_entries(recipe: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse entries that are written out, as they may read files or call functions, but for those of the person's recipe.

    Args:
        recipe: as it will be planned, after all settings.
        own: the person's recipe of that name without settings; empty: there is none.

    Raises:
        UsageError: naming the place.
    """
    allowed = [entry for _, _, entry in entries_in(own)]
    for place, word, entry in entries_in(recipe):
        if entry not in allowed:
            raise UsageError(f"{place}: {word}: name an entry of conf/; an assistant cannot write one")


def _run(words: Sequence[str], minutes: float) -> tuple[int | None, str]:
    """Run the command line; stop it as Ctrl-C does when the time is up. Returns its exit code and output."""
    command = [sys.executable, "-m", "pipeline", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=60 * minutes)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                output, _ = process.communicate(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
            return None, f"{output}\nStopped after {minutes:g} minutes. What is finished is kept."
    return process.returncode, output


def _table(frame: Any) -> dict[str, Any]:
    """Columns and rows as JSON, the first of many."""
    rows = json.loads(frame.head(_MOST_ROWS).to_json(orient="values", date_format="iso", default_handler=str))
    more = max(0, len(frame) - _MOST_ROWS)
    columns = list(frame.columns)
    return {"columns": columns, "rows": [dict(zip(columns, row, strict=True)) for row in rows], "rows_left_out": more}
