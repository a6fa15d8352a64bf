"""The run history of Olive: in as models with parents, passes and metrics."""

import json

import pytest

from pipeline.cli.commands.table import run_command
from pipeline.store.errors import StoreError
from pipeline.store.reader import open_results


def node(model, parent, made_by, config=None, **figures):
    """A node as Olive 0.13 writes it."""
    values = {
        name.replace("_", "-"): {"value": value, "priority": 1, "higher_is_better": name.startswith("accuracy")}
        for name, value in figures.items()
    }
    return {
        "parent_model_id": parent, "model_id": model, "model_config_data": None, "from_pass": made_by,
        "pass_run_config": config, "is_pareto_frontier": False,
        "metrics": {"value": values, "cmp_direction": {}, "if_goals_met": True} if figures else None,
        "start_time": 0, "end_time": 0,
    }  # fmt: skip


HISTORY = {
    "input": node("input", None, None, accuracy_acc=0.9, latency_avg=5.0),
    "1f": node("1f", "input", "OnnxConversion", {"target_opset": 20}),
    "2f": node("2f", "1f", "OnnxStaticQuantization", {"weight_type": "QInt8"}, accuracy_acc=0.88, latency_avg=2.0),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    return tmp_path


def write(place, content):
    (place / "run" / "footprint.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_run_is_a_tree_with_its_figures(place, capsys):
    write(place, HISTORY)
    assert run_command(["import", "olive", "run"]) == 0
    assert "3 models with 4 measurements" in capsys.readouterr().out
    db = open_results(place / "results.duckdb")
    assert db.execute("SELECT name, parent, op, kind, recipe FROM models ORDER BY depth").fetchall() == [
        ("input", None, "base", "base", "run"),
        ("1f", "input", "OnnxConversion", "other", "run"),
        ("2f", "1f", "OnnxStaticQuantization", "quantize", "run"),
    ]
    assert json.loads(db.execute("SELECT params FROM models WHERE name = '2f'").fetchone()[0]) == {
        "weight_type": "QInt8"
    }
    assert db.execute("SELECT metric, better FROM metrics ORDER BY metric").fetchall() == [
        ("accuracy-acc", "higher"), ("latency-avg", "lower"),
    ]  # fmt: skip
    values = db.execute("SELECT model, metric, value FROM measurements ORDER BY ALL").fetchall()
    assert values[0] == ("2f", "accuracy-acc", 0.88)
    assert len(values) == 4
    db.close()
    assert run_command(["import", "olive", "run/footprint.json"]) == 0
    assert "nothing was changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "it is not JSON"),
        ("[]", "a footprint maps models"),
        ({"a": 1}, "'a': expected an object"),
        ({"a": node("a", "b", "Pass")}, "its parent 'b' is not among the models"),
        ({"a": node("a", "b", "Pass"), "b": node("b", "a", "Pass")}, "models form a cycle: a -> b -> a"),
        ({"a": node("a", None, None, accuracy_acc="good")}, "accuracy-acc has the value 'good', which is no number"),
    ],
)
def test_what_is_wrong_with_it_is_told_and_nothing_is_imported(place, content, message):
    write(place, content)
    with pytest.raises(StoreError, match=message):
        run_command(["import", "olive", "run"])
    assert not (place / "results.duckdb").exists() or open_results(place / "results.duckdb").execute(
        "SELECT count(*) FROM models"
    ).fetchone() == (0,)


def test_a_folder_without_a_history_is_told(place):
    with pytest.raises(StoreError, match=r"should hold one footprint\.json, and there is none"):
        run_command(["import", "olive", "run"])
