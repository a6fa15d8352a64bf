"""Several labels and numbers go the whole way: recipe, figures, package."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from tests.pipeline.command import Place

SMALL = {
    "multi_label": ["recipe.tree.base.with.epochs=3", "model.depths=[1]", "model.widths=[8]", "dataset.train=400"],
    "regression": ["recipe.tree.base.with.epochs=8"],
}


def run(place, *words):
    code, out, err = place.run("bench=none", *words)
    assert code == 0, err
    return out


@pytest.fixture(scope="module", params=sorted(SMALL))
def swept(request, tmp_path_factory):
    """A recipe of ours that has been run at small size: its name, the place, and what it said."""
    place = Place(tmp_path_factory.mktemp(request.param))
    return request.param, place, run(place, f"recipe={request.param}", *SMALL[request.param])


@pytest.mark.matrix
def test_every_model_has_figures_that_follow_from_its_answers(swept):
    name, place, out = swept
    assert {"multi_label": "subset accuracy", "regression": "mean absolute error"}[name] in out
    ((failed,),) = place.sql("SELECT count(*) FROM steps WHERE outcome = 'failed'")
    assert not failed
    models = [model for (model,) in place.sql("SELECT DISTINCT model FROM measurements")]
    assert len(models) >= 8
    figures = {
        (model, metric): value for model, metric, value in place.sql("SELECT model, metric, value FROM measurements")
    }
    for model in models:
        rows = place.sql(
            "SELECT label, predicted, correct, probabilities FROM predictions WHERE model = ? ORDER BY position", model
        )
        if name == "regression":
            label, predicted = (np.array([float(row[at]) for row in rows]) for at in (0, 1))
            assert figures[model, "mean_absolute_error"] == pytest.approx(
                sklearn_metrics.mean_absolute_error(label, predicted), rel=1e-3
            )
            assert figures[model, "r2"] == pytest.approx(sklearn_metrics.r2_score(label, predicted), abs=1e-3)
            assert [row[2] for row in rows] == (abs(label - predicted) <= 50).tolist()
            continue
        names = ("even", "prime", "large", "loop", "heavy")
        label, predicted = (np.array([[each in row[at].split("|") for each in names] for row in rows]) for at in (0, 1))
        assert figures[model, "subset_accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(label, predicted))
        assert figures[model, "micro_f1"] == pytest.approx(sklearn_metrics.f1_score(label, predicted, average="micro"))
        shares = np.array([row[3] for row in rows])
        assert figures[model, "mean_average_precision"] == pytest.approx(
            sklearn_metrics.average_precision_score(label, shares, average="macro"),
            abs=5e-3,  # stored to 0.05 %
        )


@pytest.mark.matrix
def test_a_package_answers_as_the_results_say(swept, tmp_path):
    name, place, _ = swept
    folder = tmp_path / "package"
    words = ["package", "base/int8", str(folder), "--results", str(place.results)]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *words], cwd=place.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    program = (folder / "predict.py").read_text()
    settings = json.loads((folder / "settings.json").read_text())
    assert ("thresholds" if name == "multi_label" else "target_scale") in program
    assert settings["fields"] == (["image"] if name == "multi_label" else settings["fields"])
    if name == "regression":
        row = dict(
            zip(settings["fields"], ["59", "2", "32.1", "101", "157", "93.2", "38", "4", "4.8598", "87"], strict=True)
        )
        words = [sys.executable, "-I", "-B", "predict.py"]
        said = subprocess.run(
            words, cwd=folder, input=json.dumps(row), capture_output=True, text=True, check=True
        ).stdout
        assert 25 < json.loads(said)["values"]["progression"] < 346
