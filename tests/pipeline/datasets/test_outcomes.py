"""Tables of labels and of numbers: what they become, and mistakes told in one line with the row."""

import re

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from pipeline.core.keys import digest
from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from pipeline.datasets.readers.arrays import array_dataset
from pipeline.datasets.readers.settings import Columns, Picture, Shares, Text
from pipeline.datasets.tabular.by_task import Rules
from tests.pipeline.datasets.tables import save

LABELS, NUMBERS = "table-multi-label-classification", "table-regression"


def rows(count=60):
    """Two features, two truths, a list of labels, and two numbers."""
    draw = np.random.default_rng(0)
    made = []
    for row in range(count):
        x, y = draw.normal(size=2)
        names = [name for name, holds in (("left", x < 0), ("low", y < 0)) if holds]
        made.append(
            {"x": float(x), "y": float(y), "left": int(x < 0), "low": int(y < 0), "tags": "|".join(names),
             "sum": float(100 + 10 * (x + y)), "difference": float(x - y), "group": "odd" if row % 2 else "even"}
        )  # fmt: skip
    return made


def entry(tmp_path, made, task, *, file="made.csv", features=("x", "y"), **words):
    columns = {"features": list(features), **words.pop("columns", {})}
    return {
        "name": "mine",
        "dataset": "table",
        "path": save(tmp_path / file, made),
        "task": task,
        "columns": columns,
        **words,
    }


def everything(data, split):
    (batch,) = data.batches(split, batch_size=1000)
    return batch


@pytest.mark.parametrize("kind", ["columns", "texts", "lists", "json"])
def test_labels_come_in_columns_or_in_lists(kind, tmp_path):
    made = rows()
    columns = {"labels": ["left", "low"]} if kind == "columns" else {"label": "tags"}
    if kind == "lists":
        made = [{**row, "tags": row["tags"].split("|") if row["tags"] else []} for row in made]
    if kind == "json":
        made = [{**row, "tags": str(row["tags"].split("|") if row["tags"] else []).replace("'", '"')} for row in made]
    file = "made.jsonl" if kind == "lists" else "made.csv"
    data = open_dataset(entry(tmp_path, made, LABELS, file=file, columns=columns), tmp_path / "cache")
    assert data.classes == ("left", "low")
    batch = everything(data, "evaluation")
    numbers = [int(one) - 1 for one in batch.ids]
    assert batch.targets["indicators"].tolist() == [[made[at]["left"], made[at]["low"]] for at in numbers]
    assert data.labels("evaluation") == tuple(
        "|".join(n for n in ("left", "low") if made[at][n]) or "(none)" for at in numbers
    )
    assert (batch.targets["thresholds"] == 0.5).all()


def test_features_are_standardised_by_the_training_rows(tmp_path):
    made = rows()
    data = open_dataset(entry(tmp_path, made, LABELS, columns={"labels": ["left", "low"]}), tmp_path / "cache")
    assert data.inputs == {"features": ("float32", (2,))}
    train = everything(data, "train").inputs["features"]
    assert train.mean(axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert train.std(axis=0) == pytest.approx([1, 1], abs=1e-6)
    known = np.array([[made[int(one) - 1][name] for name in "xy"] for one in everything(data, "train").ids])
    batch = everything(data, "evaluation")
    own = np.array([[made[int(one) - 1][name] for name in "xy"] for one in batch.ids])
    assert batch.inputs["features"] == pytest.approx((own - known.mean(axis=0)) / known.std(axis=0), rel=1e-5)


def test_numbers_carry_what_standardises_them_and_their_tolerance(tmp_path):
    made = rows()
    words = {"columns": {"targets": ["sum", "difference"]}}
    data = open_dataset(entry(tmp_path, made, NUMBERS, **words), tmp_path / "cache")
    assert data.classes == ("sum", "difference")
    batch, train = everything(data, "evaluation"), everything(data, "train")
    known = np.array([[made[int(one) - 1][name] for name in data.classes] for one in train.ids])
    assert batch.targets["centre"][0] == pytest.approx(known.mean(axis=0), rel=1e-6)
    assert batch.targets["scale"][0] == pytest.approx(known.std(axis=0), rel=1e-6)
    assert data.tolerances == pytest.approx(tuple(known.std(axis=0) / 2), rel=1e-6)
    plain = entry(tmp_path, made, NUMBERS, targets={"standardise": False, "tolerance": [2, 0.5]}, **words)
    other = open_dataset(plain, tmp_path / "cache")
    assert other.fingerprint != data.fingerprint
    assert other.tolerances == (2, 0.5)
    assert everything(other, "evaluation").targets["scale"].tolist() == [[1, 1]] * other.size("evaluation")


def test_a_label_that_never_occurs_is_named(tmp_path):
    made = [{**row, "never": 0} for row in rows()]
    data = open_dataset(entry(tmp_path, made, LABELS, columns={"labels": ["left", "never"]}), tmp_path / "cache")
    assert data.notes == (
        "no evaluation instance has the label 'never': it has no average precision, and means over labels leave it out",
        "no train instance has the label 'never': no model can learn it",
    )


def changed(row, **values):
    made = rows()
    made[row] = {**made[row], **values}
    return made


@pytest.mark.parametrize(
    ("task", "made", "words", "message"),
    [
        (NUMBERS, changed(4, sum=float("nan")), {"columns": {"label": "sum"}}, "made.csv row 5: 'sum' is nan, which is no"),
        (NUMBERS, changed(4, sum=""), {"columns": {"label": "sum"}}, "made.csv row 5: 'sum' is empty; fill it in"),
        (NUMBERS, changed(4, sum="many"), {"columns": {"label": "sum"}}, "made.csv row 5: 'sum' is 'many', which is no number"),
        (NUMBERS, changed(2, x="inf"), {"columns": {"label": "sum"}}, "made.csv row 3: 'x' is inf, which is no number"),
        (NUMBERS, [{**row, "sum": 3} for row in rows()], {"columns": {"label": "sum"}}, "'sum' is 3 in every training row"),
        (
            NUMBERS, rows(), {"columns": {"label": "sum"}, "targets": {"tolerance": [1, 2]}},
            "targets.tolerance: 2 for 1 targets (sum); give one for each",
        ),
        (
            NUMBERS, [{**row, "sum": 1.7e9 + row["sum"]} for row in rows()], {"columns": {"label": "sum"}},
            "'sum' is too large to be told apart within its tolerance in 32 bits; take off an offset first",
        ),
        (NUMBERS, rows(), {"columns": {"label": "sum"}, "classes": ["a"]}, "classes: numbers have none; leave it out"),
        (LABELS, changed(4, left=2), {"columns": {"labels": ["left", "low"]}}, "made.csv row 5: 'left' is '2'; a column of"),
        (LABELS, changed(4, tags="low|low"), {"columns": {"label": "tags"}}, "made.csv row 5: 'tags' has the label 'low' twice"),
        (LABELS, changed(4, tags="low||x"), {"columns": {"label": "tags"}}, "made.csv row 5: 'tags' has a label without a name"),
        (LABELS, changed(4, tags='["low"'), {"columns": {"label": "tags"}}, "made.csv row 5: 'tags' begins as a JSON list"),
        (
            LABELS, rows(), {"columns": {"label": "tags"}, "classes": ["left", "lower"]},
            "row 1: 'low' is none of the classes. Did you mean 'lower'? Known: left, lower",
        ),
        (
            LABELS, rows(), {"columns": {"label": "tags"}, "targets": {"thresholds": {"lft": 0.3}}},
            "thresholds: no label is called 'lft'. Did you mean 'left'? Known: left, low",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_rows_are_told_with_the_row(task, made, words, message, tmp_path):
    with pytest.raises(DataError, match=r"^Data set 'mine': .*" + re.escape(message)):
        open_dataset(entry(tmp_path, made, task, **words), tmp_path / "cache").size("train")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"features": []}, f"columns.features: {NUMBERS} needs the names of the columns that models see"),
        ({"features": ["x", "sum"], "columns": {"label": "sum"}}, "columns.features: 'sum' is what models are to tell"),
        ({"targets": {"tolerance": 0}}, "targets.tolerance"),
        ({"targets": {"thresholds": 1.5}}, "targets.thresholds"),
    ],
)
def test_mistakes_in_the_entry_are_told_at_once(words, message, tmp_path):
    with pytest.raises(DataError, match=r"^Data set 'mine': .*" + re.escape(message)):
        open_dataset(entry(tmp_path, rows(), NUMBERS, **words), tmp_path / "cache")


def test_diabetes_is_scikit_learns(tmp_path):
    data = open_dataset({"dataset": "diabetes"}, tmp_path)
    features, targets = load_diabetes(return_X_y=True, scaled=False)
    for split in ("train", "evaluation"):
        batch = everything(data, split)
        numbers = [int(one.removeprefix("patient-")) - 1 for one in batch.ids]
        assert batch.targets["values"][:, 0] == pytest.approx(targets[numbers])
        if split == "train":
            mean, std = features[numbers].mean(axis=0), features[numbers].std(axis=0)
        assert batch.inputs["features"] == pytest.approx((features[numbers] - mean) / std, abs=1e-4)
    assert data.show("patient-001")["text"].startswith("age 59, sex 2, bmi 32.1")


def test_traits_of_digits_follow_from_the_digit(tmp_path):
    data, digits = (open_dataset({"dataset": name}, tmp_path) for name in ("digit_traits", "digits"))
    assert data.ids("evaluation") == digits.ids("evaluation")
    numbers = np.array([int(label) for label in digits.labels("evaluation")])
    given = everything(data, "evaluation").targets["indicators"] > 0
    assert (given[:, 0] == (numbers % 2 == 0)).all()
    assert (given[:, 1] == np.isin(numbers, [2, 3, 5, 7])).all()
    assert given[:, 4].mean() == pytest.approx(1 / 3, abs=0.05)


def test_the_fingerprint_of_tables_of_classes_is_what_it_was():
    """Settings that other tasks brought must not change the identity of data that had none of them."""
    from pipeline.datasets.readers.settings import Columns

    assert sorted(Columns().identity()) == sorted(
        ["answers", "attributes", "context", "group", "id", "image", "label", "question", "split", "text"]
    )


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("image-classification", "3ca0dd9e687b8faf591070c8ffaa2e3e4aac624d1540d8200af2e499e3be3e88"),
        ("text-classification", "3ab86374aa10a49f61632e28ec45ffae4ea190c7b83966051857c244097d6ce4"),
    ],
)
def test_tables_of_classes_keep_the_identity_that_they_had_before_there_were_other_outcomes(task, expected):
    limits = {"train": None, "calibration": 8, "evaluation": None}
    columns = Columns(id="id", attributes=["site"])
    rules = Rules(task, columns, Text(tokenizer="words"), Picture(), Shares(), None, limits)
    assert digest(rules.identity()) == expected


def test_equal_numbers_have_no_deviation_whatever_rounding_says(tmp_path):
    """The mean of 0.1 many times over is not 0.1."""
    made = [{**row, "y": 0.1} for row in rows(300)]
    data = open_dataset(entry(tmp_path, made, NUMBERS, columns={"targets": ["sum"]}), tmp_path / "cache")
    assert np.abs(everything(data, "train").inputs["features"][:, 1]).max() < 1e-6
    same = [{**row, "sum": 0.1} for row in made]
    words = {"columns": {"targets": ["sum"]}, "targets": {"tolerance": 0.5}, "file": "same.csv"}
    with pytest.raises(DataError, match=re.escape("'sum' is 0.1 in every training row: nothing to learn")):
        open_dataset(entry(tmp_path, same, NUMBERS, **words), tmp_path / "cache").size("train")


def test_a_label_that_all_have_is_named(tmp_path):
    made = [{**row, "left": 1} for row in rows()]
    data = open_dataset(entry(tmp_path, made, LABELS, columns={"labels": ["left", "low"]}), tmp_path / "cache")
    assert any(
        "every evaluation instance has the label 'left': its average precision is 1" in one for one in data.notes
    )


def test_a_feature_may_be_called_label_where_that_is_not_what_models_tell(tmp_path):
    made = [{**row, "label": row["y"]} for row in rows()]
    words = {"columns": {"targets": ["sum"]}, "features": ("x", "label")}
    data = open_dataset(entry(tmp_path, made, NUMBERS, **words), tmp_path / "cache")
    assert data.inputs["features"][1] == (2,)
    with pytest.raises(DataError, match=r"columns\.features: 'sum' is what models are to tell"):
        open_dataset(
            entry(tmp_path, made, NUMBERS, columns={"targets": ["sum"]}, features=("x", "sum")), tmp_path / "c"
        )


def test_arrays_are_named_by_their_names_shapes_and_types_too():
    values, other = np.arange(12, dtype=np.float32).reshape(4, 3), np.ones((4, 3), np.float32)
    labels = list("abcd")

    def name(**changes):
        given = {"inputs": {"one": values, "two": other}, "targets": {"right": values}, **changes}
        return array_dataset("own", "none", given["inputs"], given["targets"], labels).fingerprint

    changes = [
        {},
        {"inputs": {"two": values, "one": other}},
        {"inputs": {"one": values.reshape(4, 3, 1), "two": other}},
        {"targets": {"wrong": values}},
        {"targets": {"right": values.view(np.int32)}},
        {"inputs": {"one": values}, "targets": {"two": other, "right": values}},
    ]
    assert len({name(**change) for change in changes}) == len(changes)
    assert name() == name()
