"""Real data and the worker's own context for operations under test."""

from functools import cache
from pathlib import Path

from ops.core.operation import TorchModel, Uses
from pipeline.datasets.open import open_dataset
from pipeline.models.api import Need
from pipeline.models.build import build
from pipeline.stages.operation import settle
from pipeline.stages.operation_context import WorkerContext

SEED = 0
EPOCHS = 6
DIGITS = {"name": "digits", "dataset": "digits", "train": 320, "calibration": 96, "evaluation": 200}
NETS = {
    "residual": {"name": "residual", "builder": "residual_cnn", "depths": [1, 1], "widths": [16, 32]},
    "depthwise": {"name": "depthwise", "builder": "depthwise_cnn", "depths": [1, 1], "widths": [16, 32]},
    "transformer": {
        "name": "transformer",
        "builder": "huggingface",
        "architecture": "vit",
        "config": {
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "patch_size": 2,
        },
    },
}  # fmt: skip
"""A small CNN with residuals, a depthwise CNN and a small transformer, for 8x8 digits."""


@cache
def digits():
    return open_dataset(DIGITS, Path())


def need(*, pretrained: bool = False) -> Need:
    data = digits()
    return Need(data.task, tuple(data.classes), data.inputs, pretrained)


def make_context(scratch: Path, *, data=digits, references=None, uses=frozenset(Uses)) -> WorkerContext:
    """The context that the worker gives, after it has settled what is random; it hands out `uses` alone."""
    settle(SEED, threads=1)
    return WorkerContext(
        seed=SEED,
        scratch=scratch,
        dataset=data,
        build=lambda entry, pretrained: build(entry, need(pretrained=pretrained)),
        references=references or {},
        uses=uses,
    )


def trained(entry) -> TorchModel:
    """A network after a few epochs: random weights have gradients and magnitudes like no real network's."""
    import torch

    from ops.core.forward import forward, loss, tensors

    settle(SEED, threads=1)
    model = build(entry, need())
    model.module.train()
    optimizer = torch.optim.AdamW(model.module.parameters(), lr=3e-3)
    for epoch in range(EPOCHS):
        for batch in digits().batches("train", batch_size=32, seed=epoch):
            outputs = forward(model.module, tensors(batch.inputs), model.architecture.task)
            loss(outputs, tensors(batch.targets), model.architecture.task).backward()
            optimizer.step()
            optimizer.zero_grad()
    model.module.eval()
    return model
