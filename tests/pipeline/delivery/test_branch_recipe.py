"""The recipe of a branch: what is above it, what may be added, and whose results it may begin at."""

from datetime import datetime
from pathlib import Path

import pytest

from pipeline.delivery.branches import branch_recipe as module
from pipeline.delivery.branches.branch_recipe import (
    BranchError,
    branch_recipe,
    branch_settings,
    branch_source,
    check_models,
)
from pipeline.store.queries.model_facts import Ancestor, Descent, RunFacts
from pipeline.sweep.known_data import KnownData

NET = {"name": "net", "builder": "residual_cnn", "depths": [1], "widths": [8]}
TREE = {
    "base": {
        "op": "train",
        "with": {"epochs": 2},
        "then": {
            "other": {"op": "palettize"},
            "pruned": {
                "op": "magnitude_prune",
                "with": {"sparsity": {"each": [0.5, 0.8]}},
                "then": {"int8": {"op": "quantize"}, "tuned": {"op": "finetune", "with": {"teacher": "base/other"}}},
            },
        },
    }
}
DATA = KnownData(
    {"dataset": "digits"},
    Path("/data"),
    ("mine",),
    {"dataset": "digits", "root": "${oc.env:ROOT}"},
    frozenset({"own", "shown"}),
    frozenset({"own"}),
)


def descent(path="base/pruned[sparsity=0.8]", model=NET, **config):
    paths = ["/".join(path.split("/")[: at + 1]) for at in range(path.count("/") + 1)]
    ops = {"base": "train", "pruned": "magnitude_prune", "tuned": "finetune", "other": "palettize"}
    lineage = [
        Ancestor(
            one,
            one,
            ops[one.rpartition("/")[2].partition("[")[0]],
            1,
            "torch",
            {"model": model} if one == "base" else {},
            {},
        )
        for one in [*paths, *(["base/other"] if path.endswith("tuned") else [])]
    ]
    run = {
        "recipe": {"name": "r", "seed": 3, "model": "net", "tree": TREE},
        "dataset_key": "data",
        "batch_size": 7,
        **config,
    }
    return Descent(path, tuple(lineage), RunFacts("run", "r", run, {}, {}, None, datetime(2026, 1, 1)))


@pytest.fixture(autouse=True)
def own_data(monkeypatch):
    monkeypatch.setattr(module, "recall", lambda key: DATA if key == "data" else None)


def source(**more):
    return branch_source(descent(**more), "own")


def test_all_above_is_as_it_was_and_the_steps_stand_below():
    recipe = branch_recipe(source(), {"fixed": {"op": "restore", "with": {"include": ["norm"]}}})
    assert recipe == {
        "name": "r",
        "seed": 3,
        "dataset": {"dataset": "digits", "root": "${oc.env:ROOT}"},  # the person's own note, with its reference
        "tree": {
            "base": {
                "op": "train",
                "with": {"epochs": 2, "model": NET},
                "then": {
                    "pruned": {
                        "op": "magnitude_prune",
                        "with": {"sparsity": {"each": [0.8]}},
                        "then": {"fixed": {"op": "restore", "with": {"include": ["norm"]}}},
                    }
                },
            }
        },
    }


def test_models_that_steps_above_refer_to_are_there_too():
    recipe = branch_recipe(source(path="base/pruned[sparsity=0.8]/tuned"), {"b": {"op": "palettize"}})
    assert recipe["tree"]["base"]["then"]["other"] == {"op": "palettize"}
    assert recipe["tree"]["base"]["then"]["pruned"]["then"]["tuned"]["then"] == {"b": {"op": "palettize"}}
    with pytest.raises(BranchError, match=r"'base/other'.*write another name"):
        module.branch_recipe(
            branch_source(descent("base/pruned[sparsity=0.8]/tuned")._replace(key="base"), "own"),
            {"other": {"op": "palettize"}},
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": {"op": "finetune", "with": {"teacher": "${oc.env:HOME}"}}}, "write the value out"),
        ({"${a}": {"op": "palettize"}}, "write the value out"),
        (
            {"a": {"op": "train", "with": {"model": {"builder": "python", "factory": "os:system"}}}},
            "leave the entry out",
        ),
        (
            {"a": {"op": "palettize", "then": {"b": {"op": "load", "with": {"model": {"each": [NET]}}}}}},
            "leave the entry out",
        ),
        ({f"a{at}": {"op": "palettize"} for at in range(201)}, "201 steps; at most 200"),
        ({"a": {"op": "palettize", "with": {"bits": {"each": list(range(300))}}}}, "300 steps; at most 200"),
    ],
)
def test_steps_name_no_file_no_function_and_no_variable(change, message):
    with pytest.raises(BranchError, match=message):
        branch_recipe(source(), change)


def test_results_of_others_and_their_plugins_are_refused():
    with pytest.raises(BranchError, match="not of runs of yours on this machine alone"):
        branch_source(descent(), "somebody's")
    with pytest.raises(BranchError, match="not of runs of yours on this machine alone"):
        source(dataset_key="unknown")
    assert source(plugins=["mine"]).data is DATA
    with pytest.raises(BranchError, match="plugins: theirs"):
        source(plugins=["mine", "theirs"])


@pytest.mark.parametrize(
    ("entry", "refused"),
    [
        (NET, None),
        ({**NET, "widths": [99]}, None),  # it names nothing
        ({"name": "m", "builder": "python", "factory": "mine:make"}, None),
        ({"name": "m", "builder": "python", "factory": "os:system"}, r"'m' \(factory: os:system\)"),
        ({"name": "m", "builder": "python", "factory": "mine:make", "weights": "/etc/passwd"}, "weights: /etc/passwd"),
        (
            {"name": "m", "builder": "python", "factory": "mine:make", "arguments": {"checkpoint": "/tmp/evil.pt"}},
            "arguments: .*evil",
        ),
        ({"name": "m", "builder": "onnx", "path": "/etc/secret.onnx"}, "path: /etc/secret.onnx"),
        ({"name": "m", "builder": "nothing"}, "No model builder is called 'nothing'"),
    ],
)
def test_models_that_name_files_or_functions_are_those_of_conf(entry, refused):
    entries = {"net": NET, "mine": {"name": "mine", "builder": "python", "factory": "mine:make"}}
    if refused is None:
        check_models(source(model=entry), entries)
    else:
        with pytest.raises(BranchError, match=refused):
            check_models(source(model=entry), entries)


def test_it_runs_as_the_run_that_made_the_model_and_with_the_persons_own_data():
    settings = branch_settings(source(bench={"name": "none"}, executor={"workers": 2}), Path("r.duckdb"), Path("w"))
    assert settings == {
        "bench": {"name": "none"},
        "executor": {"workers": 2},
        "batch_size": 7,
        "plugins": (),
        "data_folder": Path("/data"),
        "results": Path("r.duckdb"),
        "workspace": Path("w"),
    }
