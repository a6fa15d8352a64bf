"""Corruptions, slices and other data as evaluation sets: what they hold, and what is said of wrong ones."""

import numpy as np
import pytest

from pipeline.datasets.api import DataError
from pipeline.datasets.evaluation_sets.corrupted import corrupted
from pipeline.datasets.evaluation_sets.opening import open_set, set_identity
from pipeline.datasets.evaluation_sets.pictures import PICTURE_CORRUPTIONS
from pipeline.datasets.evaluation_sets.slices import natural_attributes, slice_rows
from pipeline.datasets.evaluation_sets.texts import TEXT_CORRUPTIONS
from pipeline.datasets.open import open_dataset
from pipeline.plan.evaluation_sets import EvaluationSpec, evaluation_problems, evaluation_specs
from tests.pipeline.datasets.tables import reviews, save

DIGITS = {"name": "digits", "dataset": "digits"}


def pixels(data, batch_size=64):
    return np.concatenate([batch.inputs["pixel_values"] for batch in data.batches("evaluation", batch_size=batch_size)])


@pytest.fixture
def digits(tmp_path):
    return open_dataset(DIGITS, tmp_path)


@pytest.mark.parametrize("name", PICTURE_CORRUPTIONS)
def test_a_corruption_keeps_instances_and_grows_with_its_severity(name, digits, tmp_path):
    clean, distances = pixels(digits), []
    for severity in (1, 5):
        view = corrupted(digits, name, severity, tmp_path)
        assert view.ids("evaluation") == digits.ids("evaluation")
        assert view.labels("evaluation") == digits.labels("evaluation")
        assert view.size("train") == 0
        distances.append(float(np.abs(pixels(view) - clean).mean()))
    assert 0 < distances[0] < distances[1]
    assert digits.size("train") == 1200  # the data set itself is what it was
    np.testing.assert_array_equal(pixels(digits), clean)


def test_what_is_drawn_is_of_the_instance_alone(digits, tmp_path):
    """Another split of the same instances, other batches and another cache give the same pixels."""
    one = corrupted(digits, "gaussian_noise", 3, tmp_path / "one")
    other = corrupted(digits, "gaussian_noise", 3, tmp_path / "other")
    np.testing.assert_array_equal(pixels(one, 7), pixels(other, 300))
    assert one.fingerprint == other.fingerprint != digits.fingerprint
    assert corrupted(digits, "gaussian_noise", 4, tmp_path).fingerprint != one.fingerprint


def test_noise_has_the_deviation_that_its_source_says():
    draws = np.random.default_rng(0)
    grey = np.full((3, 32, 32), 0.5)
    noise = PICTURE_CORRUPTIONS["gaussian_noise"].corrupted(grey, 3, draws) / 255 - 0.5
    assert noise.std() == pytest.approx(0.08, rel=0.05)  # of 3,072 draws: three deviations are 4 %
    large = PICTURE_CORRUPTIONS["gaussian_noise"].corrupted(np.full((3, 96, 96), 0.5), 1, draws) / 255 - 0.5
    assert large.std() == pytest.approx(0.08, rel=0.03)


def test_contrast_and_brightness_are_arithmetic():
    picture = np.linspace(0, 1, 64).reshape(1, 8, 8)
    draws = np.random.default_rng(0)
    flat = PICTURE_CORRUPTIONS["contrast"].corrupted(picture, 5, draws)
    assert flat.max() - flat.min() == pytest.approx(0.15 * 255, abs=1)
    assert flat.mean() == pytest.approx(127.5, abs=1)
    bright = PICTURE_CORRUPTIONS["brightness"].corrupted(picture, 5, draws)
    np.testing.assert_allclose(bright, np.round(np.clip(picture + 0.3, 0, 1) * 255), atol=1)


@pytest.mark.parametrize("name", TEXT_CORRUPTIONS)
def test_texts_change_more_with_severity(name):
    text = "a reasonably long review of a rather dull film that nobody liked " * 5
    distances = []
    for severity in range(1, 6):
        other = TEXT_CORRUPTIONS[name].corrupted(text, severity, np.random.default_rng(1))
        assert other == TEXT_CORRUPTIONS[name].corrupted(text, severity, np.random.default_rng(1))
        distances.append(sum(a != b for a, b in zip(text.ljust(500), other.ljust(500), strict=True)))
    assert 0 < distances[0] < distances[-1]


def test_texts_of_a_table_are_cut_and_become_other_tokens(tmp_path, tokenizer):
    """Only evaluation texts that are not set aside; the tokens are those of the tokenizer itself."""
    from transformers import AutoTokenizer

    rows = reviews(120)
    entry = {
        "name": "reviews", "dataset": "table", "path": save(tmp_path / "reviews.csv", rows), "task": "text-classification",
        "text": {"tokenizer": str(tokenizer), "max_length": 16}, "columns": {"id": "key"}, "shares": {"evaluation": 0.5},
        "confirmation": 0.4,
    }  # fmt: skip
    data = open_dataset(entry, tmp_path)
    view = corrupted(data, "truncation", 5, tmp_path)
    assert view.ids("evaluation") == data.ids("evaluation")
    assert 0 < view.size("evaluation") < data.size("evaluation") + data.withheld
    texts = {row["key"]: row["text"].split() for row in rows}
    encoder = AutoTokenizer.from_pretrained(tokenizer)
    for batch in view.batches("evaluation", batch_size=1):
        words = texts[batch.ids[0]]
        cut = " ".join(words[: int(len(words) * 0.3)])
        assert view.show(batch.ids[0]) == {"text": cut}
        expected = encoder(cut, padding="max_length", max_length=16)["input_ids"]
        assert batch.inputs["input_ids"][0].tolist() == expected
    assert set(natural_attributes(view, tmp_path)) == {"length"}
    with pytest.raises(DataError, match="Those that do: capitals, truncation, typos"):
        set_identity(data, EvaluationSpec("s", corruption="gaussian_noise", severity=1).plain(), tmp_path)


def test_thirds_need_no_labels(digits, tmp_path):
    attributes = natural_attributes(digits, tmp_path)
    assert set(attributes) == {"brightness", "contrast"}
    means = pixels(digits).reshape(397, -1).astype(np.float64).mean(axis=1).round(6)
    low = slice_rows(digits, {"brightness": "low"}, tmp_path)
    assert means[low].max() < means[~low].min()
    assert low.sum() == pytest.approx(397 / 3, abs=10)  # equal levels are in one third
    both = slice_rows(digits, {"brightness": "low", "ink": "light"}, tmp_path)
    assert (both <= low).all()


@pytest.mark.parametrize("other", [0, 60, 0.1], ids=["whole", "another number", "another share"])
def test_other_data_cannot_show_what_is_set_aside(tmp_path, other):
    data = open_dataset({**DIGITS, "confirmation": 200}, tmp_path)
    same = EvaluationSpec("s", dataset={"name": "again", "dataset": "digits", "confirmation": other}).plain()
    with pytest.raises(DataError, match="'again' holds instances that are set aside for confirmation"):
        set_identity(data, same, tmp_path)


def test_other_data_with_the_same_names_of_instances_are_other_data(tmp_path):
    """Names such as 1, 2, 3 are everybody's: what is set aside is known by its pixels too."""
    pictures = np.random.default_rng(0).random((60, 1, 8, 8), np.float32)
    entries = []
    for name, values in (("mine", pictures), ("theirs", pictures[::-1])):
        np.savez(tmp_path / f"{name}.npz", x=values)
        entries.append(
            {"name": name, "dataset": "arrays", "path": str(tmp_path / f"{name}.npz"), "shares": {"evaluation": 0.6}}
        )
    data = open_dataset({**entries[0], "confirmation": 0.5}, tmp_path)
    assert data.withheld_in(open_dataset({**entries[0], "confirmation": 0}, tmp_path)) == data.withheld > 5
    assert data.withheld_in(open_dataset({**entries[1], "confirmation": 0}, tmp_path)) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"corruption": "gausian_noise", "severity": 1}, "Did you mean 'gaussian_noise'"),
        ({"corruption": "typos", "severity": 1}, "'typos' does not go with it. Those that do: brightness,"),
        ({"slice": {"brightnes": "low"}}, "Did you mean 'brightness'"),
        ({"slice": {"ink": "lite"}}, "no instance has ink 'lite'"),
        ({"slice": {"ink": "heavy", "brightness": "low"}}, "no instance fits all conditions"),
        ({"dataset": {"name": "o", "dataset": "digits", "size": 16}}, "the inputs must be"),
        ({"dataset": {"name": "o", "dataset": "digit"}}, "Did you mean 'digits'"),
    ],
)
def test_wrong_sets_are_refused(words, message, digits, tmp_path):
    with pytest.raises(DataError, match=message):
        set_identity(digits, EvaluationSpec("s", **words).plain(), tmp_path)


def test_other_data_are_opened_with_their_own_identity(digits, tmp_path):
    spec = EvaluationSpec("s", dataset={"name": "few", "dataset": "digits", "evaluation": 50}).plain()
    other = open_set(digits, spec, tmp_path)
    assert other.size("evaluation") == 50
    assert set_identity(digits, spec, tmp_path) == other.fingerprint != digits.fingerprint


def test_a_list_is_short_for_corruptions():
    assert list(evaluation_problems(["gaussian_blur-3"])) == []
    assert evaluation_specs(["gaussian_blur-3"]) == (EvaluationSpec("gaussian_blur-3", "gaussian_blur", 3),)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("noise", "recipe.evaluate: expected"),
        (["gaussian_blur"], "expected a corruption and its severity"),
        (["gaussian_blur-6"], "from 1 to 5"),
        ({"a b": {"corruption": "contrast"}}, "a name has letters, digits"),
        ({"a": {}}, "expected a mapping with one of corruption, slice, dataset"),
        ({"a": {"corruption": "contrast", "severty": 3}}, "Did you mean 'severity'"),
        ({"a": {"corruption": "contrast", "severity": True}}, "a whole number from 1 to 5"),
        ({"a": {"slice": {}}}, "expected attributes"),
        ({"a": {"dataset": 3}}, "expected the name of a kind of data set"),
    ],
)
def test_what_a_recipe_says_wrong_is_one_line(raw, message):
    (problem,) = evaluation_problems(raw)
    assert message in problem
