"""Thresholds of two classes: against one instance after the other, and on the page."""

import re

import numpy as np
import pytest

from pipeline.store.records import run_records as facts
from pipeline.store.writer import Store
from tests.viewer.inside_stores import START
from tests.viewer.visits import Page, visit
from viewer.behaviours.queries import open_sheet
from viewer.behaviours.threshold_panel import threshold_panel
from viewer.behaviours.thresholds import Truth, curve, operating_point, resamples
from viewer.session.compared_models import models_on_rail

CLASSES = ["fine", "toxic"]
NAMES = {"base": "base", "shifted": "shifted", "worse": "worse"}


def publish_two_classes(path, *, instances=400, with_probabilities=True):
    """A base; a model whose ranking is the base's and whose probabilities are lower; one that ranks worse."""
    rng = np.random.default_rng(0)
    labels = (np.arange(instances) % 4 == 0).astype(int)
    evidence = labels * 2.2 + rng.standard_normal(instances) - 0.8
    logits = {"base": evidence, "shifted": evidence - 1.2, "worse": evidence + 1.5 * rng.standard_normal(instances)}
    found: list[facts.Record] = [
        facts.Run("r1", "study", {}, {}, {}, None, START),
        facts.DatasetInfo("d2", "comments", "text-classification", CLASSES, {"evaluation": instances}, {}),
        facts.Instances("d2", "evaluation", [f"c{at:04d}" for at in range(instances)], [CLASSES[at] for at in labels], {}),
    ]  # fmt: skip
    for name, logit in logits.items():
        parent = None if name == "base" else "base"
        found.append(facts.Model(name, parent, name, "", "study", "op", 1, "prune" if parent else "base", "torch", {}))
        p = (1 / (1 + np.exp(-logit))).astype(np.float32)
        answered, table = (p > 0.5).astype(int), np.stack([1 - p, p], axis=1)
        rows = np.arange(instances)
        unknown = np.full(instances, np.nan, np.float32)
        sure = table[rows, answered] if with_probabilities else unknown
        right = table[rows, labels] if with_probabilities else unknown
        correct = answered == labels
        found.append(
            facts.PredictionSet(
                name, "ort", "d2", [CLASSES[at] for at in answered], sure, right, correct,
                correct.astype(np.float32), table if with_probabilities else None,
            )
        )  # fmt: skip
    store = Store(path)
    store.write(found)
    store.publish()
    store.close()
    return path


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory):
    return publish_two_classes(tmp_path_factory.mktemp("two") / "results.duckdb")


def by_hand(scores, positive, base, keep):
    """Recall and precision at the threshold, by trying all of them."""
    aim = [(base & positive).sum() / positive.sum(), (base & positive).sum() / base.sum()]
    tried = []
    for threshold in np.unique(scores):
        taken = scores >= threshold
        tried.append((threshold, (taken & positive).sum() / positive.sum(), (taken & positive).sum() / taken.sum()))
    if keep == "recall":
        return max(row for row in tried if row[1] >= aim[0])
    return max((row for row in tried if row[2] >= aim[1]), key=lambda row: row[1])


@pytest.mark.parametrize("keep", ["recall", "precision"])
def test_the_threshold_is_that_of_trying_all_of_them(keep):
    rng = np.random.default_rng(3)
    positive = rng.random(300) < 0.3
    base = rng.random(300) < np.where(positive, 0.8, 0.1)
    scores = np.round(rng.random(300) * 0.6 + positive * 0.3, 2)  # ties
    truth = Truth(positive, base, resamples(300)[:200])
    point = operating_point(scores, scores > 0.5, truth, keep)
    expected = by_hand(scores, positive, base, keep)
    assert (point.threshold, point.recall, point.precision) == pytest.approx(expected)
    left = point.precision if keep == "recall" else point.recall
    assert point.rest is not None
    assert point.rest.low < left < point.rest.high
    assert point.rest.value == left


def test_a_model_that_ranks_as_its_base_has_nothing_left_to_lose():
    rng = np.random.default_rng(4)
    positive = rng.random(500) < 0.4
    scores = rng.random(500) * 0.7 + positive * 0.2
    base = scores > 0.5
    point = operating_point(scores - 0.15, scores - 0.15 > 0.5, Truth(positive, base, resamples(500)[:300]), "recall")
    assert point.recall == pytest.approx((base & positive).sum() / positive.sum())
    assert point.precision >= (base & positive).sum() / base.sum()
    assert point.usual[0] < point.recall, "it finds fewer as it answers"
    assert point.difference is not None
    assert point.difference.low >= 0


def test_a_base_that_finds_nothing_gives_no_threshold():
    positive = np.arange(20) < 5
    none = np.zeros(20, bool)
    point = operating_point(np.linspace(0, 1, 20), none, Truth(positive, none, resamples(20)), "recall")
    assert np.isnan(point.threshold)
    assert point.rest is None


def test_the_curve_ends_where_everything_is_taken():
    positive = np.arange(10) < 4
    line = curve(np.linspace(1, 0, 10), positive)
    assert line[3] == (1.0, 1.0)
    assert line[-1] == (1.0, 0.4)


def test_the_panel_tells_a_moved_threshold_from_a_worse_model(two_classes):
    sheet = open_sheet(two_classes)
    panel = threshold_panel(sheet, list(NAMES), NAMES, positive="", keep="recall")
    assert panel["positive"] == "toxic"
    base, shifted, worse = panel["rows"]
    assert base["change"] == ""
    assert shifted["usual"][0] < base["usual"][0]
    assert shifted["recall"] == base["recall"] == panel["base"]["recall"]
    assert shifted["tone"] != "bad"
    assert worse["tone"] == "bad"
    assert worse["change"].startswith("\N{MINUS SIGN}")
    assert worse["rest"].startswith("[")
    other = threshold_panel(sheet, list(NAMES), NAMES, positive="fine", keep="precision")
    assert other["positive"] == "fine"
    assert other["base"]["precision"] == other["rows"][0]["precision"]


def test_only_two_classes_with_probabilities_have_thresholds(two_classes, results, tmp_path):
    assert threshold_panel(open_sheet(results), ["base"], NAMES, positive="", keep="recall") is None
    bare = publish_two_classes(tmp_path / "bare.duckdb", instances=40, with_probabilities=False)
    assert threshold_panel(open_sheet(bare), list(NAMES), NAMES, positive="", keep="recall") is None


def test_the_page_has_them_and_the_address_what_is_kept(two_classes):
    page = Page(visit(two_classes, {"page": "behaviours", "selected": "base,shifted,worse"}))
    assert "Thresholds that keep the base's recall" in page.app._draw_page()
    lines = re.findall(r'<polyline [^>]*class="line own-line" style="--own: (#\w+)"', page.app._draw_page())
    assert lines == [each.color for each in models_on_rail(page.app.session)], "the colours that the rail has"
    page.say("set", field="b_keep", value="precision")
    page.say("b_positive", value="fine")
    markup = page.app._draw_page()
    assert "Thresholds that keep the base's precision" in markup
    assert "<option selected>fine</option>" in markup
    assert {"b_keep", "b_positive"} <= set(page.app.state.fields())
