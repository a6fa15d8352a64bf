"""Commands that bring results of several machines together: merge, push, pull."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.commands.command import Command, CommandOutcome, add_json

if TYPE_CHECKING:
    from pipeline.delivery.transfer import Transfer
    from pipeline.store.merge import MergeReport

__all__ = ["TRANSFER_COMMANDS"]


def _add_files(command: argparse.ArgumentParser) -> None:
    command.add_argument("files", type=Path, nargs="+", metavar="FILE", help="results files; they stay as they are")
    add_json(command)


def _add_url(command: argparse.ArgumentParser) -> None:
    command.add_argument("url", help="s3://BUCKET/PREFIX, gs://..., az://... or file:///FOLDER")
    command.add_argument("--workspace", type=Path, default=Path(".bouillon"), help="default: .bouillon")
    add_json(command)


def _merge(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.delivery.transfer import merge_results

    report = merge_results(options.results, options.files)
    lines = [_added(report, options.results), *report.conflicts]
    return CommandOutcome("\n".join(lines), asdict(report), 1 if report.conflicts else 0)


def _push(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.delivery.transfer import push

    moved = push(options.workspace, options.results, options.url)
    lines = [
        f"{moved.artifacts} artifacts sent to {options.url}, {moved.present} were there",
        f"{options.results} sent" if moved.results else f"no results sent: there is no {options.results}",
    ]
    lines += [f"{moved.orphans} objects of uploads that broke off removed"] if moved.orphans else []
    return _moved(moved, lines)


def _pull(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.delivery.transfer import pull

    moved = pull(options.workspace, options.results, options.url)
    lines = [f"{moved.artifacts} artifacts fetched from {options.url}, {moved.present} were here"]
    lines += [_added(moved.merged, options.results)] if moved.results else ["no results there to merge"]
    return _moved(moved, lines)


def _moved(moved: Transfer, lines: list[str]) -> CommandOutcome:
    lines += [f"left out: {why}" for why in moved.damaged] + moved.merged.conflicts
    return CommandOutcome("\n".join(lines), asdict(moved), 1 if moved.damaged or moved.merged.conflicts else 0)


def _added(report: MergeReport, results: Path) -> str:
    if not report.rows:
        return f"{results} has all of it: nothing was changed"
    models, figures = report.added.get("model", 0), report.added.get("measurement", 0)
    return f"{models} models and {figures} figures new in {results}; {report.rows} rows in all"


TRANSFER_COMMANDS = (
    Command("merge", "bring results files together, by key; conflicts are named", _merge, _add_files),
    Command("push", "send a workspace's artifacts and results to an object store", _push, _add_url),
    Command("pull", "fetch artifacts from an object store, and merge the results that others pushed", _pull, _add_url),
)
