"""What planning is told of the world."""

from types import MappingProxyType

import pytest

from pipeline.plan.planner import make_plan
from pipeline.plan.recipe import parse
from pipeline.sweep.config import Config
from pipeline.sweep.preflight import gather
from tests.pipeline import toy

TARGETS = ("onnxruntime", "openvino", "pytorch", "torch_compile", "onnxruntime_cuda", "onnxruntime_tensorrt")


class NoData:
    task, fingerprint, classes = "image-classification", "d0", ("no", "yes")
    inputs = MappingProxyType({"pixel_values": ("float32", (1, 8, 8))})


@pytest.fixture
def pruned(tmp_path):
    """Plan a channel pruning for targets as their conf entries name them; return the step's parameters and its key."""

    def plan(targets, **params):
        node = {"op": "channel_prune", "with": {"ratio": 0.5, **params}}
        raw = {"name": "toy", "targets": targets, "tree": {"base": {"op": "toy_base", "then": {"narrow": node}}}}
        recipe = parse(raw)
        entries = {"model": {"toy": toy.ENTRY}, "target": {name: {"name": name} for name in TARGETS}}
        config = Config(recipe=raw, model=toy.ENTRY, data_folder=tmp_path)
        step = make_plan(recipe, gather(config, recipe, NoData(), entries)).steps[1]
        return step.params, step.key

    return plan


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["onnxruntime"], 8),
        (["pytorch", "torch_compile", "openvino"], 8),
        (["onnxruntime_cuda"], 16),
        (["onnxruntime", "onnxruntime_tensorrt"], 16),
    ],
)
def test_channels_are_rounded_to_what_suits_all_targets(pruned, targets, expected):
    assert pruned(targets)[0]["round_to"] == expected


def test_what_was_chosen_is_part_of_the_models_identity(pruned):
    _, chosen = pruned(["onnxruntime"])
    assert pruned(["onnxruntime"], round_to=8)[1] == chosen
    assert pruned(["openvino"])[1] == chosen
    assert pruned(["onnxruntime_cuda"])[1] != chosen
    assert pruned(["onnxruntime_cuda"], round_to=8)[1] == chosen


def test_a_number_that_is_asked_for_is_taken(pruned):
    assert pruned(["onnxruntime_tensorrt"], round_to=1)[0]["round_to"] == 1
