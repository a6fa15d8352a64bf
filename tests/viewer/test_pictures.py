"""Instances are fetched once and kept; a data set that cannot be opened gets a sentence, however soon its process ends."""

import subprocess
import sys
from threading import Event

import pytest

from viewer.behaviours.instance_previews import Pictures


@pytest.mark.parametrize("ended", [True, False])
def test_a_process_that_ends_without_an_answer_is_quoted(tmp_path, monkeypatch, ended):
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; time.sleep(0.2); sys.exit('error: no such data set')"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if ended:
        process.wait()
    monkeypatch.setenv("HOME", str(tmp_path))  # where pictures are kept
    pictures, arrived = Pictures(tmp_path / "results.duckdb", "d1"), Event()
    monkeypatch.setattr(pictures, "_running", lambda: process)
    assert pictures.get(["i1"], arrived.set) == {}
    arrived.wait()
    assert pictures.problem == "The instances cannot be shown: no such data set"


ANSWERS = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"text": json.loads(line)}), flush=True)
"""


@pytest.mark.parametrize("writable", [True, False])
def test_what_was_fetched_is_kept_for_other_results_of_the_same_data(tmp_path, monkeypatch, writable):
    monkeypatch.setenv("HOME", str(tmp_path))
    if not writable:
        (tmp_path / ".cache").touch()  # no folder can be made there
    first, arrived = Pictures(tmp_path / "results.duckdb", "d1"), Event()
    with subprocess.Popen(
        [sys.executable, "-c", ANSWERS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        monkeypatch.setattr(first, "_running", lambda: process)
        assert first.get(["i1"], arrived.set) == {}
        arrived.wait()
        assert first.get(["i1"], arrived.set) == {"i1": {"text": "i1"}}
        process.terminate()
    assert not first.problem
    other = Pictures(tmp_path / "other.duckdb", "d1")
    monkeypatch.setattr(other, "_fetch", lambda ids: None)
    assert other.get(["i1"], arrived.set) == ({"i1": {"text": "i1"}} if writable else {})
    assert Pictures(tmp_path / "results.duckdb", "d2")._cached("i1") is None
