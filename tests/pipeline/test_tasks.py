"""A task of a person's own goes through the whole pipeline, and its code is part of the keys."""

import json
import os
import subprocess
import sys

import pytest

from tests.pipeline.command import ROOT, Place

RECIPE = """
name: tagged
model: tagger
dataset: squares
tree:
  base:
    op: train
    with: {epochs: 12, batch_size: 32, learning_rate: 1.0e-2}
    then:
      pruned:
        op: magnitude_prune
        with: {sparsity: 0.3}
        then:
          int8: {op: quantize, with: {samples: 32}}
"""
CONF = {
    "recipe/tagged": RECIPE,
    "model/tagger": "name: tagger\nbuilder: toy_tagger\n",
    "dataset/squares": "name: squares\ndataset: toy_squares\n",
}
TASK = """
from ops.core.tasks.image_classification import ImageClassification
from ops.core.tasks.task import task

@task
class Own(ImageClassification):
    name = "toy-own"

    def loss(self, outputs, targets, *, label_smoothing=0.0):
        return {factor} * super().loss(outputs, targets, label_smoothing=label_smoothing)
"""
FUNCTIONS = """
from ops.core.tasks.functions import task_of
from own_losses import loss

def answer(outputs):
    return ["?"] * len(outputs["count"])

def score(outputs, targets):
    return outputs["count"][:, 0] * {factor}

task_of(
    "toy-own", inputs={{"pixel_values": "float32"}}, outputs={{"count": (1,)}}, targets=["labels"],
    loss=loss, answer=answer, score=score,
)
"""
DATA = """
from pathlib import Path
from pipeline.datasets.api import dataset
from pipeline.datasets.sources.digits import digits

@dataset
def own_digits(folder: Path, *, task: str):
    data = digits(folder)
    data.task = task
    return data
"""
OPEN = """
import sys
from pathlib import Path
from pipeline.core.plugins import load_plugins
from pipeline.datasets.api import DataError
from pipeline.datasets.interface import Interface
from pipeline.datasets.open import open_dataset
load_plugins(["own_task", "own_data"])
try:
    data = open_dataset({"name": "own", "dataset": "own_digits", "task": sys.argv[1]}, Path("data"))
    print(data.fingerprint, "task_code" in Interface.of(data).plain())
except DataError as error:
    print(error)
"""


def _python(folder, *words, said=""):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, input=said, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_a_task_of_a_persons_own_goes_through_the_whole_pipeline(tmp_path):
    for name, text in CONF.items():
        file = tmp_path / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    place = Place(tmp_path)
    code, out, err = place.run(
        "--config-dir", str(tmp_path / "conf"), "recipe=tagged", "bench=none", "plugins=[tests.pipeline.tagging]"
    )
    assert code == 0, err
    assert "tag overlap" in out  # the summary's column of quality
    figures = place.sql("SELECT model, metric, value FROM measurements")
    overlap = {model: value for model, metric, value in figures if metric == "tag_overlap"}
    assert sorted(overlap) == ["base", "base/pruned", "base/pruned/int8"]
    assert min(overlap.values()) > 0.7
    metrics = {metric for _, metric, _ in figures}
    assert not {"accuracy", "f1", "macro_f1", "loss", "calibration_error", "kl_to_base", "accuracy_drop"} & metrics
    assert {"negative_flip_rate", "agreement", "mcnemar_p", "invalid_outputs", "file_bytes"} <= metrics
    answers = place.sql("SELECT label, predicted, correct, score FROM predictions WHERE model = 'base'")
    assert len(answers) == 100
    assert all((label == predicted) is correct is (score == 1) for label, predicted, correct, score in answers)
    assert overlap["base"] == pytest.approx(sum(score for *_, score in answers) / 100)
    ((key, task, instance),) = place.sql(
        "SELECT dataset_key, task, min(instance_id) FROM datasets JOIN predictions USING (dataset_key) GROUP BY ALL"
    )
    assert task == "toy-tagging"
    shown = json.loads(_python(tmp_path, "-m", "pipeline", "show", key, said=f"{json.dumps(instance)}\n"))
    assert set(shown) == {"image", "tags"}


@pytest.mark.parametrize("code", [TASK, FUNCTIONS])
def test_the_code_of_a_task_of_a_persons_own_is_part_of_the_keys(code, tmp_path):
    (tmp_path / "own_data.py").write_text(DATA)
    (tmp_path / "own_losses.py").write_text("def loss(outputs, targets):\n    return outputs['count'].mean()\n")
    prints = {}
    for factor in (1, 2, 1):
        (tmp_path / "own_task.py").write_text(code.format(factor=factor))
        own, ours = (_python(tmp_path, "-c", OPEN, name) for name in ("toy-own", "image-classification"))
        assert own.endswith(" True")
        assert ours.endswith(" False")
        assert prints.setdefault(factor, own) == own
        assert prints.setdefault("ours", ours) == ours
    assert prints[1] != prints[2]
    refusal = _python(tmp_path, "-c", OPEN, "toy-owl")
    assert "Data set 'own': no task is called 'toy-owl'. Did you mean 'toy-own'? Known: " in refusal
