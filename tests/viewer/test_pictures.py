"""Instances of a data set that cannot be opened get a sentence, however soon its process ends."""

import subprocess
import sys
from threading import Event

import pytest

from viewer.pictures import Pictures


@pytest.mark.parametrize("ended", [True, False])
def test_a_process_that_ends_without_an_answer_is_quoted(tmp_path, monkeypatch, ended):
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; time.sleep(0.2); sys.exit('error: no such data set')"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if ended:
        process.wait()
    pictures, arrived = Pictures(tmp_path / "results.duckdb", "d1"), Event()
    monkeypatch.setattr(pictures, "_running", lambda: process)
    assert pictures.get(["i1"], arrived.set) == {}
    assert arrived.wait(20)
    assert pictures.problem == "The instances cannot be shown: no such data set"
