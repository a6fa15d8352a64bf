"""Studies of another program in the viewer: names, units, verdicts and pages of figures that have no intervals."""

import html
import json
import re

import numpy as np
import pytest

from pipeline.store.interchange.compress_and_compare import import_file
from pipeline.store.writer import Store
from tests.viewer.visits import visit
from viewer.compare.cards import model_card
from viewer.compare.details_view import Details
from viewer.compare.effects.effects import Effect
from viewer.compare.effects.words import describe_effect
from viewer.decide.rail_view import Rail
from viewer.decide.recommendation import Aim, recommend
from viewer.decide.runners_up import runners_up
from viewer.format.metrics import MeasuredValue, counts_bytes
from viewer.overview.budget_text import BudgetError, parse_budgets
from viewer.overview.near_miss import near_miss
from viewer.results.lineage import Forest, Node
from viewer.results.model_text import short_ends
from viewer.results.names import unique_names
from viewer.session.proposals import proposals

PRIMARY = {"primary": True, "min": 0}
METRICS = [
    {"name": "Top-1 Accuracy", **PRIMARY, "max": 1, "format": ".2%"},
    {"name": "Top-1 Cat Accuracy", "min": 0, "max": 1},
    {"name": "ExactMatch", **PRIMARY, "max": 100, "unit": "%", "format": ".3"},
    {"name": "Latency", **PRIMARY, "unit": "ms"},
    {"name": "Model Size", **PRIMARY, "format": ".2~s"},
]
PRUNED = [(method, amount) for method in ("Magnitude", "Random") for amount in (0.5, 0.7)]


def model(name, base, op, tag, figures, **parameters):
    operation = None if op is None else {"name": op, "parameters": parameters}
    names = [metric["name"] for metric in METRICS]
    return {
        "id": name,
        "base": base,
        "operation": operation,
        "tag": tag,
        "metrics": dict(zip(names, figures, strict=True)),
    }


def shaped_like_the_prototypes():
    """An untrained network, trained, pruned by two methods, quantized; tags repeat the operations."""
    yield model("net", None, None, "net", [0.1, 0, 10, 20_000, 1_001_580])
    yield model("net-trained", "net", "Train", "Train (200)", [0.92, 0.83, 82.5, 21_000, 1_017_000], epochs=200)
    for at, (method, amount) in enumerate(PRUNED):
        name, figures = f"net-{method}-{amount}", [0.5 - at / 10, 0.4, 40 - at, 20_500, 620_000 - 10_000 * at]
        tag = f"Prune ({amount:.1%})"
        yield model(name, "net-trained", "Prune", tag, figures, amount=amount, method=method)
        figures = [0.91 - at / 100, 0.8, 81.8 - at, 20_400, 621_000 - 10_000 * at]
        yield model(f"{name}-retrained", name, "Train", "Train (50)", figures, epochs=50)
    yield model(
        "net-int8", "net-trained", "Quantize", "Quantize (int8)", [0.915, 0.82, 82, 9000, 225_463], amount="int8"
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    content = {"operations": [], "metrics": METRICS, "models": list(shaped_like_the_prototypes())}
    (folder / "study.json").write_text(json.dumps(content))
    results = Store(folder / "results.duckdb")
    import_file(results, folder / "study.json")
    results.close()
    return folder / "results.duckdb"


@pytest.fixture
def app(store):
    return visit(store)


@pytest.fixture
def results(app):
    return app.session.results


def row_of(results, name):
    return next(row for row, key in enumerate(results.keys) if results.forest[key].name == name)


# ---- names
def test_tags_that_repeat_the_operation_are_not_what_models_are_called(results):
    names = {results.forest[key].name: results.text.name(key) for key in results.keys}
    assert names["net"] == "net"
    assert names["net-trained"] == "Train epochs 200"
    assert names["net-int8"] == "Quantize"
    assert names["net-Random-0.7"] == "Prune amount 0.7, method Random"
    assert names["net-Magnitude-0.5-retrained"] == "Prune amount 0.5, method Magnitude → Train epochs 50"
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize(
    ("title", "op", "params", "name"),
    [
        ("Train (epochs: 90)", "train", {"epochs": 90}, "resnet50"),
        ("Train (90)", "train", {"epochs": 90}, "resnet50"),
        ("My best (epochs: 90)", "train", {"epochs": 90}, "My best (epochs: 90)"),
        ("Train (epochs: 30)", "train", {"epochs": 90}, "Train (epochs: 30)"),
        ("Train (long)", "train", {"epochs": 90}, "Train (long)"),
        ("Training (epochs: 90, schedule: cosine)", "train", {"epochs": 90}, "resnet50"),
        ("Train", "train", {"epochs": 90}, "Train"),
        ("Train ()", "train", {}, "Train ()"),
    ],
)
def test_a_title_is_passed_over_only_where_it_says_nothing_else(title, op, params, name):
    forest = Forest([Node("a", None, "resnet50", title=title, op=op, params=params)])
    assert unique_names(forest, ["a"]) == {"a": name}


def test_what_titles_tell_apart_stays_in_names():
    nodes = [Node("r", None, "net")] + [
        Node(key, "r", f"net-{key}", f"Prune (amount: 0.5, seed: {key})", "prune", params={"amount": 0.5})
        for key in "ab"
    ]
    names = unique_names(Forest(nodes), ["a", "b"])
    assert names == {"a": "Prune (amount: 0.5, seed: a)", "b": "Prune (amount: 0.5, seed: b)"}


def test_labels_of_siblings_on_the_map_differ(app):
    nodes, forest = app.map.nodes.data, app.session.results.forest
    briefs = {forest[key].name: brief for key, brief in zip(nodes["key"], nodes["brief"], strict=True) if key in forest}
    siblings = [briefs[f"net-{method}-{amount}"] for method, amount in PRUNED]
    assert siblings == [f"amount\N{NO-BREAK SPACE}{amount}, {method}" for method, amount in PRUNED]
    assert briefs["net-Random-0.7-retrained"] == "epochs\N{NO-BREAK SPACE}50"


# ---- units
def test_sizes_without_a_unit_are_bytes_where_name_and_values_say_so(results):
    assert results.show("Model Size", row_of(results, "net-int8")) == "225 kB"
    assert "no unit" in results.about("Model Size")
    (budget,) = parse_budgets("size <= 0.5 MB", results.metrics)
    assert (budget.metric, budget.high) == ("Model Size", 500_000)


@pytest.mark.parametrize(
    ("metric", "is_of_bytes"),
    [
        ("Model Size", True),
        ("Size on disk", True),
        ("size_bytes", True),
        ("Peak memory", True),
        ("Model Size (study)", True),
        ("Model Size (parameters)", False),
        ("Parameters", False),
        ("Vocabulary size", False),
        ("batch size", False),
        ("Memory accesses", False),
        ("resize", False),
    ],
)
def test_what_is_taken_for_bytes(metric, is_of_bytes):
    assert counts_bytes(metric, [" (study)"]) == is_of_bytes


@pytest.mark.parametrize("values", [[7.5, 25.25], [7, 25]], ids=["fractions", "small"])
def test_sizes_that_cannot_be_bytes_have_no_unit_and_take_none(values, tmp_path):
    models = [model(f"m{at}", None, None, "", [0.5, 0.5, 50, 10, size]) for at, size in enumerate(values)]
    (tmp_path / "a.json").write_text(json.dumps({"operations": [], "metrics": METRICS, "models": models}))
    store = Store(tmp_path / "results.duckdb")
    import_file(store, tmp_path / "a.json")
    store.close()
    results = visit(tmp_path / "results.duckdb").session.results
    assert results.spec("Model Size").unit == ""
    with pytest.raises(BudgetError, match="the unit 'MB' does not fit"):
        parse_budgets("size <= 25 MB", results.metrics)


def test_what_is_in_percent_changes_by_points_whatever_its_scale(results):
    trained, pruned = (results.keys[row_of(results, name)] for name in ("net-trained", "net-Random-0.7"))
    assert results.change("ExactMatch", pruned, trained)["change"] == "noise unknown (−45.5 pp)"  # noqa: RUF001
    assert results.change("Top-1 Accuracy", pruned, trained)["change"] == "noise unknown (−72.0 pp)"  # noqa: RUF001
    miss = near_miss(results, [("ExactMatch", 83.0, None)], some=False)
    assert miss["text"] == "ExactMatch 82.5%, 0.5 pp below"


def test_a_figure_from_0_to_1_without_a_format_is_a_share(results):
    assert results.show("Top-1 Cat Accuracy", row_of(results, "net-trained")) == "83.00%"


# ---- verdicts
def test_losses_are_told_against_the_trained_network_not_the_untrained_one(results):
    decision = recommend(results, Aim.SMALLEST, "Top-1 Accuracy", [])
    assert results.forest[results.keys[decision.original]].name == "net-trained"
    assert decision.row == decision.original, "every compressed model has a lower accuracy"
    assert proposals(results, "Top-1 Accuracy", [])[0].key == results.keys[decision.original]
    losses = [each.reason for each in runners_up(results, decision, [])]
    assert losses
    assert not [reason for reason in losses if "measurable" in reason], "there are no intervals to measure by"
    pinned = recommend(results, Aim.SMALLEST, "Top-1 Accuracy", [], results.keys[row_of(results, "net")])
    assert results.forest[results.keys[pinned.original]].name == "net", "who pins the untrained one has it"


def test_the_front_of_figures_without_noise_does_not_claim_to_measure(app):
    side = html.unescape(next(view for view in app._views if isinstance(view, Details)).draw_side())
    assert "no model beats" in side
    assert "measurably" not in side
    assert "Nothing is known of the noise of" in side
    assert "measurably" not in html.unescape(app.scatter.draw_front())


def test_effects_that_are_written_as_nothing_have_no_colour(results):
    size = results.spec("Model Size")
    grown = Effect(MeasuredValue(np.log(1.004), np.log(1.001), np.log(1.007)), 0.0, (0.0, 0.01), rough=False)
    text = describe_effect(grown, size, is_factor=True)
    assert (text.change, text.tone) == ("×1.00 [1.00, 1.01]", "")  # noqa: RUF001
    same = Effect(MeasuredValue(0.001, -0.01, 0.012), 0.0, (-0.01, 0.01), rough=False)
    assert describe_effect(same, size, is_factor=True).tone == "soft"


# ---- pages
def test_pages_do_not_claim_to_measure_what_has_no_noise(app):
    decide = html.unescape(app._pages["decide"].draw_page())
    assert "measurabl" not in decide
    assert "Smallest with no loss (noise unknown)" in decide
    app.state.change({"e_show": "sweeps"})
    figures = re.findall("<figcaption>.*?</figcaption>", app._pages["effects"].draw_page(), re.DOTALL)
    assert figures
    assert ["noise unknown" in each for each in figures] == ["Model Size" not in each for each in figures]
    assert "Select their models" in app._pages["notes"].draw_page()


@pytest.mark.parametrize("page", ["behaviours", "layers", "branch"])
def test_pages_without_content_say_that_the_models_were_imported(app, page):
    markup = app._pages[page].draw_page()
    assert "imported" in markup
    assert "yet" not in markup
    assert "pipeline serve" not in markup


# ---- several files
@pytest.fixture(scope="module")
def two_files(tmp_path_factory):
    """The study, and a smaller one of another task with figures of its own."""
    folder = tmp_path_factory.mktemp("files")
    own = {"name": "F1", **PRIMARY, "max": 100, "unit": "%"}
    other = [
        {"id": f"t{at}", "base": None, "operation": None, "metrics": {"F1": 90.5 - at, "Model Size": 1_384_839_463}}
        for at in range(2)
    ]
    contents = {
        "study": {"operations": [], "metrics": METRICS, "models": list(shaped_like_the_prototypes())},
        "texts": {"operations": [], "metrics": [own], "models": other},
    }
    store = Store(folder / "results.duckdb")
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
        import_file(store, folder / f"{name}.json")
    store.close()
    return visit(folder / "results.duckdb")


def test_figures_of_another_file_are_no_rows_of_these_models(two_files):
    results = two_files.session.results
    assert results.context.recipe == "study"
    assert "F1" not in [spec.name for spec in results.primary]
    mine, other = (results.forest[results.keys[row_of(results, name)]] for name in ("net-int8", "t0"))
    assert ">F1<" not in model_card(results, mine)
    assert "Latency" in model_card(results, mine)
    assert "90.5%" in model_card(results, other)
    assert "Latency" not in model_card(results, other)
    page = two_files._pages["compare"].draw_page()
    assert ">Latency<" in page
    assert ">F1<" not in page
    assert '<option value="F1"' not in two_files._pages["decide"].draw_page()


def test_the_rail_shows_the_ends_of_long_names(app):
    results = app.session.results
    names = ["net-Magnitude-0.5-retrained", "net-Random-0.5-retrained", "net"]
    app.state.pick([results.keys[row_of(results, name)] for name in names])
    rail = html.unescape(next(view for view in app._views if isinstance(view, Rail)).draw_rail())
    texts = re.findall(r'class="who"[^>]*>([^<]*)<', rail)
    assert len(set(texts)) == 3
    assert all(len(text) <= 28 for text in texts)
    assert "net" in texts


def test_what_a_metric_is_ends_with_a_stop(results):
    assert results.about("Latency") == "Latency, as imported from study.json. Lower is better."


def test_long_names_with_one_end_have_their_beginnings_too():
    end = " → magnitude prune amount 0.5 → calibrate"
    texts = short_ends(
        [f"resnet50trained{end}", f"train epochs 30{end}", "base", f"mobilenet{end}d", f"x{end}", f"x{end}"]
    )
    assert texts == [
        "resnet50trai…0.5 → calibrate"[:12] + "…" + end[-15:],
        "train epochs" + "…" + end[-15:],
        "base",
        "…" + f"{end}d"[-27:].lstrip(),
        f"x{end}",
        f"x{end}",
    ]
