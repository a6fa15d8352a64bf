"""Behaviours: means, changes, intervals and tests against NumPy, SciPy and the arithmetic of the paper's figure."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import statistics
from tests.pipeline.store.pieces import Pieces
from viewer.behaviours.measures import MEASURES, ModelAnswers, measure
from viewer.behaviours.statistics import (
    agreement_rate,
    cells,
    changed_in,
    count_bins,
    flip_matrix,
    flips,
    members,
    negative_flips,
)
from viewer.behaviours.table import (
    ALPHA,
    Look,
    Order,
    cell,
    change_text,
    corrected,
    edges_of,
    everything,
    marked,
    order_rows,
    overall,
    read_brush,
    relative_text,
)


def answers(predicted, labels, probabilities=None, score=None):
    predicted, labels = np.asarray(predicted, np.int32), np.asarray(labels)
    correct = predicted == labels
    table = None if probabilities is None else np.asarray(probabilities, np.float32)
    label = np.full(len(labels), np.nan, np.float32) if table is None else table[np.arange(len(labels)), labels]
    return ModelAnswers(
        predicted, label, label, correct, correct.astype(np.float32) if score is None else score,
        None if table is None else Pieces(table),
    )  # fmt: skip


def errors(rate, count):
    values = np.zeros(count, np.float32)
    values[: round(rate * count)] = 1
    return values


def test_the_change_of_figure_7_is_124_percent_not_135():
    count = 10_000
    base, model = errors(0.0562, count), errors(0.126, count)
    found = overall(model, base, np.ones(count, bool), of_pair=False)
    assert found.relative[0] == pytest.approx(0.126 / 0.0562 - 1)
    assert relative_text(float(found.relative[0])) == "+124%"
    # a mean of the classes' ratios, weighted by size, is what gave the +135 %
    sizes, bases = np.array([4141, 4848, 15114, 15821]), np.array([0.044, 0.0590, 0.0553, 0.05])
    assert found.relative[0] != pytest.approx((sizes * (0.126 / bases - 1)).sum() / sizes.sum())


def test_an_instance_with_several_labels_counts_once_overall():
    rows = members(["young|blond", "young", "blond|tall|young"])
    assert rows.names == ("blond", "tall", "young")
    values = np.array([1, 0, 1], np.float32)
    shown = np.ones(3, bool)
    assert cells(values, values, rows, shown).count.tolist() == [2, 1, 3]
    assert overall(values, values, shown, of_pair=False).count.tolist() == [3]
    assert overall(values, values, shown, of_pair=False).mean[0] == pytest.approx(2 / 3)


def test_an_instance_without_a_value_is_in_no_row():
    rows = members(["young", None, "old", None, "young|blond"])
    assert rows.names == ("blond", "old", "young")
    assert list(zip(rows.instance.tolist(), rows.row.tolist(), strict=True)) == [(0, 2), (2, 1), (4, 0), (4, 2)]
    assert members([None, None]).names == ()


def test_a_class_whose_name_has_a_bar_is_one_class():
    assert members(["a|b", "c"], whole=("a|b", "c")).names == ("a|b", "c")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_cells_against_loops(rows):
    names = [f"c{group}" for group, *_ in rows]
    model = np.array([float(m) for _, m, _, _ in rows], np.float32)
    base = np.array([float(b) for _, _, b, _ in rows], np.float32)
    shown = np.array([s for *_, s in rows])
    belongs = members(names)
    found = cells(model, base, belongs, shown)
    for place, name in enumerate(belongs.names):
        mine = [at for at, other in enumerate(names) if other == name and shown[at]]
        assert found.count[place] == len(mine)
        if not mine:
            assert np.isnan(found.mean[place])
            continue
        m, b = model[mine].astype(float), base[mine].astype(float)
        assert found.mean[place] == pytest.approx(m.mean())
        assert found.change[place] == pytest.approx((m - b).mean())
        expected = statistics.wilson(int(m.sum()), len(mine))
        assert found.low[place] == pytest.approx(expected.low, abs=1e-9)
        assert found.high[place] == pytest.approx(expected.high, abs=1e-9)
        assert found.exact
        assert found.p[place] == pytest.approx(statistics.mcnemar(b == 1, m == 1))
        if b.sum():
            assert found.relative[place] == pytest.approx(m.mean() / b.mean() - 1)
        else:
            assert np.isnan(found.relative[place])


def test_numbers_are_tested_by_their_mean_difference_and_single_instances_not_at_all():
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    base = rng.random(200).astype(np.float32)
    model = (base + rng.normal(0.01, 0.1, 200)).astype(np.float32)
    found = overall(model, base, np.ones(200, bool), of_pair=False)
    away = model.astype(float) - base
    assert not found.exact
    assert found.p[0] == pytest.approx(2 * norm.sf(abs(away.mean()) / (away.std(ddof=1) / np.sqrt(200))), rel=1e-6)
    assert overall(model, base, np.arange(200) < 1, of_pair=False).p[0] == 1
    assert np.isnan(overall(model, base, np.zeros(200, bool), of_pair=False).p[0])
    assert np.isnan(overall(model, base, np.ones(200, bool), of_pair=True).p[0])


@pytest.mark.parametrize(("lost", "won", "tone"), [(5, 0, ""), (6, 0, "bad"), (0, 6, "good")])
def test_a_change_is_coloured_by_the_test_that_is_shown_not_by_an_interval(lost, won, tone):
    base, model = np.zeros(60, np.float32), np.zeros(60, np.float32)
    model[:lost], base[60 - won :] = 1, 1
    found = overall(model, base, np.ones(60, bool), of_pair=False)
    away = model.astype(float) - base
    assert abs(away.mean()) > 1.96 * away.std(ddof=1) / np.sqrt(60), "an interval would say so every time"
    made = cell(found, 0, Look(MEASURES["error"]), p=float(found.p[0]))
    assert made.tone == tone
    assert f"p {found.p[0]:.2g}" in made.interval
    assert (found.p[0] < ALPHA) == bool(tone)


def test_p_values_of_a_table_are_corrected_for_all_that_are_tests():
    rows = members(["a"] * 20 + ["b"] * 20 + ["c"] * 20)
    base, first, second = np.zeros(60, np.float32), np.zeros(60, np.float32), np.zeros(60, np.float32)
    first[:7], second[20:23] = 1, 1
    shown = np.arange(60) < 40
    found = [cells(values, base, rows, shown) for values in (base, first, second)]
    p, tests = corrected(found)
    assert tests == 4, "two models by the two rows that have instances"
    assert np.isnan(p[0]).all()
    assert np.isnan(p[:, 2]).all()
    assert p[1:, :2].reshape(-1) == pytest.approx(statistics.holm([2 * 0.5**7, 1, 1, 0.25]))
    assert corrected(found, inferred=False)[1] == 0


def test_changes_have_a_minus_sign_and_percentage_points():
    assert change_text(-0.002, MEASURES["error"]) == "\N{MINUS SIGN}0.2 pp"
    assert change_text(0.0125, MEASURES["f1"]) == "+0.013"
    assert change_text(-0.5, MEASURES["f1"]) == "\N{MINUS SIGN}0.500"
    assert change_text(np.nan, MEASURES["error"]) == "—"
    assert relative_text(-0.5) == "\N{MINUS SIGN}50%"


def test_nothing_known_is_left_out_and_not_zero():
    values = np.array([np.nan, 0.5, 0.7], np.float32)
    found = overall(values, values, np.ones(3, bool), of_pair=False)
    assert found.count[0] == 2
    assert found.mean[0] == pytest.approx(0.6)


def one(name, model, base):
    (found,) = MEASURES[name].compute([model], base)
    return found


def test_divergences_against_scipy():
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import entropy

    rng = np.random.default_rng(0)
    p, q = (rng.dirichlet(np.ones(7), 40).astype(np.float32) for _ in range(2))
    model, base = answers(q.argmax(1), np.zeros(40, int), q), answers(p.argmax(1), np.zeros(40, int), p)
    near = {"rel": 2e-3, "abs": 1e-5}  # probabilities are stored to 0.05 %
    assert one("kl", model, base) == pytest.approx(entropy(p.astype(float), q.astype(float), base=2, axis=1), **near)
    js = jensenshannon(p.astype(float), q.astype(float), base=2, axis=1) ** 2
    assert one("js", model, base) == pytest.approx(js, **near)
    ordered = np.sort(q, axis=1)
    assert one("margin", model, base) == pytest.approx(ordered[:, -1] - ordered[:, -2], abs=1e-3)
    together = MEASURES["kl"].compute([base, answers(q.argmax(1), np.zeros(40, int)), model], base)
    assert together[0].max() == 0
    assert np.isnan(together[1]).all(), "no probabilities are stored of it"
    assert np.array_equal(together[2], one("kl", model, base))
    assert np.isnan(MEASURES["js"].compute([model], answers([0] * 40, [0] * 40))).all()


def test_a_model_that_is_sure_of_something_else_has_a_large_divergence_not_an_infinite_one():
    p, q = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert 40 < one("kl", answers([1], [0], q), answers([0], [0], p))[0] < 60
    assert one("js", answers([1], [0], q), answers([0], [0], p))[0] == pytest.approx(1, abs=1e-6)


def test_a_measure_of_ones_own(monkeypatch):
    monkeypatch.setattr("viewer.behaviours.measures.MEASURES", MEASURES.copy())
    import viewer.behaviours.measures as registered

    @measure("surprise", "Surprise", better="lower", needs="probabilities")
    def surprise(model, base):
        """Entropy, in nats.

        More of it.
        """
        p = model.probabilities()
        return -(p * np.log(p)).sum(axis=1)

    model = answers([0, 1], [0, 0], [[0.5, 0.5], [0.9, 0.1]])
    found = registered.MEASURES["surprise"]
    assert found.doc == "Entropy, in nats."
    assert found.compute([model, model], model)[1] == pytest.approx([np.log(2), 0.325083], rel=2e-3)


def test_flips_agreement_and_exemplars():
    labels = [0, 0, 1, 1, 2, 2]
    base = answers([0, 0, 1, 1, 2, 0], labels)
    first, second = answers([1, 1, 1, 0, 2, 0], labels), answers([1, 0, 1, 0, 2, 2], labels)
    everyone = np.ones(6, bool)
    found = flips(first, base, everyone)
    assert [(f.before, f.after, f.count) for f in found] == [(0, 1, 2), (1, 0, 1)]
    assert negative_flips(first, base, everyone) == 3
    assert agreement_rate(first, base, everyone) == pytest.approx(3 / 6)
    assert changed_in([first, second], base).tolist() == [2, 1, 0, 2, 0, 1]
    codes, table = flip_matrix(first, base, everyone)
    assert codes == [0, 1]
    assert table.tolist() == [[0, 2], [1, 0]]
    assert flips(base, base, everyone) == []
    assert agreement_rate(base, base, np.zeros(6, bool)) is None


def test_sorting_tells_improvements_from_regressions():
    model = np.array([1, 1, 0, 0, 1, 0], np.float32)
    base = np.array([0, 0, 1, 1, 1, 0], np.float32)
    found = cells(model, base, members(["a", "a", "b", "b", "c", "d"]), np.ones(6, bool))
    names = ["a", "b", "c", "d"]
    assert order_rows(found, names, Order("change", True, False, "lower")) == [0, 2, 3, 1]
    assert order_rows(found, names, Order("change", False, False, "lower")) == [1, 2, 3, 0]
    assert order_rows(found, names, Order("size", True, False, "lower"))[:2] == [0, 1]
    assert order_rows(found, names, Order("change", True, False, "higher")) == [1, 2, 3, 0], "what fell most is worst"
    assert order_rows(None, names, Order("change", True, False, "lower")) == [3, 2, 1, 0]


def test_histograms_have_zero_on_an_edge_and_lose_nothing():
    values = np.array([-1, 0, 0.3, 1], np.float32)
    edges = edges_of([values])
    assert 0 in edges
    assert count_bins(values, np.ones(4, bool), edges).sum() == 4
    assert len(edges_of([np.array([np.nan])])) == 21
    assert len(set(edges_of([np.array([2.0])]))) == 21


def test_what_became_of_an_answer():
    parts = marked("in the year 1998", "in year 1999")
    assert "".join(text for kind, text in parts if kind != "new") == "in the year 1998"
    assert "".join(text for kind, text in parts if kind != "gone") == "in year 1999"
    assert parts[-2:] == [("gone", "1998"), ("new", "1999")]
    assert marked("", "x") == [("new", "x")]
    assert marked("same", "same") == [("same", "same")]


@pytest.mark.parametrize("text", ["", "m~1", "m~x~2", "m~nan~1", "m~1~inf"])
def test_a_range_that_makes_no_sense_is_no_range(text):
    assert read_brush(text) is None


def test_everything_is_one_row():
    assert everything(3).row.tolist() == [0, 0, 0]


def test_nothing_slow_is_imported_for_the_first_table(tmp_path):
    import subprocess
    import sys

    code = """
import sys
from pathlib import Path
from tests.viewer.inside_stores import MODELS, publish
path = Path(sys.argv[1])
publish(path).close()
for name in [name for name in sys.modules if name.partition(".")[0] == "pandas"]:
    del sys.modules[name]  # writing needs it
from viewer.behaviours.page import BehaviourPage
from viewer.behaviours.queries import open_sheet
from viewer.session.notes import Notes
from viewer.session.state import ViewState
state = ViewState()
state.change({"b_measure": "js", "b_groups": ["sex"]})
page = BehaviourPage(open_sheet(path), state, list(MODELS), {key: key for key in MODELS}, Notes(path))
assert page.rows()[1] == 4 and page.headers() and page.group_panel()
print([name for name in ("pandas", "scipy.stats", "torch") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "results.duckdb")], capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr
