"""Models that took a sigmoid already: their probabilities of labels become logits again, and their programs answer alike."""

import numpy as np
import pytest
import torch

from ops.core.output_kind import INDEPENDENT, LOGITS, label_kind, logits_of, torch_logits, torch_operations
from ops.core.programs.answers import LABELS, NUMBERS


def test_a_sigmoid_is_taken_back():
    logits = np.float32([[-3, 0.5], [2, 8]])
    shares = torch.from_numpy(logits).requires_grad_().sigmoid()
    assert label_kind(torch_operations(shares)) == INDEPENDENT
    assert label_kind(torch_operations(shares.detach().requires_grad_() * 2)) == LOGITS
    assert logits_of(shares.detach().numpy(), INDEPENDENT) == pytest.approx(logits, abs=1e-3)
    again = torch_logits({"logits": shares}, {"logits": INDEPENDENT})["logits"]
    assert again.detach().numpy() == pytest.approx(logits, abs=1e-3)


def answer(program, settings, values):
    space = {"np": np, "SETTINGS": settings, "run": lambda inputs: {"logits": np.float32([values])}}
    exec(program, space)
    return space["answer"]({}, {})


def test_programs_say_the_labels_whatever_the_model_gives():
    settings = {"classes": ["a", "b"], "thresholds": [0.5, 0.2], "outputs": {"logits": False}}
    one = answer(LABELS, settings, [2.0, -1.0])
    assert one["answer"] == "a|b"
    assert one["probability"] == pytest.approx(1 / (1 + np.exp(1)))
    shares = 1 / (1 + np.exp([-2.0, 1.0]))
    other = answer(LABELS, {**settings, "outputs": {"logits": "independent"}}, np.log(shares))
    assert other["probabilities"] == pytest.approx(one["probabilities"])
    assert other["answer"] == "a|b"
    assert answer(LABELS, settings, [-9.0, -9.0])["answer"] == "(none)"
    assert answer(LABELS, settings, [np.nan, 0.0]) == {"answer": None}


def test_programs_say_numbers_in_the_unit_of_the_target():
    settings = {"targets": ["x", "y"], "target_scale": [2.0, 1.0], "target_centre": [10.0, 0.0]}
    said = answer(NUMBERS, settings, [0.5, -3.0])
    assert said == {"answer": "11, -3", "values": {"x": 11.0, "y": -3.0}}
    assert answer(NUMBERS, settings, [np.inf, 0.0]) == {"answer": None}
