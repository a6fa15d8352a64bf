import json
import math
from dataclasses import replace

import pytest

from pipeline.store.interchange.compress_and_compare import import_file, write
from pipeline.store.reader import open_results
from pipeline.store.writer import Store
from tests.pipeline.store.facts import GROUND, RUN, measurement, model, step


@pytest.fixture
def exported(tmp_path):
    """A sweep with a re-run under other settings and two runtimes, as a models.json."""
    store = Store(tmp_path / "results.duckdb")
    later = replace(RUN, run_id="run2")
    store.write(
        [*GROUND, later, model("base", op="load", which="net"), model("pruned", "base", sparsity=0.5, scope="layer")]
    )
    store.write(
        [
            replace(model("again", "base", sparsity=0.75, scope="layer"), name="pruned"),
            model("int8", "again", layers=["a"]),
        ]
    )
    store.write([step("base"), step("pruned"), replace(step("pruned", run="run2"), model_key="again"), step("int8")])
    store.write(
        [measurement(name, "accuracy", value) for name, value in (("base", 0.9), ("pruned", 0.8), ("int8", math.nan))]
    )
    store.write(
        [
            measurement("base", "latency", 2.0, device="laptop"),
            measurement("base", "latency", 3.0, target="openvino", device="laptop"),
        ]
    )
    store.publish()
    with open_results(store.results) as db:
        assert write(db, tmp_path / "models.json", "study") == 4
    return tmp_path / "models.json"


def test_a_recipe_of_ours_becomes_a_models_json(exported):
    content = json.loads(exported.read_text())
    assert content["operations"] == [
        {"name": "load", "parameters": {"which": {"type": "nominal", "options": ["net"]}}},
        {
            "name": "prune",
            "parameters": {
                "layers": {"type": "nominal", "options": [["a"]]},
                "scope": {"type": "nominal", "options": ["layer"]},
                "sparsity": {"type": "continuous", "min": 0.5, "max": 0.75},
            },
        },
    ]
    assert [metric["name"] for metric in content["metrics"]] == [
        "accuracy", "latency [openvino, laptop]", "latency [ort, laptop]"
    ]  # fmt: skip
    assert content["metrics"][0] == {
        "name": "accuracy", "primary": True, "format": ".1%", "unit": "", "min": None, "max": None,
    }  # fmt: skip
    models = {one["id"]: one for one in content["models"]}
    assert {name: one["base"] for name, one in models.items()} == {
        "base": None, "pruned #pruned": "base", "pruned #again": "base", "int8": "pruned #again",
    }  # fmt: skip
    assert models["base"]["metrics"] == {
        "accuracy": 0.9, "latency [openvino, laptop]": 3.0, "latency [ort, laptop]": 2.0,
    }  # fmt: skip
    assert models["int8"]["metrics"] == {"accuracy": None}
    assert models["pruned #again"]["operation"] == {"name": "prune", "parameters": {"scope": "layer", "sparsity": 0.75}}


def test_it_can_be_imported_again(exported, tmp_path):
    store = Store(tmp_path / "second.duckdb")
    assert import_file(store, exported).models == 4
    with open_results(store.results) as db:
        assert db.execute("SELECT name, depth FROM models ORDER BY ALL").fetchall() == [
            ("base", 0), ("int8", 2), ("pruned #again", 1), ("pruned #pruned", 1),
        ]  # fmt: skip
