"""Any two models of some results are compared on demand, and instances shown, through the command line."""

import io
import json
from datetime import datetime

import pytest

from pipeline.cli.show_instances import answer
from pipeline.layers.tensors.tensor import LayerError
from pipeline.store.errors import StoreError
from pipeline.store.reader import open_results
from pipeline.store.records.run_records import Model, Run
from pipeline.store.writer import Store
from pipeline.sweep.compare_any_two import compare_models, side_store
from tests.pipeline.layers.layers_bench import Bench


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    bench = Bench(folder / "workspace")
    bench.base()
    bench.apply("pruned", "base", "magnitude_prune", sparsity=0.5)
    bench.apply("shared", "base", "palettize", bits=3)
    store = Store(folder / "results.duckdb")
    key = {name: source.model for name, source in bench.sources.items()}
    models = [
        Model(key[name], key["base"] if name != "base" else None, name, "", "study", "op", 1, "prune", "torch", {})
        for name in key
    ]
    store.write([Run("r", "study", {"workspace": "workspace"}, {}, {}, None, datetime(2026, 1, 1)), *models])
    store.publish()
    return folder / "results.duckdb", bench, key


def test_two_siblings_that_no_run_compared(study):
    results, _, key = study
    seen = []
    path, count = compare_models(results, "shared", key["pruned"][:10], None, lambda *done: seen.append(done))
    assert path == side_store(results)
    with open_results(path) as db:
        query = "SELECT model, reference, count(*), count(*) FILTER (status = 'compared') FROM changes WHERE place <> 'activation' GROUP BY ALL"
        rows = db.execute(query).fetchall()
    assert rows == [("shared", "pruned", 19, 19)]
    assert count >= 19
    assert seen[-1] == (19, 19)
    before = path.stat().st_size
    compare_models(results, "shared", "pruned")
    assert path.stat().st_size <= before * 1.5, "the same facts are stored once"


def test_unknown_and_deleted_models_give_a_sentence(study):
    results, bench, key = study
    with pytest.raises(StoreError, match="No model is called 'nobody' in these results"):
        compare_models(results, "nobody", "base")
    with pytest.raises(StoreError, match=r"No model is called 'shard' in these results\. Did you mean 'shared'"):
        compare_models(results, "shard", "base")
    bench.artifacts.remove(key["shared"])
    with pytest.raises(LayerError, match="The model's files are gone"):
        compare_models(results, "shared", "base")
    with pytest.raises(StoreError, match=r"Name it: --workspace DIR"):
        compare_models(results.rename(results.parent.parent / "moved.duckdb"), "pruned", "base")


class _Data:
    task = "image-classification"

    def show(self, name):
        if name == "lost":
            raise LookupError("no instance is called 'lost'")
        return {"image": b"PNG", "text": f"of {name}"}


def test_instances_by_id_one_line_each():
    lines = list(answer(_Data(), io.StringIO('"i1"\n"lost"\n')))
    assert json.loads(lines[0]) == {"image": "UE5H", "text": "of i1"}
    assert json.loads(lines[1]) == {"problem": "no instance is called 'lost'"}
