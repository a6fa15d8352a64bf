"""What a decision is told against: the original; and what is said, drawn and proposed where noise is unknown or models are of no use."""

from dataclasses import replace

import pytest

from tests.viewer.test_decide import MODELS, decided, results_of
from viewer.decide.plot import decision_plot
from viewer.decide.recommendation import Aim, recommend
from viewer.results.lineage import Node
from viewer.results.results import Results
from viewer.session.proposals import original_of, proposals


def test_where_noise_is_unknown_nothing_is_said_to_be_measurable_or_drawn_alike():
    models = {"base": (0.9, (10.0, 0.1), 9e3), "same": (0.9, (10.0, 0.1), 5e3), "less": (0.899, (9.0, 0.1), 4e3)}
    results, budget = results_of(models), [("size", None, 4.5e3)]
    _, text = decided(results, Aim.SMALLEST, budget)
    assert text.startswith(
        "Every model within the budget loses accuracy against “base”. Least loses “less”: accuracy noise unknown"
    )
    text = decided(results, Aim.FASTEST)[1]
    assert text.startswith("Ship “base” as it is, since nothing measurably faster keeps its accuracy"), (
        "of times it is known"
    )
    plot = decision_plot(results, recommend(results, Aim.SMALLEST, "accuracy", []), "size", [], [])
    assert plot.bands == []
    assert [mark["text"] for mark in plot.marks if mark["kind"] == "worse"] == [
        "less: accuracy 89.9% · size 4 kB · loss (noise unknown) of accuracy"
    ]
    known = results_of(MODELS, broken=["stuck"])
    assert decision_plot(known, recommend(known, Aim.SMALLEST, "accuracy", [], "base"), "size", [], []).bands


def test_labels_of_the_plot_tell_its_models_apart():
    end = " step after step after step, to the very same end"
    models = {f"{name}{end}": ((0.9, 0.01), 10.0, size) for name, size in [("one", 9e3), ("two", 8e3), ("three", 7e3)]}
    results = results_of(models)
    chosen = recommend(results, Aim.SMALLEST, "accuracy", [])
    plot = decision_plot(results, chosen, "size", [], range(3))
    labels = [mark["label"] for mark in plot.marks]
    assert len(set(labels)) == 3
    assert all(0 < len(label) < 30 for label in labels)


def _tree(edges, qualities, *, op="train"):
    """Results of name -> (parent, kind) with a quality each; the roots were made by an operation, or by none that is named."""
    results = results_of({name: ((quality, 0.01), 10.0, 9e3) for name, quality in qualities.items()})
    nodes = [
        Node(name, parent, name, order=at, kind=kind, op=op if parent is None else kind)
        for at, (name, (parent, kind)) in enumerate(edges.items())
    ]
    return Results(replace(results.snapshot, nodes=nodes))


TRAINED_ON = {
    "base": (None, "base"),
    "tuned": ("base", "finetune"),
    "pruned": ("base", "prune"),
    "again": ("tuned", "prune"),
}


@pytest.mark.parametrize(
    ("edges", "op", "original"),
    [
        (TRAINED_ON, "train", "base"),
        (TRAINED_ON, "base", "tuned"),
        ({name: TRAINED_ON[name] for name in ("base", "tuned")}, "base", "base"),
        ({name: TRAINED_ON[name] for name in ("base", "tuned", "again")}, "load", "tuned"),
        ({**TRAINED_ON, "again": ("base", "prune")}, "train", "base"),
    ],
    ids=["recipe", "imported network", "nothing compressed", "loaded, then trained", "trained on beside it"],
)
def test_the_original_is_what_models_were_compressed_from(edges, op, original):
    qualities = {"base": 0.8, "tuned": 0.95, "pruned": 0.7, "again": 0.75}
    results = _tree(edges, {name: qualities[name] for name in edges}, op=op)
    assert results.keys[original_of(results, "accuracy")] == original


def test_a_model_of_no_use_is_not_proposed_though_it_is_the_smallest():
    models = {
        "base": ((0.9, 0.01), 10.0, 9e3),
        "small": ((0.8, 0.01), 10.0, 5e3),
        "useless": ((0.1, 0.01), 10.0, 1e3),
    }
    told = {each.key: each.why for each in proposals(results_of(models), "accuracy", [])}
    assert told == {"base": "the original", "small": "smallest on the Pareto front that keeps half of the accuracy"}
    models["useless"] = ((0.46, 0.01), 10.0, 1e3)
    told = {each.key: each.why for each in proposals(results_of(models), "accuracy", [])}
    assert told["useless"] == "smallest on the Pareto front"
