"""Any recipe, right or wrong, runs or is refused before anything runs, with the step's path: none gives a traceback."""

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from pipeline.core.artifacts import ArtifactStore
from pipeline.engine.executors.inprocess import InProcess
from pipeline.engine.jobs import Done
from pipeline.engine.runner import run
from pipeline.engine.schedule import jobs_of
from pipeline.engine.stage import Planning
from pipeline.plan.planner import make_plan
from pipeline.plan.recipe import RecipeError, parse

numbers = st.one_of(st.floats(0, 1), st.integers(-2, 3), st.just("text"), st.none())
values = st.one_of(numbers, st.builds(lambda items: {"each": items}, st.lists(numbers, max_size=2)))
right_steps = st.one_of(
    st.just({"op": "toy_onnx"}),
    st.builds(lambda amount: {"op": "toy_add", "with": {"amount": amount}}, st.floats(0, 1)),
    st.builds(
        lambda amounts: {"op": "toy_add", "with": {"amount": {"each": amounts}}},
        st.lists(st.integers(0, 3), min_size=1, max_size=2),
    ),
    st.builds(lambda name: {"op": "toy_tune", "with": {"teacher": name}}, st.sampled_from(["base", "a", "b"])),
    st.just({"op": "toy_tune"}),
)
odd_steps = st.one_of(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["toy_add", "toy_tune", "toy_onnx", "toy_base", "toy_ad", 3])},
        optional={
            "with": st.one_of(
                st.dictionaries(st.sampled_from(["amount", "fraction", "teacher", "amunt"]), values, max_size=2),
                st.just([]),
            ),
            "thne": st.just({}),
        },
    ),
    st.sampled_from(["toy_add", None, 1, []]),
)
names = st.sampled_from(["a", "b", "c", "a/b", ""])


def trees(steps):
    """Mappings from names to steps, a few levels deep."""
    return st.recursive(
        st.dictionaries(st.sampled_from(["a", "b", "c"]), steps, max_size=2),
        lambda below: st.dictionaries(
            names,
            st.tuples(steps, below).map(
                lambda pair: {**pair[0], "then": pair[1]} if isinstance(pair[0], dict) else pair[0]
            ),
            max_size=2,
        ),
        max_leaves=5,
    )


recipes = st.one_of(
    trees(right_steps).map(lambda tree: {"name": "r", "tree": {"base": {"op": "toy_base", "then": tree}}}),
    trees(st.one_of(right_steps, odd_steps)).map(
        lambda tree: {"name": "r", "tree": {"base": {"op": "toy_base", "then": tree}}}
    ),
    trees(odd_steps).map(lambda tree: {"name": "r", "tree": tree}),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("generated")


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(recipes)
def test_a_recipe_runs_or_is_refused_with_the_path_at_fault(facts, workplace, place, config):
    try:
        plan = make_plan(parse(config), facts)
    except RecipeError as error:
        event("refused")
        for problem in error.problems:
            note(problem)
            assert re.match(r"(Step '|Steps '|recipe(\.\w+)*: )", problem)
        return
    event("runs")
    workplace = replace(workplace, artifacts=place / "artifacts", scratch=place / "scratch")
    jobs = [job for job in jobs_of(Planning(plan, {"onnxruntime": {}})) if job.stage in ("operation", "export")]
    torch_only = [job for job in jobs if job.makes_model and plan.by_key()[job.model].format.value == "torch"]
    outcomes = [
        outcome for _, outcome in run(torch_only, InProcess(workplace), ArtifactStore(workplace.artifacts)) if outcome
    ]
    assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes
