import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats

from pipeline.store import probabilities
from pipeline.store.reader import (
    all_probabilities,
    js_divergence,
    kl_divergence,
    log_probabilities,
    margin,
    open_results,
)
from pipeline.store.records import run_records
from pipeline.store.write.bulk_insert import milli_log
from tests.pipeline.store.facts import GROUND, INSTANCES, model, predictions
from tests.pipeline.store.pieces import Pieces


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def stored(array):
    """As if read in two pieces."""
    return Pieces(array, len(array) // 2)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return softmax(rng.normal(size=(300, 20)) * 3), softmax(rng.normal(size=(300, 20)) * 3)


def test_the_encoding_is_exact_to_half_a_thousandth():
    p = np.geomspace(1e-14, 1, 1000, dtype=np.float32)
    assert np.exp(milli_log(p) / 1000) == pytest.approx(p, rel=5.1e-4)
    assert milli_log(np.array([0, 1e-30, 1, np.nan], np.float32)).tolist() == [-32767, -32767, 0, -32767]


def test_divergences_agree_with_scipy(pair):
    base, other = pair
    kl, js = kl_divergence(stored(base), [stored(other)])[0], js_divergence(stored(base), [stored(other)])[0]
    assert kl == pytest.approx(scipy.stats.entropy(base, other, axis=1), rel=1e-3)
    assert js == pytest.approx(scipy.spatial.distance.jensenshannon(base, other, axis=1) ** 2, rel=1e-3)


def test_margins_agree_with_numpy(pair):
    best = np.sort(pair[0], axis=1)
    assert margin([stored(pair[0])])[0] == pytest.approx(best[:, -1] - best[:, -2], abs=1e-3)
    assert margin([stored(np.ones((3, 1)))]).tolist() == [[1, 1, 1]]


def test_equal_models_do_not_diverge_and_nearly_equal_ones_hardly(pair):
    base = pair[0]
    assert np.abs(kl_divergence(stored(base), [stored(base)])).max() < 1e-6
    near = softmax(np.log(base) + np.random.default_rng(1).normal(size=base.shape) * 1e-3)
    assert np.abs(kl_divergence(stored(base), [stored(near)]) - scipy.stats.entropy(base, near, axis=1)).max() < 2e-6


def test_js_divergence_is_symmetric_and_bounded(pair):
    certain, opposite = np.eye(2)[[0] * 4], np.eye(2)[[1] * 4]
    assert js_divergence(stored(certain), [stored(opposite)]) == pytest.approx(np.full((1, 4), np.log(2)), rel=1e-5)
    one, two = js_divergence(stored(pair[0]), [stored(pair[1])]), js_divergence(stored(pair[1]), [stored(pair[0])])
    assert one == pytest.approx(two, abs=1e-6)


def test_unknown_rows_are_nan_and_leave_others_alone(pair):
    base, other = stored(pair[0]), stored(pair[1])
    table = pair[1].copy()
    table[5, 3] = np.nan
    broken = stored(table)
    for compare in (kl_divergence, js_divergence):
        whole, found = compare(base, [other])[0], compare(base, [broken])[0]
        assert np.flatnonzero(np.isnan(found)).tolist() == [5]
        assert np.array_equal(np.delete(found, 5), np.delete(whole, 5))
        found = compare(broken, [other, broken])
        assert np.flatnonzero(np.isnan(found[0])).tolist() == np.flatnonzero(np.isnan(found[1])).tolist() == [5]
        assert np.nanmax(found[1]) == 0, "a model beside itself"
    assert np.isnan(margin([broken])[0][5])
    assert np.isnan(all_probabilities(broken)[5]).all()
    assert np.isnan(all_probabilities(broken)).sum() == 20


def test_results_do_not_depend_on_blocks_pieces_or_threads(pair, monkeypatch):
    base, other = stored(pair[0]), stored(pair[1])
    whole, alone = kl_divergence(base, [other]), margin([other])
    for block, share in ((7 * 20, 10**9), (10**6, 50 * 20)):
        monkeypatch.setattr(probabilities, "_BLOCK", block)
        monkeypatch.setattr(probabilities, "_SHARE", share)
        monkeypatch.setattr("os.cpu_count", lambda: 5)
        assert np.array_equal(kl_divergence(base, [Pieces(pair[1], 11, 100, 299)]), whole)
        assert np.array_equal(margin([Pieces(pair[1], 1, 2)]), alone)


def test_what_is_written_is_read(store, path):
    table = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]
    unknown = [[0.5, 0.5], [np.nan, np.nan], [0.1, 0.9], [1, 0]]
    store.write([*GROUND, model("base"), model("child", "base"), model("bare"), INSTANCES])
    store.write([predictions("base", table), predictions("child", [[1, 0]] * 4), predictions("child", unknown)])
    store.publish()
    with open_results(path) as db:
        read = log_probabilities(db, ["base", "child", "bare", "nobody"], target="ort", dataset_key="data1")
        assert log_probabilities(db, ["base"], target="openvino", dataset_key="data1") == {}
        assert set(read) == {"base", "child"}
        assert read["base"].shape == read["child"].shape == (4, 2)
        assert all_probabilities(read["base"]) == pytest.approx(np.array(table), rel=6e-4)
        found = all_probabilities(read["child"])
        kl = kl_divergence(read["base"], [read["child"]])[0]
    assert np.isnan(found[1]).all()
    assert found[2] == pytest.approx([0.1, 0.9], rel=6e-4)
    assert np.isnan(kl).tolist() == [False, True, False, False]


def test_sets_that_span_several_groups_of_rows_keep_their_order(store, path):
    count = 40_000
    ids = [str(number) for number in range(count)]
    rng = np.random.default_rng(0)
    tables = {name: softmax(rng.normal(size=(count, 2))).astype(np.float32) for name in ("base", "child")}
    store.write([*GROUND, model("base"), model("child"), run_records.Instances("data1", "evaluation", ids, ids, {})])
    store.write([predictions(name, table, labels=[0] * count) for name, table in tables.items()])
    store.publish()
    with open_results(path) as db:
        read = log_probabilities(db, list(tables), target="ort", dataset_key="data1")
        for name, table in tables.items():
            pieces = list(read[name].blocks(5, count - 3))
            assert len(pieces) > 1
            assert np.array_equal(np.concatenate(pieces), milli_log(table)[5 : count - 3])
        base, child = (Pieces(table) for table in tables.values())
        assert np.array_equal(js_divergence(read["base"], [read["child"]]), js_divergence(base, [child]))
