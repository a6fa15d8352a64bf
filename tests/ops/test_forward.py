"""Padding that no instance attends to is not computed, and nothing that counts changes."""

import torch

from ops.core.forward import forward, loss, without_padding
from ops.core.tasks.task import TASKS
from tests.ops.digits import Sentences, bert

WRITTEN = "generative-question-answering"


def _batch(lengths, width=16):
    mask = (torch.arange(width) < torch.tensor(lengths).unsqueeze(1)).long()
    return {"input_ids": torch.randint(0, 100, mask.shape), "attention_mask": mask}


def test_columns_after_the_longest_instance_are_cut_off():
    whole = _batch([4, 9, 7])
    cut = without_padding(whole)
    assert {name: tuple(tensor.shape) for name, tensor in cut.items()} == dict.fromkeys(whole, (3, 9))
    assert all(torch.equal(cut[name], whole[name][:, :9]) for name in whole)


def test_what_is_no_text_or_full_or_empty_stays():
    pixels = {"pixel_values": torch.zeros(2, 1, 8, 8)}
    assert without_padding(pixels)["pixel_values"] is pixels["pixel_values"]
    for lengths in ([16, 3], [0, 0]):
        assert without_padding(_batch(lengths))["input_ids"].shape == (2, 16)


def test_the_loss_and_its_gradients_stay():
    whole, labels = _batch([4, 9, 7]), {"labels": torch.tensor([0, 1, 1])}
    found = []
    for inputs in (whole, without_padding(whole)):
        module = bert().copy().module
        value = loss(forward(module, inputs, Sentences.task), labels, Sentences.task)
        value.backward()
        found.append((value, module.bert.encoder.layer[0].attention.self.query.weight.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_only_the_tokens_of_a_written_answer_count():
    logits = torch.randn(2, 4, 9, requires_grad=True)
    targets = {"answer_tokens": torch.tensor([[3, 1, -100, -100], [4, 5, 2, 1]])}
    value = loss({"logits": logits}, targets, WRITTEN)
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets["answer_tokens"].flatten())
    torch.testing.assert_close(value, expected)
    assert TASKS[WRITTEN].supervised({"logits": logits}, targets)["logits"].shape == (6, 9)
    value.backward()
    assert not logits.grad[0, 2:].any()
    plain = {"logits": torch.randn(2, 3)}
    assert TASKS[Sentences.task].supervised(plain, {"labels": torch.tensor([0, 1])}) is plain


class InPlace(torch.nn.Module):
    def forward(self, x):
        x -= 1
        return x.mul_(2).flatten(1)


def test_what_a_network_does_to_its_inputs_in_place_is_not_seen_outside():
    given = torch.full((2, 1, 2, 2), 3.0)
    for _ in range(2):
        outputs = forward(InPlace(), {"pixel_values": given}, "image-classification")
        assert torch.equal(outputs["logits"], torch.full((2, 4), 4.0))
    assert torch.equal(given, torch.full((2, 1, 2, 2), 3.0))
