"""Two models compared tensor by tensor, whatever compression did to names, shapes and types."""

import math
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.layers.tensors.bn_folds import folds_of
from pipeline.layers.tensors.constant_gathers import lookups_of
from pipeline.layers.tensors.onnx_tensors import onnx_tensors
from pipeline.layers.tensors.open import tensors_of
from pipeline.layers.tensors.tensor import LayerError
from pipeline.models import storage
from tests.pipeline.layers.layers_bench import Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp("layers"))
    made.base()
    made.apply("pruned", "base", "magnitude_prune", sparsity=0.5)
    made.apply("narrow", "base", "channel_prune", ratio=0.5, round_to=2, iterations=2)
    made.apply("factors", "narrow", "factorize", ratio=0.6)
    made.apply("int8", "pruned", "quantize", samples=32)
    return made


def weights(changes):
    return {change.site: change for change in changes if change.place != "activation"}


def test_a_model_and_its_reference_value_by_value(bench):
    changes, _ = bench.compare("pruned", "base")
    found = weights(changes)
    assert set(found) == {tensor.name for tensor in tensors_of(bench.artifacts.path(bench.sources["base"].model))}
    assert {change.status for change in found.values()} == {"compared"}
    conv = found["conv2.weight"]
    before, after = (
        {t.name: t for t in tensors_of(bench.artifacts.path(bench.sources[name].model))}["conv2.weight"].read()
        for name in ("base", "pruned")
    )
    assert conv.zero_here == ((after == 0) & (before != 0)).sum()
    assert conv.mean_abs_change == pytest.approx(np.abs(after.astype(float) - before).mean(), rel=1e-6)
    assert found["bn.weight"].sqnr_db == math.inf


def test_a_narrowed_layer_is_compared_by_the_channels_that_were_kept(bench):
    changes, _ = bench.compare("narrow", "base")
    found = weights(changes)
    conv = found["conv2.weight"]
    assert conv.how == ["the 4x8x3x3 values that both have"]
    assert {change.sqnr_db for change in found.values()} == {math.inf}, "what was kept was not changed"


def test_factors_are_multiplied_before_they_are_compared(bench):
    changes, _ = bench.compare("factors", "base")
    conv = weights(changes)["conv2.weight"]
    assert conv.status == "compared"
    assert conv.how == ["3 factors multiplied", "the 4x8x3x3 values that both have"]
    assert 0 < conv.sqnr_db < 30
    module = storage.load(bench.artifacts.path(bench.sources["factors"].model)).module
    enter, core, leave = (part.weight.detach().double() for part in module.conv2)
    product = np.einsum("ob,bahw,ai->oihw", leave[:, :, 0, 0], core, enter[:, :, 0, 0])
    narrow = storage.load(bench.artifacts.path(bench.sources["narrow"].model)).module.conv2.weight.detach().double()
    away = np.abs(product - narrow.numpy()).sum()
    assert weights(bench.compare("factors", "narrow")[0])["conv2.weight"].relative_change == pytest.approx(
        away / np.abs(narrow.numpy()).sum(), rel=1e-4
    )


def test_int8_is_dequantized_and_the_normalisation_folded_into_the_reference(bench):
    changes, _ = bench.compare("int8", "pruned", "base")
    found = {change.site: change for change in changes if change.reference_key == bench.sources["pruned"].model}
    conv = found["conv2.weight"]
    assert conv.how == ["int8 dequantized", "reference: 'bn2' folded in"]
    assert 40 < conv.sqnr_db < 60, "rounding to 8 bits, nothing else"
    gone = found["bn2.weight"]
    assert (gone.status, gone.reason) == ("gone", "not in this model: folded into 'conv2'")
    assert found["mixer.1.weight"].sqnr_db == math.inf, "a layer norm stays in float"


def test_a_network_can_be_compared_with_an_int8_file_too(bench):
    changes, _ = bench.compare("base", "int8")
    found = weights(changes)
    assert found["conv.weight"].status == "compared"
    assert found["bn.weight"].status == "new"
    assert found["bn.weight"].reason == "not in the reference: folded into 'conv'"


def test_activations_of_the_exported_file_are_those_of_the_network(bench):
    changes, findings = bench.compare("base")
    assert {change.stage for change in changes} == {"onnx"}
    assert min(change.sqnr_db for change in changes) > 90
    assert not [finding for finding in findings if finding.kind == "diverges"]


def test_activations_along_the_network_say_where_pruning_set_in(bench):
    changes, _ = bench.compare("pruned", "base", op="magnitude_prune")
    along = [change for change in changes if (change.stage, change.reference_stage) == ("torch", "torch")]
    assert [change.site for change in along] == ["conv", "bn", "conv2", "bn2", "mixer.0", "mixer.1", "mixer.2", "head"]
    assert all(change.count == 4096 for change in along)
    assert along[2].sqnr_db < along[0].sqnr_db
    stages = {change.stage for change in changes if change.place == "activation" and change.status == "compared"}
    assert stages == {"torch", "onnx"}


def test_samples_of_a_narrowed_layer_are_those_of_the_same_channels(bench):
    changes, _ = bench.compare("narrow", "base")
    conv = next(change for change in changes if (change.stage, change.site) == ("torch", "conv"))
    assert conv.sqnr_db == math.inf, "the first layer's kept channels compute what they did"
    assert conv.how == ["the channels that both have"]
    assert 1000 < conv.count < 4096


def test_distributions_of_every_tensor_and_layer(bench):
    found = bench.distributions("int8")
    assert {record.place for record in found} == {"parameter", "activation"}
    outputs = {record.site: record for record in found if record.place == "activation"}
    assert outputs["bn2"].saturated is not None
    assert outputs["mixer.0"].macs == 64 * 32 * 8
    layers = {record.site: record for record in found if record.place == "parameter"}
    assert layers["conv2.weight"].shape == [8, 16, 3, 3]


def test_outputs_beside_torch(bench):
    import torch

    model = storage.load(bench.artifacts.path(bench.sources["base"].model))
    kept = []
    model.module.conv2.register_forward_hook(lambda *args: kept.append(args[-1].numpy()))
    with torch.inference_mode():
        for batch in bench.dataset.batches("evaluation", batch_size=32, samples=32):
            model.module(torch.from_numpy(batch.inputs["pixel_values"]))
    record = next(r for r in bench.distributions("base") if (r.stage, r.site) == ("torch", "conv2"))
    assert record.mean == pytest.approx(kept[0].astype(float).mean(), rel=1e-5)
    assert record.std == pytest.approx(kept[0].astype(float).std(), rel=1e-5)
    assert record.count == kept[0].size
    assert record.macs == 8 * 8 * 8 * 16 * 9


def test_a_deleted_model_gives_a_sentence(tmp_path):
    with pytest.raises(LayerError, match=r"The model's files are gone: there is no .*Run the recipe again"):
        tensors_of(tmp_path / "ab" / "abc")


def test_a_damaged_model_gives_a_sentence(bench, tmp_path):
    import shutil

    folder = tmp_path / "damaged"
    shutil.copytree(bench.artifacts.path(bench.sources["base"].model), folder)
    file = folder / storage.TENSORS_FILE
    file.write_bytes(file.read_bytes()[:-400])
    with pytest.raises(LayerError, match="the tensors cannot be read"):
        tensors_of(folder)
    for header in (b"[" * 100_000, b"[]", b"5"):
        file.write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(LayerError, match="the tensors cannot be read"):
            tensors_of(folder)
    file.write_bytes(b"nonsense, and not a header")
    with pytest.raises(LayerError, match="the tensors cannot be read"):
        tensors_of(folder)


@pytest.mark.parametrize("read", [onnx_tensors, folds_of, lookups_of])
@pytest.mark.parametrize(
    "content",
    [
        b"\x3a\xff\xff\xff\x7f rubbish",  # longer than the file
        b"\x3a\x02\x0a\x05",  # a node that is longer than the graph
        b"\x3a\x04\x0a\x02\xff\xff",  # a node that protobuf cannot read
        b"\x3a\x04\x2a\x02\xff\xff",  # such a weight
        b"\x3a\x80",  # in the midst of a number
        b"<!DOCTYPE html>",
        b"",
    ],
    ids=range(7),
)
def test_a_damaged_onnx_file_gives_a_sentence(tmp_path, content, read):
    file = tmp_path / storage.ONNX_FILE
    file.write_bytes(content)
    with pytest.raises(LayerError) as failure:
        read(file)
    assert str(failure.value).startswith(f"{file}: the tensors cannot be read")
    assert "\n" not in str(failure.value)
    with pytest.raises(LayerError, match="the tensors cannot be read"):
        tensors_of(tmp_path)


def test_weights_that_are_gone_give_a_sentence(tmp_path):
    file = tmp_path / storage.ONNX_FILE
    weight = numpy_helper.from_array(np.ones((64, 64), np.float32), "fc.weight")
    node = helper.make_node("MatMul", ["x", "fc.weight"], ["y"], "fc")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in "xy")
    model = helper.make_model(helper.make_graph([node], "g", [x], [y], [weight]))
    onnx.save(model, file, save_as_external_data=True, location="weights", size_threshold=0)
    (tensor,) = tensors_of(tmp_path)
    assert (tensor.read() == 1).all()
    (tmp_path / "weights").unlink()
    with pytest.raises(
        LayerError, match=rf"^{re.escape(str(file))}: the values of 'fc.weight' cannot be read: .*weights"
    ):
        tensor.read()
