"""What stands on the page of behaviours, from stores with known numbers."""

import numpy as np
import pytest

from pipeline.store.records import run_records
from pipeline.store.writer import Store
from tests.viewer.inside_stores import CLASSES, HOSTILE, START
from viewer.behaviours.page import BehaviourPage
from viewer.behaviours.queries import SEPARATOR, open_sheet
from viewer.session.notes import Notes
from viewer.session.state import ViewState

MODELS = ["base", "pruned", "int8"]
NAMES = {key: key for key in (*MODELS, "other")}


@pytest.fixture(scope="module")
def sheet(results):
    return open_sheet(results)


@pytest.fixture
def page(sheet, results):
    def make(models=MODELS, **fields):
        state = ViewState()
        state.change(fields)
        return BehaviourPage(sheet, state, models, NAMES, Notes(results))

    return make


def test_classes_by_what_they_lost(page):
    rows, total = page().rows()
    assert total == 4
    assert rows[0]["name"] == HOSTILE, "the class that the second model breaks comes first"
    assert rows[0]["cells"][1].value == "100.0%"
    assert rows[0]["cells"][1].change == "+100.0 pp"
    assert rows[0]["cells"][1].tone == "bad"
    assert rows[0]["count"] == "60"


def test_the_most_harmed_come_first_whatever_the_direction_of_the_measure(page):
    for measure in ("error", "correct", "confidence"):
        rows, _ = page(b_measure=measure).rows()
        assert rows[0]["name"] == HOSTILE, measure
        rows, _ = page(b_measure=measure, b_rows="instances").rows()
        assert {row["label"] for row in rows[:40]} == {HOSTILE}, measure
    groups = page(b_groups=["sex", "age"], b_rows="groups").group_panel()["rows"]
    grown = [max(float(c.change.split()[0].replace("\N{MINUS SIGN}", "-")) for c, _ in row["others"]) for row in groups]
    assert grown == sorted(grown, reverse=True)


def test_a_base_may_be_any_model(page):
    rows, _ = page(["pruned", "base"]).rows()
    mended = next(row for row in rows if row["name"] == HOSTILE)
    assert mended["cells"][1].change == "\N{MINUS SIGN}100.0 pp"
    assert mended["cells"][1].tone == "good"


def test_filters_count_instances_in_numpy_and_sql_alike(page, sheet):
    assert page(b_class=HOSTILE).mask.sum() == 60
    assert page(b_only="broken", b_of="pruned").mask.sum() == 60
    assert page(b_only="broken", b_of="").mask.sum() == page(b_only="changed").mask.sum() == 96
    assert page(b_only="exemplars", b_least=2).mask.sum() == 12
    assert page(b_text="i0005").mask.sum() == 1
    assert page(b_text="DROP TABLE").mask.sum() > 60
    assert page(b_groups=["sex"], b_rows="groups", b_group="f").mask.sum() == 120
    assert page(b_brush=["pruned~0.5~1.5"]).mask.sum() == 60
    assert page(b_brush=["pruned~0.5~1.5", "int8~0.5~1.5"]).mask.sum() == 12
    assert page(b_class="no such class").mask.sum() == 0
    assert page(b_brush=["nonsense"]).mask.sum() == 240


def test_crossings_of_two_attributes(page):
    rows, total = page(b_groups=["sex", "age"], b_rows="groups").rows()
    assert total == 4
    assert f"f{SEPARATOR}old" in {row["name"] for row in rows}
    panel = page(b_groups=["sex", "age"], b_rows="groups").group_panel()
    assert panel["tests"] == 8
    assert {row["count"] for row in panel["rows"]} == {40, 80}


@pytest.mark.parametrize(
    "chosen",
    [
        {"b_only": "broken", "b_of": "pruned"},
        {"b_only": "mended"},
        {"b_only": "changed"},
        {"b_only": "exemplars"},
        {"b_brush": ["pruned~0.5~1.5"]},
        {"b_brush": ["base~0~0.5"], "b_class": HOSTILE},
    ],
    ids=str,
)
def test_instances_that_were_chosen_by_their_outcome_are_not_tested(page, chosen):
    made = page(b_groups=["sex"], b_rows="groups", **chosen)
    assert made.untested == "Instances were chosen by what the models say of them: no test applies."
    assert made.verdict() == ""
    panel = made.group_panel()
    assert panel["tests"] == 0
    drawn = [cell for row in made.rows()[0] for cell in row["cells"]] + [header["cell"] for header in made.headers()]
    for row in panel["rows"]:
        drawn += [row["base"], *(cell for cell, _ in row["others"])]
        assert {(test["p"], test["told"]) for _, test in row["others"]} == {("", False)}
    assert {cell.tone for cell in drawn} == {""}
    assert not [cell for cell in drawn if cell.range or cell.to or "95 %" in cell.interval or "p " in cell.interval]


@pytest.mark.parametrize(
    "chosen", [{}, {"b_class": HOSTILE}, {"b_group": "f"}, {"b_text": "i00"}, {"b_brush": ["no model~0~1"]}], ids=str
)
def test_instances_that_were_chosen_by_what_they_are_stay_tested(page, chosen):
    made = page(b_groups=["sex"], b_rows="groups", **chosen)
    assert made.untested == ""
    assert made.group_panel()["tests"] >= 2
    assert made.rows()[0][0]["cells"][1].range
    assert made.headers()[1]["cell"].range
    assert (made.headers()[1]["of"] == "") == (made.mask.sum() == 240), "figures of a part say so"


def test_what_colours_a_change_is_said(page):
    said = page().verdict()
    assert said.startswith("Changes are coloured where p is below 0.05: exact McNemar tests on the same instances")
    assert said.endswith("(Holm; 2 in the head, 8 in the rows).")
    assert "tests of the mean difference" in page(b_measure="confidence").verdict()
    assert page(b_measure="changed").verdict() == "", "it compares the two itself"
    assert page(b_rows="instances").verdict().endswith("(Holm; 2 in the head).")


def test_flags_are_set_by_somebody_who_saw_the_answers(page, results):
    Notes(results).add("class", HOSTILE, "odd", dataset_key="d1")
    assert page(b_only="flagged").untested.startswith("Instances were chosen by a person")
    assert page(b_only="flagged").headers()[1]["cell"].range == ""
    Notes(results).remove("class", HOSTILE, dataset_key="d1")


def test_instances_with_their_answers_and_what_changed(page):
    rows, total = page(b_rows="instances", b_only="broken", b_of="pruned").rows()
    assert total == 60
    assert len(rows) == 50
    assert [cell["changed"] for cell in rows[0]["cells"][:2]] == [False, True]
    assert rows[0]["changed_in"] == 2, "changed in both models first"
    rest, _ = page(b_rows="instances", b_only="broken", b_of="pruned", b_from=50).rows()
    assert len(rest) == 10
    assert {row["id"] for row in rest}.isdisjoint(row["id"] for row in rows)
    beyond, _ = page(b_rows="instances", b_only="broken", b_of="pruned", b_from=5000).rows()
    assert beyond == rest, "a page that does not exist is the last one"


def test_headers_say_what_flipped(page):
    base, pruned, _ = page().headers()
    assert base["flips"] == []
    assert pruned["flips"] == [{"before": HOSTILE, "after": "cat", "share": "25.0%", "count": "60"}]
    assert pruned["negative"] == "60"
    assert pruned["agreement"] == "75.0%"
    assert sum(bar["count"] for bar in pruned["bars"]) == 240
    assert page().matrix("pruned")["names"] == [HOSTILE, "cat"] or page().matrix("pruned")["names"] == ["cat", HOSTILE]


def test_every_measure_draws(page):
    for measure in page().measures:
        made = page(b_measure=measure.name, b_relative=True)
        assert made.rows()[1] == 4
        made.headers()
    assert page(b_measure="no such").measure.name == "error"
    kl = page(b_measure="kl").columns[1].values
    assert kl[1] == pytest.approx(0.94 * np.log2(0.94 / 0.02) + 0.02 * np.log2(0.02 / 0.94), rel=0.01)


def test_flagged_instances_can_be_filtered(page, results, sheet):
    notes = Notes(results)
    notes.add("instance", "i0007", "look", dataset_key="d1")
    assert page(b_only="flagged").mask.sum() == 1
    assert page(b_rows="instances", b_only="flagged").rows()[0][0]["notes"].own.why == "look"
    notes.add("class", HOSTILE, "all of them", dataset_key="d1")
    assert page(b_only="flagged").mask.sum() == 61
    assert {row["name"] for row in page(b_only="flagged").rows()[0]} == {HOSTILE, CLASSES[7 % 4]}
    notes.remove("class", HOSTILE, dataset_key="d1")
    notes.remove("instance", "i0007", dataset_key="d1")
    assert page(b_only="flagged").mask.sum() == 0


def publish_answers(path, answers):
    """Results of a question-answering study with these answers; three instances, the first of which only `base` has right."""
    unknown = np.full(3, np.nan, np.float32)
    facts: list = [
        run_records.Run("r", "study", {}, {}, {}, None, START),
        run_records.DatasetInfo("q", "squad", "question-answering", [], {"evaluation": 3}, {}),
        run_records.Instances("q", "evaluation", ["q1", "q2", "q3"], ["in 1998", "Paris", "no"], {}),
    ]
    for name, texts in answers.items():
        score = np.array([1.0 if name == "base" else 0.5, 1, 0], np.float32)
        parent = None if name == "base" else "base"
        facts.append(run_records.Model(name, parent, name, "", "study", "prune", 1, "prune", "torch", {}))
        facts.append(run_records.PredictionSet(name, "ort", "q", texts, unknown, unknown, score == 1, score, None))
    store = Store(path)
    store.write(facts)
    store.publish()


def test_questions_have_texts_for_answers_and_no_classes(tmp_path):
    path = tmp_path / "questions.duckdb"
    answers = {"base": ["in 1998", "Paris", HOSTILE], "small": ["in 1999", "Paris", "a a a"]}
    publish_answers(path, answers)
    state = ViewState()
    state.change({"b_measure": "f1"})
    page = BehaviourPage(open_sheet(path), state, ["base", "small"], {"base": "base", "small": "small"}, Notes(path))
    assert page.rows_are == "instances"
    assert {measure.name for measure in page.measures} >= {"f1", "correct", "changed"}
    assert "kl" not in {measure.name for measure in page.measures}
    rows, total = page.rows()
    assert total == 3
    first = next(row for row in rows if row["id"] == "q1")["cells"][1]
    assert first["parts"][-2:] == [("gone", "1998"), ("new", "1999")]
    assert first["value"] == "0.500"
    assert page.headers()[1]["cell"].change == "\N{MINUS SIGN}0.167"
    assert {flip["after"] for flip in page.headers()[1]["flips"]} == {"in 1999", "a a a"}


def test_written_answers_are_compared_as_the_metrics_do_it(tmp_path):
    from pipeline.measure.metrics.api import METRICS, Predictions

    answers = {"base": ["The Norman army", "in 1998", "Paris"], "small": ["Norman army.", "in 1999", "paris"]}
    predictions = {
        name: Predictions(
            task="question-answering", classes=(), ids=("q1", "q2", "q3"), outputs={}, targets={},
            answers=tuple(texts), references=(("Normans",), ("1998",), ("Paris",)), attributes={},
        )
        for name, texts in answers.items()
    }  # fmt: skip
    path = tmp_path / "written.duckdb"
    publish_answers(path, answers)
    state = ViewState()
    state.change({"b_measure": "changed"})
    page = BehaviourPage(open_sheet(path), state, ["base", "small"], {"base": "base", "small": "small"}, Notes(path))
    expected = METRICS["agreement"].compute(predictions["small"], predictions["base"]).value
    header = page.headers()[1]
    assert expected == pytest.approx(2 / 3)
    assert header["agreement"] == f"{expected:.1%}"
    assert header["cell"].value == f"{1 - expected:.1%}"
    assert [(flip["before"], flip["after"], flip["count"]) for flip in header["flips"]] == [("in 1998", "in 1999", "1")]
    changed = {row["id"]: (row["cells"][1]["changed"], row["cells"][1]["text"]) for row in page.rows()[0]}
    assert changed == {"q1": (False, "Norman army."), "q2": (True, "in 1999"), "q3": (False, "paris")}


def test_classes_are_written_as_they_are(page):
    assert {row["name"] for row in page().rows()[0]} == set(CLASSES)
