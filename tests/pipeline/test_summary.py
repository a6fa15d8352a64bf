"""The summary of a run: names of any letters are shown as they are, and the commands that it names work."""

import os
import subprocess
import sys

import pytest
from rich.console import Console

from pipeline.cli.summary import print_next, print_scores
from pipeline.store.queries.scores import Score
from pipeline.store.records.run_records import Metric
from pipeline.store.writer import Store
from tests.pipeline.command import ROOT
from tests.pipeline.store.facts import GROUND, measurement, model

ACCURACY = Metric("accuracy", "", ".1%", "higher", True, "", "quality", "instance")


def printed(function, *arguments):
    console = Console(width=100)
    with console.capture() as capture:
        function(*arguments, console)
    return capture.get()


def test_a_name_in_brackets_is_no_markup(planned):
    plan = planned({"base": {"op": "toy_base"}}, name="[/bold] of [red]")
    text = printed(print_scores, plan, {plan.steps[0].key: {"accuracy": Score(0.5, None, None)}}, [ACCURACY], "cpu")
    assert "[/bold] of [red] on cpu" in " ".join(text.split())
    assert "50.0%" in text


@pytest.mark.parametrize("name", ["plain.duckdb", "two words.duckdb", "it's $HOME `id`.duckdb"])
def test_the_query_that_is_named_works_whatever_the_file_is_called(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    results = tmp_path / name
    store = Store(results)
    store.write([*GROUND, model("base"), measurement("base", "accuracy", 0.9)])
    store.publish()
    store.close()
    lines = printed(print_next, results.relative_to(tmp_path)).splitlines()
    (ask,) = [line.partition("ask:")[2].strip() for line in lines if "ask:" in line]
    (look,) = [line.partition("look:")[2].strip() for line in lines if "look:" in line]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", ask.replace("python", sys.executable, 1)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
    shown = subprocess.check_output(
        ["bash", "-c", f'export {look.partition(" panel")[0]}; printf %s "$BOUILLON_RESULTS"'], text=True
    )
    assert shown == name
