"""Stores of schema version 1 come forward: metrics get their kinds, and the answers their values by instance."""

import json

import duckdb
import numpy as np
import pytest

from pipeline.measure.metrics.api import METRICS
from pipeline.measure.metrics.definitions import metric_records
from pipeline.store.migration import migrate, migrations
from pipeline.store.records import run_records
from pipeline.store.writer import Store
from tests.pipeline.store.facts import DATA, DEVICE, INSTANCES, RUN, measurement, model, predictions
from tests.pipeline.store.test_schema import GOLDEN, constraints
from viewer.results.results import load_results

DOWN = """
CREATE TEMP TABLE now AS SELECT * EXCLUDE (role, pairing) FROM metric;
DROP TABLE metric;
CREATE TABLE metric (
    fact UUID PRIMARY KEY, metric VARCHAR NOT NULL, unit VARCHAR NOT NULL, format VARCHAR NOT NULL,
    better VARCHAR NOT NULL CHECK (better IN ('higher', 'lower', 'neither')), is_primary BOOLEAN NOT NULL,
    description VARCHAR NOT NULL, recorded_at TIMESTAMP NOT NULL
);
INSERT INTO metric BY NAME FROM now;
DROP TABLE value_set;
DROP TABLE instance_value;
UPDATE meta SET value = '1' WHERE key = 'schema_version';
"""
STATEMENTS = migrations()[2]
KNOWN = [record for record in metric_records() if f"'{record.metric}'" in STATEMENTS]
"""Metrics of version 1: those that came later are in no such store."""
IMPORTED = {"Top-5 Accuracy": "quality", "Latency": "cost", "Model Size": "size", "Epochs": "other"}


@pytest.fixture
def version_1(store, path):
    """A store as the first version left it: `child` answers one more of four wrongly; `elsewhere` was evaluated again."""
    wrong = {"base": 0, "child": 1, "elsewhere": 2}
    facts = [RUN, DEVICE, DATA, INSTANCES, *KNOWN]
    facts += [run_records.Metric(name, "", ".3g", "higher", False, name, "other") for name in IMPORTED]
    for name, count in wrong.items():
        right = np.arange(4) >= count
        facts += [
            model(name, None if name == "base" else "base"),
            predictions(name, np.where((np.array([0, 1, 0, 1]) == 0) == right, [[0.9], [0.1]], [[0.1], [0.9]]).T),
            measurement(name, "accuracy", 0.3 if name == "elsewhere" else right.mean(), data="data1"),
        ]
    store.write(facts)
    store.publish()
    store.close()
    for file in (path.parent / ".bouillon" / f"{path.name}.working", path):
        with duckdb.connect(str(file)) as db:
            for (view,) in db.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
                db.execute(f"DROP VIEW {view}")
            db.execute(DOWN)
    return path


def test_every_metric_gets_the_kinds_that_it_is_registered_with(version_1, query):
    migrate(version_1)
    kinds = {name: kinds for name, *kinds in query("SELECT metric, role, pairing FROM metrics")}
    names = [record.metric for record in KNOWN]
    assert len(names) > 30
    assert {name: kinds.pop(name) for name in names} == {
        name: [METRICS[name].role, METRICS[name].pairing] for name in names
    }
    assert kinds == {name: [role, "none"] for name, role in IMPORTED.items()}


def test_tables_are_those_of_a_new_store(version_1):
    migrate(version_1)
    with duckdb.connect(str(version_1), read_only=True) as db:
        rows = db.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() JOIN duckdb_tables() USING (table_name)"
        ).fetchall()
        rules = constraints(db)
    tables, golden = {}, json.loads(GOLDEN.read_text())
    for table, column, kind in rows:
        tables.setdefault(table, {})[column] = kind
    assert tables == golden["tables"]
    assert rules == (golden["constraints"], golden["optional"])


def test_answers_are_paired_as_before_unless_they_are_of_another_evaluation(version_1, query):
    migrate(version_1)
    assert query("SELECT model, list(value ORDER BY position) FROM instance_values GROUP BY ALL ORDER BY 1") == [
        ("base", [1, 1, 1, 1]),
        ("child", [0, 1, 1, 1]),
    ]
    results = load_results(version_1)
    change = results.change("accuracy", "child", "base")["change"]
    assert change == "within noise (\N{MINUS SIGN}25.0 pp [\N{MINUS SIGN}69.9, +36.2])", "Tango's of 1 lost of 4"
    assert results.spec("accuracy").role == "quality"


def test_a_run_goes_on_in_it(version_1):
    migrate(version_1)
    assert Store(version_1).write([model("next", "child")]) == 1
    assert Store(version_1).write(KNOWN) == 0
