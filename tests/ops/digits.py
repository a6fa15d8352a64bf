"""Real digits, small nets trained on them, and the worker's own context: what the training operations are tested on."""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from ops.core.forward import forward, tensors
from ops.core.model import Architecture
from ops.core.operation import OPERATIONS, Batch, OnnxModel, TorchModel
from pipeline.datasets.open import open_dataset
from pipeline.models.api import Need
from pipeline.models.build import build
from pipeline.models.onnx_export import export_onnx
from pipeline.stages.operation_context import WorkerContext
from tests.ops.context import NETS
from tests.ops.stored import load

RESIDUAL, DEPTHWISE = NETS["residual"], NETS["depthwise"]


@cache
def digits():
    return open_dataset({"name": "digits", "dataset": "digits"}, Path(tempfile.gettempdir()))


class Changed:
    """The digits with something wrong with them: `change(split, batch, call)` gives the batch to hand out."""

    def __init__(self, change=None, empty=()):
        self._data, self._change, self._empty, self._calls = digits(), change, empty, 0
        self.task, self.classes, self.inputs = self._data.task, self._data.classes, self._data.inputs
        self.fingerprint = "changed"

    def size(self, split):
        return 0 if split in self._empty else self._data.size(split)

    def batches(self, split, **options):
        self._calls += 1
        call = self._calls
        for batch in self._data.batches(split, **options):
            if split in self._empty:
                return
            yield self._change(split, batch, call) if self._change else batch


def with_nan(batch):
    """The batch, its second instance with a value that is not a number."""
    inputs = {name: array.copy() for name, array in batch.inputs.items()}
    inputs["pixel_values"][1, 0, 0, 0] = np.nan
    return replace(batch, inputs=inputs)


def context(scratch=None, *, data=None, seed=0, **references):
    """What the worker gives to an operation."""
    data = data or digits()
    folder = Path(scratch or tempfile.mkdtemp())
    return WorkerContext(
        seed=seed,
        scratch=folder,
        dataset=lambda: data,
        build=lambda entry, pretrained: _build(entry, data, seed, pretrained),
        references={name: (lambda model=model: model) for name, model in references.items()},
    )


def _build(entry, data, seed, pretrained):
    torch.manual_seed(seed)  # as the worker does before every step
    return build(entry, Need(data.task, tuple(data.classes), data.inputs, pretrained))


def apply(op, *given, **params):
    """Run an operation as a recipe would, with its parameters checked."""
    spec = OPERATIONS[op]
    return spec.apply(*given, **spec.check(params))


@cache
def trained(kind="residual"):
    """A small net that reads digits; operations leave it alone."""
    return load(kind, reader=True)


@cache
def pruned(sparsity=0.8):
    return apply("magnitude_prune", trained(), context(), sparsity=sparsity)


@cache
def exported(kind="residual"):
    """The trained net as an ONNX file."""
    return export(trained(kind))


def export(model):
    path = Path(tempfile.mkdtemp()) / "model.onnx"
    export_onnx(model, path)
    return OnnxModel(path, model.architecture)


@cache
def evaluation():
    return next(iter(digits().batches("evaluation", batch_size=397)))


def accuracy(model):
    """Share of the evaluation split that a torch or ONNX model gets right."""
    return float((logits(model).argmax(1) == evaluation().targets["labels"]).mean())


def logits(model, batch=None):
    batch = batch or evaluation()
    if isinstance(model, OnnxModel):
        from ops.onnx_graph.session import open_session

        return open_session(model.path).run(None, dict(batch.inputs))[0]
    with torch.no_grad():
        return forward(model.module, tensors(batch.inputs), model.architecture.task)["logits"].numpy()


def state(model):
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


class Sentences:
    """Random tokens for a transformer, in all splits."""

    task, classes, fingerprint = "text-classification", ("no", "yes"), "sentences"
    inputs = MappingProxyType({"input_ids": ("int64", (16,)), "attention_mask": ("int64", (16,))})

    def size(self, split):
        return 64

    def batches(self, split, *, batch_size, samples=None, seed=None, augment=False):
        draws = np.random.default_rng(7)
        tokens, labels = draws.integers(0, 100, (64, 16)), draws.integers(0, 2, 64)
        mask = (np.arange(16) < draws.integers(8, 17, (64, 1))).astype(np.int64)
        count = min(samples or 64, 64)
        for start in range(0, count, batch_size):
            rows = slice(start, min(start + batch_size, count))
            ids = tuple(str(row) for row in range(rows.start, rows.stop))
            inputs = {"input_ids": tokens[rows], "attention_mask": mask[rows]}
            yield Batch(ids, inputs, {"labels": labels[rows]})


@cache
def bert():
    """A small BERT with weights far enough from zero that every layer matters."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=100, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=16, num_labels=2, initializer_range=0.2,
    )  # fmt: skip
    architecture = Architecture("bert", "", {}, Sentences.task, Sentences.classes, Sentences.inputs)
    return TorchModel(_livened(BertForSequenceClassification(config), outlier=1), architecture)


@cache
def vit():
    """A small ViT on digits, with a channel that spoils the 8-bit scale of the others."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=8, patch_size=2,
        num_channels=1, num_labels=10, initializer_range=0.2,
    )  # fmt: skip
    architecture = Architecture("vit", "", {}, "image-classification", tuple(digits().classes), digits().inputs)
    return TorchModel(_livened(ViTForImageClassification(config), outlier=20), architecture)


def _livened(module, outlier):
    """Scales and biases as after training: equal ones would be merged on export, and hide mistakes."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter[3] *= outlier
    return module.eval()
