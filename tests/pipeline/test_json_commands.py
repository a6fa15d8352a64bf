"""Commands as JSON: what a person reads, for a program, on standard output or in a file."""

import json

import numpy as np
import pytest

from pipeline.cli import main
from tests.pipeline.answer_stores import publish


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run the command line beside results of two models; return its exit code and its output."""
    monkeypatch.chdir(tmp_path)
    draws = np.random.default_rng(0)
    publish(tmp_path / "results.duckdb", [(draws.random(50) < 0.9, draws.random(50) < 0.9, draws.integers(0, 10, 50))])

    def run(*words):
        code = main.run(list(words))
        return code, capsys.readouterr().out

    return run


def test_export_and_import(call, tmp_path):
    code, out = call("export", "compress-and-compare", "models.json", "--json")
    assert (code, json.loads(out)) == (0, {"models": 2, "file": "models.json"})
    words = ("import", "compress-and-compare", "models.json", "--results", "other.duckdb", "--json")
    expected = {"recipe": "models", "models": 2, "is_repeated": False, "source": "models.json", "notes": []}
    first, again = (json.loads(call(*words)[1]) for _ in range(2))
    assert expected.items() <= first.items()
    assert again == {**first, "is_repeated": True}


def test_migrate_writes_a_file_beside_the_text(call, tmp_path):
    code, out = call("migrate", "--json", "outcome.json")
    assert (code, out) == (0, "results.duckdb is up to date\n")
    assert json.loads((tmp_path / "outcome.json").read_text()) == {"results": "results.duckdb", "backup": None}


def test_verify(call, tmp_path):
    (tmp_path / ".bouillon/artifacts").mkdir(parents=True, exist_ok=True)
    code, out = call("verify", "--json")
    assert code == 0
    assert json.loads(out)["damaged"] in (False, 0)


def test_a_mistake_is_an_object(call):
    code, out = call("gate", "candidate 0", "refrence 0", "--fail-if", "accuracy drop > 1pt", "--json")
    error = json.loads(out)
    assert (code, error["event"], error["code"]) == (2, "error", 2)
    assert error["problems"][0]["nearest"] == "reference 0"
