"""Layers that change more on some instances than on others: by hand, and of two networks that are run."""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from ops.core.operation import TorchModel
from pipeline.cli.main import run
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.errors import BouillonError
from pipeline.core.keys import digest
from pipeline.datasets.splits import SplitDataset, SplitInstances
from pipeline.layers.compare.contrast import InstanceSets, LayerSums, contrasts, sums_of
from pipeline.layers.tensors.tensor import LayerError
from pipeline.models import storage
from pipeline.stages.layer_contrast import contrast_layers
from pipeline.stages.layer_sources import Sources
from pipeline.sweep.compare_any_two import contrast_models
from pipeline.sweep.config import Config
from pipeline.sweep.known_data import allow, remember
from tests.pipeline.layers.layers_bench import ARCHITECTURE, Pictures, network
from tests.viewer.inside_stores import publish


def layer(site, change, reference=None):
    change = np.asarray(change, np.float64)
    return LayerSums(site, "torch", 0, change, np.ones_like(change) if reference is None else np.asarray(reference))


@pytest.mark.parametrize(("few", "many", "spread"), [(5, 5, 0.5), (5, 64, 1.0), (64, 64, 1.5)])
def test_chance_is_called_a_difference_as_often_as_it_is_said(few, many, spread):
    """Changes of instances are skewed, and sets are small: a bootstrap of five instances was wrong three times as often."""
    random, is_changed = np.random.default_rng(0), np.arange(few + many) < few
    layers = [
        LayerSums(str(at), "torch", at, random.lognormal(0, spread, few + many), random.lognormal(3, 0.3, few + many))
        for at in range(300)
    ]
    misses = np.mean([not each.low <= 1 <= each.high for each in contrasts(layers, is_changed)])
    assert misses <= 0.05 + 2.6 * (0.05 * 0.95 / len(layers)) ** 0.5  # 99 of 100 such samples
    doubled = [replace(layer, change=np.where(is_changed, 2, 1) * layer.change) for layer in layers]
    held = np.mean([each.low <= 2 <= each.high for each in contrasts(doubled, is_changed)])
    assert held >= 0.95 - 2.6 * (0.05 * 0.95 / len(layers)) ** 0.5


def test_the_ratio_is_that_of_the_two_relative_changes():
    rng = np.random.default_rng(0)
    changed = np.arange(60) < 20
    twice = np.where(changed, 0.4, 0.2) * rng.uniform(0.8, 1.2, 60)
    size = rng.uniform(1, 3, 60)
    alike = rng.uniform(0.1, 0.3, 60)
    rare = np.where(np.arange(60) == 3, 40.0, 0.2) * rng.uniform(0.8, 1.2, 60)
    found = contrasts([layer("alike", alike), layer("twice", twice * size, size), layer("rare", rare)], changed)
    assert [each.site for each in found] == ["rare", "twice", "alike"], "the largest ratio first"
    rare, twice_, alike_ = found
    expected = ((twice * size)[changed].sum() / size[changed].sum()) / (
        (twice * size)[~changed].sum() / size[~changed].sum()
    )
    assert twice_.ratio == pytest.approx(expected)
    assert twice_.low < expected < twice_.high
    assert twice_.low > 1.7
    assert twice_.p == pytest.approx(3 / 2001), "none of 2,000 exchanges is as far, corrected for three layers"
    assert alike_.low < 1 < alike_.high
    assert alike_.p > 0.05
    assert rare.low < 1 < rare.high or rare.p > 0.05, "one instance is no evidence"


def test_layers_that_did_not_change_are_no_evidence():
    changed = np.arange(20) < 10
    nothing = layer("nothing", np.zeros(20))
    only = layer("only", np.where(changed, 1.0, 0.0))
    found = {each.site: each for each in contrasts([nothing, only], changed)}
    assert math.isnan(found["nothing"].ratio)
    assert math.isnan(found["nothing"].p)
    assert found["only"].ratio == math.inf
    assert contrasts([], changed) == []


def test_values_that_one_of_the_two_lacks_are_left_out():
    new = np.array([[1.0, 2.0, np.nan], [5.0, 5.0, 5.0], [1.0, 1.0, 1.0]], np.float32)
    old = np.array([[1.5, 9.0, 3.0], [4.0, 4.0, 4.0], [1.0, 1.0, 3.0]], np.float32)
    there = np.array([True, False, True])
    change, reference = sums_of((new, np.tile(there, (3, 1))), (old, np.ones((3, 3), bool)), np.array([0, 1, 0]), 2)
    assert change.tolist() == [0.5 + 2.0, 2.0]
    assert reference.tolist() == [1.5 + 4.0, 8.0]


@dataclass
class Pair:
    """Two networks as runs keep them, and pictures."""

    artifacts: ArtifactStore
    sources: dict[str, Sources]
    dataset: Pictures


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    artifacts, sources = ArtifactStore(tmp_path_factory.mktemp("contrast") / "artifacts"), {}
    torch.manual_seed(0)
    module = network().eval()
    for name in ("base", "pruned"):
        if name == "pruned":
            with torch.no_grad():
                module.conv.weight[module.conv.weight.abs() < 0.15] = 0
        key = digest({"contrast": name})
        with artifacts.publish(key, {}) as folder:
            storage.save(TorchModel(module, ARCHITECTURE), folder)
        sources[name] = Sources(key, sources["base"].model if sources else key, key, key, key, None)
    return Pair(artifacts, sources, Pictures())


def sets_of(bench):
    (batch,) = bench.dataset.batches("evaluation", batch_size=96)
    first = batch.targets["labels"] == 0
    ids = np.array(batch.ids)
    return InstanceSets("p0", tuple(ids[first]), tuple(ids[~first])), batch, first


def test_two_networks_are_run_on_both_sets(bench):
    sets, batch, first = sets_of(bench)
    seen = []
    pair = bench.sources["pruned"], bench.sources["base"]
    found, counts = contrast_layers(bench.artifacts, pair, bench.dataset, sets, lambda *done: seen.append(done))
    assert counts == (int(first.sum()), min(64, int((~first).sum())))
    assert seen[-1][0] == seen[-1][1]
    outputs = []
    for source in pair:
        network = storage.load(bench.artifacts.folder(source.model)).module
        kept = {}
        network.conv2.register_forward_hook(lambda module, inputs, output, kept=kept: kept.update(conv2=output))
        with torch.inference_mode():
            network(torch.from_numpy(batch.inputs["pixel_values"]))
        outputs.append(kept["conv2"].flatten(1).numpy())
    rows = np.isin(batch.ids, sets.sample().same)
    whole = [np.abs(outputs[0] - outputs[1])[part].sum() / np.abs(outputs[1])[part].sum() for part in (first, rows)]
    conv2 = next(each for each in found if each.site == "conv2")
    assert (conv2.changed, conv2.same) == pytest.approx(whole, rel=0.1), "places stand for all values"
    assert conv2.ratio == pytest.approx(whole[0] / whole[1], rel=0.05)
    assert {each.site for each in found} >= {"conv", "bn", "conv2", "bn2", "head"}
    assert contrast_layers(bench.artifacts, pair, bench.dataset, sets)[0] == found, "the same every time"


def test_what_is_not_there_is_said(bench):
    pair = bench.sources["pruned"], bench.sources["base"]
    gone = InstanceSets("p0", tuple(f"gone-{at}" for at in range(9)), tuple(f"evaluation-{at}" for at in range(9)))
    with pytest.raises(LayerError, match="has only 0 and 9 of the instances"):
        contrast_layers(bench.artifacts, pair, bench.dataset, gone)
    for text, problem in (
        ("[]", "must be JSON with"),
        (json.dumps({"dataset": "d", "changed": ["a"] * 9, "same": list("bcdefg")}), "5 instances or more"),
        (json.dumps({"dataset": "d", "changed": list("abcde"), "same": list("efghi")}), "in both sets"),
        (json.dumps({"dataset": "d", "changed": 5, "same": []}), "must be lists of ids"),
    ):
        with pytest.raises(ValueError, match=problem):
            InstanceSets.parse(text)


def test_nothing_is_run_beside_results_of_others(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    store = publish(tmp_path / "results.duckdb")
    sets = InstanceSets("d1", tuple("abcde"), tuple("fghij"))

    def attempt():
        with pytest.raises(BouillonError) as refused:
            contrast_models(tmp_path / "results.duckdb", ("pruned", "base"), sets)
        return str(refused.value)

    assert "no run of yours has opened the data set 'pictures'" in attempt()
    remember("d1", Config(recipe={}, dataset={"name": "mine", "dataset": "digits"}), "another store")
    allow("d1", store.identity)
    assert "models are run only beside results that runs of yours have written whole" in attempt(), (
        "leave to show is no more"
    )
    remember("d1", Config(recipe={}, dataset={"name": "mine", "dataset": "digits"}), store.identity)
    assert "is not what it was when the models were evaluated" in attempt(), "now the data set is opened"
    store.close()


def test_the_command_refuses_what_is_no_pair_of_sets(tmp_path, capsys):
    publish(tmp_path / "results.duckdb").close()
    file = tmp_path / "sets.json"
    file.write_text("{}")
    assert (
        run(["compare", "pruned", "base", "--results", str(tmp_path / "results.duckdb"), "--instances", str(file)]) == 2
    )
    assert "the instances must be JSON with `dataset`, `changed` and `same`" in capsys.readouterr().err


class _Numbers:
    def read(self, rows, noise):
        return {"x": rows.astype(np.float32)[:, None]}, {"labels": rows}

    def show(self, row):
        return {}


def test_instances_are_read_by_their_ids():
    ids = np.array([f"i{at}" for at in range(10)], object)
    splits = {"train": np.arange(4), "calibration": np.array([4]), "evaluation": np.arange(5, 10)}
    inputs = {"x": ("float32", (1,))}
    data = SplitDataset(
        name="numbers", task="image-classification", fingerprint="n",
        load=lambda: SplitInstances(ids, ["a"] * 10, np.zeros(10, int), splits, ("a",), inputs, _Numbers()),
    )  # fmt: skip
    batches = list(data.batches_of(["i8", "i1", "no such", "i5", "i9"], batch_size=2))
    assert [batch.ids for batch in batches] == [("i8", "i5"), ("i9",)], "those of training are not told"
    assert batches[0].inputs["x"].tolist() == [[8.0], [5.0]]
