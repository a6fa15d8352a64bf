"""What is said of a model that a rule found odd."""

from datetime import datetime

import pytest

from pipeline.store.records import run_records
from tests.studies import study
from tests.viewer.stores import key_of, publish
from viewer.compare.cards import model_card, selected_alone
from viewer.results.results import load_results
from viewer.session.state import ViewState

ROOT, ODD = (key_of(f"resnet50trained{end}") for end in ("", "-mag50"))
RULES = ("a_few_pay", "constant_predictor", "contended", "unsteady_latency")


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    path = tmp_path_factory.mktemp("facts") / "results.duckdb"
    store = publish(path, study(6))
    when = datetime(2026, 1, 2)
    store.write(
        [
            run_records.Lint(ODD, rule, "onnxruntime", f"<b>{rule}</b> was seen", f"mend {rule}", {}, "run-1", when)
            for rule in RULES
        ]
    )
    store.write([run_records.Lint(ROOT, "", "", "", "", {}, "run-1", when)])  # checked, and nothing found
    store.publish()
    store.close()
    return load_results(path)


def test_the_card_under_the_pointer_names_what_is_odd_and_stays_small(checked):
    card = model_card(checked, checked.forest[ODD])
    assert "Worth a look" in card
    assert card.count("<dt>") == 3
    assert "a few pay on onnxruntime" in card
    assert "and 1 more" in card
    assert "mend" not in card


def test_the_selection_says_all_of_it_and_what_to_try(checked):
    pane = selected_alone(checked, ViewState(), ODD)
    assert "<h2>resnet50trained-mag50</h2>" in pane
    for rule in RULES:
        assert f"&lt;b&gt;{rule}&lt;/b&gt; was seen" in pane
        assert f"Try: mend {rule}" in pane
    assert " more: select" not in pane


def test_a_model_that_was_found_in_order_has_no_such_part(checked):
    assert "Worth a look" not in selected_alone(checked, ViewState(), ROOT)


def test_what_tells_models_apart_is_said_briefly_numbers_first(tmp_path):
    trees = study(3)
    trees["operations"] = [
        {"name": "train", "parameters": []},
        {"name": "prune", "parameters": ["include", "sparsity", "seed"]},
    ]
    for model, include in zip(trees["models"][1:], ([], ["conv", "norm"]), strict=True):
        model["operation"] = {
            "name": "prune",
            "parameters": {"include": include, "sparsity": 0.5 + len(include), "seed": 0},
        }
    publish(tmp_path / "results.duckdb", trees).close()
    seen = load_results(tmp_path / "results.duckdb")
    told = [seen.text.telling_text(seen.forest[key_of(model["id"])]) for model in trees["models"]]
    assert told == ["", "sparsity 0.5", "sparsity 2.5, include conv+norm"]


def test_a_card_says_nothing_twice_and_names_a_nested_parameter(tmp_path):
    trees = study(3)
    for model, name in zip(trees["models"], ("small", "large", "small"), strict=True):
        entry = {"name": name, "config": {"depths": [3, 4]}}
        model["operation"] = {"name": "train", "parameters": {"model": entry, "include": [], "epochs": 2}}
    publish(tmp_path / "results.duckdb", trees).close()
    seen = load_results(tmp_path / "results.duckdb")
    node = seen.forest[key_of(trees["models"][1]["id"])]
    card = model_card(seen, node)
    assert card.count("large") == 1
    assert "depths" not in card
    assert "include" not in card
    assert "epochs" in card
    assert "depths" in model_card(seen, node, whole=True)
    assert seen.text.telling_text(node.brief) == "model large"
    assert seen.text.operation(node.key) == "train epochs 2, include [], model large"
