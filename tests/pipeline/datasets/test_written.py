"""Questions whose answers are written: what a model sees, what it must not see, and the way back to texts."""

import json
import re

import numpy as np
import pytest

from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from tests.pipeline.dataset_contract import DatasetContract
from tests.pipeline.datasets.test_questions import _rows


class TestWritten(DatasetContract):
    @pytest.fixture
    def entry(self, tmp_path, writing_tokenizer):
        (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows()))
        return {
            "name": "quiz", "dataset": "table", "path": str(tmp_path / "questions.jsonl"),
            "task": "generative-question-answering", "columns": {"id": "key"},
            "text": {"tokenizer": str(writing_tokenizer), "max_length": 40, "answer_tokens": 6},
        }  # fmt: skip

    @pytest.fixture
    def variants(self, entry):
        text = entry["text"]
        return [
            {"text": {**text, "max_length": 30}}, {"text": {**text, "answer_tokens": 2}}, {"train": 5},
            {"evaluation": 3}, {"task": "question-answering", "text": {**text, "stride": 6}},
        ]  # fmt: skip

    @pytest.fixture
    def changed_content(self, entry, tmp_path):
        def change():
            file = tmp_path / "questions.jsonl"
            file.write_text(file.read_text().replace("who made the film 7 ?", "who made the film 7"))
            return entry

        return change

    def test_shapes_and_types_are_as_declared(self, data):
        for split in ("train", "calibration", "evaluation"):
            batch = next(data.batches(split, batch_size=3))
            for name, (dtype, shape) in data.inputs.items():
                assert batch.inputs[name].dtype == dtype
                assert batch.inputs[name].shape == (len(batch), *shape)
            assert batch.targets["answer_tokens"].shape == (len(batch), 6)

    def test_in_training_each_token_is_to_be_written_after_those_before_it(self, data):
        decoding = data.decoding
        for batch in data.batches("train", batch_size=8):
            given, wanted = batch.inputs["decoder_input_ids"], batch.targets["answer_tokens"]
            assert (given[:, 0] == decoding.start).all()
            assert np.array_equal(given[:, 1:], np.where(wanted[:, :-1] >= 0, wanted[:, :-1], decoding.pad))
            assert ((wanted == decoding.end).sum(axis=1) == 1).all()

    def test_in_evaluation_no_model_sees_the_answer(self, data):
        batch = next(data.batches("evaluation", batch_size=100))
        assert (batch.inputs["decoder_input_ids"][:, 1:] == data.decoding.pad).all()
        assert (batch.targets["answer_tokens"] >= 0).any()

    def test_tokens_become_texts_without_what_is_special(self, data):
        wanted = next(data.batches("evaluation", batch_size=100)).targets["answer_tokens"]
        texts = data.answers({"tokens": np.where(wanted >= 0, wanted, data.decoding.pad)}).texts
        assert set(texts) == {"fun"}  # the number after it is no word of the small tokenizer
        assert all(accepted[1] == "fun" for accepted in data.references())


def test_a_model_may_start_from_another_token(tmp_path, writing_tokenizer):
    config = writing_tokenizer / "config.json"
    config.write_text('{"decoder_start_token_id": 1}')
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows()))
    entry = {
        "dataset": "table", "path": str(tmp_path / "q.jsonl"), "task": "generative-question-answering",
        "text": {"tokenizer": str(writing_tokenizer)}, "columns": {"id": "key"},
    }  # fmt: skip
    try:
        data = open_dataset(entry, tmp_path / "cache")
        assert data.decoding.start == 1
        assert (next(data.batches("evaluation", batch_size=9)).inputs["decoder_input_ids"][:, 0] == 1).all()
    finally:
        config.unlink()


def test_a_tokenizer_must_say_where_answers_end(tmp_path, tokenizer):
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows()))
    entry = {
        "dataset": "table", "path": str(tmp_path / "q.jsonl"), "task": "generative-question-answering",
        "text": {"tokenizer": str(tokenizer)}, "columns": {"id": "key"},
    }  # fmt: skip
    message = f"{tokenizer}: the tokenizer has no end token; set eos_token in its tokenizer_config.json"
    with pytest.raises(DataError, match=re.escape(message)):
        open_dataset(entry, tmp_path / "cache").size("train")
