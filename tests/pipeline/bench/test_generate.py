"""Written answers are those of greedy search, whatever the order in which tokens are found."""

import numpy as np
import pytest
import torch

from ops.core.tasks.generative_qa import GenerativeQuestionAnswering
from ops.core.tasks.greedy_decoding import write_answers
from pipeline.datasets.api import Decoding
from pipeline.models.api import Need
from pipeline.models.build import build
from pipeline.models.onnx_export import export_onnx
from pipeline.targets.open import open_target

LENGTH = 7
DECODING = Decoding(start=0, end=1, pad=0)
INPUTS = {"input_ids": ("int64", (12,)), "attention_mask": ("int64", (12,)), "decoder_input_ids": ("int64", (LENGTH,))}
TINY = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 30}


@pytest.fixture(scope="module")
def model():
    """A T5 whose random weights are large enough for varied answers."""
    torch.manual_seed(3)
    entry = {"name": "t5", "builder": "huggingface", "architecture": "t5", "config": TINY}
    built = build(entry, Need(GenerativeQuestionAnswering.name, (), INPUTS, pretrained=False))
    with torch.no_grad():
        for parameter in built.module.parameters():
            parameter.normal_(std=0.6)
    return built


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("t5") / "model.onnx"
    export_onnx(model, path)
    return path


def _questions(count=37):
    draws = np.random.default_rng(0)
    mask = (np.arange(12) < draws.integers(4, 13, (count, 1))).astype(np.int64)
    start = np.zeros((count, LENGTH), np.int64)
    return {"input_ids": draws.integers(2, 30, (count, 12)), "attention_mask": mask, "decoder_input_ids": start}


def _searched(module, inputs):
    """transformers' own greedy search."""
    tokens = module.generate(
        input_ids=torch.from_numpy(inputs["input_ids"]), attention_mask=torch.from_numpy(inputs["attention_mask"]),
        max_new_tokens=LENGTH, min_new_tokens=LENGTH, do_sample=False, num_beams=1, use_cache=False,
        eos_token_id=None, pad_token_id=0, decoder_start_token_id=0,
    )[:, 1:].numpy()  # fmt: skip
    ends = tokens == DECODING.end
    return np.where(np.cumsum(ends, axis=1) - ends > 0, DECODING.pad, tokens)


@pytest.mark.filterwarnings("ignore:.*generation flags:UserWarning")
def test_it_writes_what_greedy_search_writes(model, file):
    inputs = _questions()
    with open_target({"name": "onnxruntime", "target": "onnxruntime"}).open(file, threads=1) as session:
        assert session.outputs == ("logits",)
        written = write_answers(session, inputs, DECODING)
    assert np.array_equal(written["tokens"], _searched(model.module, inputs))
    assert len({tuple(row) for row in written["tokens"]}) > 8
    assert (written["log_probability"] < 0).all()


def test_its_probability_is_that_of_the_tokens_up_to_the_end(model, file):
    inputs = _questions(5)
    with open_target({"name": "onnxruntime", "target": "onnxruntime"}).open(file, threads=1) as session:
        written = write_answers(session, inputs, DECODING)
    given = np.concatenate([np.zeros((5, 1), np.int64), written["tokens"][:, :-1]], axis=1)
    with torch.no_grad():
        outputs = model.module(
            **{name: torch.from_numpy(a) for name, a in {**inputs, "decoder_input_ids": given}.items()}
        )
    table = outputs.logits.log_softmax(-1).numpy()
    for row, tokens in enumerate(written["tokens"]):
        stop = next((place for place, token in enumerate(tokens) if token == DECODING.end), LENGTH - 1) + 1
        expected = sum(table[row, place, tokens[place]] for place in range(stop))
        assert written["log_probability"][row] == pytest.approx(expected, abs=1e-3)


def test_outputs_that_are_not_numbers_are_told_by_the_probability(model, tmp_path):
    broken = model.copy()
    with torch.no_grad():
        broken.module.decoder.final_layer_norm.weight[0] = float("nan")
    export_onnx(broken, tmp_path / "model.onnx")
    with open_target({"name": "onnxruntime", "target": "onnxruntime"}).open(
        tmp_path / "model.onnx", threads=1
    ) as session:
        assert np.isnan(write_answers(session, _questions(3), DECODING)["log_probability"]).all()
