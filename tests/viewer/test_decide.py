"""The first page: which model to ship by each aim, against brute force and by hand, and what is said where none can be."""

import html
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.studies import study
from tests.viewer import inside_stores
from tests.viewer.stores import publish
from tests.viewer.visits import Page, visit
from viewer.decide.class_evidence import class_evidence
from viewer.decide.headline import headline
from viewer.decide.model_files import model_files
from viewer.decide.plot import decision_plot
from viewer.decide.recommendation import Aim, recommend
from viewer.decide.runners_up import runners_up
from viewer.decide.view import Decide
from viewer.decide.wording import quoted_names, ratio_text
from viewer.format.metrics import Better, MetricInfo, MetricRole
from viewer.results.lineage import Node
from viewer.results.results import Results, load_results
from viewer.results.snapshot import MetricColumn, ModelLint, Setting, Snapshot

SETTING = Setting("ort", "m1", "d1", "digits", "CPU")
METRICS = {
    "accuracy": MetricInfo("accuracy", "", ".1%", Better.HIGHER, True, role=MetricRole.QUALITY),
    "time": MetricInfo("time", "ms", ".3g", Better.LOWER, True, role=MetricRole.COST),
    "size": MetricInfo("size", "B", ".3g", Better.LOWER, True, role=MetricRole.SIZE),
}


def results_of(models, *, broken=(), unsure=(), exact=("size",), metrics=tuple(METRICS)):
    """Results of models, name -> (accuracy ± , time ±, bytes); the first is the root. Half-intervals of NaN: noise unknown."""
    keys = list(models)
    columns = {}
    for at, name in enumerate(metrics):
        pairs = [value[at] if isinstance(value[at], tuple) else (value[at], math.nan) for value in models.values()]
        values, halves = (np.array(part, dtype=float) for part in zip(*pairs, strict=True))
        columns[name] = MetricColumn(values, values - halves, values + halves, np.full(len(keys), name in exact))
    return Results(
        Snapshot(
            path=Path("nowhere.duckdb"),
            id=(0, 0),
            nodes=[Node(key, None if at == 0 else keys[0], key, order=at) for at, key in enumerate(keys)],
            keys=keys,
            metrics=[METRICS[name] for name in metrics],
            contexts=[SETTING],
            columns={SETTING: columns},
            recipes=["r"],
            lints={key: [ModelLint("constant_predictor", "ort", "always the same", "")] for key in broken},
            unsure={("ort", "m1", "wall"): frozenset(unsure)},
        )
    )


MODELS = {
    "base": ((0.90, 0.01), (10.0, 0.1), 100e3),
    "int8": ((0.895, 0.01), (5.0, 0.1), 40e3),
    "tiny": ((0.70, 0.01), (2.0, 0.1), 10e3),
    "stuck": ((0.10, 0.01), (1.0, 0.1), 1e3),
    "better": ((0.95, 0.01), (9.0, 0.1), 120e3),
}


def decided(results, aim, filters=(), base=""):
    chosen = recommend(results, aim, "accuracy", list(filters), base)
    sentence = headline(results, chosen, list(filters))
    return chosen, sentence.text(results.text.name(sentence.key) if sentence.key else "")


def reasons(results, chosen, filters=()):
    return {results.keys[each.row]: each.reason for each in runners_up(results, chosen, list(filters))}


def test_the_smallest_without_measurable_loss_is_told_with_its_evidence():
    results = results_of(MODELS, broken=["stuck"])
    chosen, text = decided(results, Aim.SMALLEST, base="base")
    assert text == (
        "“int8” is the smallest with no measurable loss: 2.5 × smaller, 2.0 × faster, "  # noqa: RUF001
        "accuracy within noise (−0.5 ± 1.4 pp), classes not compared (the answers cannot be read)"  # noqa: RUF001
    )
    told = reasons(results, chosen)
    assert told["tiny"].startswith("measurable loss: accuracy −20.0")  # noqa: RUF001
    assert told["stuck"] == "always the same"
    assert told["base"] == "qualifies, but 2.5 × larger"  # noqa: RUF001


def test_losses_are_told_against_the_best_original_or_the_base_that_was_chosen():
    results = results_of(MODELS, broken=["stuck"])
    assert results.keys[recommend(results, Aim.SMALLEST, "accuracy", []).original] == "base"
    chosen, text = decided(results, Aim.SMALLEST, base="better")
    assert results.keys[chosen.row] == "better", "all others lose measurably against it"
    assert text.startswith("Ship “better” as it is, since nothing smaller keeps its accuracy")


def test_the_best_within_a_budget_respects_it_and_names_what_just_misses():
    results = results_of(MODELS, broken=["stuck"])
    assert decided(results, Aim.BEST)[1].startswith("“better” has the best accuracy: accuracy 95.0% (94.0% to 96.0%)")
    chosen, text = decided(results, Aim.BEST, [("size", None, 50e3)])
    assert text.startswith("“int8” has the best accuracy within the budget")
    assert reasons(results, chosen, [("size", None, 50e3)])["better"] == (
        "outside the budget: size 120 kB (size at most 50 kB)"
    )
    chosen, text = decided(results, Aim.SMALLEST, [("size", None, 9e3)])
    assert chosen.row is None
    assert text == "No sound model is within the budget. Nearest is “tiny”: size 10 kB, 11 % above."


def test_where_all_lose_the_one_that_loses_least_is_named():
    results = results_of(MODELS, broken=["stuck"])
    chosen, text = decided(results, Aim.SMALLEST, [("size", None, 20e3)], base="base")
    assert chosen.row is None
    assert text.startswith("Every model within the budget measurably loses accuracy against “base”. Least loses “tiny”")


def test_times_taken_roughly_win_nothing():
    results = results_of(MODELS, broken=["stuck"], unsure=["int8"])
    chosen, _ = decided(results, Aim.FASTEST)
    assert results.keys[chosen.row] == "better"
    assert "win nothing" in reasons(results, chosen)["int8"]
    everything = results_of(MODELS, unsure=list(MODELS))
    chosen, text = decided(everything, Aim.FASTEST)
    assert chosen.row is None
    assert "all times were taken roughly" in text


def test_ties_are_named_and_never_put_another_before_the_original():
    models = {**MODELS, "twin": ((0.90, 0.01), (5.05, 0.1), 41e3)}
    results = results_of(models, broken=["stuck"])
    chosen = recommend(results, Aim.FASTEST, "accuracy", [])
    assert headline(results, chosen, []).notes == ["“twin” cannot be told apart from it in time."]
    assert reasons(results, chosen)["twin"].startswith("cannot be told apart from it: as fast within noise")
    models = {"base": ((0.9, 0.01), (5.0, 0.1), 9e3), "other": ((0.9, 0.01), (4.95, 0.1), 9e3)}
    chosen, text = decided(results_of(models), Aim.FASTEST)
    assert text.startswith("Ship “base” as it is, since nothing measurably faster keeps its accuracy")


def test_of_models_that_are_shown_alike_the_one_with_the_best_quality_is_chosen():
    models = {
        "base": ((0.90, 0.01), (10.0, 0.1), 100e3),
        "one": ((0.90, 0.01), (10.0, 0.1), 40.001e3),
        "two": ((0.95, 0.01), (10.0, 0.1), 40.002e3),
    }
    results = results_of(models)
    chosen = recommend(results, Aim.SMALLEST, "accuracy", [])
    assert results.keys[chosen.row] == "two"
    assert reasons(results, chosen)["one"].startswith("the same size as shown; accuracy −5.0")  # noqa: RUF001


def test_without_known_noise_bare_values_decide_and_that_is_said():
    models = {"base": (0.9, 10.0, 9e3), "same": (0.9, 10.0, 5e3), "less": (0.899, 10.0, 4e3)}
    results = results_of(models)
    chosen = recommend(results, Aim.SMALLEST, "accuracy", [])
    assert results.keys[chosen.row] == "same"
    sentence = headline(results, chosen, [])
    assert sentence.after == " is the smallest with no loss (noise unknown)"
    assert sentence.notes == ["Nothing is known of the noise of accuracy: models are ranked by the bare values."]
    assert "accuracy no change" in sentence.text("same")
    assert "noise unknown" in reasons(results, chosen)["less"]


def test_without_models_or_figures_the_reason_is_said():
    empty = Results(Snapshot(Path("nowhere"), (0, 0), [], [], [], [SETTING], {SETTING: {}}, []))
    assert decided(empty, Aim.SMALLEST)[1] == "There are no models yet."
    quality_only = results_of({name: values[:1] for name, values in MODELS.items()}, metrics=("accuracy",))
    assert "nothing that was measured says how small" in decided(quality_only, Aim.SMALLEST)[1]
    assert decided(quality_only, Aim.BEST)[1].startswith("“better” has the best accuracy")


def test_a_base_without_a_known_quality_tells_no_loss_and_that_is_said():
    models = {**MODELS, "odd": (math.nan, (9.0, 0.1), 90e3)}
    chosen, text = decided(results_of(models, broken=["stuck"]), Aim.SMALLEST, base="odd")
    assert (chosen.original, text) == (None, "“tiny” is the smallest: size 10 kB")
    results = results_of(models, broken=["stuck"])
    assert headline(results, chosen, []).notes[0] == (
        "What it loses cannot be told: “odd” has no known accuracy. Pin a model that has one as the base."
    )


def test_a_broken_base_is_drawn_without_a_band_and_said_to_be_broken():
    models = {name: MODELS[name] for name in ("base", "int8", "tiny", "stuck")}
    results = results_of(models, broken=["stuck"])
    chosen = recommend(results, Aim.SMALLEST, "accuracy", [], "stuck")
    assert decision_plot(results, chosen, "size", [], []).bands == []
    assert "Losses are told against “stuck”, which is broken itself: pin another base." in (
        headline(results, chosen, []).notes
    )


def test_the_nearest_is_measurably_better_by_the_aim():
    models = {
        "base": ((0.90, 0.01), (10.0, 0.5), 9e3),
        "alike": ((0.85, 0.01), (9.9, 0.5), 9e3),
        "faster": ((0.80, 0.01), (5.0, 0.1), 9e3),
    }
    results = results_of(models)
    (nearest,) = headline(results, recommend(results, Aim.FASTEST, "accuracy", []), []).notes
    assert nearest.startswith("Nearest is “faster”: 2.0 × faster"), "the other is as fast within noise"  # noqa: RUF001


def test_without_a_metric_of_quality_the_original_may_be_the_smallest():
    results = results_of({"base": (10.0, 9e3), "other": (9.0, 10e3)}, metrics=("time", "size"))
    chosen = recommend(results, Aim.SMALLEST, "", [])
    sentence = headline(results, chosen, [])
    assert sentence.text("base") == "“base” is the smallest: size 9 kB"
    assert sentence.notes[0] == "Nothing that was measured tells what a model loses."


@pytest.mark.parametrize("quality", ["size", "time"])
@pytest.mark.parametrize("aim", [Aim.SMALLEST, Aim.FASTEST])
@pytest.mark.parametrize("base", ["", "stuck", "better"])
def test_sizes_and_costs_tell_nothing_of_a_loss(quality, aim, base):
    """Where a task says nothing of what is right, models are judged by their files or their times."""
    results = results_of({name: values[1:] for name, values in MODELS.items()}, metrics=("time", "size"))
    chosen = recommend(results, aim, quality, [], base)
    sentence = headline(results, chosen, [])
    whole = sentence.text("it") + " ".join(each.about for each in sentence.evidence)
    assert "los" not in whole, whole
    assert "keeps" not in whole, whole
    if chosen.row is not None:
        assert f"{quality} tells nothing of what a model's answers lose." in sentence.notes
    assert "loss" not in str(reasons(results, chosen))
    assert "loss" not in str(decision_plot(results, chosen, "size" if quality == "time" else "time", [], []))


@pytest.mark.parametrize("aim", list(Aim))
@pytest.mark.parametrize("base", ["", *MODELS])
@pytest.mark.parametrize("most", [None, 500.0, 9e3, 50e3])
def test_a_sentence_has_one_colon(aim, base, most):
    filters = [] if most is None else [("size", None, most)]
    for unsure in ([], list(MODELS)):
        results = results_of(MODELS, broken=["stuck"], unsure=unsure)
        chosen = recommend(results, aim, "accuracy", filters, base)
        sentence = headline(results, chosen, filters)
        assert sentence.text("name").count(":") <= 1, sentence.text("name")


figures = st.tuples(st.integers(0, 9), st.integers(1, 9))


@given(st.lists(figures, min_size=1, max_size=8), st.integers(0, 9))
@settings(max_examples=100)
def test_the_smallest_is_that_of_those_that_are_not_told_to_be_worse(pairs, most):
    models = {str(at): ((good / 10, 0.11), 1.0, size * 1e3) for at, (good, size) in enumerate(pairs)}
    results, filters = results_of(models), [("size", None, most * 1e3)]
    chosen = recommend(results, Aim.SMALLEST, "accuracy", filters)
    worse = [(pairs[0][0] - good) / 10 > math.hypot(0.11, 0.11) for good, _ in pairs]
    fit = [size for (_, size), lost in zip(pairs, worse, strict=True) if not lost and size <= most]
    assert (chosen.row is None) == (not fit)
    if fit:
        assert pairs[chosen.row][1] == min(fit)
        assert not worse[chosen.row]


def test_ratios_have_the_interval_of_the_difference():
    results = results_of(MODELS)
    assert ratio_text(results, "time", "tiny", "base") == "5.0 × faster [4.8, 5.3]"  # noqa: RUF001
    assert ratio_text(results, "time", "base", "tiny") == "5.0 × slower [4.8, 5.3]"  # noqa: RUF001
    assert 10 / 2 * math.exp(-math.hypot(math.log(10 / 9.9), math.log(2.1 / 2))) == pytest.approx(4.76, abs=0.005), (
        "MOVER on logarithms"
    )
    assert ratio_text(results, "size", "better", "base") == "1.20 × larger"  # noqa: RUF001
    assert ratio_text(results, "size", "base", "base") == "as large"
    rough = results_of(MODELS, unsure=["tiny"])
    assert "taken roughly" in ratio_text(rough, "time", "tiny", "base")


def test_names_are_listed_in_plain_english():
    assert [quoted_names(list("abcde"[:count]), 3) for count in (1, 2, 3, 5)] == [
        "“a”",
        "“a” and “b”",
        "“a”, “b” and “c”",
        "“a”, “b”, “c” and 2 more",
    ]


def test_the_plot_draws_many_models_as_a_crowd_and_those_that_matter_by_themselves():
    models = MODELS | {f"m{at}": ((0.5 + at / 2000, 0.01), (10.0, 0.1), 50e3 + at) for at in range(500)}
    results = results_of(models, broken=["stuck"])
    chosen = recommend(results, Aim.SMALLEST, "accuracy", [], "base")
    plot = decision_plot(results, chosen, "size", [], [results.row["tiny"]])
    assert {mark["key"] for mark in plot.marks} >= {"int8", "base", "tiny"}
    assert len(plot.marks) < 20
    assert plot.crowd.count("M") + len(plot.marks) == len(models)
    places = [(mark["x"], mark["y"]) for mark in plot.marks]
    assert all(0 <= part <= 100 for place in places for part in place)
    assert len(plot.bands) == 1, "where the models lie that cannot be told apart from the base"


# ---- from a store
@pytest.fixture(scope="module")
def inside(tmp_path_factory):
    path = tmp_path_factory.mktemp("decide") / "results.duckdb"
    inside_stores.publish(path).close()
    return path


def test_classes_that_are_measurably_worse_are_named(inside):
    results = load_results(inside)
    told = class_evidence(results, "pruned", "base")
    assert [name for name, _ in told.worse] == [inside_stores.HOSTILE], "the one that it breaks"
    assert told.text == f"one class worse (“{inside_stores.HOSTILE}”: error rate +100.0 pp)"
    assert class_evidence(results, "base", "base") is None
    assert class_evidence(results, "gone", "base") is None


def test_the_page_names_models_and_escapes_them(inside):
    page = Page(visit(inside))
    markup = page.app._pages["decide"].draw_page()
    assert isinstance(page.app._pages["decide"], Decide)
    assert "<img" not in markup
    sentence = html.unescape(re.sub("<[^>]+>", "", markup[markup.index('id="sentence"') :].partition("</p>")[0]))
    assert "has the best accuracy" in sentence, "nothing tells how small or fast these are"


def test_files_are_found_beside_the_results_and_commands_name_the_model(tmp_path):
    publish(tmp_path / "mine.duckdb", study(3)).close()
    loaded = load_results(tmp_path / "mine.duckdb")
    key, other = loaded.keys[:2]
    missing = model_files(loaded, key)
    assert missing.problem.startswith("The folder with the models' files, .bouillon, is not beside")
    name = loaded.forest[key].name
    assert missing.package == f"python -m pipeline package {name} deployed/{name} --results mine.duckdb"
    artifacts = tmp_path / ".bouillon" / "artifacts"
    own, export = (artifacts / text[:2] / text for text in (key, "ab" * 32))
    for folder, file, size, manifest in (
        (own, "model.safetensors", 7, '{"what": "operation"}'),
        (export, "model.onnx", 9, f'{{"what": "export", "model": "{key}"}}'),
    ):
        folder.mkdir(parents=True)
        (folder / file).write_bytes(b"x" * size)
        (folder / "manifest.json").write_text(manifest)
    found = model_files(loaded, key)
    assert [(file.path.rpartition("/")[2], file.size) for file in found.files] == [
        ("model.onnx", 9),
        ("model.safetensors", 7),
    ]
    assert all(not Path(file.path).is_absolute() for file in found.files)
    assert model_files(loaded, other).problem.startswith("The files of this model are not in the workspace")
