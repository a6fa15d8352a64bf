"""A run as JSON lines: every line is an object, and together they say what the run did."""

import json

import pytest

from pipeline.cli import main
from tests.pipeline.command import CONF, Place

WORDS = (
    "recipe=small", "bench=none", "executor=inprocess", "recipe.tree.base.with.samples=64", "~recipe.tree.base.then.int8",
    "~recipe.tree.base.then.pruned.then",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("json"))


@pytest.fixture
def call(place, monkeypatch, capsys):
    """Run the command line; return its exit code and the events."""
    monkeypatch.chdir(place.folder)

    def run(*words):
        code = main.run(["--config-dir", str(CONF), "--json", *words])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_a_run_tells_its_plan_its_jobs_and_its_end(call, place):
    code, events = call(*WORDS)
    assert code == 0
    plan = next(event for event in events if event["event"] == "plan")
    assert [(step["path"], step["parent"], step["present"]) for step in plan["steps"]] == [
        ("base", None, False), ("base/pruned", "base", False),
    ]  # fmt: skip
    ended = [event for event in events if event["event"] == "job" and event["state"] != "running"]
    assert len(ended) == plan["jobs"] == plan["missing"]
    assert {event["state"] for event in ended} == {"done"}
    assert all(event["seconds"] > 0 for event in ended)
    assert events[-1]["event"] == "result"
    assert events[-1]["succeeded"]
    assert place.sql("SELECT run_id FROM runs") == [(events[-1]["run_id"],)]
    code, events = call(*WORDS, "plan_only=true")
    (plan,) = [event for event in events if event["event"] == "plan"]
    assert (code, plan["missing"], [step["present"] for step in plan["steps"]]) == (0, 0, [True, True])
    code, events = call(*WORDS, "explain=base/pruned")
    assert events[-1]["lines"][0].startswith("'base/pruned' will not run")


@pytest.mark.parametrize(
    ("words", "where", "nearest"),
    [
        (("recipe=smal",), None, "small"),
        (("recipe=small", "recipe.tree.base.op=trian"), "Step 'base'", "train"),
        (("recipe=small", "recipe.sed=1"), "recipe", "seed"),
        (("recipe=small", "--unknown"), None, None),
    ],
)
def test_a_mistake_is_an_object_with_its_place_and_the_nearest_fix(call, words, where, nearest):
    code, events = call(*words)
    assert code == 2
    (error,) = events
    assert (error["event"], error["code"]) == ("error", 2)
    assert (error["problems"][0]["place"], error["problems"][0]["nearest"]) == (where, nearest)
