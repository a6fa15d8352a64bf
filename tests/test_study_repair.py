"""The repair study: its recipe's tree, a small run of it, and what a finished one says.

BOUILLON_STUDIES names a folder that holds `repair/results.duckdb`.
"""

import os
import sys
from pathlib import Path

import pytest

from ops.core.operation import Format
from pipeline.cli.main import compose
from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from pipeline.plan.planner import make_plan
from pipeline.plan.recipe import parse
from pipeline.plan.steps import Facts
from pipeline.store.reader import open_results
from pipeline.sweep.config import Config
from tests.pipeline.command import Place

STUDIES = Path(__file__).resolve().parents[1] / "scripts/studies"
sys.path.insert(0, str(STUDIES))

import claims  # noqa: E402 - scripts are no package
import fill  # noqa: E402
import shots  # noqa: E402

PAGE = (STUDIES / "README.md").read_text()
FINISHED = Path(os.environ.get("BOUILLON_STUDIES", "")) / "repair/results.duckdb"
CLAIMS = [claim for claim in claims.CLAIMS if claim.study == "repair"]
STORY = CLAIMS[:5]
"""Without these there is nothing to tell."""


@pytest.fixture(scope="module")
def plan():
    raw, entries = compose(["recipe=repair_study"])
    facts = Facts(
        task="question-answering", data_fingerprint="data", models=entries["model"], default_model="minilm",
        accepts={"onnxruntime": Format.ONNX}, known_targets=tuple(entries["target"]), export_version=1,
        channel_multiple=8,
    )  # fmt: skip
    return make_plan(parse(raw["recipe"]), facts)


def test_every_claim_query_and_picture_is_about_models_of_the_recipe(plan):
    paths = {step.path for step in plan.steps}
    assert len(paths) == 26
    names = {one for shot in shots.SHOTS if shot.study == "repair" for one in shot.state["selected"]}
    assert names <= paths
    for claim in CLAIMS:
        quoted = [part for part in claim.sql.split("'")[1::2] if part.startswith(("everything", "linear", "threshold"))]
        assert {f"base/{name}" for name in quoted} <= paths


def test_what_breaks_and_what_mends_differ_in_the_normalisation_alone(plan):
    step = {step.path: step for step in plan.steps}
    broken, mild = step["base/everything30"].params, step["base/linear30"].params
    assert broken["sparsity"] == mild["sparsity"] == step["base/norms"].params["sparsity"] == 0.3
    assert {broken["scope"], mild["scope"]} == {"layer"}
    assert "norm" in broken["include"]
    assert "norm" not in mild["include"]
    assert step["base/everything30/restored"].params["include"] == ["norm"]


@pytest.mark.matrix
@pytest.mark.slow
def test_a_small_run_of_it(tmp_path):
    """A small BERT on a handful of real questions: every kind of step that the story is made of."""
    folder = Config.model_fields["data_folder"].default.expanduser()
    few = {"train": 32, "calibration": 8, "evaluation": 16, "length": 128, "train_length": 128}
    try:
        open_dataset({"dataset": "squad", **few}, folder)
    except DataError as error:
        pytest.skip(f"SQuAD cannot be had here: {error}")
    dropped = ("int8", "dynamic", "smoothed", "everything", "threshold", "norms", "linear30", "sparsegpt")
    place = Place(tmp_path)
    code, _, said = place.run(
        "recipe=repair_study", "model=tiny_bert", "bench=none", "recipe.tree.base.with.epochs=1",
        *(f"dataset.{name}={value}" for name, value in few.items()),
        *(f"~recipe.tree.base.then.{name}" for name in dropped),
        "~recipe.tree.base.then.linear50.then.distilled",
    )  # fmt: skip
    assert code == 0, said
    with open_results(place.results) as db:
        models = {name for (name,) in db.sql("SELECT model FROM scoreboard WHERE f1 IS NOT NULL").fetchall()}
        assert {f"base/everything30/restored/attention[sparsity={share}]/int8" for share in (0.4, 0.6)} < models
        assert {"base", "base/linear50/finetuned", "base/wanda"} < models
        gone = """SELECT model, sum(size - nonzeros) / sum(size) FROM layers
                  WHERE module_type = 'LayerNorm' AND parameter = 'weight' GROUP BY model"""
        zeros = dict(db.sql(gone).fetchall())
        assert zeros["base/everything30"] == pytest.approx(0.3, abs=0.01)
        assert zeros["base/everything30/restored"] == zeros["base"] == 0


@pytest.fixture(scope="module")
def store():
    """The finished study."""
    if not FINISHED.is_file():
        pytest.skip("BOUILLON_STUDIES names no folder with a finished repair study")
    with open_results(FINISHED) as db:
        yield db


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text[:40])
def test_the_store_decides_each_claim_and_bears_out_the_story(store, claim):
    holds, figures = fill.judge(store, claim.sql)
    assert None not in figures.values()
    assert holds or claim not in STORY, figures


def test_every_model_was_made_and_judged(store):
    assert store.sql("SELECT count(*) FROM models").fetchall() == [(26,)]
    assert store.sql("SELECT count(*) FROM scoreboard WHERE f1 IS NULL").fetchall() == [(0,)]
    ((base,),) = store.sql("SELECT f1 FROM scoreboard WHERE model = 'base'").fetchall()
    assert base > 0.6


def test_the_page_says_what_the_store_says(store):
    assert fill.filled(PAGE, {"repair": store}) == PAGE


def test_the_findings_of_the_broken_network_name_its_normalisation(store):
    found = store.sql(
        "SELECT DISTINCT site FROM findings WHERE model = 'base/everything30' AND kind = 'flattened_norm'"
    ).fetchall()
    assert found
    assert all("LayerNorm" in site for (site,) in found)


@pytest.mark.parametrize("shot", [shot for shot in shots.SHOTS if shot.study == "repair"], ids=lambda shot: shot.name)
def test_every_picture_shows_models_that_are_there(store, shot):
    assert shots.address(shot, FINISHED)
