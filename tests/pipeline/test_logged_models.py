"""Models of a script of one's own: what is computed of them against other libraries, and what is refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from scipy.stats import entropy
from sklearn.metrics import f1_score, log_loss

import bouillon
from pipeline.layers.tensors.tensor import LayerError
from pipeline.store.errors import StoreError

CLASSES, INSTANCES = ["bird", "cat", "dog"], 300


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results.duckdb"


@pytest.fixture
def labels():
    return np.random.default_rng(0).choice(CLASSES, INSTANCES)


def answers(labels, skill, seed):
    """Probabilities (N, classes) that favour the label by `skill` nats."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), len(CLASSES)))
    logits += skill * (np.asarray(labels)[:, None] == np.array(CLASSES))
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def figure(model, metric):
    frame = bouillon.Results().query("SELECT value FROM measurements WHERE model = ? AND metric = ?", model, metric)
    return frame["value"].item()


def test_figures_are_those_of_other_libraries(results, labels):
    size = np.where(np.arange(INSTANCES) % 3 == 0, "large", "small")
    test = bouillon.EvaluationSet("animals", labels=labels, attributes={"size": size})
    ours, theirs = answers(labels, 2.0, 1), answers(labels, 1.0, 2)
    base = bouillon.log("base", evaluation=test, probabilities=ours)
    bouillon.log("small", parent=base, operation="prune", evaluation=test, probabilities=theirs)
    predicted = np.array(CLASSES)[theirs.argmax(axis=1)]
    right, right_before = predicted == labels, np.array(CLASSES)[ours.argmax(axis=1)] == labels
    assert figure("small", "accuracy") == pytest.approx(right.mean())
    assert figure("small", "macro_f1") == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert figure("small", "loss") == pytest.approx(log_loss(labels, theirs, labels=CLASSES), rel=1e-5)
    assert figure("small", "kl_to_base") == pytest.approx(entropy(ours, theirs, axis=1).mean(), rel=1e-3)
    assert figure("small", "negative_flip_rate") == pytest.approx((right_before & ~right).mean())
    drops = [(right_before - right.astype(int))[size == one].mean() for one in ("large", "small")]
    assert figure("small", "worst_group_drop") == pytest.approx(max(drops))
    change = bouillon.Results().compare("small", "base").set_index("metric").loc["accuracy"]
    assert change["change"] == pytest.approx(right.mean() - right_before.mean())
    assert change["low"] < change["change"] < change["high"] < 0
    assert change["verdict"] == "worse"


def test_weights_give_sizes_and_layers(results, tmp_path):
    weight = np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32)
    weight[np.abs(weight) < 0.5] = 0
    save_file(
        {"fc.weight": weight, "fc.bias": np.ones(20, np.float32), "steps": np.zeros(1, np.int64)},
        tmp_path / "w.safetensors",
    )
    bouillon.log("base", weights=tmp_path / "w.safetensors")
    layers = bouillon.Results().layers("base").set_index("tensor")
    assert list(layers.index) == ["fc.bias", "fc.weight"]
    assert layers.loc["fc.weight", "sparsity"] == pytest.approx((weight == 0).mean())
    assert layers.loc["fc.weight", "std"] == pytest.approx(weight.std(), rel=1e-5)
    assert figure("base", "parameters") == 220
    assert figure("base", "file_bytes") == (tmp_path / "w.safetensors").stat().st_size


@pytest.mark.parametrize(("height", "macs"), [(5, 2 * 5 * 4 * 3), ("h", None)])
def test_work_that_depends_on_data_is_not_guessed(height, macs, results, tmp_path):
    """A file of any height says nothing of what a picture costs."""
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, height, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "m.onnx")
    bouillon.log("base", weights=tmp_path / "m.onnx")
    rows = bouillon.Results().query("SELECT value FROM measurements WHERE metric = 'macs'")["value"].tolist()
    assert rows == ([] if macs is None else [macs])


def test_what_is_logged_again_changes_nothing_and_new_answers_replace_old_ones(results, labels):
    test = bouillon.EvaluationSet("animals", labels=labels)
    first = bouillon.log("base", evaluation=test, probabilities=answers(labels, 2.0, 1), figures={"nodes": 7})
    before = bouillon.Results().query("SELECT count(*) AS rows FROM measurement_history")["rows"].item()
    assert bouillon.log("base", evaluation=test, probabilities=answers(labels, 2.0, 1), figures={"nodes": 7}) == first
    assert bouillon.Results().query("SELECT count(*) AS rows FROM measurement_history")["rows"].item() == before
    better = answers(labels, 5.0, 1)
    assert bouillon.log("base", evaluation=test, probabilities=better, figures={"nodes": 9}) == first
    assert figure("base", "accuracy") == pytest.approx((np.array(CLASSES)[better.argmax(axis=1)] == labels).mean())
    assert figure("base", "nodes") == 9


def test_a_probability_of_zero_makes_no_figure_of_a_made_up_logarithm(results, labels):
    test = bouillon.EvaluationSet("animals", labels=labels)
    sure = (np.asarray(labels)[:, None] == np.array(CLASSES)).astype(float)
    sure[0] = np.roll(sure[0], 1)  # one wrong answer of which the model is certain: its loss is infinite
    base = bouillon.log("base", evaluation=test, probabilities=sure)
    bouillon.log("small", parent=base, operation="prune", evaluation=test, probabilities=answers(labels, 2.0, 1))
    assert figure("base", "accuracy") == pytest.approx(1 - 1 / INSTANCES)
    metrics = bouillon.Results().query("SELECT DISTINCT model, metric FROM measurements")
    assert not {("base", "loss"), ("small", "kl_to_base")} & set(metrics.itertuples(index=False, name=None))


def test_models_stand_beside_those_of_a_data_set_of_the_results(results, labels):
    bouillon.log(
        "base", evaluation=bouillon.EvaluationSet("animals", labels=labels), probabilities=answers(labels, 2.0, 1)
    )
    same = bouillon.EvaluationSet.of_results(results)
    assert list(same.labels) == list(labels)
    bouillon.log("other", evaluation=same, probabilities=answers(labels, 1.0, 2))
    assert set(bouillon.Results().models()["dataset_key"]) == {same.key}


def test_the_viewer_shows_them(results, labels):
    from viewer.results.results import load_results

    test = bouillon.EvaluationSet("animals", labels=labels)
    base = bouillon.log("base", evaluation=test, probabilities=answers(labels, 2.0, 1))
    for trees in (30, 10, 5, 2):
        bouillon.log(
            f"base/{trees}", parent=base, operation="prune", parameters={"trees": np.int64(trees)},
            evaluation=test, probabilities=answers(labels, 1.0, trees),
        )  # fmt: skip
    shown = load_results(results)
    assert len(shown.keys) == 5
    assert np.isfinite(shown.values("accuracy")).all()
    assert shown.difference("accuracy", shown.keys[1], base) is not None


def test_a_figure_of_ones_own_says_what_it_is(results):
    bouillon.log(
        "base",
        figures={"watt": bouillon.Figure(3.5, 3.1, 3.9, unit="W", better="lower", role="cost"), "latency_s": 0.1},
    )
    metrics = bouillon.Results().query("FROM metrics").set_index("metric")
    assert tuple(metrics.loc["watt", ["unit", "better", "role"]]) == ("W", "lower", "cost")
    assert tuple(metrics.loc["latency_s", ["better", "role"]]) == ("lower", "cost")
    row = bouillon.Results().query("SELECT low, high FROM measurements WHERE metric = 'watt'").iloc[0]
    assert tuple(row) == (3.1, 3.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "name: give"),
        ({"probabilities": [[1, 0, 0]]}, "give both or none"),
        ({"figures": {"size": float("nan")}}, "size: its value is nan"),
        ({"figures": {"size": bouillon.Figure(1, better="hihger")}}, "Did you mean 'higher'"),
        ({"figures": {"file_bytes": bouillon.Figure(1, unit="kB")}}, "has the unit 'B'"),
        ({"parent": "bsae"}, "Did you mean 'base'"),
        ({"weights": "model.pt"}, "end in .onnx or .safetensors"),
        ({"weights": "model.onnx"}, "there is no such file"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_is_written(results, arguments, message):
    bouillon.log("base")
    with pytest.raises((bouillon.BouillonError, LayerError, StoreError), match=message):
        bouillon.log(**{"name": "other", **arguments})
    assert list(bouillon.Results().query("SELECT name FROM models")["name"]) == ["base"]


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ([[0.5, 0.5]] * 3, r"expected the shape \(3, 3\)"),
        ([[1.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]], "row 1 is no distribution"),
        ([[1.5, -0.5, 0.0]] * 3, "row 0 is no distribution"),
    ],
)
def test_answers_that_are_no_probabilities_are_refused(results, probabilities, message):
    with pytest.raises(bouillon.BouillonError, match=message):
        bouillon.log("base", evaluation=bouillon.EvaluationSet("animals", labels=CLASSES), probabilities=probabilities)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [[0], [1]]}, "one label per instance"),
        ({"labels": []}, "one label per instance"),
        ({"labels": ["cat", "cow"], "classes": CLASSES}, "'cow' is none of the classes"),
        ({"labels": ["cat"], "classes": ["cat", "cat"]}, "two of them have one name"),
        ({"labels": ["cat", "dog"], "ids": [1, 1]}, "two instances have one id"),
        ({"labels": ["cat", "dog"], "attributes": {"size": ["large"]}}, "expected 2 values"),
        ({"labels": ["cat"], "task": "question-answering"}, "cannot be logged"),
    ],
)
def test_instances_that_do_not_fit_together_are_refused(arguments, message):
    with pytest.raises(bouillon.BouillonError, match=message):
        bouillon.EvaluationSet("animals", **arguments)


def test_whole_numbers_that_a_library_made_floats_are_one_class():
    assert bouillon.EvaluationSet("digits", labels=np.array([0.0, 2.0, 10.0])).classes == ["0", "2", "10"]


def test_fronts_and_the_best_are_those_of_the_page(results, labels):
    """A model that is smaller and not measurably worse stands beside the base; one that is worse and larger does not."""
    test = bouillon.EvaluationSet("animals", labels=labels)
    base = bouillon.log("base", evaluation=test, probabilities=answers(labels, 3.0, 1), figures={"file_bytes": 1000})
    small = {"parent": base, "operation": "prune", "evaluation": test}
    bouillon.log("small", probabilities=answers(labels, 3.0, 2), figures={"file_bytes": 100}, **small)
    bouillon.log("bad", probabilities=answers(labels, 0.2, 3), figures={"file_bytes": 500}, **small)
    frames = bouillon.Results()
    assert set(frames.pareto("accuracy", "file_bytes")["model"]) == {"small"}
    assert list(frames.best("file_bytes <= 600 B")["model"]) == ["small"]
    assert set(frames.best(count=2)["model"]) == {"base", "small"}
    with pytest.raises(bouillon.BouillonError, match="Did you mean 'accuracy'"):
        frames.pareto("acuracy", "file_bytes")
    with pytest.raises(bouillon.BouillonError, match="Nearest: 'small'"):
        frames.best("file_bytes <= 50 B")
