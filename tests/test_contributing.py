"""The examples of CONTRIBUTING.md work as written."""

import re

import duckdb
import pytest

from scripts.docs.guides import ROOT
from tests.pipeline.command import Place

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


@pytest.fixture(scope="module")
def example():
    (block,) = re.findall(
        r"```python\n# my_module.py\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.DOTALL
    )
    return block


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
