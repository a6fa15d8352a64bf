"""Commands other than a sweep: import, export, migrate, verify, gate, schema, mcp, and compare and show, which the viewer uses."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ops.core.text import cut
from pipeline.cli.configuration.compose import UsageError
from pipeline.cli.delivery_commands import DELIVERY_COMMANDS, add_json, printed

_LONGEST = 300
_LEAST_CONFIDENCE = 0.5
EXPORTS = ("compress-and-compare", "mlflow")
IMPORTS = (*EXPORTS, "olive")


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise what the command line shows."""
        raise UsageError(f"{self.prog}: {cut(message, _LONGEST)}. {self.prog} --help shows what it takes")


class _Command(NamedTuple):
    name: str
    text: str
    """For --help."""
    act: Callable[[argparse.Namespace], str | tuple[str, int]]
    """Returns what is printed, and the exit status if it may be another than 0."""
    add_options: Callable[[argparse.ArgumentParser], object]


def run_command(arguments: list[str]) -> int:
    """Run one of `COMMANDS`.

    Returns the exit code: 1 if `verify` finds damage, that of the verdict of `gate` or `reproduce`, else 0.

    Raises:
        StoreError: naming the file, the problem and what to do.
    """
    parser = _Parser(prog="python -m pipeline", allow_abbrev=False)
    subparsers = parser.add_subparsers(required=True)
    for command in COMMANDS:
        _fill(subparsers.add_parser(command.name, help=command.text, description=command.text), command)
    selection = parser.parse_args(arguments)
    perform: Callable[[argparse.Namespace], str | tuple[str, int]] = selection.act
    result = perform(selection)
    text, status = result if isinstance(result, tuple) else (result, 0)
    if text:
        sys.stdout.write(text + "\n")
    return status


def _fill(parser: argparse.ArgumentParser, command: _Command) -> None:
    parser.set_defaults(act=command.act)
    parser.add_argument("--results", type=Path, default=Path("results.duckdb"), help="default: results.duckdb")
    command.add_options(parser)


def _options_of(command: _Command) -> list[str]:
    """Its options, as they are typed."""
    parser = _Parser()
    _fill(parser, command)
    return sorted(word for action in parser._actions for word in action.option_strings if word.startswith("--"))


def _add_source(command: argparse.ArgumentParser) -> None:
    command.add_argument("format", choices=IMPORTS)
    command.add_argument("file", type=Path, nargs="?", help="of olive also the folder of a run; not of mlflow")
    command.add_argument("--uri", help="of mlflow: the tracking server")
    command.add_argument("--experiment", help="of mlflow: whose runs")


def _add_destination(command: argparse.ArgumentParser) -> None:
    command.add_argument("format", choices=EXPORTS)
    command.add_argument("file", type=Path, nargs="?", help="not of mlflow")
    command.add_argument("--recipe", help="which recipe, if the store holds several")
    command.add_argument("--uri", help="of mlflow: the tracking server")
    command.add_argument("--experiment", help="of mlflow: where to, made if there is none; default: the recipe's name")


def _add_pair(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", help="name or key (its beginning is enough)")
    command.add_argument("reference", help="likewise")
    command.add_argument("--workspace", type=Path, help="where the models are; default: that of the last run")


def _add_workspace(command: argparse.ArgumentParser) -> None:
    command.add_argument("--workspace", type=Path, default=Path(".bouillon"), help="default: .bouillon")


def _add_dataset(command: argparse.ArgumentParser) -> None:
    command.add_argument("dataset", help="key of the data set, as in the view `datasets`")
    command.add_argument(
        "--allow", action="store_true", help="let it be shown beside results of somebody else's; asked once"
    )


def _add_shell(command: argparse.ArgumentParser) -> None:
    from pipeline.cli.completion import SHELLS

    command.add_argument("shell", choices=SHELLS)


def _add_page(command: argparse.ArgumentParser) -> None:
    command.add_argument("--address", default="127.0.0.1", help="who may see the page; default: this machine alone")
    command.add_argument("--port", type=int, default=5006, help="default: 5006")
    command.add_argument("--show", action="store_true", help="open it in a browser")


def _add_part(command: argparse.ArgumentParser) -> None:
    command.add_argument("part", nargs="?", choices=("recipe", "operations"), default="recipe")


def _add_limits(command: argparse.ArgumentParser) -> None:
    _add_workspace(command)
    command.add_argument("--config-dir", type=Path, help="a folder of your own recipes, models and data sets")
    command.add_argument("--minutes", type=float, default=30.0, help="of a run, at most; default: 30")


def _add_gate(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="candidate", help="name or key (its beginning is enough)")
    command.add_argument("reference", help="likewise")
    command.add_argument(
        "--fail-if", action="append", default=[], metavar="RULE", help='such as "accuracy drop > 0.5pt"; repeatable'
    )
    command.add_argument("--rules", type=Path, metavar="FILE", help="rules, one a line; # begins a comment")
    command.add_argument("--confidence", type=_confidence, default=0.95, help="of the intervals; default: 0.95")
    for name, text in (("target", "the runtime"), ("device", "id of the machine"), ("dataset", "name or key")):
        command.add_argument(f"--{name}", help=f"{text}, where the models were measured on several")
    for name in ("junit", "markdown"):
        command.add_argument(f"--{name}", type=Path, metavar="FILE", help="write the verdict there too")
    add_json(command)


def _confidence(text: str) -> float:
    value = float(text)
    if not _LEAST_CONFIDENCE < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0.5 and below 1")
    return value


def _import(options: argparse.Namespace) -> str:
    from pipeline.store.interchange import compress_and_compare, olive
    from pipeline.store.interchange.foreign import import_experiment
    from pipeline.store.interchange.mlflow_runs import read_runs
    from pipeline.store.writer import Store

    notes: list[str] = []
    if options.format == "mlflow":
        source = _needed(options, "experiment")
        experiment, notes = read_runs(_needed(options, "uri"), source)
        done = import_experiment(Store(options.results), experiment)
    else:
        source = _needed(options, "file")
        if options.format == "olive":
            done = import_experiment(Store(options.results), olive.read_footprint(source))
        else:
            done = compress_and_compare.import_file(Store(options.results), source)
    if done.is_repeated:
        return f"{source} had been imported before: nothing was changed"
    told = f"{done.models} models with {done.measurements} measurements from {source} are in {options.results}"
    return "\n".join([told, *notes])


def _export(options: argparse.Namespace) -> str:
    from pipeline.store.interchange.compress_and_compare import write
    from pipeline.store.interchange.mlflow_runs import export_runs
    from pipeline.store.reader import open_results

    with closing(open_results(options.results)) as db:
        if options.format == "mlflow":
            done = export_runs(db, _needed(options, "uri"), options.recipe, options.experiment)
            return (
                f"Experiment '{done.experiment}': {done.created} runs made, {done.updated} given new figures, "
                f"{done.unchanged} as they were"
            )
        count = write(db, _needed(options, "file"), options.recipe)
    return f"{count} models written to {options.file}"


def _needed(options: argparse.Namespace, name: str) -> Any:
    """The value of an option that a format cannot do without."""
    value = getattr(options, name)
    if value is None:
        word = "FILE" if name == "file" else f"--{name}"
        raise UsageError(f"{options.format}: {word} is missing")
    return value


def _migrate(options: argparse.Namespace) -> str:
    from pipeline.store.migration import migrate

    backup = migrate(options.results)
    return (
        f"{options.results} is up to date; the state before is in {backup}"
        if backup
        else f"{options.results} is up to date"
    )


def _verify(options: argparse.Namespace) -> tuple[str, int]:
    from pipeline.store.errors import StoreError
    from pipeline.sweep.verify import verify

    if not options.workspace.is_dir():
        raise StoreError(f"--workspace {options.workspace}: there is no such folder")
    if not (options.workspace / "artifacts").is_dir():
        raise StoreError(
            f"--workspace {options.workspace}: no workspace of a run, which has a folder `artifacts` in it"
        )
    lines, damaged = verify(options.workspace)
    return "\n".join(lines), 1 if damaged else 0


def _compare(options: argparse.Namespace) -> str:
    from pipeline.sweep.compare_any_two import compare_models

    def tell(done: int, total: int) -> None:
        sys.stdout.write(f"progress {done} {total}\n")
        sys.stdout.flush()

    path, count = compare_models(options.results, options.model, options.reference, options.workspace, tell)
    return f"{count} comparisons of layers are in {path}"


def _gate(options: argparse.Namespace) -> tuple[str, int]:
    from pipeline.delivery.gate import judge_pair
    from pipeline.delivery.gate_report import as_json, as_junit, as_markdown, as_text
    from pipeline.delivery.gate_rules import read_rules
    from pipeline.store.queries.model_pair import ModelPair

    rules = [*options.fail_if, *(read_rules(options.rules) if options.rules else [])]
    with ModelPair(
        options.results,
        options.model,
        options.reference,
        target=options.target,
        device=options.device,
        dataset=options.dataset,
    ) as pair:
        verdict = judge_pair(pair, rules, confidence=options.confidence)
        for path, write in ((options.junit, as_junit), (options.markdown, as_markdown)):
            if path is not None:
                path.write_text(write(verdict, pair), encoding="utf-8")
        return printed(options, as_text(verdict, pair), as_json(verdict, pair)), int(verdict.outcome)


def _schema(options: argparse.Namespace) -> str:
    from pipeline.cli.configuration.compose import entry_names
    from pipeline.plan.schema import operation_schemas, recipe_schema

    content = operation_schemas() if options.part == "operations" else recipe_schema(entry_names())
    return json.dumps(content, indent=1)


def _mcp(options: argparse.Namespace) -> str:
    from pipeline.cli.assistant_tools import AssistantTools
    from pipeline.cli.mcp_server import serve_assistant

    serve_assistant(AssistantTools(options.results, options.workspace, options.config_dir, options.minutes))
    return ""


def _completion(options: argparse.Namespace) -> str:
    from pipeline.cli.completion import completion_script
    from pipeline.cli.configuration.compose import entry_names, recipe_names

    entries = {"recipe": recipe_names(), **entry_names()}
    del entries["target"]
    return completion_script(options.shell, {command.name: _options_of(command) for command in COMMANDS}, entries)


def _view(options: argparse.Namespace) -> tuple[str, int]:
    import os
    import subprocess
    from importlib.util import find_spec

    viewer = find_spec("viewer")
    assert viewer is not None
    assert viewer.origin is not None
    words = [
        "panel",
        "serve",
        str(Path(viewer.origin).parent),
        "--address",
        options.address,
        "--port",
        str(options.port),
    ]
    settings = {**os.environ, "BOUILLON_RESULTS": str(options.results.resolve())}
    server = [sys.executable, "-m", *words, *(["--show"] if options.show else [])]
    return "", subprocess.run(server, check=False, env=settings).returncode


def _show(options: argparse.Namespace) -> str:
    from pipeline.cli.show_instances import answer
    from pipeline.sweep.open_known import allow_known, open_known

    if options.allow:
        return allow_known(options.results, options.dataset)
    data = open_known(options.results, options.dataset)
    for line in answer(data, iter(sys.stdin.readline, "")):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return ""


COMMANDS = (
    _Command("import", "load experiments of another program into the store", _import, _add_source),
    _Command("export", "write a recipe's models and metrics for another program", _export, _add_destination),
    _Command(
        "migrate", "bring a store of an older version up to date; a backup is kept", _migrate, lambda command: None
    ),
    _Command(
        "verify",
        "compare all files of a workspace with what was written; what is damaged is set aside",
        _verify,
        _add_workspace,
    ),
    _Command(
        "compare",
        "compare the layers of any two models; the result goes to a file beside the results",
        _compare,
        _add_pair,
    ),
    _Command(
        "gate",
        "judge whether a model may take the place of another; exit status 0: passes, 1: fails, 3: cannot be told",
        _gate,
        _add_gate,
    ),
    _Command("view", "serve the page of the results: scatterplot, model map, comparisons", _view, _add_page),
    *(_Command(*command) for command in DELIVERY_COMMANDS),
    _Command("schema", "print the JSON schema of recipes, for editors and other programs", _schema, _add_part),
    _Command("completion", "print a script by which a shell completes the command `bouillon`", _completion, _add_shell),
    _Command("mcp", "serve an assistant over standard input and output (Model Context Protocol)", _mcp, _add_limits),
    _Command("show", "print instances of a data set as JSON, one for each id on standard input", _show, _add_dataset),
)
"""In the order of --help."""
