"""Quality against scikit-learn and hand-computed values; outputs that are not numbers are wrong, never lucky."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from pipeline.measure.metrics import behaviour, quality
from pipeline.measure.metrics.api import Predictions

CLASSES = tuple("abcdefg")


def classified(logits, labels, **fields):
    ids = tuple(str(row) for row in range(len(labels)))
    return Predictions(
        "image-classification", CLASSES[: np.shape(logits)[1]], ids, {"logits": np.asarray(logits, np.float32)},
        {"labels": np.asarray(labels)}, **fields,
    )  # fmt: skip


@pytest.fixture(scope="module")
def predictions():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 7, 500)
    logits = generator.normal(size=(500, 7)) + 1.5 * np.eye(7)[labels]
    groups = tuple(generator.choice(["x", "y", "z"], 500))
    return classified(logits, labels, attributes={"group": groups})


def answered(answers, references):
    ids = tuple(str(row) for row in range(len(answers)))
    return Predictions("question-answering", (), ids, {}, {}, tuple(answers), tuple(references))


def test_agrees_with_scikit_learn(predictions):
    logits, labels = predictions.outputs["logits"].astype(np.float64), predictions.targets["labels"]
    predicted = logits.argmax(axis=1)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert quality.accuracy(predictions).value == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    assert quality.top5_accuracy(predictions).value == pytest.approx(
        sklearn_metrics.top_k_accuracy_score(labels, logits, k=5)
    )
    assert quality.macro_f1(predictions) == pytest.approx(sklearn_metrics.f1_score(labels, predicted, average="macro"))
    assert quality.loss(predictions).value == pytest.approx(sklearn_metrics.log_loss(labels, probabilities))
    recall = sklearn_metrics.recall_score(labels, predicted, average=None)
    assert quality.worst_class_accuracy(predictions).value == pytest.approx(recall.min())


def test_shares_and_means_have_intervals(predictions):
    for estimate in (
        quality.accuracy(predictions),
        quality.loss(predictions),
        quality.worst_group_accuracy(predictions),
    ):
        assert estimate.low < estimate.value < estimate.high
    assert quality.accuracy(predictions).count == 500


def test_the_worst_group_is_found(predictions):
    correct = predictions.outputs["logits"].argmax(axis=1) == predictions.targets["labels"]
    groups = np.array(predictions.attributes["group"])
    expected = min(correct[groups == group].mean() for group in "xyz")
    assert quality.worst_group_accuracy(predictions).value == pytest.approx(expected)
    assert quality.worst_group_accuracy(replace(predictions, attributes=None)) is None


def test_instances_without_a_value_are_in_no_group(predictions):
    correct = predictions.outputs["logits"].argmax(axis=1) == predictions.targets["labels"]
    groups = np.where(correct, predictions.attributes["group"], "")  # what is wrong lacks a value
    some = replace(predictions, attributes={"group": tuple(groups)})
    assert quality.worst_group_accuracy(some).value == 1
    none = replace(predictions, attributes={"group": ("",) * len(groups)})
    assert quality.worst_group_accuracy(none) is None
    wrong = replace(some, outputs={"logits": -predictions.outputs["logits"]})
    assert behaviour.worst_group_drop(wrong, some) == pytest.approx(
        max(1 - (wrong.outputs["logits"].argmax(1) == some.targets["labels"])[groups == name].mean() for name in "xyz")
    )
    assert behaviour.worst_group_drop(none, none) is None


def test_macro_f1_counts_a_class_that_is_only_predicted():
    found = quality.macro_f1(classified([[0, 1, 0], [1, 0, 0]], [0, 0]))
    assert found == pytest.approx(sklearn_metrics.f1_score([0, 0], [1, 0], average="macro", zero_division=0))


def test_calibration_error_of_a_sure_model_that_is_half_wrong():
    sure = classified([[100, 0], [100, 0]], [0, 1])
    assert quality.calibration_error(sure) == pytest.approx(0.5)


def test_outputs_that_are_not_numbers_are_wrong_and_counted():
    nan, inf = np.nan, np.inf
    found = classified([[nan, 0], [0, nan], [inf, 0], [1, 0]], [0, 1, 0, 0])  # argmax would be right in all four
    assert quality.accuracy(found).value == 0.25
    assert quality.invalid_outputs(found).value == 0.75
    assert quality.loss(found) is None
    assert quality.calibration_error(found) is None
    assert quality.macro_f1(found) == pytest.approx((2 / 4 + 0) / 2)
    assert quality.invalid_outputs(classified([[-inf, 0]], [1])).value == 0  # a masked entry is no accident


def test_a_constant_output_is_not_in_the_top_five_by_a_tie():
    found = classified(np.zeros((7, 7)), np.arange(7))
    assert quality.top5_accuracy(found).value == pytest.approx(5 / 7)


def test_a_label_of_probability_zero_costs_infinitely():
    found = quality.loss(classified([[0, -np.inf]], [1]))
    assert found.value == np.inf
    assert found.low is None


def test_zero_instances_have_no_quality():
    empty = classified(np.zeros((0, 2)), np.zeros(0, int))
    assert quality.accuracy(empty) is None
    assert quality.loss(empty) is None
    assert quality.macro_f1(empty) is None
    assert quality.calibration_error(empty) is None


@pytest.mark.parametrize(
    ("answer", "references", "f1", "exact"),
    [
        ("The Eiffel Tower!", ("eiffel tower",), 1, 1),
        ("in Paris, France", ("Paris",), 0.5, 0),
        ("Paris Paris", ("Paris",), 2 / 3, 0),
        ("Rome", ("Paris", "rome"), 1, 1),
        ("", ("",), 1, 1),
        ("something", ("",), 0, 0),
        ("", ("something",), 0, 0),
        ("an", ("the",), 1, 1),  # nothing is left of either
    ],
)
def test_answers_are_compared_as_squad_does(answer, references, f1, exact):
    found = answered([answer], [references])
    assert quality.f1(found).value == pytest.approx(f1)
    assert quality.exact_match(found).value == exact


def test_loss_of_spans_leaves_out_answers_that_were_cut_off():
    logits = np.zeros((3, 4), np.float32)
    found = Predictions(
        "question-answering", (), ("1", "2", "3"), {"start_logits": logits, "end_logits": logits},
        {"start_positions": np.array([0, 3, 4]), "end_positions": np.array([1, 3, 9])},
    )  # fmt: skip
    assert quality.loss(found).value == pytest.approx(np.log(4))
    assert quality.loss(found).count == 2


class TestBehaviour:
    def test_by_hand(self):
        base = classified([[1, 0], [1, 0], [0, 1], [0, 1]], [0, 0, 1, 0])  # right, right, right, wrong
        model = classified([[1, 0], [0, 1], [0, 1], [1, 0]], [0, 0, 1, 0])  # right, wrong, right, right
        assert behaviour.agreement(model, base).value == 0.5
        assert behaviour.negative_flip_rate(model, base).value == 0.25
        assert behaviour.mcnemar_p(model, base) == 1
        assert behaviour.worst_class_drop(model, base) == 0
        assert behaviour.worst_class_drop(base, model) == 0

    def test_a_class_that_pays_is_told_from_chance(self):
        """Of 20 instances of each of two classes the second loses ten, the first two and gains two."""
        labels = np.repeat([0, 1], 20)
        right = np.eye(2)[labels]
        wrong = right[:, ::-1]
        before = np.r_[np.ones(18), np.zeros(2), np.ones(20)].astype(bool)
        after = np.r_[np.zeros(2), np.ones(16), np.ones(2), np.ones(10), np.zeros(10)].astype(bool)
        groups = {"half": tuple("ab" * 20)}
        base = classified(np.where(before[:, None], right, wrong), labels, attributes=groups)
        model = classified(np.where(after[:, None], right, wrong), labels, attributes=groups)
        assert behaviour.worst_class_drop(model, base) == pytest.approx(0.5)
        assert behaviour.class_drop_p(model, base) == pytest.approx(2 * 2 / 2**10)  # ten of ten, for two classes
        assert behaviour.accuracy_drop(model, base).value == pytest.approx(0.25)
        assert behaviour.worst_group_drop(model, base) == pytest.approx(0.25)
        assert behaviour.group_drop_p(model, base) == pytest.approx(2 * 2 * (1 + 7) / 2**7)  # one gained, six lost
        assert behaviour.class_drop_p(base, base) == 1

    def test_without_attributes_there_is_no_group(self, predictions):
        plain = replace(predictions, attributes=None)
        assert behaviour.worst_group_drop(plain, plain) is None
        assert behaviour.group_drop_p(plain, plain) is None

    def test_divergence_is_scipys(self, predictions):
        from scipy.special import softmax
        from scipy.stats import entropy

        noise = np.random.default_rng(1).normal(size=(500, 7)).astype(np.float32)
        model = replace(predictions, outputs={"logits": predictions.outputs["logits"] + noise})
        ours, theirs = (softmax(p.outputs["logits"].astype(np.float64), axis=1) for p in (model, predictions))
        found = behaviour.kl_to_base(model, predictions)
        assert found.value == pytest.approx(entropy(theirs, ours, axis=1).mean())
        assert found.low < found.value < found.high
        assert behaviour.kl_to_base(predictions, predictions).value == 0

    def test_answers_agree_after_normalisation(self):
        base, model = answered(["the cat", "dog"], [("cat",), ("dog",)]), answered(["Cat", "cow"], [("cat",), ("dog",)])
        assert behaviour.agreement(model, base).value == 0.5
        assert behaviour.negative_flip_rate(model, base).value == 0.5

    def test_invalid_outputs_agree_with_nothing(self):
        broken = classified([[np.nan, 0]], [0])
        assert behaviour.agreement(broken, broken).value == 0
        assert behaviour.kl_to_base(broken, broken) is None

    def test_other_instances_are_refused(self, predictions):
        other = replace(predictions, ids=tuple(f"other{row}" for row in range(500)))
        with pytest.raises(behaviour.DifferentDataError, match="evaluate both on the same data set"):
            behaviour.agreement(predictions, other)
