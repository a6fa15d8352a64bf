"""Depth pruning: which blocks go, what is left, and that it reloads."""

import itertools

import numpy as np
import pytest
import torch

from ops.core.errors import OperationError
from ops.core.forward import forward, tensors
from ops.core.operation import OPERATIONS
from pipeline.datasets.open import open_dataset
from pipeline.models import storage
from pipeline.models.onnx_export import export_onnx
from tests.pipeline.language import context, documents_entry, tales_model, write_documents

DROP = OPERATIONS["drop_layers"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    place = tmp_path_factory.mktemp("tales")
    return open_dataset(documents_entry(write_documents(place)), place / "cache")


@pytest.fixture(scope="module")
def model(data):
    return tales_model(data)


@pytest.fixture(scope="module")
def shallow(model, data, tmp_path_factory):
    ctx = context(data, tmp_path_factory.mktemp("scratch"))
    return DROP.apply(model, ctx, **DROP.check({"count": 1, "samples": 8})), ctx.notes


def _influence(model, data):
    """Of each block, from the hidden states that transformers gives."""
    batch = next(data.batches("calibration", batch_size=8, samples=8))
    inputs = tensors(batch.inputs)
    with torch.no_grad():
        hidden = model.module.model(**inputs, output_hidden_states=True).hidden_states
        seen = [*hidden[:-1]]
    mask = batch.inputs["attention_mask"] != 0
    values = []
    for before, after in itertools.pairwise(seen):
        one, other = before.numpy()[mask].astype(np.float64), after.numpy()[mask].astype(np.float64)
        cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
        values.append(1 - cosine.mean())
    return values


def test_the_influence_is_that_of_the_paper(model, data, shallow):
    _, notes = shallow
    assert [notes["influence"][f"model.layers.{n}"] for n in range(2)] == pytest.approx(
        _influence(model, data), abs=1e-5
    )
    assert list(notes["dropped"]) == [min(notes["influence"], key=notes["influence"].get)]


def test_what_is_left_computes_as_the_network_without_the_block(model, data, shallow):
    after, notes = shallow
    (name,) = notes["dropped"]
    number = int(name.rpartition(".")[2])
    by_hand = model.copy()
    del by_hand.module.model.layers[number]
    by_hand.module.config.num_hidden_layers -= 1
    batch = tensors(next(data.batches("evaluation", batch_size=4)).inputs)
    with torch.no_grad():
        one, other = (forward(each.module, batch, data.task)["logits"] for each in (after, by_hand))
    torch.testing.assert_close(one, other)
    parameters = [sum(p.numel() for p in each.module.parameters()) for each in (model, after)]
    assert parameters[0] - parameters[1] == notes["achieved"]["removed"] == 9280


def test_it_reloads_exports_and_is_dropped_from_again(data, shallow, tmp_path):
    after, _ = shallow
    storage.save(after, tmp_path)
    again = storage.load(tmp_path)
    batch = tensors(next(data.batches("evaluation", batch_size=4)).inputs)
    with torch.no_grad():
        torch.testing.assert_close(
            *(forward(each.module, batch, data.task)["logits"] for each in (after, again)), rtol=0, atol=0
        )
    export_onnx(again, tmp_path / "model.onnx")
    twice = DROP.apply(again, context(data, tmp_path), **DROP.check({"samples": 8}))
    assert len(twice.edits) == 2
    with pytest.raises(OperationError, match=r"no stack of two or more"):
        DROP.apply(twice, context(data, tmp_path), **DROP.check({"samples": 8}))


def test_too_many_blocks_are_refused(model, data, tmp_path):
    with pytest.raises(OperationError, match="3 blocks are to go, and at most 2 can; lower `count`"):
        DROP.apply(model, context(data, tmp_path), **DROP.check({"count": 3, "samples": 8}))


def test_blocks_can_be_protected(model, data, shallow, tmp_path):
    (name,) = shallow[1]["dropped"]
    ctx = context(data, tmp_path)
    DROP.apply(model, ctx, **DROP.check({"samples": 8, "exclude": [f"{name}.*"]}))
    assert name not in ctx.notes["dropped"]


@pytest.mark.parametrize("architecture", ["gpt2", "t5"])
def test_other_networks_lose_blocks_or_the_reason_is_said(architecture, data, tmp_path):
    config = {
        "gpt2": {"vocab_size": 300, "n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 32, "bos_token_id": 0, "eos_token_id": 0},
        "t5": {"vocab_size": 300, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 3, "num_heads": 4},
    }[architecture]  # fmt: skip
    from pipeline.models.api import Need
    from pipeline.models.build import build

    entry = {"name": architecture, "builder": "huggingface", "architecture": architecture, "config": config}
    if architecture == "gpt2":
        model = build(entry, Need(data.task, (), data.inputs, False))
        after = DROP.apply(model, context(data, tmp_path), **DROP.check({"samples": 4}))
        assert len(after.edits) == 1
        return
    inputs = {**data.inputs, "decoder_input_ids": ("int64", (6,))}
    model = build(entry, Need("generative-question-answering", (), inputs, False))

    class Written:
        """Texts with the start of an answer."""

        def size(self, split):
            return data.size(split)

        def batches(self, split, **options):
            from dataclasses import replace

            for batch in data.batches(split, **options):
                yield replace(batch, inputs={**batch.inputs, "decoder_input_ids": np.zeros((len(batch), 6), np.int64)})

    with pytest.raises(OperationError, match="pass more than one tensor on"):
        DROP.apply(model, context(Written(), tmp_path), **DROP.check({"samples": 4}))
