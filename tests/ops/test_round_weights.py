"""Weights of few bits: against independent computations on small layers, and in the order of merit on a trained network."""

import numpy as np
import onnxruntime as ort
import pytest
import torch

from ops.core.errors import OperationError
from ops.core.forward import forward, tensors
from ops.core.operation import OPERATIONS, Ancestry, OnnxModel
from ops.quantize.rounding.awq import best_scale
from ops.quantize.rounding.gptq import gptq
from ops.quantize.rounding.grid import round_to_nearest
from ops.quantize.rounding.stored import grids_of
from pipeline.datasets.open import open_dataset
from pipeline.models.onnx_export import export_onnx
from tests.pipeline.language import context, documents_entry, tales_model, write_documents

ROUND, QUANTIZE = OPERATIONS["round_weights"], OPERATIONS["quantize"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    place = tmp_path_factory.mktemp("tales")
    return open_dataset(documents_entry(write_documents(place)), place / "cache")


@pytest.fixture(scope="module")
def model(data):
    return tales_model(data)


@pytest.fixture(scope="module")
def rounded(model, data, tmp_path_factory):
    """Settings -> the network and its notes, made once."""
    made = {}

    def make(**params):
        key = tuple(sorted(params.items()))
        if key not in made:
            ctx = context(data, tmp_path_factory.mktemp("scratch"))
            made[key] = ROUND.apply(model, ctx, **ROUND.check(params)), ctx.notes
        return made[key]

    return make


def _layer(rows=6, inputs=20, seed=0):
    draw = np.random.default_rng(seed)
    seen = draw.normal(size=(inputs, 200)) * draw.uniform(0.1, 3, (inputs, 1))
    seen += draw.normal(size=(1, 200))  # inputs that go together
    return draw.normal(size=(rows, inputs)).astype(np.float32), (seen @ seen.T).astype(np.float32)


def _grid(values, bits):
    """Scale and zero point of one group of one row, by hand."""
    low, high = min(0, values.min()), max(0, values.max())
    scale = np.float32((high - low) / (2**bits - 1)) or np.float32(1)
    return scale, np.clip(np.rint(-low / scale), 0, 2**bits - 1)


def _on(value, scale, zero, bits):
    return (np.clip(np.rint(value / scale) + zero, 0, 2**bits - 1) - zero) * scale


def _brain_surgeon(weights, moments, *, bits, group, dampening, order):
    """Equations 2 and 3 of the paper as they stand: the inverse is made anew, without the column, after every column."""
    hessian = moments.astype(np.float64)
    hessian += dampening * np.diag(hessian).mean() * np.eye(len(hessian))
    inverse = np.linalg.inv(hessian)
    now, result = weights.astype(np.float64), np.zeros(weights.shape)
    static = order is not None
    order = np.arange(weights.shape[1]) if order is None else order
    grids = {}
    for column in order:
        first = column // group * group
        for row in range(len(weights)):
            if static:
                grids[row] = _grid(weights[row, first : first + group], bits)
            elif column == first:
                grids[row] = _grid(now[row, first : first + group].astype(np.float32), bits)
            result[row, column] = _on(now[row, column], *grids[row], bits)
            error = (now[row, column] - result[row, column]) / inverse[column, column]
            now[row] -= error * inverse[column]
        inverse -= np.outer(inverse[:, column], inverse[column]) / inverse[column, column]
    return result


@pytest.mark.parametrize(("bits", "ordered"), [(4, False), (3, False), (2, True), (4, True)])
def test_gptq_is_the_optimal_brain_surgeon_column_by_column(bits, ordered):
    weights, moments = _layer()
    order = np.argsort(-np.diag(moments), kind="stable") if ordered else None
    expected = _brain_surgeon(weights, moments, bits=bits, group=8, dampening=0.01, order=order)
    keep = torch.ones(weights.shape, dtype=torch.bool)
    result = gptq(
        torch.from_numpy(weights), torch.from_numpy(moments.copy()), keep,
        bits=bits, group_size=8, activation_order=ordered, dampening=0.01, name="layer",
    ).numpy()  # fmt: skip
    np.testing.assert_allclose(result, expected, atol=1e-4)
    change, plain = result - weights, round_to_nearest(torch.from_numpy(weights), bits, 8).numpy() - weights
    assert np.trace(change @ moments @ change.T) < np.trace(plain @ moments @ plain.T)


@pytest.mark.parametrize("group", [64, 256])
def test_gptq_is_the_same_across_its_blocks_of_columns(group):
    weights, moments = _layer(rows=3, inputs=150, seed=3)
    expected = _brain_surgeon(weights, moments, bits=4, group=group, dampening=0.01, order=None)
    keep = torch.ones(weights.shape, dtype=torch.bool)
    result = gptq(
        torch.from_numpy(weights), torch.from_numpy(moments.copy()), keep,
        bits=4, group_size=group, activation_order=False, dampening=0.01, name="layer",
    ).numpy()  # fmt: skip
    # a value between two levels may fall to either side by the last bit, and takes the rest of its row along
    assert (np.abs(result - expected) < 1e-3).mean() > 0.6
    assert [_cost(result - weights, moments)] == pytest.approx([_cost(expected - weights, moments)], rel=0.05)


def _cost(change, moments):
    return float(np.trace(change @ moments.astype(np.float64) @ change.T))


def test_nearest_is_the_formula():
    weights, _ = _layer()
    expected = np.empty_like(weights)
    for row in range(len(weights)):
        for first in range(0, weights.shape[1], 8):
            part = weights[row, first : first + 8]
            expected[row, first : first + 8] = _on(part, *_grid(part, 3), 3)
    np.testing.assert_allclose(round_to_nearest(torch.from_numpy(weights), 3, 8).numpy(), expected, atol=1e-6)


def test_the_scale_of_awq_is_the_best_of_those_that_it_tries():
    weights, moments = _layer(seed=5)
    magnitude = np.sqrt(np.diag(moments) / 200).astype(np.float32)
    scale, alpha = best_scale(
        [torch.from_numpy(weights)], torch.from_numpy(moments), torch.from_numpy(magnitude), bits=3, group_size=8
    )
    costs = {}
    for step in range(20):
        s = magnitude ** np.float32(step / 20)
        s = s / np.sqrt(s.max() * s.min())
        change = round_to_nearest(torch.from_numpy(weights * s), 3, 8).numpy() / s - weights
        costs[step / 20] = (_cost(change, moments), s)
    best = min(costs, key=lambda each: costs[each][0])
    assert alpha == pytest.approx(best)
    np.testing.assert_allclose(scale.numpy(), costs[best][1], rtol=1e-5)
    assert costs[best][0] < costs[0.0][0]


def _divergence(model, other, data) -> float:
    """Kullback-Leibler divergence from a model per judged token, of the whole distributions."""
    total, count = 0.0, 0
    for batch in data.batches("evaluation", batch_size=32):
        judged = torch.from_numpy(batch.targets["next_tokens"] >= 0)
        with torch.no_grad():
            first, second = (
                forward(one.module, tensors(batch.inputs), data.task)["logits"][judged].double().log_softmax(-1)
                for one in (model, other)
            )
        total += float((first.exp() * (first - second)).sum())
        count += int(judged.sum())
    return total / count


def test_gptq_is_nearer_to_the_network_than_awq_and_awq_nearer_than_rounding(model, rounded, data):
    distance = {
        method: _divergence(model, rounded(method=method, bits=3, group_size=32)[0], data)
        for method in ("gptq", "awq", "nearest")
    }
    assert 0 < distance["gptq"] < distance["awq"] < distance["nearest"], distance


def test_every_weight_is_on_the_grid_of_its_group_but_the_tied_one(model, rounded):
    after, notes = rounded(method="gptq", bits=3, group_size=32)
    changed = {
        name
        for name, value in after.module.named_parameters()
        if not torch.equal(value, model.module.get_parameter(name))
    }
    assert changed == {name for name, _ in model.module.named_parameters() if name.endswith("_proj.weight")}
    assert len(changed) == 21
    assert "lm_head" in notes["unchanged"]
    for name in changed:
        values = after.module.get_parameter(name).detach().numpy()
        assert grids_of(values.T, 32) is not None
        assert max(len(np.unique(block)) for row in values for block in np.split(row, len(row) // 32)) <= 8


@pytest.mark.parametrize("method", ["gptq", "awq", "nearest"])
def test_pruned_weights_stay_zero(model, data, tmp_path, method):
    pruned = OPERATIONS["magnitude_prune"].apply(
        model, context(data, tmp_path), **OPERATIONS["magnitude_prune"].check({"sparsity": 0.5})
    )
    after = ROUND.apply(pruned, context(data, tmp_path), **ROUND.check({"method": method}))
    assert after.masks.keys() == pruned.masks.keys()
    assert all((after.module.get_parameter(name)[~mask] == 0).all() for name, mask in pruned.masks.items())


def test_padding_does_not_count(model, data, tmp_path):
    class Wider:
        """The same texts with twice the padding."""

        def __getattr__(self, name):
            return getattr(data, name)

        def batches(self, *args, **kwargs):
            from dataclasses import replace

            for batch in data.batches(*args, **kwargs):
                yield replace(batch, inputs={n: np.pad(a, ((0, 0), (0, 16))) for n, a in batch.inputs.items()})

    one = ROUND.apply(model, context(data, tmp_path), **ROUND.check({}))
    other = ROUND.apply(model, context(Wider(), tmp_path), **ROUND.check({}))
    first, second = (
        torch.cat([value.flatten() for value in each.module.state_dict().values()]) for each in (one, other)
    )
    assert (first - second).abs().gt(1e-4).float().mean() < 0.02  # sums in another order may lift a value over a border


@pytest.fixture(scope="module")
def stored(rounded, data, tmp_path_factory):
    """The rounded network and the file of 4 bits made of it."""
    place = tmp_path_factory.mktemp("stored")
    after, _ = rounded(method="gptq", bits=4, group_size=32)
    export_onnx(after, place / "float.onnx")
    ctx = context(data, place)
    result = QUANTIZE.apply(
        OnnxModel(place / "float.onnx", after.architecture), ctx,
        **QUANTIZE.check({"method": "weight_only", "bits": 4, "block_size": 32, "exclude": ["lm_head"]}),
    )  # fmt: skip
    return after, result, ctx.notes


def _log_probabilities(path, batch, level=None):
    import onnx

    file = onnx.load(path)
    for node in file.graph.node:
        for attribute in node.attribute if node.op_type == "MatMulNBits" and level is not None else ():
            if attribute.name == "accuracy_level":
                attribute.i = level
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(file.SerializeToString(), options, providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], dict(batch.inputs))[0]
    return torch.from_numpy(logits).double().log_softmax(-1)


def test_the_file_of_4_bits_holds_the_rounded_weights_exactly(stored, data):
    after, result, notes = stored
    assert len(notes["already_on_grid"]) == 21
    batch = next(data.batches("evaluation", batch_size=16))
    judged = torch.from_numpy(batch.targets["next_tokens"] >= 0)
    with torch.no_grad():
        expected = forward(after.module, tensors(batch.inputs), data.task)["logits"].double().log_softmax(-1)
    in_floats = _log_probabilities(result.path, batch, level=1)
    assert (in_floats - expected)[judged].abs().max() < 1e-3
    as_served = _log_probabilities(result.path, batch)  # activations are rounded to 8 bits, block by block
    assert (as_served - expected)[judged].abs().mean() < 0.05


def test_weights_off_any_grid_have_none():
    draw = np.random.default_rng(0)
    assert grids_of(draw.normal(size=(64, 8)).astype(np.float32), 32) is None
    levels = draw.integers(0, 16, (8, 64))
    values = ((levels - 5) * np.float32(0.0137)).astype(np.float32)
    found, scales, zeros = grids_of(values.T, 32)
    np.testing.assert_allclose(
        (found.astype(int) - zeros[..., None]).reshape(8, -1) * np.repeat(scales, 32, 1), values, rtol=1e-6
    )


def test_another_block_size_below_is_refused():
    ancestry = Ancestry({}, "language-modeling", (("round_weights", {"group_size": 32}),))
    params = QUANTIZE.check({"method": "weight_only", "bits": 4, "block_size": 64})
    assert "set `block_size: 32`" in QUANTIZE.refuse(ancestry, params)
    assert QUANTIZE.refuse(ancestry, QUANTIZE.check({"method": "weight_only", "bits": 4, "block_size": 32})) is None


def test_an_order_for_methods_without_one_is_refused():
    params = ROUND.check({"method": "nearest", "activation_order": True})
    assert "Leave it out" in ROUND.refuse(Ancestry({}, "language-modeling", ()), params)


def test_the_tied_embedding_alone_is_refused_in_one_line(model, data, tmp_path):
    with pytest.raises(OperationError, match="No layer is left to change: 'lm_head'") as caught:
        ROUND.apply(model, context(data, tmp_path), **ROUND.check({"exclude": ["*_proj"]}))
    assert "\n" not in str(caught.value)
