"""Chains of `quantize`: each step takes the layers that are in float still, and one file holds all precisions."""

import numpy as np
import pytest

from ops.onnx_graph.macs import count_macs
from ops.onnx_graph.session import open_session
from tests.ops.digits import apply, context, digits, export
from tests.ops.stored import base

CONVOLUTIONS = {"method": "static", "exclude": ["linear"]}
INT4 = {"method": "weight_only", "bits": 4, "block_size": 16}
INT8_BLOCKS = {"method": "weight_only", "bits": 8, "block_size": 16}
DYNAMIC = {"method": "dynamic"}


def answers(path, pictures):
    session = open_session(path)
    return session.run(None, {session.get_inputs()[0].name: pictures})[0]


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("net", "chain", "expected"),
    [
        ("residual", [CONVOLUTIONS, INT4], {"int8": 6, "int4_weights": 1}),
        ("residual", [INT4, {"method": "static"}], {"int8": 6, "int4_weights": 1}),
        ("residual", [DYNAMIC, {"method": "static"}], {"int8": 7}),
        (
            "transformer",
            [CONVOLUTIONS, INT4 | {"exclude": ["*.mlp.*"]}, DYNAMIC],
            {"int8": 5, "int4_weights": 9, "float32": 4},
        ),
        (
            "transformer",
            [INT4 | {"exclude": ["head"]}, INT8_BLOCKS],
            {"int4_weights": 12, "int8_weights": 1, "float32": 5},
        ),
        ("transformer", [DYNAMIC | {"exclude": ["head"]}, DYNAMIC], {"int8": 13, "float32": 5}),
    ],
)
def test_one_file_holds_all_precisions_and_answers_as_the_float_one(net, chain, expected, tmp_path):
    pictures = next(digits().batches("calibration", batch_size=64)).inputs["pixel_values"]
    model = export(base(net))
    plain = answers(model.path, pictures)
    for number, params in enumerate(chain):
        (tmp_path / str(number)).mkdir()
        model = apply("quantize", model, context(tmp_path / str(number)), samples=32, **params)
    precisions = [row.precision for row in count_macs(model.path)]
    assert {name: precisions.count(name) for name in set(precisions)} == expected
    error = np.square(answers(model.path, pictures) - plain).sum() / np.square(plain).sum()
    assert 10 * np.log10(1 / error) > 20


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_what_integers_leave_is_stored_in_16_bits(kind, tmp_path):
    pictures = next(digits().batches("calibration", batch_size=64)).inputs["pixel_values"]
    model = export(base("transformer"))
    plain, size = answers(model.path, pictures), model.path.stat().st_size
    for number, params in enumerate([CONVOLUTIONS, {"method": kind}]):
        (tmp_path / str(number)).mkdir()
        model = apply("quantize", model, context(tmp_path / str(number)), samples=32, **params)
    assert model.path.stat().st_size < 0.75 * size
    assert count_macs(model.path)[0].precision == "int8"
    error = np.square(answers(model.path, pictures) - plain).sum() / np.square(plain).sum()
    assert 10 * np.log10(1 / error) > 20
