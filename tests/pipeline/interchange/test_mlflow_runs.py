"""Models as runs of MLflow: out to a real tracking store, in again, and out once more without a second run.

The store is a folder, which the client itself keeps. With BOUILLON_MLFLOW=PROGRAM, the `mlflow` of any environment, all tests
run against its server on this machine as well.
"""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from datetime import datetime

import numpy as np
import pytest

from pipeline.cli.commands.table import run_command
from pipeline.store.errors import StoreError
from pipeline.store.reader import open_results
from pipeline.store.records.run_records import Measurement, Metric
from pipeline.store.writer import Store
from tests.pipeline.answer_stores import measured, publish

pytest.importorskip("mlflow")
SERVER = os.environ.get("BOUILLON_MLFLOW")
SIZE = Metric("size", "B", ".3g", "lower", False, "Room that it takes.", "size")
WAIT = 120


@pytest.fixture(scope="module", params=["folder", *(["server"] if SERVER else [])])
def uri(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    if request.param == "folder":
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
            yield f"file://{folder}/runs"
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [
        SERVER,
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--backend-store-uri",
        f"sqlite:///{folder}/db",
    ]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield _answering(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()


def _answering(address):
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{address}/health").close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return address
    raise TimeoutError(address)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A reference and a candidate made from it, with accuracy and a size."""
    monkeypatch.chdir(tmp_path)
    draws = np.random.default_rng(0)
    pair = draws.random(200) < 0.9, draws.random(200) < 0.95, draws.integers(0, 10, 200)
    return publish(tmp_path / "results.duckdb", [pair], [SIZE, measured("candidate 0", "size", 0.9, 0.85, 0.94)])


@pytest.fixture
def client(uri):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def runs(client, experiment):
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return {run.info.run_name: run for run in found}


def export(uri, experiment):
    assert run_command(["export", "mlflow", "--uri", uri, "--experiment", experiment]) == 0


def test_every_model_is_a_run_with_its_parent_and_its_figures(uri, results, client, capsys):
    export(uri, "first")
    assert "2 runs made, 0 given new figures, 0 as they were" in capsys.readouterr().out
    made = runs(client, "first")
    child, base = made["candidate 0"], made["reference 0"]
    assert child.data.tags["mlflow.parentRunId"] == base.info.run_id
    assert child.info.status == "FINISHED"
    with open_results(results) as db:
        stored = dict(
            db.execute(
                "SELECT model, value FROM measurements WHERE metric = 'accuracy' AND target IS NOT NULL"
            ).fetchall()
        )
    assert base.data.metrics["accuracy"] == pytest.approx(stored["reference 0"])


def test_an_interval_stands_beside_its_figure(uri, results, client):
    export(uri, "intervals")
    metrics = runs(client, "intervals")["candidate 0"].data.metrics
    assert (metrics["size_low"], metrics["size_high"]) == (0.85, 0.94)


def test_an_export_can_be_repeated_and_gives_what_is_new(uri, results, client, capsys):
    export(uri, "again")
    export(uri, "again")
    assert "0 runs made, 0 given new figures, 2 as they were" in capsys.readouterr().out
    store = Store(results)
    later = datetime(2026, 2, 1)
    store.write(
        [Measurement("reference 0", "ort", "machine", "0", "accuracy", 0.5, None, None, 200, "run", later, "new")]
    )
    store.publish()
    store.close()
    export(uri, "again")
    assert "0 runs made, 1 given new figures, 1 as they were" in capsys.readouterr().out
    assert runs(client, "again")["reference 0"].data.metrics["accuracy"] == 0.5
    assert len(runs(client, "again")) == 2


def test_what_was_exported_comes_in_as_the_same_tree(uri, results, tmp_path, capsys):
    export(uri, "round")
    other = tmp_path / "other.duckdb"
    words = ["import", "mlflow", "--uri", uri, "--experiment", "round", "--results", str(other)]
    assert run_command(words) == 0
    with open_results(other) as db, open_results(results) as before:
        tree = "SELECT name, parent, op FROM models ORDER BY name"
        assert db.execute(tree).fetchall() == before.execute(tree).fetchall()
        figure = "SELECT value FROM measurements WHERE model = 'reference 0' AND metric = 'accuracy'"
        assert db.execute(figure).fetchone() == pytest.approx(before.execute(figure).fetchone())
    assert run_command(words) == 0
    assert "nothing was changed" in capsys.readouterr().out


def test_runs_of_a_script_come_in_and_a_parent_elsewhere_is_told(uri, tmp_path, client, capsys):
    number = client.create_experiment("script")
    base = client.create_run(number, run_name="base")
    client.log_metric(base.info.run_id, "val_acc", 0.9)
    client.log_metric(base.info.run_id, "broken", float("nan"))
    child = client.create_run(number, run_name="int8", tags={"mlflow.parentRunId": base.info.run_id})
    client.log_param(child.info.run_id, "bits", 8)
    client.create_run(number, run_name="stray", tags={"mlflow.parentRunId": "0" * 32})
    other = tmp_path / "other.duckdb"
    run_command(["import", "mlflow", "--uri", uri, "--experiment", "script", "--results", str(other)])
    assert "1 of its runs name a parent elsewhere: they stand as roots" in capsys.readouterr().out
    with open_results(other) as db:
        tree = db.execute("SELECT name, parent, op, params FROM models ORDER BY name").fetchall()
        assert tree == [
            ("base", None, "base", "{}"),
            ("int8", "base", "int8", '{"bits": "8"}'),
            ("stray", None, "base", "{}"),
        ]
        assert db.execute("SELECT model, metric, value FROM measurements").fetchall() == [("base", "val_acc", 0.9)]


def test_what_is_not_there_is_told_in_one_line(uri, results, client):
    client.create_experiment("empty")
    for words, message in (
        (["import", "mlflow", "--uri", uri, "--experiment", "emtpy"], "Did you mean 'empty'"),
        (["import", "mlflow", "--uri", uri, "--experiment", "empty"], "has no runs"),
        (["import", "mlflow", "--uri", "http://127.0.0.1:9", "--experiment", "a"], "127.0.0.1"),
        (["export", "mlflow", "--uri", uri, "--recipe", "gaet"], "Did you mean 'gate'"),
    ):
        with pytest.raises(StoreError, match=message) as told:
            run_command(words)
        assert "\n" not in str(told.value)
    with pytest.raises(Exception, match="--uri is missing"):
        run_command(["export", "mlflow"])
