"""A network whose layers share a weight, from the command line to SQL; and what is said of operations that do nothing."""

import json

import numpy as np
import pytest

from ops.onnx_graph.session import open_session
from pipeline.datasets.open import open_dataset
from tests.pipeline.command import Place

WEIGHTS, BIASES = 64 * 48 + 48 * 48 + 48 * 10, 48 * 3 + 10
PRUNED = round(0.6 * 64 * 48) + round(0.6 * 48 * 48) + round(0.6 * 480)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("shared"))
    network = ("model.factory=tests.ops.shared_nets:make", "+model.arguments.net=Tied")
    code, out, err = place.run("recipe=shared", *network, "bench=none", "executor=inprocess")
    assert code == 0, err
    return place, out


def value(place, metric, model):
    return place.sql("SELECT value FROM measurements WHERE metric = ? AND model = ?", metric, model)[0][0]


def notes(place, model):
    return json.loads(place.sql("SELECT notes FROM models WHERE name = ?", model)[0][0])


def test_a_shared_weight_is_counted_once(swept):
    place, _ = swept
    for model in ("base", "base/magnitude", "base/palette", "base/dynamic"):
        assert value(place, "parameters", model) == WEIGHTS + BIASES, model
        assert value(place, "macs", model) == WEIGHTS + 48 * 48, "it is used twice"
    assert notes(place, "base/magnitude")["achieved"] == {
        "sparsity": PRUNED / WEIGHTS, "zeros": PRUNED, "weights": WEIGHTS,
    }  # fmt: skip
    assert value(place, "nonzeros", "base/magnitude") == WEIGHTS + BIASES - PRUNED


def test_what_is_restored_stays(swept):
    place, _ = swept
    for model in ("base/magnitude/restored", "base/magnitude/restored/tuned"):
        assert value(place, "nonzeros", model) == WEIGHTS + BIASES - round(0.6 * 64 * 48) - round(0.6 * 480), model


def test_every_step_records_how_many_values_it_changed(swept):
    place, _ = swept
    assert notes(place, "base/magnitude")["changed"] == {"values": PRUNED, "of": WEIGHTS + BIASES}
    assert notes(place, "base/magnitude/restored")["changed"]["values"] == round(0.6 * 48 * 48)
    assert notes(place, "base/dynamic")["changed"] == {"values": WEIGHTS, "of": WEIGHTS + BIASES}


def test_an_operation_that_did_nothing_is_a_finding_in_the_summary(swept):
    place, out = swept
    assert place.sql("SELECT model, message FROM lints WHERE lint = 'nothing_done'") == [
        ("base/nothing", f"`magnitude_prune` changed none of the {WEIGHTS + BIASES:,} values")
    ]
    assert "nothing_done" in out


def test_a_palette_shrinks_what_is_downloaded_as_the_guide_says(swept):
    place, _ = swept
    assert value(place, "compressed_bytes", "base/palette") < 0.5 * value(place, "compressed_bytes", "base")
    assert value(place, "file_bytes", "base/palette") == pytest.approx(value(place, "file_bytes", "base"), rel=0.01)


def test_dynamic_int8_is_judged_one_instance_at_a_time(swept):
    place, _ = swept
    key = place.sql("SELECT model_key FROM models WHERE name = 'base/dynamic'")[0][0]
    session = open_session(next(place.artifacts.glob(f"*/{key}/model.onnx")))
    data = open_dataset({"name": "digits", "dataset": "digits"}, place.folder)
    batch = next(iter(data.batches("evaluation", batch_size=512)))
    pixels = batch.inputs["pixel_values"]
    alone = np.concatenate(
        [session.run(None, {"pixel_values": pixels[row : row + 1]})[0] for row in range(len(pixels))]
    )
    together = session.run(None, {"pixel_values": pixels})[0]
    assert not np.allclose(alone, together, atol=1e-4), "the batch matters"
    accuracy = float((alone.argmax(1) == batch.targets["labels"]).mean())
    assert value(place, "accuracy", "base/dynamic") == pytest.approx(accuracy)
    stored = place.sql("SELECT probabilities FROM predictions WHERE model = 'base/dynamic' ORDER BY position")
    probabilities = np.array([row for (row,) in stored])  # stored in 16 bits
    np.testing.assert_allclose(probabilities, softmax(alone), rtol=2e-3, atol=1e-4)
    assert not np.allclose(probabilities, softmax(together), rtol=2e-3, atol=1e-4)
    assert notes(place, "base/dynamic")["judged_at_batch_size"] == 1


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
