import math
from dataclasses import replace

import pytest

from pipeline.store.records.run_records import Distribution
from pipeline.store.schema.scoreboard import column_name
from scripts.docs import views_table
from tests.pipeline.store.facts import (
    ACCURACY,
    DATA,
    DEVICE,
    GROUND,
    INSTANCES,
    layer,
    measurement,
    model,
    predictions,
    step,
)


def scoreboard(query, columns, order="model, target NULLS FIRST, device NULLS FIRST, dataset NULLS FIRST"):
    return query(f"SELECT {columns} FROM scoreboard ORDER BY {order} ")


def test_every_view_and_column_has_a_comment():
    bare = [view.name for view in views_table.public() if not view.comment]
    bare += [
        f"{view.name}.{column.name}" for view in views_table.public() for column in view.columns if not column.comment
    ]
    assert bare == []


def test_the_promised_columns_are_there():
    found = {view.name: {column.name for column in view.columns} for view in views_table.public()}
    promised = {
        "models": "model_key name parent_key root_key depth op kind params recipe",
        "scoreboard": "model_key model target device dataset",
        "measurements": "model_key target device dataset metric value low high unit better run_id measured_at",
        "lineage": "model_key ancestors",
        "steps": "run_id path outcome seconds error",
        "predictions": "model_key target instance_id label predicted confidence correct",
        "instances": "instance_id label attributes",
        "metrics": "metric unit format better is_primary description scoreboard_column role pairing",
        "instance_values": "model_key target device dataset metric position instance_id value evidence_key",
        "layers": "model_key tensor",
        "runs": "run_id config versions host git_commit",
    }
    missing = {f"{view}.{name}" for view, columns in promised.items() for name in set(columns.split()) - found[view]}
    assert missing == set()


def test_numbers_of_two_devices_never_stand_in_one_row(store, query):
    store.write([*GROUND, replace(DEVICE, device="server"), replace(ACCURACY, metric="bytes"), model("base")])
    store.write(
        [
            measurement("base", "latency", 1.0, device="laptop"),
            measurement("base", "latency", 2.0, device="server"),
            measurement("base", "latency", 9.0, target="openvino", device="server"),
            measurement("base", "accuracy", 0.9, data="data1"),
            measurement("base", "bytes", 100.0, target=""),
        ]
    )
    store.publish()
    assert scoreboard(query, "target, device, dataset, latency, accuracy, bytes") == [
        ("openvino", "server", None, 9.0, None, 100.0),
        ("ort", "laptop", "digits", 1.0, 0.9, 100.0),
        ("ort", "server", "digits", 2.0, 0.9, 100.0),
    ]


def test_numbers_of_two_data_sets_never_stand_in_one_row(store, query):
    store.write([*GROUND, replace(DATA, dataset_key="data2", name="photos"), model("base")])
    store.write(
        [measurement("base", "accuracy", 0.9, data="data1"), measurement("base", "accuracy", 0.4, data="data2")]
    )
    store.write([measurement("base", "latency", 1.0, device="laptop")])
    store.publish()
    assert scoreboard(query, "dataset, accuracy, latency") == [("digits", 0.9, 1.0), ("photos", 0.4, 1.0)]


def test_every_model_is_in_the_scoreboard(store, query):
    store.write([*GROUND, model("base"), model("bare", "base"), measurement("base", "accuracy", 0.9, target="")])
    store.publish()
    assert scoreboard(query, "model, target, device, accuracy") == [
        ("bare", None, None, None),
        ("base", None, None, 0.9),
    ]


def test_what_is_not_a_number_never_ranks_first(store, query):
    store.write([*GROUND, model("base"), model("broken", "base")])
    store.write([measurement("base", "accuracy", 0.9), measurement("broken", "accuracy", math.nan)])
    store.publish()
    assert scoreboard(query, "model, accuracy", "accuracy DESC NULLS LAST, model") == [("base", 0.9), ("broken", None)]
    assert query("SELECT count(*) FROM measurements WHERE isnan(value)") == [(1,)]


def test_only_the_newest_values_count(store, query):
    store.write([*GROUND, model("base")])
    store.write([measurement("base", "accuracy", value, days=day) for day, value in ((2, 0.7), (3, 0.6), (1, 0.9))])
    store.publish()
    assert scoreboard(query, "accuracy") == [(0.6,)]


@pytest.mark.parametrize("name", ['we"ird', "it's", "Top-1 Accuracy", "select", "a;b", "<b>", "model", "", "a\0b"])
def test_a_metric_may_have_any_name(store, query, name):
    store.write([*GROUND, replace(ACCURACY, metric=name), model("base"), measurement("base", name, 0.9)])
    store.publish()
    [(column,)] = query("SELECT scoreboard_column FROM metrics WHERE metric = ?", name)
    assert column == {"model": "model_2", "": "unnamed", "a\0b": "ab"}.get(name, name)
    quoted = column.replace('"', '""')
    assert query(f'SELECT "{quoted}" FROM scoreboard') == [(0.9,)]
    [(comment,)] = query(
        "SELECT comment FROM duckdb_columns() WHERE database_name = 'results' AND table_name = 'scoreboard'"
        " AND column_name = ?",
        column,
    )
    assert comment == "Share of right answers. (higher is better)"


def test_names_that_differ_in_case_get_columns_of_their_own_for_good(store, query):
    store.write([*GROUND, model("base"), measurement("base", "accuracy", 0.9)])
    store.publish()
    store.write([replace(ACCURACY, metric="Accuracy"), measurement("base", "Accuracy", 90.0)])
    store.publish()
    assert query("SELECT metric, scoreboard_column FROM metrics WHERE metric ILIKE 'accuracy' ORDER BY ALL") == [
        ("Accuracy", "Accuracy_2"), ("accuracy", "accuracy"),
    ]  # fmt: skip
    assert scoreboard(query, "accuracy, accuracy_2") == [(0.9, 90.0)]


def test_column_names_skip_what_is_taken():
    assert column_name("A", []) == "A"
    assert column_name("A", ["a", "A_2"]) == "A_3"


def test_a_model_of_two_recipes_is_one_model(store, query):
    run2 = replace(GROUND[0], run_id="run2", recipe="other")
    store.write(
        [*GROUND, run2, model("base"), step("base", outcome="done"), step("base", outcome="cached", run="run2")]
    )
    store.publish()
    assert query("SELECT name, recipe, recipes FROM models") == [("base", "study", ["other", "study"])]


def test_lineage_lists_ancestors_from_the_root(store, query):
    store.write([model("a"), model("b", "a"), model("c", "b"), model("z")])
    store.publish()
    assert query("SELECT model_key, depth, ancestors, path FROM lineage ORDER BY model_key") == [
        ("a", 0, [], ["a"]), ("b", 1, ["a"], ["a", "b"]), ("c", 2, ["a", "b"], ["a", "b", "c"]), ("z", 0, [], ["z"]),
    ]  # fmt: skip


def test_weights_have_the_work_of_their_layers(store, query):
    """It is known of outputs. What the network does counts, not what became of it in the exported file."""
    store.write([model("base"), layer("base", "net.weight"), replace(layer("base", "net.bias"), parameter="bias")])
    activation = Distribution(
        model_key="base", place="activation", stage="onnx", site="net", module="net", module_type="Conv2d", position=0,
        shape=[], count=1, zeros=0, nans=0, infs=0, minimum=0, maximum=0, mean=0, std=0, abs_sum=0, square_sum=0,
        channels=None, dead_channels=None, saturated=None, low=0, high=1, counts=[], macs=7,
    )  # fmt: skip
    for made, macs in ((activation, 7), (replace(activation, stage="torch", macs=9), 9)):
        store.write([made])
        store.publish()
        assert query("SELECT parameter, macs FROM layers ORDER BY parameter") == [("bias", None), ("weight", macs)]


def test_predictions_join_their_instances(store, query):
    store.write([*GROUND, model("base"), INSTANCES])
    store.write([predictions("base", [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])])
    store.publish()
    assert query("SELECT instance_id, label, predicted, correct FROM predictions ORDER BY position") == [
        ("a", "cat", "cat", True), ("b", "dog", "dog", True), ("c", "cat", "dog", False), ("d", "dog", "cat", False),
    ]  # fmt: skip
    assert query("SELECT probabilities FROM predictions WHERE position = 0") == [
        ([pytest.approx(0.9, rel=5e-4), pytest.approx(0.1, rel=5e-4)],)
    ]
    assert query(
        "SELECT attributes['sex'], avg(correct::INT) FROM predictions JOIN instances USING (dataset_key, split, position) GROUP BY ALL ORDER BY ALL"
    ) == [("f", 0.5), ("m", 0.5)]


def test_instances_without_a_value_are_in_no_group(store, query):
    attributes = {"sex": ["f", "", "m", "f"], "age": ["", "", "", ""]}
    store.write([*GROUND, model("base"), replace(INSTANCES, attributes=attributes)])
    store.write([predictions("base", [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])])
    store.publish()
    maps = query("SELECT map_keys(attributes), map_values(attributes) FROM instances ORDER BY position")
    assert maps == [(["sex"], ["f"]), ([], []), (["sex"], ["m"]), (["sex"], ["f"])]
    groups = query("SELECT attribute, value, instances FROM group_accuracy ORDER BY value")
    assert groups == [("sex", "f", 2), ("sex", "m", 1)]


def test_markdown_lists_all_and_survives_bars_and_tags():
    view = views_table.View("v", "One & two.", (views_table.Column("c", "INTEGER", "a | b < c"),))
    assert views_table.markdown([view]) == (
        "<details><summary><code>v</code> One &amp; two.</summary>\n\n| column | type | |\n|---|---|---|\n"
        "| `c` | INTEGER | a \\| b &lt; c |\n\n</details>\n"
    )
