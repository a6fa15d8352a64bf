"""A search from the command line: what it tries is in the results, it goes on after a kill, and nothing is made twice."""

import json
import os
import signal
import subprocess
import time

import pytest

pytest.importorskip("optuna", reason="the extra `search` is not installed")

from tests.pipeline.command import Place

RECIPE = """\
name: toys
dataset: digits
tree:
  base:
    op: toy_base
    with: {model: {name: toy, builder: toy_net}}
    then:
      added:
        op: toy_add
        with: {amount: {any: [-0.5, 0.5, 1.0]}}
        then:
          tuned: {op: toy_tune, optional: true, with: {epochs: {from: 1, to: 3}}}
"""
QUICKLY = ("executor=inprocess", "dataset.train=200", "dataset.evaluation=100")


def words(place, *more):
    file = place.folder / "toys.yaml"
    file.write_text(RECIPE)
    return (f"recipe={file}", "plugins=[tests.pipeline.toy]", *QUICKLY, "minutes=600", *more)


def search(place, *more):
    """Run a search; return its report and what it told."""
    process = subprocess.run(
        [*command(place), *words(place, *more), "--json", "report.json"],
        cwd=place.folder, env=environment(place), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode in (0, 1), process.stderr
    return json.loads((place.folder / "report.json").read_text()), process


def command(place):
    first, *rest = place.arguments()
    return [first, *rest[:2], "search", "--config-dir", rest[-1]]


def environment(place):
    from tests.pipeline.command import ROOT

    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.matrix
def test_a_search_tries_chains_into_the_ordinary_results_and_goes_on_where_it_was(tmp_path):
    place = Place(tmp_path)
    report, process = search(place, "trials=3", "batch=3", "budget=file_bytes <= 100 kB")
    paths = [trial["path"] for trial in report["trials"]]
    assert len(paths) == len(set(paths)) == 3
    names = {name for (name,) in place.sql("SELECT name FROM model")}
    assert {"base", *paths} <= names
    best = max(report["trials"], key=lambda trial: trial["figures"]["accuracy"])
    assert report["best"]["figures"]["accuracy"] == best["figures"]["accuracy"]
    assert {each["name"] for each in report["front"]["models"]} <= names
    made = place.sql("SELECT count(*) FROM step WHERE outcome = 'done'")
    again, process = search(place, "trials=3", "batch=3", "budget=file_bytes <= 100 kB")
    assert again["trials"] == report["trials"]
    assert place.sql("SELECT count(*) FROM step WHERE outcome = 'done'") == made
    place.results.unlink()  # what was published comes again
    anew, _ = search(place, "trials=3", "batch=3", "budget=file_bytes <= 100 kB")
    assert anew["best"] == report["best"]
    assert {"base", *paths} <= {name for (name,) in place.sql("SELECT name FROM model")}
    other, process = search(place, "trials=3", "batch=3", "budget=file_bytes <= 1 B")
    assert process.returncode == 1
    assert "3 chains are there from earlier runs" in process.stderr
    assert other["misses"][0].startswith("file_bytes <= 1 B: nearest is base/")
    assert other["confirmation"] is None


@pytest.mark.slow
@pytest.mark.matrix
def test_a_search_that_is_killed_loses_nothing_and_makes_nothing_twice(tmp_path):
    calm, shaken = Place(tmp_path / "calm"), Place(tmp_path / "shaken")
    for place in (calm, shaken):
        place.folder.mkdir()
    expected, _ = search(calm, "trials=4")
    hits = 0
    for trials in range(1, 3):
        process = subprocess.Popen(
            [*command(shaken), *words(shaken, "trials=4")],
            cwd=shaken.folder, env=environment(shaken), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        goal = trials * 20
        while process.poll() is None and sum(len(files) for _, _, files in os.walk(shaken.artifacts)) < goal:
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            hits += 1
        process.wait()
    report, _ = search(shaken, "trials=4")
    assert hits
    # which chain comes next depends on what steps cost, which a kill changes; what a chain came to does not
    assert len({trial["path"] for trial in report["trials"]}) == 4
    calm_figures = {trial["path"]: trial["figures"] for trial in expected["trials"]}
    both = [trial for trial in report["trials"] if trial["path"] in calm_figures]
    assert both
    assert all(trial["figures"] == calm_figures[trial["path"]] for trial in both)
    twice = shaken.sql(
        "SELECT path FROM step WHERE job = 'operation' AND outcome = 'done' GROUP BY path, model_key HAVING count(*) > 1"
    )
    assert twice == []


@pytest.mark.slow
@pytest.mark.matrix
def test_the_best_is_confirmed_once(tmp_path):
    place = Place(tmp_path)
    some = ("trials=1", "dataset.confirmation=0.4")
    report, _ = search(place, *some)
    figures = {each["metric"]: each for each in report["confirmation"]["models"][0]["figures"] if not each["part"]}
    assert report["confirmation"]["look"]["models"] == [report["best"]["model"]]
    assert figures["accuracy"]["chosen_value"] == report["best"]["figures"]["accuracy"]
    again, process = search(place, *some)
    assert again["confirmation"] is None
    assert "was confirmed on" in process.stdout
    assert place.sql("SELECT count(*) FROM confirmation_look") == [(1,)]


def test_open_values_are_refused_by_a_plain_run_in_one_line_each(tmp_path):
    place = Place(tmp_path)
    code, _, err = place.run(*words(place)[:2], "executor=inprocess")
    assert code == 2
    assert "Step 'base/added': `amount` is a choice, which a search tries: python -m pipeline search" in err
