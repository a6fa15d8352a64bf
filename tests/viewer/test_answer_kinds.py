"""Answers of every kind on the page of behaviours: sets of labels by label, numbers by the tolerance."""

import duckdb
import numpy as np
import pytest

from pipeline.store.records import run_records as facts
from pipeline.store.writer import Store
from tests.viewer.inside_stores import START
from tests.viewer.visits import Page, visit
from viewer.behaviours.instance_filter import InstanceFilter
from viewer.behaviours.page import BehaviourPage
from viewer.behaviours.queries import open_sheet
from viewer.behaviours.threshold_panel import threshold_panel
from viewer.session.notes import Notes
from viewer.session.state import ViewState

MODELS = ["base", "int8"]
NAMES = dict(zip(MODELS, MODELS, strict=True))


def publish(path, data, labels, answers, correct, probabilities=None):
    """A base and one model below it, with what they answered."""
    count = len(labels)
    unknown = np.full(count, np.nan, np.float32)
    ids = [f"i{at}" for at in range(count)]
    records = [
        facts.Run("r1", "study", {"workspace": "gone"}, {}, {}, None, START),
        facts.RunEnd("r1", START, 0),
        data,
        facts.Instances("d1", "evaluation", ids, labels, {}),
    ]
    for at, name in enumerate(MODELS):
        parent = "base" if at else None
        kind = "quantize" if at else "base"
        records.append(facts.Model(name, parent, name, "", "study", kind, 1, kind, "torch", {}))
        confidence = unknown if probabilities is None else np.full(count, 0.6, np.float32)
        records.append(
            facts.PredictionSet(
                name, "ort", "d1", answers[at], confidence, confidence, np.array(correct[at]),
                np.array(correct[at], np.float32), probabilities,
            )
        )  # fmt: skip
    store = Store(path)
    store.write(records)
    store.publish()
    return open_sheet(path)


@pytest.fixture
def numbers(tmp_path):
    info = facts.DatasetInfo(
        "d1", "table", "table-regression", [], {"evaluation": 5}, {"answers": "numbers", "tolerances": [5.0]}
    )
    answers = [["10", "10.5", "-3", "1.5", "(not a number)"], ["12", "16", "3", "15", "7"]]
    correct = [[True, True, True, True, False], [True, False, False, False, True]]
    return publish(tmp_path / "n.duckdb", info, ["10", "10", "-3", "1.5", "7"], answers, correct), tmp_path / "n.duckdb"


@pytest.fixture
def labels(tmp_path):
    classes = ["p", "q"]
    info = facts.DatasetInfo(
        "d1", "pictures", "image-multi-label-classification", classes, {"evaluation": 4}, {"answers": "labels"}
    )
    answers = [["p|q", "p", "(none)", "q"], ["p", "p", "q", "(none)"]]
    correct = [[True] * 4, [False, True, False, False]]
    shares = np.full((4, 2), 0.6, np.float32)
    return publish(
        tmp_path / "l.duckdb", info, ["p|q", "p", "(none)", "q"], answers, correct, shares
    ), tmp_path / "l.duckdb"


def page(sheet, path, **fields):
    state = ViewState()
    state.change(fields)
    return BehaviourPage(sheet, state, MODELS, NAMES, Notes(path))


def test_numbers_differ_by_more_than_the_tolerance(numbers):
    sheet, path = numbers
    base, model = (sheet.answers(name) for name in MODELS)
    assert list(model.differs(base)) == [False, True, True, True, True]  # by 2, 5.5, 6, 13.5, and from no number
    assert list(base.differs(base)) == [False, False, False, False, True]
    assert model.error == pytest.approx([0.4, 1.2, 1.2, 2.7, 0])
    made = page(sheet, path, b_measure="error_size")
    names = {measure.name for measure in made.measures}
    assert {"error", "correct", "changed", "error_size"} <= names
    assert not {"f1", "margin", "kl", "js", "confidence"} & names
    assert made.rows_are == "instances"
    header = made.headers()[1]
    assert header["agreement"] == "20.0%"
    assert header["negative"] == "3"


def test_numbers_are_no_words(numbers):
    """Written answers lose their points and signs before they are compared; 1.5 and 15 are not one number."""
    sheet, _ = numbers
    assert len({*sheet.answers("base").predicted, *sheet.answers("int8").predicted}) == 10
    assert sheet.code_of("1.5") != sheet.code_of("15")


def test_without_a_tolerance_numbers_are_compared_as_texts(tmp_path):
    info = facts.DatasetInfo(
        "d1", "table", "table-regression", [], {"evaluation": 1}, {"answers": "numbers", "tolerances": ["x"]}
    )
    sheet = publish(tmp_path / "x.duckdb", info, ["1"], [["1"], ["2"]], [[True], [False]])
    assert sheet.tolerances == ()
    assert list(sheet.answers("int8").differs(sheet.answers("base"))) == [True]


def test_an_instance_of_several_labels_counts_in_the_row_of_each(labels):
    sheet, path = labels
    made = page(sheet, path)
    rows, total = made.rows()
    assert total == 3
    assert {row["name"]: row["count"] for row in rows} == {"p": "2", "q": "2", "(none)": "1"}
    assert made.headers()[1]["agreement"] == "25.0%"


def test_the_view_of_classes_counts_an_instance_of_several_labels_in_each(labels):
    _, path = labels
    with duckdb.connect(str(path), read_only=True) as db:
        rows = db.sql(
            "SELECT class, instances, accuracy FROM class_accuracy WHERE model = 'int8' ORDER BY 1"
        ).fetchall()
    assert rows == [("(none)", 1, 0.0), ("p", 2, 0.5), ("q", 2, 0.0)]


def test_without_a_task_there_are_no_answers_and_that_is_said(tmp_path):
    path = tmp_path / "r.duckdb"
    store = Store(path)
    store.write(
        [
            facts.Run("r1", "study", {"workspace": "gone"}, {}, {}, None, START),
            facts.RunEnd("r1", START, 0),
            facts.DatasetInfo("d1", "arrays", "none", [], {"evaluation": 5}, {"answers": "nothing"}),
            facts.Model("base", None, "base", "", "study", "base", 1, "base", "torch", {}),
            facts.Metric(
                "invalid_outputs", "", ".1%", "lower", True, "Share of invalid outputs.", "quality", "instances"
            ),
            facts.Measurement("base", "ort", "", "d1", "invalid_outputs", 0.0, None, None, None, "r1", START, "e"),
        ]
    )
    store.publish()
    page = Page(visit(path))
    text = str(page.say("set", field="page", value="behaviours"))
    assert "have no task" in text
    assert "No predictions yet" not in text


def test_probabilities_of_labels_are_no_distribution(labels):
    sheet, path = labels
    names = {measure.name for measure in page(sheet, path).measures}
    assert {"error", "changed", "confidence"} <= names
    assert not {"margin", "kl", "js", "f1", "error_size"} & names
    assert threshold_panel(sheet, MODELS, NAMES, positive="p", keep="recall") is None  # two labels are no two classes


def test_the_filter_of_changed_answers_follows(numbers):
    sheet, path = numbers
    state = ViewState()
    state.change({"b_only": "changed"})
    answers = {name: sheet.answers(name) for name in MODELS}
    found = InstanceFilter(sheet, state.behaviours, answers, {}, Notes(path))
    assert list(found.mask) == [False, True, True, True, True]
