"""Instances are shown from data that the person's own runs have opened; what a results file says has nothing opened."""

import json
import os
import subprocess
import sys

import pytest

from pipeline.store.records.run_records import DatasetInfo, Run
from pipeline.store.writer import Store
from tests.pipeline.command import CONF, ROOT
from tests.pipeline.store.facts import GROUND, START, model

PLUGIN = "open(__import__('os').environ['WITNESS'], 'w').close()\n"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "hostile_plugin.py").write_text(PLUGIN)
    return tmp_path


def command(place, *words, **more):
    """Run a command of the program in a folder, as somebody whose home is there too."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HOME": str(place),
        "TMPDIR": str(place),
        "WITNESS": str(place / "ran"),
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *words], cwd=place, env=environment, input='"evaluation/0"\nno JSON\n', text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def store(place, key, entry, *, plugins=()):
    """Results that name a data set, and how it is said to be opened."""
    results = Store(place / "results.duckdb")
    config = {"plugins": list(plugins), "data_folder": str(place / "data")}
    results.write(
        [
            Run("run1", "study", config, {}, {}, None, START),
            DatasetInfo(key, "pets", "image-classification", ["cat", "dog"], {"evaluation": 1}, entry),
        ]
    )
    results.publish()
    results.close()


def test_the_plugins_and_data_that_results_name_are_neither_imported_nor_opened(place):
    archive = "pypi:evil-1.0.tar.gz/tokenizer#sha256=" + "0" * 64
    text = {"name": "x", "dataset": "table", "path": str(place), "text": {"tokenizer": archive, "max_length": 4}}
    store(place, "d1", text, plugins=["hostile_plugin"])
    code, out, err = command(place, "show", "d1", "--results", "results.duckdb")
    assert (code, out) == (2, "")
    assert err.startswith("error: no run of yours has opened the data set 'pets'")
    assert len(err.splitlines()) == 1
    assert not (place / "ran").exists()
    assert not (place / "data").exists()


def test_planning_with_somebodys_results_runs_nothing(place):
    store(place, "d1", {"name": "x", "dataset": "hostile"}, plugins=["hostile_plugin"])
    code, _, err = command(place, "recipe=quickstart", "plan_only=true", "results=results.duckdb")
    assert (code, err) == (0, "")
    assert not (place / "ran").exists()


@pytest.mark.matrix
def test_results_are_ones_own_where_ones_runs_have_written_all_of_them(place, monkeypatch):
    """Models of others bring code: neither a plan nor a run into their file makes what they have made one's own."""
    from pipeline.datasets.open import open_dataset
    from pipeline.sweep.known_data import recall

    monkeypatch.setenv("HOME", str(place))
    recipe = ["--config-dir", str(CONF), "recipe=small", "data_folder=data", "bench=none", "executor=inprocess"]
    recipe += [f"~recipe.tree.base.then.{step}" for step in ("int8", "pruned")]
    entry = {"name": "digits", "dataset": "digits"}
    data = open_dataset(entry, place / "data")
    theirs = Store(place / "results.duckdb")
    theirs.write([*GROUND, model("theirs")])
    theirs.publish()
    theirs.close()
    for more in ("plan_only=true", "results=results.duckdb"):
        code, _, err = command(place, *recipe, "results=results.duckdb", more)
        assert code == 0, err
        assert recall(data.fingerprint).own == frozenset(), more
    code, out, err = command(place, "serve", "results.duckdb", "--once")
    assert (code, out) == (2, "")
    assert "not of runs of yours on this machine alone" in err
    code, _, err = command(place, *recipe, "results=mine.duckdb")
    assert code == 0, err
    assert recall(data.fingerprint).own == {Store(place / "mine.duckdb").identity}


def test_what_the_person_has_planned_with_is_shown_beside_results_that_they_allow(place):
    from pipeline.datasets.open import open_dataset

    entry = {"name": "digits", "dataset": "digits"}
    data = open_dataset(entry, place / "data")
    store(place, data.fingerprint, {"name": "x", "dataset": "hostile"}, plugins=["hostile_plugin"])
    show = "show", data.fingerprint, "--results", "results.duckdb"
    assert command(place, *show)[0] == 2
    code, _, err = command(place, "--config-dir", str(CONF), "recipe=small", "plan_only=true", "results=other.duckdb")
    assert (code, err) == (0, "")
    code, out, err = command(place, *show)
    assert (code, out) == (2, "")  # asked once
    asked = f"python -m pipeline show {data.fingerprint} --results results.duckdb --allow\n"
    assert err.startswith(
        "error: these results come from no run of yours. To have instances of your own data set 'digits'"
    )
    assert err.endswith(asked)
    code, out, err = command(place, *show, "--allow")
    assert (code, err) == (0, "")
    assert out == "Instances of your data set 'digits' are shown beside results.duckdb from now on\n"
    code, out, err = command(place, *show)
    assert (code, err) == (0, "")
    problems = [json.loads(line)["problem"] for line in out.splitlines() if line]
    assert problems == ["Data set 'digits' has no instance 'evaluation/0'", "Expecting value: line 1 column 1 (char 0)"]
    assert not (place / "ran").exists()


def test_beside_the_results_of_ones_own_run_nothing_is_asked_also_when_they_are_moved(place):
    code, _, err = command(place, "--config-dir", str(CONF), "recipe=small", "plan_only=true", "results=own.duckdb")
    assert (code, err) == (0, "")
    from pipeline.datasets.open import open_dataset

    entry = {"name": "digits", "dataset": "digits"}
    data = open_dataset(entry, place / "data")
    results = Store(place / "own.duckdb")
    results.write([DatasetInfo(data.fingerprint, "digits", "image-classification", list("0123456789"), {}, entry)])
    results.publish()
    results.close()
    (place / "own.duckdb").rename(place / "moved.duckdb")
    code, out, err = command(place, "show", data.fingerprint, "--results", "moved.duckdb")
    assert (code, err) == (0, "")
    assert out
