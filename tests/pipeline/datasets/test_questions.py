"""Question answering: windows, the answer's place in them, and the way back from logits to text."""

import json
import re

import numpy as np
import pytest

from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from pipeline.datasets.readers.extractive_qa import best_spans, parsed, positions
from tests.pipeline.dataset_contract import DatasetContract

FILLER = "the city lies by the river . a dull film was made in the city . "


def _rows(count=30):
    """Questions whose answer stands at another place of a context that takes several windows."""
    rows = []
    for number in range(count):
        context = f"{FILLER * (number % 4)}the film {number} was made by fun {number} . {FILLER * (number % 3)}"
        answer = f"fun {number}"
        answers = {"text": [answer, "fun"], "answer_start": [context.index(answer), context.index("fun")]}
        rows.append(
            {"key": f"q{number}", "question": f"who made the film {number} ?", "context": context, "answers": answers}
        )
    return rows


@pytest.fixture
def make(tmp_path, tokenizer):
    def make(rows, *, cache="cache", **changes):
        path = tmp_path / "questions.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        entry = {
            "name": "quiz", "dataset": "table", "path": str(path), "task": "question-answering",
            "text": {"tokenizer": str(tokenizer), "max_length": 24, "stride": 6}, "columns": {"id": "key"},
            **changes,
        }  # fmt: skip
        return open_dataset(entry, tmp_path / cache)

    return make


class TestQuestions(DatasetContract):
    @pytest.fixture
    def entry(self, tmp_path, tokenizer):
        (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows()))
        return {
            "name": "quiz", "dataset": "table", "path": str(tmp_path / "questions.jsonl"), "task": "question-answering",
            "text": {"tokenizer": str(tokenizer), "max_length": 24, "stride": 6}, "columns": {"id": "key"},
        }  # fmt: skip

    @pytest.fixture
    def variants(self, entry):
        text = entry["text"]
        return [
            {"text": {**text, "max_length": 30}}, {"text": {**text, "stride": 4}},
            {"text": {**text, "answer_tokens": 2}}, {"train": 5}, {"evaluation": 3},
        ]  # fmt: skip

    @pytest.fixture
    def changed_content(self, entry, tmp_path):
        def change():
            file = tmp_path / "questions.jsonl"
            file.write_text(file.read_text().replace("who made the film 7 ?", "who made the film 7"))
            return entry

        return change

    def test_training_counts_windows_and_evaluation_questions(self, data):
        assert all("#" in one for one in data.ids("train"))
        assert not any("#" in one for one in data.ids("evaluation"))
        rows = sum(len(batch) for batch in data.batches("evaluation", batch_size=4))
        assert rows > data.size("evaluation")
        assert data.classes == ()

    def test_each_window_points_at_the_answer_or_at_nothing(self, data, tokenizer):
        from transformers import AutoTokenizer

        words = AutoTokenizer.from_pretrained(tokenizer)
        pointing = 0
        for batch in data.batches("train", batch_size=8):
            for ids, start, end in zip(
                batch.inputs["input_ids"], batch.targets["start_positions"], batch.targets["end_positions"], strict=True
            ):
                if start:
                    assert words.convert_ids_to_tokens(ids[start : end + 1]) == ["fun", "[UNK]"]
                    pointing += 1
                else:
                    assert end == 0
        assert pointing >= len({one.split("#")[0] for one in data.ids("train")})

    def test_logits_at_the_targets_give_the_answers_back(self, data):
        assert data.answers(_perfect(data)).texts == tuple(one[0] for one in data.references())
        assert list(data.references()[0]) == data.show(data.ids("evaluation")[0])["answers"]


def _perfect(data):
    batches = list(data.batches("evaluation", batch_size=5))
    starts, ends = (
        np.concatenate([batch.targets[f"{end}_positions"] for batch in batches]) for end in ("start", "end")
    )
    length = data.inputs["input_ids"][1][0]
    return {"start_logits": np.eye(length)[starts] * 9, "end_logits": np.eye(length)[ends] * 9}


def test_no_context_is_both_trained_on_and_judged(make):
    rows = [
        {"key": f"q{number}", "question": f"what {number} ?", "context": f"{FILLER}{number % 9}", "answers": "city"}
        for number in range(60)
    ]
    data = make(rows)
    contexts = [
        {data.show(one)["context"] for one in data.ids(split)} for split in ("train", "calibration", "evaluation")
    ]
    assert sum(map(len, contexts)) == 9


def test_the_best_window_of_a_question_wins(make):
    data = make(_rows())
    ids = [one for batch in data.batches("evaluation", batch_size=9) for one in batch.ids]
    perfect = _perfect(data)
    answers = data.answers(perfect)
    assert [ids[row] for row in answers.rows] == list(data.ids("evaluation"))
    assert (perfect["start_logits"][answers.rows].argmax(axis=1) > 0).all()


def test_logits_outside_the_context_or_not_numbers_never_win(make):
    data = make(_rows())
    outputs = _perfect(data)
    outputs["start_logits"][:, :3] = 99  # [CLS] and the question
    outputs["end_logits"][:, -1] = np.nan
    assert data.answers(outputs).texts == tuple(one[0] for one in data.references())
    nothing = {name: np.full_like(array, np.nan) for name, array in outputs.items()}
    assert set(data.answers(nothing).texts) == {""}
    with pytest.raises(DataError, match=r"1 rows of outputs for \d+ windows of the evaluation split"):
        data.answers({name: array[:1] for name, array in outputs.items()})


def test_questions_without_an_answer_are_answered_by_nothing(make):
    rows = [
        {**row, "answers": {"text": [], "answer_start": []}} if number % 2 else row
        for number, row in enumerate(_rows())
    ]
    data = make(rows)
    assert {one for one in data.references() if one == ("",)} == {("",)}
    outputs = _perfect(data)  # points at the first token where there is no answer
    assert data.answers(outputs).texts == tuple(one[0] for one in data.references())


@pytest.mark.parametrize(
    ("answers", "texts", "start"),
    [
        ("river", ("river",), 4),
        (["river", "the river"], ("river", "the river"), 4),
        ('["river"]', ("river",), 4),
        ('{"text": ["the"], "answer_start": [0]}', ("the",), 0),
        ({"text": ["river"]}, ("river",), 4),
        ({"text": [], "answer_start": []}, (), -1),
        (None, (), -1),
        ("", (), -1),
        ("sea", ("sea",), -1),
    ],
)
def test_answers_come_in_many_forms(answers, texts, start):
    assert parsed("what ?", "the river", answers, "row 1")[2:] == (texts, start)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ('["river"', "row 1: the answers look like JSON but are not ("),
        (1912, "row 1: answers must be a text, a list of texts, or {text: [...], answer_start: [...]}"),
        ([1], "row 1: answers must be a text, a list of texts, or {text: [...], answer_start: [...]}"),
        ({"text": ["river"], "answer_start": [0]}, "row 1: the context does not hold 'river' at character 0"),
    ],
)
def test_answers_in_no_known_form_are_refused(answers, message):
    with pytest.raises(DataError, match=re.escape(message)):
        parsed("what ?", "the river", answers, "row 1")


def test_an_answer_that_the_context_does_not_hold_is_refused_where_it_is_learned(make):
    """A model would learn that there is no answer; to judge by, it is an answer like any other."""
    rows = [{**row, "part": "test" if number < 10 else "train"} for number, row in enumerate(_rows())]
    rows[3]["answers"] = "Fun 3"
    columns = {"id": "key", "split": "part"}
    data = make(rows, columns=columns)
    assert data.references()[3] == ("Fun 3",)
    rows[20]["answers"] = "Fun 20"
    message = (
        "questions.jsonl line 21: the context does not hold the answer 'Fun 20', and extractive models learn where"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        make(rows, columns=columns).size("train")


def test_a_question_that_leaves_no_room_is_refused_with_its_text(make):
    rows = [*_rows(), {"key": "long", "question": "who " * 20, "context": FILLER, "answers": "city"}]
    message = (
        "has 20 tokens; with text.max_length 24 and text.stride 6 it may have 14. Raise max_length or lower stride"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        make(rows).size("train")


def test_positions_cover_the_answer():
    spans = np.array([[[-1, -1], [0, 3], [4, 9], [9, 10], [-1, -1]]] * 5)
    starts, ends = np.array([0, 4, 5, -1, 8]), np.array([3, 10, 7, -1, 12])
    assert [part.tolist() for part in positions(spans, starts, ends)] == [[1, 2, 2, 0, 0], [1, 3, 2, 0, 0]]


def test_best_spans_agree_with_trying_all_of_them():
    rng = np.random.default_rng(0)
    starts, ends = rng.normal(size=(2, 40, 12))
    allowed = rng.random((40, 12)) < 0.7
    scores, first, last = best_spans(starts, ends, allowed, 4)
    for row in range(40):
        tried = {
            (start, end): starts[row, start] + ends[row, end]
            for start in np.flatnonzero(allowed[row])
            for end in np.flatnonzero(allowed[row])
            if start <= end < start + 4
        }
        assert (first[row], last[row]) == max(tried, key=tried.get)
        assert scores[row] == max(tried.values())
