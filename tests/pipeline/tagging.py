"""A task of a person's own, whole: several tags for each picture, with data, a network and a metric. A plug-in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ops.core.tasks.rows import valid_rows
from ops.core.tasks.task import INVALID, PICTURES, Axis, Evaluation, Input, Judgement, Task, task
from pipeline.datasets.api import dataset
from pipeline.datasets.division import fixed_split
from pipeline.datasets.readers.image_arrays import png
from pipeline.datasets.splits import SplitDataset, SplitInstances, fingerprint
from pipeline.measure.metrics.api import Better, Predictions, metric
from pipeline.models.api import Need, builder

TAGS = ("top", "bottom", "left", "right")


# ---- the task: ops/core/tasks/tagging.py
@task
class Tagging(Task):
    """Any number of tags for each picture: a logit for each, and a tag is given where it is above zero."""

    name = "toy-tagging"
    inputs = (Input(PICTURES, "float32", ("channels", "height", "width")),)
    outputs = ("logits",)
    targets = ("tags",)
    has_classes = True

    def loss(self, outputs, targets, *, label_smoothing=0.0):
        """Mean binary cross-entropy of all tags."""
        from torch.nn import functional

        return functional.binary_cross_entropy_with_logits(outputs["logits"], targets["tags"])

    def axes(self, output, classes, inputs):
        """One number per tag."""
        return (Axis("classes", classes),)

    def judge(self, evaluation: Evaluation) -> Judgement:
        """The score is the share of tags in common, of those that are given or right."""
        unknown = np.full(len(evaluation.ids), np.nan, np.float32)
        given, valid = evaluation.outputs["logits"] > 0, valid_rows(evaluation)
        names = np.array(evaluation.classes)
        texts = [", ".join(names[row]) if known else INVALID for row, known in zip(given, valid, strict=True)]
        return Judgement(texts, unknown, unknown, self.correct(evaluation), overlap(evaluation).astype(np.float32))

    def correct(self, evaluation: Evaluation) -> np.ndarray:
        """Return whether all tags are right."""
        right = (evaluation.outputs["logits"] > 0) == (evaluation.targets["tags"] > 0)
        return right.all(axis=1) & valid_rows(evaluation)


def overlap(evaluation: Evaluation) -> np.ndarray:
    """Jaccard index of the tags of each instance: float64 (N,)."""
    given, right = evaluation.outputs["logits"] > 0, evaluation.targets["tags"] > 0
    either = (given | right).sum(axis=1)
    both = (given & right).sum(axis=1)
    return np.where(either > 0, both / np.maximum(either, 1), 1.0) * valid_rows(evaluation)


# ---- its quality: pipeline/measure/metrics/quality.py
@metric(unit="", format=".1%", better=Better.HIGHER, primary=True)
def tag_overlap(predictions: Predictions) -> float | None:
    """Mean Jaccard index of the tags."""
    return float(overlap(predictions).mean()) if "tags" in predictions.targets else None


# ---- its data: pipeline/datasets/readers/tagging.py
class Squares:
    """Grey pictures with a bright square, and the sides that it lies on."""

    def __init__(self, count: int) -> None:
        draw = np.random.default_rng(0)
        places = draw.integers(0, 7, (count, 2))
        self.pictures = draw.normal(0, 0.2, (count, 1, 8, 8)).astype(np.float32)
        for picture, (row, column) in zip(self.pictures, places, strict=True):
            picture[0, row : row + 2, column : column + 2] += 2
        sides = [places[:, 0] < 3, places[:, 0] > 3, places[:, 1] < 3, places[:, 1] > 3]
        self.tags = np.stack(sides, axis=1).astype(np.float32)

    def read(self, rows: np.ndarray, noise: np.random.Generator | None) -> tuple[Any, Any]:
        """As `Reader.read`."""
        return {PICTURES: self.pictures[rows].copy()}, {"tags": self.tags[rows].copy()}

    def show(self, row: int) -> Mapping[str, Any]:
        """As `Reader.show`."""
        return {"image": png(np.clip(100 * self.pictures[row], 0, 255).astype(np.uint8)), "tags": self.label(row)}

    def label(self, row: int) -> str:
        """As people read it."""
        return ", ".join(np.array(TAGS)[self.tags[row] > 0])


@dataset
def toy_squares(folder: Path, *, count: int = 400) -> SplitDataset:
    """Pictures with a bright square somewhere."""

    def load() -> SplitInstances:
        squares, strata = Squares(count), np.zeros(count, np.int64)
        return SplitInstances(
            ids=np.array([f"{row:04d}" for row in range(count)], object),
            labels=[squares.label(row) for row in range(count)],
            strata=strata,
            splits=fixed_split(strata, evaluation=count // 4, calibration=count // 8, train=None),
            classes=TAGS,
            inputs={PICTURES: ("float32", (1, 8, 8))},
            reader=squares,
        )

    return SplitDataset(
        name="toy_squares",
        task=Tagging.name,
        fingerprint=fingerprint("toy_squares", version=1, content="drawn", count=count),
        load=load,
    )


# ---- its network: pipeline/models/builders/tagger.py
@builder
def toy_tagger(need: Need, *, width: int = 32):
    """Two linear layers on the pixels."""
    import torch

    assert need.picture is not None
    channels, height, rows = need.picture
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(channels * height * rows, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, len(need.classes)),
    )
