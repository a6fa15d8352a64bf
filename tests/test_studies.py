"""The studies: their recipes' trees, and, where BOUILLON_STUDIES names a folder of finished ones, what their page says.

That folder holds `user`, `bias`, `bias_classes`, ..., each with its results.duckdb.
"""

import os
import re
import sys
from pathlib import Path

import pytest

from ops.core.operation import Format
from pipeline.cli.main import compose
from pipeline.measure.metrics.definitions import metric_records
from pipeline.plan.planner import make_plan
from pipeline.plan.recipe import parse
from pipeline.plan.steps import Facts
from pipeline.store.reader import open_results
from pipeline.store.writer import Store

STUDIES = Path(__file__).resolve().parents[1] / "scripts/studies"
sys.path.insert(0, str(STUDIES))

import claims  # noqa: E402 - scripts are no package
import fill  # noqa: E402
import shots  # noqa: E402

PAGE = (STUDIES / "README.md").read_text()
FINISHED = Path(os.environ.get("BOUILLON_STUDIES", ""))
NAMES = ("user", "bias", "bias_classes")
QUERIES = [(found["study"], found["sql"]) for found in fill.ANSWER.finditer(PAGE)]
CLAIMS = [(claim.study, claim.sql) for claim in claims.CLAIMS]


def planned(recipe):
    """Plan a recipe as the command line would, but for the data, which need not be here."""
    raw, entries = compose([f"recipe={recipe}"])
    facts = Facts(
        task="image-classification", data_fingerprint="data", models=entries["model"],
        default_model=(raw.get("model") or {}).get("name"), accepts={"onnxruntime": Format.ONNX},
        known_targets=tuple(entries["target"]), export_version=1, channel_multiple=8,
    )  # fmt: skip
    return make_plan(parse(raw["recipe"]), facts)


def roots(plan):
    return [step for step in plan.steps if step.parent is None]


def test_the_user_study_has_26_networks_in_two_trees_each_with_its_int8():
    plan = planned("user_study")
    floats = {step.key for step in plan.steps if step.format is Format.TORCH}
    int8 = [step for step in plan.steps if step.op == "quantize"]
    assert len(plan.steps) == 52
    assert [step.path for step in roots(plan)] == ["resnet50", "mobilenet_v2"]
    assert len(floats) == len(int8) == 26
    assert {step.parent for step in int8} == floats
    count = {root.path: sum(step.root == root.key for step in plan.steps) for root in roots(plan)}
    assert count == {"resnet50": 44, "mobilenet_v2": 8}


def test_the_user_study_shares_its_large_network_with_the_main_sweep_and_with_its_extra_question():
    large = roots(planned("user_study"))[0].key
    assert [step.key for step in roots(planned("resnet50_sweep"))] == [large]
    assert [step.key for step in roots(planned("user_study_norms"))] == [large]


def test_the_second_pruning_goes_on_from_a_network_that_is_there_anyway():
    plan = planned("user_study")
    by_key = plan.by_key()
    assert by_key[plan.aliases["resnet50/iterative"]].path == "resnet50/magnitude[sparsity=0.5]"
    again = next(step for step in plan.steps if step.path == "resnet50/iterative/finetuned/magnitude")
    assert by_key[again.parent].path == "resnet50/magnitude[sparsity=0.5]/finetuned"


def test_the_bias_study_trains_three_times_and_prunes_alike():
    plan = planned("bias_study")
    assert [step.seed for step in roots(plan)] == [0, 1, 2]
    branches = [
        sorted(step.path.partition("/")[2] for step in plan.steps if step.root == root.key) for root in roots(plan)
    ]
    classes = planned("bias_study_classes")
    assert branches == [sorted(step.path.partition("/")[2] for step in classes.steps)] * 3
    assert len({step.key for step in plan.steps}) == len(plan.steps) == 36


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A store with every metric and no model."""
    results = tmp_path_factory.mktemp("studies") / "results.duckdb"
    store = Store(results)
    store.write(metric_records())
    store.publish()
    store.close()
    with open_results(results) as db:
        yield db


@pytest.mark.parametrize("sql", [sql for _, sql in QUERIES + CLAIMS])
def test_every_query_of_the_page_and_of_the_claims_is_one_that_the_store_understands(empty, sql):
    assert empty.sql(sql).columns


def test_a_claim_that_the_store_does_not_decide_is_no_verdict(empty):
    with pytest.raises(ValueError, match=re.escape("The store does not decide this claim (rows: [")):
        fill.judge(empty, claims.CLAIMS[0].sql)
    assert f"| {claims.CLAIMS[0].text} | not measured |  |" in fill.verdicts(empty, claims.CLAIMS[0].study)


def test_tables_are_written_between_their_marks_and_nowhere_else(empty):
    page = "a\n```sql user\nSELECT 1.5 AS x, 'y|z' AS y\n```\n\n<!-- answer -->\nold\n<!-- end -->\nb\n"
    page += "```sql other\nSELECT 2\n```\n\n<!-- answer -->\nkept\n<!-- end -->\n"
    table = "| x | y |\n| --- | --- |\n| 1.5 | y\\|z |\n"
    assert fill.filled(page, {"user": empty}) == page.replace("old\n", table)


def test_every_study_of_the_page_has_claims_and_the_page_shows_its_pictures():
    assert {study for study, _ in QUERIES} >= set(NAMES)
    assert {found["study"] for found in fill.VERDICTS.finditer(PAGE)} >= set(NAMES)
    assert set(re.findall(r"\(pictures/(\w+)\.png\)", PAGE)) >= {shot.name for shot in shots.SHOTS}
    for recipe in re.findall(r"recipe=(\w+)", PAGE):
        assert (STUDIES.parents[1] / f"conf/recipe/{recipe}.yaml").exists()


class Finished(dict):
    """Study -> its store; a test of one that is not there is skipped."""

    def __missing__(self, study):
        pytest.skip(f"{FINISHED or 'BOUILLON_STUDIES'} has no finished study '{study}'")


@pytest.fixture(scope="module")
def stores():
    """The finished studies."""
    if not os.environ.get("BOUILLON_STUDIES"):
        pytest.skip("BOUILLON_STUDIES names no folder of finished studies")
    paths = {name: FINISHED / name / "results.duckdb" for name in (*NAMES, "repair")}
    found = Finished({name: open_results(path) for name, path in paths.items() if path.exists()})
    yield found
    for db in found.values():
        db.close()


def test_the_page_says_what_the_stores_say(stores):
    assert fill.filled(PAGE, stores) == PAGE


@pytest.mark.parametrize(("study", "sql"), [pair for pair in CLAIMS if pair[0] in NAMES])
def test_the_store_decides_each_claim(stores, study, sql):
    holds, figures = fill.judge(stores[study], sql)
    assert holds in (True, False)
    assert None not in figures.values()


NEWEST = """
WITH newest AS (SELECT run_id FROM runs WHERE recipe = ? ORDER BY started_at DESC LIMIT 1),
made AS (SELECT DISTINCT model_key FROM steps JOIN newest USING (run_id) WHERE job = 'operation' AND outcome IN ('done', 'cached'))
SELECT count(*), count(*) FILTER (m.depth = 0), count(*) FILTER (board.accuracy IS NULL)
FROM made JOIN models m USING (model_key) LEFT JOIN scoreboard board USING (model_key)
"""


@pytest.mark.parametrize(("study", "models", "trees"), [("user", 52, 2), ("bias", 36, 3), ("bias_classes", 12, 1)])
def test_every_model_of_the_newest_run_was_made_and_judged(stores, study, models, trees):
    (recipe, *_) = shots.RECIPES[study]
    assert stores[study].execute(NEWEST, [recipe]).fetchone() == (models, trees, 0)


@pytest.mark.parametrize("shot", shots.SHOTS, ids=lambda shot: shot.name)
def test_every_picture_shows_models_that_are_there(stores, shot):
    assert stores[shot.study]
    assert shots.address(shot, FINISHED / shot.study / "results.duckdb") is not None
