"""Commands that add steps below a model that is there: branch, and serve, the worker behind the page."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.commands.command import Command, CommandOutcome, add_json
from pipeline.cli.configuration.compose import UsageError, compose
from pipeline.cli.configuration.yaml_reader import read_yaml

if TYPE_CHECKING:
    from pipeline.delivery.branches.branch_recipe import BranchSource
    from pipeline.delivery.branches.queue import BranchRequest
    from pipeline.sweep.prepare import Prepared

__all__ = ["BRANCH_COMMANDS"]

_VARIABLE = "BOUILLON_TOKEN"


def _add_branch(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", nargs="?", help="name or key (its beginning is enough)")
    command.add_argument(
        "--change", type=Path, metavar="FILE", help="YAML of the steps to add: name: {op: ..., with: ..., then: ...}"
    )
    command.add_argument("--run", action="store_true", help="run it, with the settings of the run that made the model")
    command.add_argument("--expect", type=Path, metavar="FILE", help="refuse if the recipe is not that of this file")
    requests = command.add_mutually_exclusive_group()
    requests.add_argument("--list", action="store_true", help="list the requests of the page, oldest first")
    requests.add_argument("--withdraw", metavar="REQUEST", help="take a request away that waits (its name, as listed)")
    requests.add_argument("--clear", action="store_true", help="take all finished requests away; their models stay")
    _add_folders(command)
    add_json(command)


def _add_serve(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, nargs="?", help="the results; default: that of --results")
    command.add_argument(
        "--token", help=f"who has it may ask; default: ${_VARIABLE}, else a random one, which is printed"
    )
    command.add_argument("--once", action="store_true", help="end when the queue is empty")
    _add_folders(command)


def _add_folders(command: argparse.ArgumentParser) -> None:
    command.add_argument("--workspace", type=Path, help="where the models are; default: that of the last run")
    command.add_argument("--config-dir", type=Path, metavar="DIR", help="folder of your own models and data sets")


# ---- branch
def _branch(options: argparse.Namespace) -> CommandOutcome:
    if options.list or options.clear or options.withdraw is not None:
        return _requests(options)
    if options.model is None:
        raise UsageError("branch: name the model that steps are added below; --list has the requests of the page")
    return _branch_below(options)


def _requests(options: argparse.Namespace) -> CommandOutcome:
    """List the requests of the page, or take some away."""
    from ops.core.registry import nearest
    from pipeline.delivery.branches.queue import BranchQueue, QueueError
    from pipeline.store.reader import open_results

    if options.model is not None or options.change or options.run or options.expect:
        raise UsageError(
            "branch: --list, --withdraw and --clear are about requests, and go without a model or a change"
        )
    open_results(options.results).close()  # refuses what are no results
    queue = BranchQueue(options.results)
    try:
        if options.withdraw is not None:
            queue.withdraw(options.withdraw)
            return CommandOutcome(f"Withdrawn: {options.withdraw}", {"withdrawn": options.withdraw})
        if options.clear:
            count = queue.clear()
            return CommandOutcome(
                f"Cleared away: {count} finished request{'' if count == 1 else 's'}", {"cleared": count}
            )
    except QueueError as error:
        near = nearest(
            options.withdraw or "", [each.name for each in queue.requests() if each.name != options.withdraw]
        )
        raise UsageError(f"{error}{near}") from None
    requests = queue.requests()
    lines = [
        f"{each.name}  {each.status.state:<8}  {each.who}, {each.when}: below {each.origin_name}"
        f"{f' ({each.status.reason})' if each.status.reason else ''}"
        for each in requests
    ]
    return CommandOutcome("\n".join(lines) or "No branch was asked for.", {"requests": list(map(_listed, requests))})


def _listed(request: BranchRequest) -> dict[str, Any]:
    """A request for programs."""
    content = {name: getattr(request, name) for name in ("name", "who", "when", "origin", "origin_name", "change")}
    return {**content, **asdict(request.status)}


def _branch_below(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.delivery.branches.branch_recipe import BranchError, branch_recipe
    from pipeline.delivery.packaging.branch import recipe_text
    from pipeline.sweep.plan_summary import plan_summary

    source, workspace = _source(options)
    change = read_yaml(options.change).data if options.change else {}
    recipe = branch_recipe(source, change)
    added = ", ".join(map(str, change))
    text = recipe_text(recipe, f"The branch that leads to {source.descent.path}{f', with {added}' if change else ''}")
    if options.expect and _plain(read_yaml(options.expect).data) != _plain(recipe):
        raise BranchError(
            f"the recipe is not the branch of '{source.descent.path}' as it is now: another run has made the model with other "
            "settings since. Ask again"
        )
    if not (options.run or options.json):
        return CommandOutcome(text.rstrip("\n"))
    prepared = _prepared(options, source, recipe, workspace)
    if options.run:
        return _run(options, prepared)
    before = recipe_text(branch_recipe(source, {}), "")
    origin = {"key": source.descent.key, "path": source.descent.path, "recipe": before.partition("\n")[2]}
    return CommandOutcome(text.rstrip("\n"), {"recipe": text, "origin": origin, **plan_summary(prepared)})


def _plain(recipe: Mapping[str, Any]) -> Any:
    """A recipe to compare: in whatever order it is written, and with names that may look like numbers."""
    return json.loads(json.dumps(recipe))


def _source(options: argparse.Namespace) -> tuple[BranchSource, Path]:
    """The model that a branch begins at, and the folder of the models."""
    from pipeline.delivery.branches.branch_recipe import branch_source
    from pipeline.store.queries.model_facts import descent_of
    from pipeline.store.reader import open_results
    from pipeline.sweep.compare_any_two import workspace_of

    with closing(open_results(options.results)) as db:
        descent = descent_of(db, options.model)
        workspace = workspace_of(db, options.results, options.workspace)
        ((store,),) = db.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchall()
    return branch_source(descent, store), workspace


def _prepared(
    options: argparse.Namespace, source: BranchSource, recipe: Mapping[str, Any], workspace: Path
) -> Prepared:
    from pipeline.cli.library import prepared_run
    from pipeline.delivery.branches.branch_recipe import branch_settings, check_models

    raw, entries = compose([], extra=options.config_dir, recipe=recipe)
    check_models(source, entries["model"])
    return prepared_run({**raw, **branch_settings(source, options.results, workspace)}, entries)


def _run(options: argparse.Namespace, prepared: Prepared) -> CommandOutcome:
    from pipeline.cli.console import run_and_print
    from pipeline.cli.json_output import run_as_json

    return CommandOutcome("", status=run_as_json(prepared) if options.json else run_and_print(prepared))


# ---- serve
def _serve(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.delivery.branches.offer import TokenError, own_token
    from pipeline.delivery.branches.worker import BranchWorker

    results = options.file or options.results
    _check_results(results)
    settings = {"--workspace": options.workspace, "--config-dir": options.config_dir}
    words = [f"{name}={value}" for name, value in settings.items() if value]
    try:
        variable = os.environ.pop(_VARIABLE, None)  # the runs that it starts need not know it
        secret = options.token if options.token is not None else variable
        token = own_token(results, secret)
        worker = BranchWorker(results, token, words, _tell)
        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, lambda number, frame: worker.stop())
        _tell(f"Serving branches of {results}. The page offers them to who gives the token{_hint(token, secret)}")
        worker.serve(once=options.once)
    except TokenError as error:
        raise UsageError(str(error)) from None
    return CommandOutcome("Ended. What is queued waits for the next worker")


def _check_results(results: Path) -> None:
    """Refuse results below whose models no branch would be run."""
    from pipeline.store.reader import open_results
    from pipeline.sweep.known_data import recall

    with closing(open_results(results)) as db:
        keys = [key for (key,) in db.execute("SELECT dataset_key FROM datasets").fetchall()]
        ((store,),) = db.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchall()
    if not any(store in data.own for key in keys if (data := recall(key)) is not None):
        raise UsageError(
            f"{results}: these results are not of runs of yours on this machine alone, and branches of others' are not run. Run "
            "the recipe into a results file of its own: results=NEW.duckdb"
        )


def _hint(token: str, secret: str | None) -> str:
    return f": {token}" if secret is None else f" of ${_VARIABLE} or --token"


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


BRANCH_COMMANDS = (
    Command(
        "branch",
        "print or run the recipe that adds steps below a model; all above it is found again. Or list and withdraw requests",
        _branch,
        _add_branch,
    ),
    Command("serve", "run the branches that visitors of the page ask for, one at a time", _serve, _add_serve),
)
