"""The command that searches a recipe whose values, steps and orders are open."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.commands.command import Command, CommandOutcome, add_json
from pipeline.cli.configuration.compose import UsageError, compose
from pipeline.cli.configuration.overrides import shortened

if TYPE_CHECKING:
    from pipeline.delivery.search.settings import SearchSettings

__all__ = ["SEARCH_COMMANDS"]

_OWN = ("minutes", "budget", "best", "trials", "batch", "seed", "sampler", "confirm")
_NUMBERS = ("minutes", "trials", "batch", "seed")
_NONE = ("null", "none", "")
_WORDS = """\
words, besides those of any run (recipe=NAME, executor.workers=2, results=FILE, ...):
  minutes=30            of the search, over all runs of it; 0 says what there is
  budget="..."          bounds between semicolons: "file_bytes <= 5 MB; worst_class_drop <= 2pt"
  best=accuracy         the metric to improve; two, as best=accuracy,file_bytes, for a front
  trials=N              chains at most
  batch=N               chains that are run at once; default: executor.workers
  seed=0                of the proposals
  sampler=tpe|random    how values are proposed
  confirm=false         do not measure the best on the instances that are set aside (see `confirm`)
"""


def _add_search(command: argparse.ArgumentParser) -> None:
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = _WORDS
    command.add_argument("words", nargs="*", metavar="key=value", help="see below")
    command.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="folder of your own recipes, models and data sets"
    )
    add_json(command)


def _search(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.delivery.search.confirm_best import confirm_best
    from pipeline.delivery.search.report import report_json, report_of, report_text
    from pipeline.delivery.search.search import SearchRequest, search

    settings, others = _settings(options.words)
    if options.results != Path("results.duckdb"):
        others.append(f"results={options.results}")
    raw, entries = compose(others, extra=options.config_dir)
    is_silent = options.json is not None and str(options.json) == "-"
    outcome = search(SearchRequest(raw, entries, settings), tell=_silence if is_silent else _tell)
    report = report_of(outcome)
    text, look = "", None
    if settings.confirm and settings.minutes:
        text, look = confirm_best(report, entries["target"])
    answer = {**report_json(report), "confirmation": look}
    return CommandOutcome(report_text(report, text), answer, 0 if report.best is not None else 1)


def _settings(words: list[str]) -> tuple[SearchSettings, list[str]]:
    """The words of the search, and those of the run."""
    from pipeline.delivery.search.settings import check_settings

    own: dict[str, Any] = {}
    others = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"'{shortened(word)}' is not key=value. Write e.g. search recipe=quickstart minutes=10")
        if name not in _OWN:
            others.append(word)
        elif name in own:
            raise UsageError(f"{name} is given twice. Give it once")
        else:
            own[name] = _value(name, value)
    return check_settings({name: value for name, value in own.items() if value is not None}), others


def _value(name: str, text: str) -> Any:
    if name in _NUMBERS:
        return None if text in _NONE else text
    if name == "best":
        return tuple(each.strip() for each in text.strip("[]").split(",") if each.strip())
    return text


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _silence(text: str) -> None:
    """Say nothing: the outcome is for a program."""


SEARCH_COMMANDS = (
    Command(
        "search", "try the values, steps and orders that a recipe leaves open, within a budget", _search, _add_search
    ),
)
