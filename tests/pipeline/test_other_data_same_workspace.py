"""One model, one workspace, other data: what a model is built to fit is in its key (case 03); so are files beside it (27)."""

import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pipeline.cli import main
from tests.pipeline.command import CONF, Place

NAMES = ("amber", "coral", "ivory")
LEVELS = (60, 128, 200)
SIZE = 16
WORDS = (
    "bench=none", "executor=inprocess", "dataset=image_folder", "dataset.root=pictures", "dataset.channels=1",
    "dataset.mean=0.5", "dataset.std=0.25", "~recipe.tree.base.then",
)  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Pictures of three classes that differ in brightness; the command line is called in this folder."""
    monkeypatch.chdir(tmp_path)
    draws = np.random.default_rng(0)
    for name, level in zip(NAMES, LEVELS, strict=True):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(20):
            picture = draws.normal(level, 8, (24, 24)).clip(0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / f"{number:02d}.png")
    return Place(tmp_path)


def accuracy(place):
    return place.sql("SELECT accuracy FROM scoreboard WHERE model = 'base'")[0][0]


def run(place, *words):
    """Run with fresh results, in the same workspace; return the exit code."""
    place.results.unlink(missing_ok=True)
    for left in place.artifacts.parent.glob("results.duckdb.w*"):
        left.unlink()
    return main.run(["--config-dir", str(CONF), *words])


def save_network(folder):
    """A network of transformers that tells the classes apart by brightness: weights by hand, not by training."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        num_channels=1, embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic", num_labels=3,
        id2label=dict(enumerate(NAMES)), label2id={name: number for number, name in enumerate(NAMES)},
    )  # fmt: skip
    network = ResNetForImageClassification(config).eval()
    # every weight zero but a path that carries the mean brightness, made positive, to the classifier
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            tensor.zero_() if "normalization" not in name else None
        network.resnet.embedder.embedder.convolution.weight[0, 0, 3, 3] = 1.0
        network.resnet.embedder.embedder.normalization.bias[0] = 4.0
        x = (np.array(LEVELS) / 255 - 0.5) / 0.25 + 4.0
        # of logits a*x - a*a/2 the largest is that of the nearest level a
        network.classifier[1].weight[:, 0] = torch.from_numpy(x).float()
        network.classifier[1].bias[:] = torch.from_numpy(-x * x / 2).float()
        for part in network.resnet.encoder.modules():
            if type(part).__name__ == "ResNetShortCut":
                part.convolution.weight[0, 0, 0, 0] = 1.0
    network.save_pretrained(folder)


@pytest.mark.slow
def test_the_classes_and_the_size_of_the_data_are_in_the_key_of_a_loaded_model(place, capsys):
    """Case 03: in a used workspace as in a fresh one. Refused, right, and runs; seen: wrong silently, and errors."""
    save_network(place.folder / "model")
    words = (*WORDS, "recipe=pretrained", "model=huggingface", "model.weights=model")
    right = (*words, f"dataset.size={SIZE}", f"dataset.resize={SIZE}")
    assert run(place, *right) == 0
    assert accuracy(place) == 1.0
    capsys.readouterr()
    assert run(place, *right, "dataset.classes=[coral,amber,ivory]") == 2, "refused before anything runs"
    said = " ".join("".join(capsys.readouterr()).split())
    assert "`classes` says that 'coral' is class 0, but the model calls its class 1 so" in said
    assert "Leave `classes` of the data set out to have the model's own order" in said
    assert run(place, *words, "dataset.size=24", "dataset.resize=24") == 0
    assert accuracy(place) == 1.0
    shutil.rmtree(place.folder / "pictures" / "ivory")
    assert run(place, *right, "model.new_head=true") == 0
    [artifact] = {path for path in place.artifacts.glob("*/*/architecture.json") if _is_root(path, ["amber", "coral"])}
    assert json.loads(artifact.read_text())["inputs"] == {"pixel_values": ["float32", [1, SIZE, SIZE]]}


def _is_root(path, classes):
    manifest = json.loads((path.parent / "manifest.json").read_text())
    return manifest["what"] == "operation" and json.loads(path.read_text())["classes"] == classes


def save_onnx(path, sign):
    """Logits by mean brightness, their weights in a file beside the model, as torch.onnx.export writes them."""
    levels = (np.array(LEVELS, np.float32) / 255 - 0.5) / 0.25
    weight = np.repeat(levels[None] / SIZE**2, SIZE * SIZE, axis=0).astype(np.float32) * sign
    bias = (-levels * levels / 2).astype(np.float32) * sign
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixel_values"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)  # it would be appended to
    onnx.save_model(model, str(path), save_as_external_data=True, location=f"{path.name}.data", size_threshold=0)
    return weight, bias


@pytest.mark.slow
def test_weights_beside_an_onnx_file_that_is_exported_anew_are_used(place):
    """Case 27: the same graph, other weights beside it; seen: `cached`, with the figures of the old ones."""
    words = (
        *WORDS[:-1], "recipe=onnx_alone", "model=onnx", "model.path=net.onnx", f"dataset.size={SIZE}", f"dataset.resize={SIZE}",
    )  # fmt: skip
    graphs = set()
    for sign, right in ((1, 1.0), (-1, 0.0)):
        weight, bias = save_onnx(place.folder / "net.onnx", sign)
        graphs.add((place.folder / "net.onnx").read_bytes())
        assert _by_hand(place, weight, bias) == right
        assert run(place, *words) == 0
        assert accuracy(place) == right
    assert len(graphs) == 1


def _by_hand(place, weight, bias):
    """Share that a linear layer in numpy gets right of all pictures, cut in the middle."""
    hits = []
    for file in (place.folder / "pictures").glob("*/*.png"):
        picture = Image.open(file).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        pixels = (np.asarray(picture).astype(np.float32) / 255 - 0.5) / 0.25
        hits.append(NAMES[int((pixels.ravel() @ weight + bias).argmax())] == file.parent.name)
    return float(np.mean(hits))
