"""SQuAD and its successors: the real files where they can be had, and small ones of the same form."""

import json
import re

import numpy as np
import pytest

from pipeline.datasets.api import SPLITS, DataError
from pipeline.datasets.open import open_dataset
from pipeline.datasets.sources import squad as module
from pipeline.datasets.sources._bigbench import BIGBENCH
from pipeline.sweep.config import Config
from tests.pipeline.dataset_contract import DatasetContract

FILLER = "the city lies by the river . a dull film was made in the city . "


def _article(number, paragraphs):
    """An article whose second paragraph is longer, each with two questions on it."""
    made = []
    for part in range(paragraphs):
        context = f"{FILLER * part}the film {number} was made by fun {part} ."
        answers = [{"text": f"fun {part}", "answer_start": context.index(f"fun {part}")}]
        asked = [("who", "who made the film ?"), ("how", "how many made the film ?")]
        questions = [
            {"id": f"{number}-{part}-{key}", "question": question, "answers": answers} for key, question in asked
        ]
        made.append({"context": context, "qas": questions})
    return {"title": f"article {number}", "paragraphs": made}


@pytest.fixture
def files(tmp_path):
    """The three files, as if taken out of the archive."""
    place = tmp_path / "cache" / "distributions" / f"{BIGBENCH.stem}-{BIGBENCH.sha256[:12]}" / module.SQUAD_SHIFTS
    place.mkdir(parents=True)
    for start, name in enumerate((*module.TRAINING, *module.EVALUATION)):
        articles = [_article(100 * start + number, paragraphs=3) for number in range(12)]
        (place / f"{name}.json").write_text(json.dumps({"data": articles}))
    other = place.parent / "cifar10_classification/base64/task.json"
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    return place


class TestSquad(DatasetContract):
    @pytest.fixture
    def folder(self, files, tmp_path):
        return tmp_path / "cache"

    @pytest.fixture
    def entry(self, tokenizer):
        return {"name": "quiz", "dataset": "squad", "tokenizer": str(tokenizer), "length": 40, "train_length": 40}

    @pytest.fixture
    def variants(self):
        return [
            {"length": 50}, {"train_length": 30}, {"answer_tokens": 3}, {"token_type_ids": False},
            {"train": 20}, {"calibration": 2}, {"evaluation": 5},
        ]  # fmt: skip

    @pytest.fixture
    def changed_content(self, entry, files):
        def change():
            file = files / "nyt_v1.0.json"
            file.write_text(file.read_text().replace("who made the film ?", "who made the city ?"))
            return entry

        return change

    def test_the_fingerprint_does_not_depend_on_name_or_cache(self, data, entry, folder, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "distributions").symlink_to(folder / "distributions")
        other = open_dataset({**entry, "name": "other"}, tmp_path / "elsewhere")
        assert other.fingerprint == data.fingerprint

    def test_long_questions_are_left_out_and_every_question_is_one_window(self, entry, folder):
        for longest, parts in ((24, 1), (40, 2), (100, 3)):
            data = open_dataset({**entry, "length": longest, "train_length": None}, folder)
            assert data.size("evaluation") == 12 * parts * 2
            assert len(next(data.batches("evaluation", batch_size=100))) == data.size("evaluation")
            assert data.size("train") + data.size("calibration") == 24 * parts * 2

    def test_no_article_is_in_two_splits(self, data):
        contexts = [{data.show(one)["context"].split("film ")[-1] for one in data.ids(split)} for split in SPLITS]
        assert not any(one & other for number, one in enumerate(contexts) for other in contexts[:number])
        assert {one.split("/")[0] for one in data.ids("evaluation")} == {"squaddev"}
        assert {one.split("/")[0] for one in data.ids("train")} == {"new_wiki", "nyt"}

    def test_shifted_questions_are_judged_and_nothing_else_changes(self, data, entry, folder, files):
        text = (files / "squaddev_v1.1.json").read_text()
        (files / "reddit_v1.0.json").write_text(text.replace("how many", "why"))
        other = open_dataset({**entry, "domain": "reddit"}, folder)
        assert {one.split("/")[0] for one in other.ids("evaluation")} == {"reddit"}
        assert set(other.attributes("evaluation")["question_word"]) == {"who", "why"}
        assert other.ids("train") == data.ids("train")
        assert other.fingerprint != data.fingerprint

    def test_groups(self, data):
        groups = data.attributes("evaluation")
        assert set(groups["question_word"]) == {"who", "how many"}
        assert set(groups["answer_length"]) == {"2 or 3 words"}

    def test_an_answer_that_is_not_where_it_should_be_is_passed_over(self, entry, folder, files):
        file = files / "squaddev_v1.1.json"
        content = json.loads(file.read_text())
        first, second = content["data"][0]["paragraphs"][0]["qas"]
        first["answers"] = [{"text": "fun", "answer_start": 1}, *first["answers"]]
        second["answers"][0] |= {"answer_start": 0}
        file.write_text(json.dumps(content))
        data = open_dataset(entry, folder)
        assert data.references()[0] == ("fun 0", "fun")
        assert f"squaddev/{second['id']}" not in data.ids("evaluation")


def test_what_does_not_go_together_is_refused(files, tokenizer, tmp_path):
    entry = {"name": "quiz", "dataset": "squad", "tokenizer": str(tokenizer)}
    with pytest.raises(DataError, match=re.escape("train_length: must be at most length, 64 (got 192)")):
        open_dataset({**entry, "length": 64}, tmp_path / "cache")
    data = open_dataset({**entry, "length": 16, "train_length": None}, tmp_path / "cache")
    with pytest.raises(DataError, match="no question for train has at most 16 tokens; raise length"):
        data.size("train")


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("In what year?", "what"), ("To whom did he write?", "who"), ("How much does it cost?", "how many"),
        ("Howard was born where?", "where"), ("Name the river.", "other"),
    ],
)  # fmt: skip
def test_question_words(question, word):
    assert module.question_word(question) == word


def test_the_real_questions():
    folder = Config.model_fields["data_folder"].default.expanduser()
    entry = {"name": "squad", "dataset": "squad", "train": 50, "calibration": 10, "evaluation": 60}
    try:
        data = open_dataset(entry, folder)
    except DataError as error:
        pytest.skip(f"SQuAD cannot be had here: {error}")
    assert [data.size(split) for split in SPLITS] == [50, 10, 60]
    assert data.inputs["input_ids"] == ("int64", (256,))
    for split, longest in (("train", 192), ("evaluation", 256)):
        batch = next(data.batches(split, batch_size=60))
        assert batch.inputs["attention_mask"].sum(axis=1).max() <= longest
        assert (batch.targets["start_positions"] > 0).all()
    batch = next(data.batches("evaluation", batch_size=60))
    perfect = {f"{end}_logits": np.eye(256)[batch.targets[f"{end}_positions"]] for end in ("start", "end")}
    texts = data.answers(perfect).texts
    assert sum(text == accepted[0] for text, accepted in zip(texts, data.references(), strict=True)) >= 58
