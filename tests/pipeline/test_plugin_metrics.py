"""A plug-in's metrics are treated like ours: paired noise, a column of the summary, the viewer's choices, lints."""

import re
from datetime import UTC, datetime

import numpy as np
import pytest
import scipy.stats

from pipeline.core.plugins import load_plugins
from pipeline.core.statistics import Z
from pipeline.measure.lints.check import Evidence, run_lints
from pipeline.measure.metrics.api import METRICS
from tests.pipeline.command import Place
from viewer.results.paired_difference import Paired
from viewer.results.results import load_results
from viewer.session.choices import choices
from viewer.session.state import ViewState

PLUGIN = "tests.pipeline.toy_metrics"
KINDS = {
    "above_third": ("quality", "instances"),
    "answered": ("other", "instances"),
    "arrays": ("size", "none"),
    "average_time": ("cost", "none"),
    "bolder": ("change", "instances"),
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("swept"))
    branches = "~recipe.tree.base.then.int8", "~recipe.tree.base.then.pruned.then"
    code, out, err = place.run("recipe=small", "bench=smoke", f"plugins=[{PLUGIN}]", *branches)
    assert code == 0, err
    return place, out


def test_each_role_is_in_the_store(swept):
    place, _ = swept
    rows = place.sql("SELECT metric, role, pairing FROM metrics WHERE metric IN ?", list(KINDS))
    assert {name: tuple(kinds) for name, *kinds in rows} == KINDS
    measured = place.sql("SELECT DISTINCT metric FROM measurements WHERE metric IN ? ORDER BY 1", list(KINDS))
    assert [name for (name,) in measured] == list(KINDS)


def test_what_is_paired_by_instance_has_its_value_as_the_mean(swept):
    place, _ = swept
    rows = place.sql(
        "SELECT m.metric, m.model, m.value, avg(i.value), count(*) FROM measurements m"
        " JOIN instance_values i USING (model_key, metric, evidence_key) GROUP BY ALL"
    )
    paired = {metric for metric, *_ in rows}
    assert paired >= {"above_third", "bolder", "accuracy", "loss", "invalid_outputs", "agreement", "kl_to_base"}
    assert not paired & {"answered", "worst_class_accuracy", "calibration_error", "arrays", "mcnemar_p"}
    ((instances,),) = place.sql("SELECT count(*) FROM instances")
    assert all(count == instances for *_, count in rows)
    assert all(mean == pytest.approx(value, rel=1e-6, abs=1e-6) for _, _, value, mean, _ in rows)


@pytest.mark.parametrize("metric", ["above_third", "accuracy", "loss"])
def test_its_noise_is_that_of_the_same_instances(swept, metric):
    place, _ = swept
    results = load_results(place.results)
    rows = place.sql(
        "SELECT model, list(value ORDER BY position) FROM instance_values WHERE metric = ? GROUP BY ALL", metric
    )
    values = {name: np.array(each) for name, each in rows}
    differences = values["base/pruned"] - values["base"]
    keys = dict(place.sql("SELECT name, model_key FROM models"))
    pair = keys["base/pruned"], keys["base"]
    shown = tuple(results.measured(metric, key).value for key in pair)
    difference = Paired(place.results, results.context).difference(results.spec(metric), *pair, shown)
    assert difference.value == pytest.approx(differences.mean())
    score = difference.value / (Z * ((values["base/pruned"] != values["base"]).sum() ** 0.5) / len(differences))
    if set(np.unique(differences)) <= {-1, 0, 1}:  # the score of equal shares: lost and won answers alone count
        assert (difference.low <= 0 <= difference.high) is bool(abs(score) <= 1)
    else:
        student = scipy.stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / len(differences) ** 0.5
        assert difference.noise == pytest.approx(student)


def test_it_is_a_column_of_the_summary_among_its_role(swept):
    _, out = swept
    (head,) = [line for line in out.splitlines() if re.match(r"\s*model\s", line)]
    names = ["model", "above third", "accuracy", "average time", "latency p50", "arrays", "file bytes", "sparsity"]
    assert re.split(r"\s{2,}", head.strip()) == names


def test_the_viewer_chooses_it_by_its_role(swept):
    place, _ = swept
    results = load_results(place.results)
    chosen = {field: choices(results).metric(field, ViewState()) for field in ("color", "y", "goal", "x", "size")}
    assert chosen == {
        "color": "above_third", "y": "above_third", "goal": "above_third", "x": "average_time", "size": "arrays",
    }  # fmt: skip


def test_a_lint_compares_it_between_targets(monkeypatch):
    list(METRICS)
    monkeypatch.setattr(METRICS, "_items", dict(METRICS._items))
    load_plugins([PLUGIN])
    model = {"model_key": "m", "name": "m", "parent_key": None, "op": "train", "kind": "base", "params": "{}"}
    values = {"ort": {"accuracy": 0.9, "above_third": 0.95}, "torch": {"accuracy": 0.9, "above_third": 0.97}}
    measurements = [
        {"model_key": "m", "target": target, "metric": name, "value": value, "low": None, "high": None}
        for target, own in values.items()
        for name, value in own.items()
    ]
    findings = run_lints(Evidence([model], measurements, [], [], []), run_id="run", at=datetime.now(UTC))
    assert [(finding.lint, finding.target, finding.message) for finding in findings] == [
        ("target_disagrees", "ort", "above_third 95.0% on ort and 97.0% on torch")
    ]
