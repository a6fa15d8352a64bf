"""Sensitivity and `allocate`, from the command line to the store; figures against computations of their own."""

import json
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pytest
import yaml

from ops.core.errors import BadParamsError
from pipeline.cli.main import run
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.keys import Key
from pipeline.datasets.open import open_dataset
from pipeline.models import storage
from pipeline.plan.allocation import read_allocation
from pipeline.sweep.allocation.settle import request_at

TREE = {
    "base": {
        "op": "toy_base",
        "then": {
            "mixed": {
                "allocate": {
                    "candidates": {
                        "palettize": {"bits": [1, 3]},
                        "magnitude_prune": {"sparsity": [0.5], "scope": "layer"},
                    },
                    "budget": {"compressed_weight_bytes": 0.5},
                    "samples": 64,
                },
                "then": {"below": {"op": "toy_add", "with": {"amount": 0.0}}},
            }
        },
    }
}
MODEL = {"name": "toy", "builder": "toy_net", "width": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a recipe, and the words of its runs."""
    place = tmp_path_factory.mktemp("sensitivity")
    for group, name, content in (
        ("recipe", "mix", {"name": "mix", "model": "wide", "dataset": "digits", "tree": TREE}),
        ("model", "wide", MODEL),
    ):
        (place / "conf" / group).mkdir(parents=True)
        (place / "conf" / group / f"{name}.yaml").write_text(yaml.dump(content, sort_keys=False))
    return place


def words(folder, *more):
    return [
        f"results={folder / 'results.duckdb'}",
        f"workspace={folder / 'work'}",
        "plugins=[tests.pipeline.toy]",
        "executor=inprocess",
        *more,
    ]


@pytest.fixture(scope="module")
def command(folder):
    """The sensitivity of the base, as JSON."""
    file = folder / "sensitivity.json"
    arguments = ["sensitivity", "recipe=mix", "at=base", *words(folder), "samples=64"]
    arguments += ["candidates={palettize:{bits:[1,3]},magnitude_prune:{sparsity:[0.5],scope:layer}}"]
    assert run([*arguments, "--json", str(file), "--config-dir", str(folder / "conf")]) == 0
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def finished(folder, command):
    """The store after the whole recipe."""
    assert run(["recipe=mix", "bench=none", *words(folder), "--config-dir", str(folder / "conf")]) == 0
    with duckdb.connect(str(folder / "results.duckdb"), read_only=True) as db:
        yield db


def kl_by_hand(base, changed, pictures):
    """Mean divergence of two networks of two linear layers, in float64."""

    def log_p(weights):
        values = pictures
        for weight, bias in weights:
            values = values @ weight.T + bias
        values = values - values.max(axis=1, keepdims=True)
        return values - np.log(np.exp(values).sum(axis=1, keepdims=True))

    reference, other = log_p(base), log_p(changed)
    rows = (np.exp(reference) * (reference - other)).sum(axis=1)
    return rows.mean(), rows.std(ddof=1) / len(rows) ** 0.5


def weights_of(model):
    return [
        tuple(tensor.detach().numpy().astype(np.float64) for tensor in (layer.weight, layer.bias))
        for layer in (model.module[1], model.module[2])
    ]


def test_damage_is_that_of_one_layer_alone(folder, command, finished):
    (key,) = finished.execute("SELECT model_key FROM models WHERE name = 'base'").fetchone()
    model = storage.load(ArtifactStore(folder / "work" / "artifacts").folder(Key(key)))
    data = open_dataset({"name": "digits", "dataset": "digits"}, Path())
    batch = next(iter(data.batches("calibration", batch_size=64, samples=64)))
    pictures = batch.inputs["pixel_values"].reshape(64, -1).astype(np.float64)
    base = weights_of(model)
    rows = {(row["candidate"], row["layer"]): row for row in command["layers"]}
    assert set(rows) == {
        (label, layer)
        for label in ("palettize bits=1", "palettize bits=3", "magnitude_prune sparsity=0.5 scope=layer")
        for layer in ("1", "2")
    }
    for number in (0, 1):
        changed = list(base)
        weight, bias = base[number]
        order = np.argsort(np.abs(weight).ravel(), kind="stable")
        pruned = weight.ravel().copy()
        pruned[order[: round(weight.size / 2)]] = 0
        changed[number] = pruned.reshape(weight.shape), bias
        row = rows["magnitude_prune sparsity=0.5 scope=layer", str(number + 1)]
        mean, error = kl_by_hand(base, changed, pictures)
        assert row["kl"] == pytest.approx(mean, rel=1e-3)
        assert row["kl_se"] == pytest.approx(error, rel=1e-3)
        assert row["weight_bytes"] == row["macs"] == 0
        assert row["compressed_weight_bytes"] > 0
        assert row["instances"] == 64


def test_estimates_are_near_where_changes_are_small(command):
    for row in command["layers"]:
        if row["candidate"] == "palettize bits=3":
            assert row["score"] == pytest.approx(row["kl"], rel=0.5)
    assert command["score_agreement"]["rank_correlation"] > 0.7


def test_the_choice_is_an_ordinary_step_with_predictions(finished):
    query = "SELECT choices, predicted_damage, measured_damage, predicted, measured, before, model FROM allocations"
    ((choices, predicted_damage, measured_damage, predicted, measured, before, name),) = finished.execute(
        query
    ).fetchall()
    choices, predicted, measured, before = map(json.loads, (choices, predicted, measured, before))
    assert set(choices) <= {"1", "2"}
    ((op, params),) = finished.execute("SELECT op, params FROM models WHERE name LIKE '%/mixed'").fetchall()
    assert op in ("palettize", "magnitude_prune")
    strength = json.loads(params)["bits" if op == "palettize" else "sparsity"]
    assert set(strength) <= set(choices)
    assert predicted["compressed_weight_bytes"] <= 0.5 * before["compressed_weight_bytes"]
    assert (
        measured["compressed_weight_bytes"] == predicted["compressed_weight_bytes"]
    )  # tensor by tensor they add up exactly
    rows = finished.execute("SELECT layer, candidate, kl FROM sensitivities").fetchall()
    kl = {(layer, candidate): value for layer, candidate, value in rows}
    assert predicted_damage == pytest.approx(sum(kl[pair] for pair in choices.items()))
    assert measured_damage > 0
    assert name.endswith("mixed")
    assert finished.execute("SELECT count(*) FROM models WHERE name LIKE '%/mixed/below'").fetchone() == (1,)


def test_the_run_says_what_ordinary_recipe_it_came_to(finished):
    configs = [
        json.loads(text) for (text,) in finished.execute("SELECT config FROM runs ORDER BY started_at").fetchall()
    ]
    written = json.dumps(configs[-1]["recipe"]["tree"])
    assert "allocate" not in written
    assert '"mixed"' in written


def test_nothing_is_measured_twice(folder, finished):
    query = "SELECT outcome, count(*) FROM steps WHERE job = 'sensitivity' GROUP BY outcome"
    counts = dict(finished.execute(query).fetchall())
    assert counts["done"] == 3
    assert counts["cached"] >= 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": {"compressed_weight_bytes": 0.01}}, "Step 'base/mixed': compressed_weight_bytes <= "),
        ({"budget": {"macs": 0.5}}, "macs: no candidate changes it"),
        ({"budget": {"weight_byte": 0.5}}, "no cost is called 'weight_byte'. Did you mean 'weight_bytes'?"),
        ({"candidates": {"paletize": {"bits": [1]}}}, "no operation is called 'paletize'. Did you mean 'palettize'?"),
        ({"candidates": {"palettize": {"bits": [12]}}}, "palettize bits=12"),
        ({"candidates": {"toy_tune": {}}}, "'toy_tune' is no candidate"),
        (
            {"candidates": {"channel_prune": {"ratio": 0.5}}},
            "'channel_prune' makes the layers behind those it cuts narrower",
        ),
        ({"exclude": ["3"]}, "allocate.exclude: '3' matches no layer that can change."),
        ({"budgets": {}}, "unknown word 'budgets'. Did you mean 'budget'?"),
        ({"damage": "accuracy"}, "allocate.damage: expected one of kl, loss, flips"),
        ({"budget": {"compressed_weight_bytes": 1.0}}, "the budget is met by 'base' as it is"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder, finished, capsys, change, message):
    request = TREE["base"]["then"]["mixed"]["allocate"] | change
    tree = {"base": TREE["base"] | {"then": {"mixed": {"allocate": request}}}}
    (folder / "conf" / "recipe" / "wrong.yaml").write_text(
        yaml.dump({"name": "wrong", "model": "wide", "dataset": "digits", "tree": tree})
    )
    assert run(["recipe=wrong", "bench=none", *words(folder), "--config-dir", str(folder / "conf")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert "base/mixed" in lines[0]


def test_times_of_layers_are_measured_and_bound(folder, finished, capsys):
    """How long a layer takes is the machine's affair: that no choice reaches a nanosecond, and every model an hour, is not."""
    candidates = {"factorize": {"energy": [0.5]}}
    request = {"candidates": candidates, "budget": {"seconds": "1 ns"}, "samples": 64}
    tree = {"base": TREE["base"] | {"then": {"mixed": {"allocate": request}}}}
    recipe = folder / "conf" / "recipe" / "timed.yaml"
    recipe.write_text(yaml.dump({"name": "timed", "model": "wide", "dataset": "digits", "tree": tree}))
    arguments = ["recipe=timed", "bench=none", *words(folder), "--config-dir", str(folder / "conf")]
    assert run(arguments) != 0
    assert "seconds <= 1e-09 cannot be met: the candidates reach" in capsys.readouterr().err
    recipe.write_text(recipe.read_text().replace("1 ns", "1 h"))
    assert run(arguments) == 2
    assert "the budget is met by 'base' as it is" in capsys.readouterr().err
    file = folder / "times.json"
    sensitivity = ["sensitivity", "recipe=mix", "at=base", "times=true", "samples=64", *words(folder)]
    sensitivity += ["candidates={factorize:{energy:[0.5]}}", "--json", str(file), "--config-dir", str(folder / "conf")]
    assert run(sensitivity) == 0
    found = json.loads(file.read_text())
    times = {row["layer"]: row for row in found["times"]}
    assert times.keys() == {"1", "2", ""}, "every layer, and all that belongs to none"
    assert all(row["before_seconds"] >= 0 and row["rounds"] > 1 for row in times.values())
    assert times["1"]["before_seconds"] > 0
    sampled = [row for row in times.values() if row["whole_seconds"] is not None]
    parts, whole, error = found["time_additivity"]["factorize energy=0.5"]
    assert parts == pytest.approx(sum(row["saved_seconds"] for row in sampled))
    assert whole == pytest.approx(sum(row["whole_seconds"] for row in sampled))
    assert error == pytest.approx(sum(row["whole_se"] ** 2 for row in sampled) ** 0.5)


@pytest.mark.parametrize("bound", [0.5, 2])
def test_a_time_without_a_unit_is_refused(bound):
    with pytest.raises(BadParamsError, match=r"budget\.seconds: expected a time such as 5 ms, or a share such as 60%"):
        read_allocation({"candidates": {}, "budget": {"seconds": bound}}, "allocate")


def test_a_bound_on_time_needs_a_target_that_tells_it():
    plan = SimpleNamespace(
        recipe=SimpleNamespace(targets=("openvino",)), facts=SimpleNamespace(profilers=frozenset({"onnxruntime"}))
    )
    request = read_allocation({"candidates": {}, "budget": {"seconds": "5 ms"}}, "allocate")
    assert request.budgets[0].absolute(1.0) == pytest.approx(0.005)
    with pytest.raises(BadParamsError, match="no target of the recipe tells the time of layers"):
        request_at(SimpleNamespace(key="k"), (), request, plan)


def test_a_step_that_is_not_planned_yet_cannot_be_forced(folder, finished, capsys):
    request = TREE["base"]["then"]["mixed"]["allocate"] | {"samples": 32}
    tree = {"base": TREE["base"] | {"then": {"mixed": {"allocate": request}}}}
    (folder / "conf" / "recipe" / "early.yaml").write_text(
        yaml.dump({"name": "early", "model": "wide", "dataset": "digits", "tree": tree})
    )
    arguments = ["recipe=early", "force=base/mixed", *words(folder), "--config-dir", str(folder / "conf")]
    assert run(arguments) == 2
    assert (
        "Step 'base/mixed' is planned when the layers of the model above it have been measured"
        in capsys.readouterr().err
    )
