"""Commands by which models leave the house, or are made anew: package, reproduce, clean, confirm and gate."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipeline.cli.commands.command import Command, CommandOutcome, add_json
from pipeline.cli.configuration.compose import UsageError, compose
from pipeline.cli.configuration.yaml_reader import read_yaml

__all__ = ["DELIVERY_COMMANDS"]

_LEAST_CONFIDENCE = 0.5


# ---- package
def _add_package(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", help='name, key (its beginning is enough), or: best under "file_bytes <= 5 MB"')
    command.add_argument("folder", type=Path, help="a new or empty folder")
    command.add_argument("--workspace", type=Path, help="where the models are; default: that of the last run")
    command.add_argument("--target", help="the runtime, where the model was evaluated on several")
    add_json(command)


def _package(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.delivery.choice import best_models, budget_of
    from pipeline.delivery.packaging.package import package
    from pipeline.delivery.packaging.package_report import package_json, package_text

    budget = budget_of(options.model)
    best = None if budget is None else best_models(options.results, 1, budget)[0]
    result = package(
        options.results,
        options.model if best is None else best.key,
        options.folder,
        workspace=options.workspace,
        target=options.target,
    )
    return CommandOutcome(package_text(result, best), package_json(result, best), 0)


# ---- reproduce
def _add_reproduce(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="package", help="folder of a package; or a model's name or key")
    command.add_argument("--workspace", type=Path, help="a new or empty folder for the run, which is kept")
    command.add_argument("--config-dir", type=Path, metavar="DIR", help="folder of your own models and data sets")
    command.add_argument("--data-folder", type=Path, metavar="DIR", help="cache of data files; default: as in a run")
    add_json(command)


def _reproduce(options: argparse.Namespace) -> CommandOutcome:
    from rich.console import Console

    from pipeline.cli.console import ConsoleReporter
    from pipeline.delivery.packaging.reproduction import origin_of, reproduce
    from pipeline.delivery.packaging.reproduction_report import reproduction_json, reproduction_text
    from pipeline.sweep.config import check_config
    from pipeline.sweep.prepare import prepare

    origin = origin_of(options.results, options.model)
    with ExitStack() as stack:
        folder = options.workspace
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bouillon-reproduction-")))
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"--workspace {folder}: is not an empty folder. Name a new one, or leave it out")
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "recipe.yaml"
        file.write_text(origin.recipe, encoding="utf-8")
        raw, entries = compose([], extra=options.config_dir, recipe=read_yaml(file).data)
        settings: dict[str, Any] = {
            "results": folder / "results.duckdb",
            "workspace": folder / ".bouillon",
            "bench": None,
            "plugins": origin.provenance["run"]["plugins"],
            # training gives other bits with another number of threads
            "executor": {
                **raw["executor"],
                **{name: n for name, n in origin.provenance["run"]["executor"].items() if n},
            },
        }
        data_folder = options.data_folder or origin.data_folder
        settings |= {"data_folder": data_folder} if data_folder else {}
        settings |= {"batch_size": origin.batch_size} if origin.batch_size else {}
        prepared = prepare(check_config({**raw, **settings}), entries)
        report = reproduce(origin, prepared, ConsoleReporter(Console(file=sys.stderr)))
        return CommandOutcome(reproduction_text(report), reproduction_json(report), int(report.outcome))


# ---- clean
def _add_clean(command: argparse.ArgumentParser) -> None:
    command.add_argument("models", nargs="*", help="names or keys of models to keep")
    command.add_argument("--workspace", type=Path, help="default: that of the last run, else .bouillon")
    command.add_argument("--keep", action="append", default=[], metavar="best=N", help="keep the N best models")
    command.add_argument("--older", metavar="AGE", help="remove only what nobody has used for so long: 30d, 12h")
    command.add_argument("--yes", action="store_true", help="remove; without it nothing is")
    add_json(command)


def _clean(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.delivery.cleaning import clean
    from pipeline.delivery.cleaning_report import cleaning_json, cleaning_text

    done = clean(
        options.results,
        workspace=options.workspace,
        models=options.models,
        keep=options.keep,
        older=options.older,
        remove=options.yes,
    )
    return CommandOutcome(cleaning_text(done), cleaning_json(done), 0)


# ---- gate
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


def _gate(options: argparse.Namespace) -> CommandOutcome:
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
        return CommandOutcome(as_text(verdict, pair), as_json(verdict, pair), int(verdict.outcome))


# ---- confirm
def _add_confirm(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "models",
        nargs="+",
        metavar="model",
        help='name, key (its beginning is enough), or: best under "file_bytes <= 5 MB"',
    )
    command.add_argument("--workspace", type=Path, help="where the models are; default: that of the last run")
    command.add_argument("--target", help="the runtime, where the models were evaluated on several")
    command.add_argument("--config-dir", type=Path, metavar="DIR", help="folder of your own runtimes")
    add_json(command)


def _confirm(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.delivery.choice import best_models, budget_of
    from pipeline.delivery.confirmation.confirm import confirm
    from pipeline.delivery.confirmation.confirmation_report import confirmation_json, confirmation_text

    names: list[str] = []
    for text in options.models:
        budget = budget_of(text)
        names.append(text if budget is None else best_models(options.results, 1, budget)[0].key)
    _, entries = compose([], extra=options.config_dir, recipe={"name": "confirm", "tree": {}})
    done = confirm(options.results, names, entries["target"], workspace=options.workspace, target=options.target)
    return CommandOutcome(confirmation_text(done), confirmation_json(done), 0)


DELIVERY_COMMANDS = (
    Command(
        "package", "put a model as it is deployed into a folder, with all that using it takes", _package, _add_package
    ),
    Command(
        "reproduce",
        "make a model anew in an empty workspace and compare; exit status 0: agrees, 1: differs by more than chance",
        _reproduce,
        _add_reproduce,
    ),
    Command(
        "gate",
        "judge whether a model may take the place of another; exit status 0: passes, 1: fails, 3: cannot be told",
        _gate,
        _add_gate,
    ),
    Command(
        "confirm",
        "measure chosen models on instances that nothing else reads, and write down that they were looked at",
        _confirm,
        _add_confirm,
    ),
    Command(
        "clean",
        "show what the workspace holds, and remove what no model that is kept needs; the results keep all figures",
        _clean,
        _add_clean,
    ),
)
