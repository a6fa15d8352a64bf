"""Models of any inputs and outputs, without labels: nothing of them is lost, and plans refuse what needs more."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from ops.core.forward import forward, tensors
from pipeline.datasets.api import DataError
from pipeline.datasets.interface import Interface
from pipeline.datasets.open import open_dataset
from pipeline.measure.evaluate import predict
from pipeline.measure.metrics.compute import compute
from pipeline.models import storage
from pipeline.models.api import ModelError, Need
from pipeline.models.build import build
from pipeline.models.export_check import check_export
from pipeline.models.onnx_export import export_onnx
from pipeline.plan.recipe import RecipeError
from pipeline.targets.open import open_target

INPUTS = {"left": {"shape": [3, 8, 8]}, "right": {"shape": [3, 8, 8]}, "speed": {"shape": [4]}}
ENTRY = {"name": "none", "dataset": "arrays", "inputs": INPUTS, "count": 12}
NAMES = ("scores", "box.0", "box.1")


class Several(torch.nn.Module):
    """Two pictures and a vector in; a dict with a tuple inside out."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Conv2d(3, 4, 3)
        self.mix = torch.nn.Linear(12, 6)
        self.head = torch.nn.Linear(6, 5)

    def forward(self, left, right, speed):
        one, other = (self.body(each).relu().mean((2, 3)) for each in (left, right))
        hidden = self.mix(torch.cat([one, other, speed], 1)).relu()
        return {"scores": self.head(hidden), "box": (hidden * 2, hidden[:, :2])}


class Lost(Several):
    """Gives an output without an axis of instances."""

    def forward(self, left, right, speed):
        return {"all": super().forward(left, right, speed)["scores"].sum(0)}


def several():
    torch.manual_seed(0)
    return Several()


def lost():
    return Lost()


def data_of(tmp_path, **words):
    return open_dataset({**ENTRY, **words}, tmp_path)


def model_of(data, factory="several"):
    fit = Interface.of(data)
    entry = {"name": factory, "builder": "python", "factory": f"{__name__}:{factory}"}
    return build(entry, Need(fit.task, fit.classes, fit.inputs, pretrained=False))


def answers(target, place, data):
    with open_target({"target": target}).open(place, threads=1) as session:
        return predict(session, data, batch_size=5)


def test_all_outputs_are_kept_in_torch_and_in_the_exported_file(tmp_path):
    data = data_of(tmp_path)
    model = model_of(data)
    (tmp_path / "torch").mkdir()
    storage.save(model, tmp_path / "torch")
    export_onnx(model, tmp_path / "model.onnx")
    batch = next(data.batches("evaluation", batch_size=12))
    check_export(model, tmp_path / "model.onnx", batch.inputs)
    with torch.no_grad():
        expected = model.module(**tensors(batch.inputs))
        assert tuple(forward(model.module, tensors(batch.inputs), "none")) == NAMES
    for target, place in (("onnxruntime", tmp_path / "model.onnx"), ("pytorch", tmp_path / "torch")):
        outputs = answers(target, place, data).outputs
        assert tuple(outputs) == NAMES
        np.testing.assert_allclose(outputs["scores"], expected["scores"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(outputs["box.1"], expected["box"][1], rtol=1e-4, atol=1e-5)


def test_figures_are_of_the_distance_from_the_base(tmp_path):
    data = data_of(tmp_path)
    base = model_of(data)
    other = base.copy()
    with torch.no_grad():
        other.module.head.weight.mul_(0.5)
    found = []
    for number, model in enumerate((base, other)):
        export_onnx(model, tmp_path / f"{number}.onnx")
        found.append(answers("onnxruntime", tmp_path / f"{number}.onnx", data))
    figures = {spec.name: estimate for spec, estimate in compute(found[1], base=found[0])}
    assert set(figures) == {"output_distance", "output_cosine", "invalid_outputs"}
    one, two = (each.outputs["scores"].astype(np.float64) for each in found)
    away = np.linalg.norm(two - one, axis=1) / np.linalg.norm(one, axis=1)  # the other outputs are the same
    assert figures["output_distance"].value == pytest.approx(away.mean(), rel=1e-4)
    cosine = [np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(one, two, strict=True)]
    assert figures["output_cosine"].value == pytest.approx(np.mean(cosine), rel=1e-4)
    same = {spec.name: estimate.value for spec, estimate in compute(found[0], base=found[0])}
    assert same["output_distance"] == 0
    broken = replace(found[1], outputs={**found[1].outputs, "scores": np.full_like(one, np.nan)})
    assert {spec.name for spec, _ in compute(broken, base=found[0])} == {"invalid_outputs"}


def test_an_output_without_instances_is_refused(tmp_path):
    with pytest.raises(
        ModelError, match=re.escape("output 'all' has shape [5] for 2 instances; its first axis must be")
    ):
        model_of(data_of(tmp_path), "lost")


def test_a_file_of_arrays_has_splits_and_random_numbers_have_not(tmp_path):
    random = data_of(tmp_path)
    assert [random.size(split) for split in ("train", "calibration", "evaluation")] == [0, 0, 12]
    assert random.is_random
    assert data_of(tmp_path).fingerprint == random.fingerprint
    assert data_of(tmp_path, count=13).fingerprint != random.fingerprint
    draw = np.random.default_rng(0)
    values = {"speed": draw.normal(size=(40, 4)), "ids": draw.integers(0, 9, (40, 3), np.uint8)}
    np.savez(tmp_path / "in.npz", **values)
    data = open_dataset({"name": "own", "dataset": "arrays", "path": str(tmp_path / "in.npz")}, tmp_path)
    assert dict(data.inputs) == {"speed": ("float32", (4,)), "ids": ("int64", (3,))}
    assert not data.is_random
    assert min(data.size(split) for split in ("train", "calibration", "evaluation")) > 0
    batch = next(data.batches("evaluation", batch_size=100))
    rows = [int(one.removeprefix("row-")) - 1 for one in batch.ids]
    np.testing.assert_array_equal(batch.inputs["ids"], values["ids"][rows])
    assert data.show(batch.ids[0])["text"].startswith("speed [4]: ")


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"a": np.zeros((3, 2)), "b": np.zeros((4, 2))}, "the arrays differ in their rows (a 3, b 4)"),
        ({"a": np.array(["x", "y"])}, "'a' holds <U1, which is neither numbers nor truths"),
        ({"a": np.array(3.0)}, "'a' is a single number; the first axis is that of the instances"),
        ({"a": np.zeros((0, 2))}, "holds no rows"),
        (None, "cannot be read as a NumPy file of arrays, .npz ("),
    ],
)
def test_files_with_mistakes_are_refused_in_a_line(saved, message, tmp_path):
    file = tmp_path / "in.npz"
    if saved is None:
        file.write_bytes(b"nothing of the kind")
    else:
        np.savez(file, **saved)
    with pytest.raises(DataError, match=r"^Data set 'own': .*" + re.escape(message)):
        open_dataset({"name": "own", "dataset": "arrays", "path": str(file)}, tmp_path).size("train")


def test_a_model_that_gives_zeros_is_not_left_out_of_the_cosine(tmp_path):
    data = data_of(tmp_path)
    export_onnx(model_of(data), tmp_path / "model.onnx")
    base = answers("onnxruntime", tmp_path / "model.onnx", data)
    half = {name: np.where(np.arange(12).reshape(12, *[1] * (array.ndim - 1)) < 6, array, 0)
            for name, array in base.outputs.items()}  # fmt: skip
    figures = {spec.name: estimate.value for spec, estimate in compute(replace(base, outputs=half), base=base)}
    assert figures["output_cosine"] == pytest.approx(0.5)
    assert figures["output_distance"] == pytest.approx(0.5)
    zeros = replace(base, outputs={name: array * 0 for name, array in base.outputs.items()})
    assert {spec.name: each.value for spec, each in compute(zeros, base=zeros)}["output_cosine"] == 1


@pytest.mark.parametrize("values", [[1.0, np.nan], [1.0, 1e300], np.array([1, 2**63], np.uint64)])
def test_values_that_models_cannot_take_are_refused_with_their_row(values, tmp_path):
    np.savez(tmp_path / "in.npz", x=values)
    with pytest.raises(DataError, match=r"'x' row 2 holds a value that is no (float32|int64)"):
        open_dataset({"name": "own", "dataset": "arrays", "path": str(tmp_path / "in.npz")}, tmp_path).size("train")


@pytest.mark.parametrize("words", [{"inputs": None}, {"path": "in.npz"}])
def test_either_a_file_or_shapes_are_given(words, tmp_path):
    with pytest.raises(DataError, match=re.escape("give one of `path`, a .npz file of arrays, and `inputs`")):
        data_of(tmp_path, **words)


LABELS = "it needs to be told what is right, and the data are without a task. Without labels there are"
RANDOM = "it needs inputs as the model will see them, and the data are random numbers. Give arrays (`dataset.path`)"


@pytest.mark.parametrize(
    ("op", "values", "random", "message"),
    [
        ("finetune", {}, False, LABELS),
        ("finetune", {"teacher": "base"}, False, LABELS),
        ("finetune", {"teacher": "base", "distillation_weight": 1}, False, None),
        ("finetune", {"teacher": "base", "distillation_weight": 1}, True, RANDOM),
        ("gradient_prune", {"sparsity": 0.5}, False, LABELS),
        ("channel_prune", {"ratio": 0.5, "importance": "taylor"}, False, LABELS),
        ("channel_prune", {"ratio": 0.5}, True, None),
        ("magnitude_prune", {"sparsity": 0.5}, True, None),
        ("activation_prune", {"sparsity": 0.5}, False, None),
        ("activation_prune", {"sparsity": 0.5}, True, RANDOM),
        ("nm_prune", {}, True, None),
        ("nm_prune", {"score": "wanda"}, True, RANDOM),
        ("smooth", {}, True, RANDOM),
        ("calibrate", {"method": "bias_correction"}, False, None),
        ("calibrate", {"method": "bias_correction"}, True, RANDOM),
        ("quantize", {"method": "static"}, True, RANDOM),
        ("quantize", {"method": "static"}, False, None),
        ("quantize", {"method": "dynamic"}, True, None),
        ("palettize", {}, True, None),
        ("factorize", {"ratio": 0.5}, True, None),
    ],
)
def test_the_plan_refuses_what_needs_more_and_says_what_does_not(op, values, random, message, planned, facts):
    tree = {"base": {"op": "toy_base", "then": {"a": {"op": op, "with": values}}}}
    of = replace(facts, task="none", has_labels=False, has_instances=not random)
    if message is None:
        assert len(planned(tree, facts=of).steps) == 2
        return
    with pytest.raises(RecipeError, match=re.escape(f"Step 'base/a': '{op}' cannot be applied here: {message}")):
        planned(tree, facts=of)


def test_training_without_labels_is_refused_at_the_root(planned, facts):
    with pytest.raises(RecipeError, match=re.escape(f"Step 'base': 'train' cannot be applied here: {LABELS}")):
        planned(
            {"base": {"op": "train", "with": {"model": "wide"}}}, facts=replace(facts, task="none", has_labels=False)
        )
