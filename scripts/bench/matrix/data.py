"""Instances of the right shapes with random content, and networks with random weights in which every layer counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ops.core.forward import forward, tensors
from ops.core.operation import Batch, OnnxModel, TorchModel
from pipeline.models.api import Need
from pipeline.models.build import build
from pipeline.stages.operation_context import WorkerContext
from scripts.bench.matrix.architectures import Subject
from scripts.bench.matrix.networks import CLASSES, TOKENS

INSTANCES, SEED = 32, 0
_END = 2
_PLAIN_TOKENS = 5
"""Below them are those with a meaning of their own: padding, beginning, end."""


class Noise:
    """A data set of random instances, the same ones in every split."""

    fingerprint = "noise"

    def __init__(self, subject: Subject) -> None:
        self.task, self.inputs = subject.task, subject.inputs
        self.classes = tuple(str(number) for number in range(CLASSES))
        draws = np.random.default_rng(SEED)
        self._values = {name: self._draw(draws, name) for name in self.inputs}
        if "attention_mask" in self._values:  # texts of several lengths, each with its end
            lengths = self._values["attention_mask"].sum(1)
            tokens = self._values["input_ids"]
            tokens[self._values["attention_mask"] == 0] = 0
            tokens[np.arange(INSTANCES), lengths - 1] = _END
        self._targets = self._draw_targets(draws)

    def _draw(self, draws: np.random.Generator, name: str) -> np.ndarray:
        kind, shape = self.inputs[name]
        if kind == "float32":
            return draws.standard_normal((INSTANCES, *shape), dtype=np.float32)
        if name == "attention_mask":
            lengths = draws.integers(shape[0] // 2, shape[0] + 1, INSTANCES)
            lengths[0] = shape[0]
            return (np.arange(shape[0]) < lengths[:, None]).astype(np.int64)
        return draws.integers(_PLAIN_TOKENS, TOKENS, (INSTANCES, *shape))

    def _draw_targets(self, draws: np.random.Generator) -> dict[str, np.ndarray]:
        if self.task == "question-answering":
            ends = self._values["attention_mask"].sum(1)
            return {name: draws.integers(0, ends) for name in ("start_positions", "end_positions")}
        if self.task == "generative-question-answering":
            length = self.inputs["decoder_input_ids"][1][0]
            return {"answer_tokens": draws.integers(_PLAIN_TOKENS, TOKENS, (INSTANCES, length))}
        return {"labels": draws.integers(0, CLASSES, INSTANCES)}

    def size(self, split: str) -> int:
        """How many instances there are."""
        return INSTANCES

    def batches(
        self, split: str, *, batch_size: int, samples: int | None = None, seed: int | None = None, augment: bool = False
    ) -> Iterator[Batch]:
        """Yield the instances in one order, whatever the seed: a step of training can then be made by hand."""
        count = min(samples or INSTANCES, INSTANCES)
        for start in range(0, count, batch_size):
            rows = slice(start, min(start + batch_size, count))
            ids = tuple(str(row) for row in range(rows.start, rows.stop))
            parts = [{name: values[rows] for name, values in given.items()} for given in (self._values, self._targets)]
            yield Batch(ids, *parts)

    def batch(self, count: int = INSTANCES) -> Batch:
        """Return the first instances."""
        return next(self.batches("train", batch_size=count))


def network(subject: Subject, data: Noise) -> TorchModel:
    """Build an architecture with random weights in which no layer can be left out unnoticed."""
    model = _built(subject.entry, data, pretrained=False)
    enliven(model, data)
    return model


def _built(entry: Mapping[str, Any], data: Noise, *, pretrained: bool) -> TorchModel | OnnxModel:
    torch.manual_seed(SEED)
    model = build(entry, Need(data.task, data.classes, data.inputs, pretrained))
    if isinstance(model, TorchModel):
        without_chance(model.module)
    return model


def without_chance(module: nn.Module) -> None:
    """Switch dropout off, so that a step of training is the same whoever makes it."""
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = 0.0
        for name, value in vars(part).items():
            if "drop" in name and isinstance(value, float):
                setattr(part, name, 0.0)


def enliven(model: TorchModel, data: Noise) -> None:
    """Draw weights that keep the size of activations, scales and biases that differ, and statistics that fit."""
    draws = torch.Generator().manual_seed(SEED + 1)
    module = model.module
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                turned = type(module.get_submodule(name.rpartition(".")[0])).__name__ == "Conv1D"
                inputs = parameter.shape[0] if turned else parameter[0].numel()
                bound = math.sqrt(3 / inputs)
                parameter.uniform_(-bound, bound, generator=draws)
            elif "bias" in name.rpartition(".")[2]:
                parameter.normal_(0, 0.1, generator=draws)
            else:
                parameter.uniform_(0.6, 1.4, generator=draws)
        norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train().momentum = 0.5
        for _ in range(8 if norms else 1):  # also lets spectral normalisation settle
            forward(module, tensors(data.batch().inputs), data.task)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval().momentum = momentum
    module.train().eval()  # layers drop what they kept of their weights


def context(scratch: Path, data: Noise, base: TorchModel | None = None) -> WorkerContext:
    """Return what a worker gives to an operation."""
    scratch.mkdir(parents=True, exist_ok=True)
    references = {} if base is None else {"base": base.copy}
    return WorkerContext(
        seed=SEED,
        scratch=scratch,
        dataset=lambda: data,
        build=lambda entry, pretrained: _built(entry, data, pretrained=pretrained),
        references=references,
    )
