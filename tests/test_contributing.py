"""The examples of CONTRIBUTING.md work as written."""

import re

import duckdb
import pytest

from pipeline.core.answer_text import AnswerKind
from scripts.docs.guides import ROOT
from tests.pipeline.command import Place
from viewer.behaviours.queries import open_sheet

RECIPE = """
name: mine
dataset: digits
targets: [onnxruntime]
tree:
  base:
    op: train
    with: {model: one_layer, epochs: 1}
    then: {smaller: {op: shrink, with: {share: 0.5}}}
"""


def block(name):
    (text,) = re.findall(
        rf"```python\n# {re.escape(name)}\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.DOTALL
    )
    return text


@pytest.fixture(scope="module")
def example():
    return block("my_module.py")


@pytest.mark.slow
def test_a_module_of_ones_own_adds_an_operation_a_model_a_metric_and_a_lint(example, tmp_path):
    (tmp_path / "my_module.py").write_text(example)
    for group, name, text in (
        ("recipe", "mine", RECIPE),
        ("model", "one_layer", "name: one_layer\nbuilder: one_layer\n"),
    ):
        (tmp_path / "conf" / group).mkdir(parents=True)
        (tmp_path / "conf" / group / f"{name}.yaml").write_text(text)
    place = Place(tmp_path)
    code, _, err = place.run("--config-dir", str(tmp_path / "conf"), "recipe=mine", "bench=none", "plugins=[my_module]")
    assert code == 0, err
    with duckdb.connect(str(place.results), read_only=True) as db:
        rows = dict(db.sql("SELECT model, share_of_first_class FROM scoreboard").fetchall())
        lints = db.sql("SELECT DISTINCT lint FROM lints").fetchall()
    assert rows["base/smaller"] == rows["base"]  # halving all weights and biases changes no first place
    assert ("few_parameters",) in lints


def test_the_example_of_a_task_stands_in_the_plug_in_that_the_tests_run():
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("\n## A task\n")[2].partition("\n### ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    plugin = (ROOT / "tests" / "pipeline" / "tagging.py").read_text()
    assert len(blocks) == 2
    assert [block for block in blocks if block not in plugin] == []


@pytest.mark.slow
def test_a_stage_of_ones_own_makes_its_evidence_of_every_model_and_fills_its_own_table(tmp_path):
    (tmp_path / "my_stage.py").write_text(block("my_stage.py"))
    place = Place(tmp_path)
    words = ["recipe=small", "bench=none", "plugins=[my_stage]", "~recipe.tree.base.then.pruned.then"]
    code, _, err = place.run(*words)
    assert code == 0, err
    rows = place.sql("SELECT name, zeros, weights FROM zeros JOIN model USING (model_key) ORDER BY name")
    counts = place.sql(
        "SELECT model, sum(zeros)::BIGINT, sum(count)::BIGINT FROM distributions WHERE place <> 'activation' "
        "GROUP BY model ORDER BY model"
    )
    assert [name for name, *_ in rows] == ["base", "base/int8", "base/pruned"]
    assert rows == counts
    assert place.sql("SELECT path, outcome FROM steps WHERE job = 'zeros' ORDER BY path") == [
        (name, "done") for name, *_ in rows
    ]
    comments = "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'zeros' ORDER BY column_index"
    assert place.sql(comments) == [
        ("fact", "Digest of the row, so that what is written twice is stored once."),
        ("model_key", "The model."),
        ("zeros", "How many weights are zero."),
        ("weights", "How many weights there are."),
        ("recorded_at", "When the row entered the store, UTC; views show the newest of several."),
    ]

    code, _, err = place.run(*words)
    assert code == 0, err
    assert place.sql("SELECT count(*) FROM zeros") == [(3,)]
    # its code is part of its keys: what it made before is not taken for what it makes now
    changed = block("my_stage.py").replace("(each == 0).sum()", "(each == 0).sum() + 1")
    (tmp_path / "my_stage.py").write_text(changed)
    code, _, err = place.run(*words)
    assert code == 0, err
    assert place.sql("SELECT count(*) FROM zeros") == [(6,)]


COUNTING = """
name: counting
dataset: {name: squares, dataset: squares}
targets: [onnxruntime]
tree:
  base:
    op: train
    with: {model: {name: counter, builder: counter}, epochs: 30, batch_size: 32, learning_rate: 1.0e-2}
    then:
      int8: {op: quantize, with: {samples: 32}}
      pruned: {op: magnitude_prune, with: {sparsity: 0.8}}
"""


@pytest.mark.slow
def test_a_task_by_functions_runs_through_to_the_viewer(tmp_path):
    text = block("my_task.py")
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 45
    (tmp_path / "my_task.py").write_text(text)
    (tmp_path / "conf" / "recipe").mkdir(parents=True)
    (tmp_path / "conf" / "recipe" / "counting.yaml").write_text(COUNTING)
    place = Place(tmp_path)
    words = ["--config-dir", str(tmp_path / "conf"), "recipe=counting", "bench=none", "plugins=[my_task]"]
    code, out, err = place.run(*words)
    assert code == 0, err
    assert "mean score" in out
    figures = dict(place.sql("SELECT model, value FROM measurements WHERE metric = 'mean_score' ORDER BY model"))
    assert list(figures) == ["base", "base/int8", "base/pruned"]
    assert figures["base"] > 0.8
    assert figures["base/pruned"] < figures["base"]
    rows = place.sql("SELECT label, predicted, correct, score FROM predictions WHERE model = 'base'")
    assert len(rows) == 100
    assert all((abs(int(label) - int(predicted)) == 0) is right for label, predicted, right, _ in rows)
    assert figures["base"] == pytest.approx(sum(score for *_, score in rows) / 100, rel=1e-4)
    sheet = open_sheet(place.results)
    assert sheet.task == "counting"
    assert sheet.answer_kind is AnswerKind.TEXT
