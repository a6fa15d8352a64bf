"""Instances are fetched once, kept, and shown where the person allows it; one that cannot be opened gets a sentence."""

import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from pipeline.sweep.config import Config
from pipeline.sweep.known_data import allow, remember
from viewer.behaviours import instance_previews
from viewer.behaviours.instance_previews import DataPlace, Pictures


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A person's folder, in which runs of theirs have opened the data sets d1 and d2, for the store `own`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    config = Config(recipe={}, dataset={"name": "mine", "dataset": "digits"})
    for data in ("d1", "d2"):
        remember(data, config, "own")
    return tmp_path


def place(results="results.duckdb", *, data="d1", store="own"):
    return DataPlace(Path(results), store, data, "pictures")


def answering(program):
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("ended", [True, False])
def test_a_process_that_ends_without_an_answer_is_quoted(home, monkeypatch, ended):
    process = answering("import sys, time; time.sleep(0.2); sys.exit('error: no such data set')")
    if ended:
        process.wait()
    pictures, arrived = Pictures(place()), Event()
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
def test_what_was_fetched_is_kept_for_other_results_of_the_same_data(home, monkeypatch, writable):
    if not writable:
        (home / ".cache/bouillon/pictures").touch()  # no folder can be made there
    first, arrived = Pictures(place()), Event()
    with answering(ANSWERS) as process:
        monkeypatch.setattr(first, "_running", lambda: process)
        assert first.get(["i1"], arrived.set) == {}
        arrived.wait()
        assert first.get(["i1"], arrived.set) == {"i1": {"text": "i1"}}
        process.terminate()
    assert not first.problem
    other = Pictures(place("other.duckdb"))
    monkeypatch.setattr(other, "_fetch", lambda ids: "")
    assert other.get(["i1"], arrived.set) == ({"i1": {"text": "i1"}} if writable else {})
    assert Pictures(place(data="d2"))._cached("i1") is None


def test_permission_is_looked_up_each_time_also_for_what_is_cached(home):
    Pictures(place())._keep("i1", {"text": "i1"})
    pictures = Pictures(place(store="somebody's"))
    refused = (
        "The instances cannot be shown: these results come from no run of yours. To have instances of your own data set 'mine' "
        "shown beside them, allow it once: python -m pipeline show d1 --results results.duckdb --allow"
    )
    assert pictures.get(["i1"], Event().set) == {}
    assert pictures.problem == refused
    allow("d1", "somebody's")  # as `show --allow` does
    assert pictures.get(["i1"], Event().set) == {"i1": {"text": "i1"}}
    assert pictures.problem == ""
    for note in (home / ".cache/bouillon/known_data").glob("*.json"):
        note.unlink()
    assert pictures.get(["i1"], Event().set) == {}  # though it has been shown before
    assert "no run of yours has opened the data set 'pictures'" in pictures.problem


def test_a_data_set_that_could_not_be_opened_is_opened_again_when_a_page_is_drawn_later(home, monkeypatch):
    monkeypatch.setattr(instance_previews, "_PAUSE", 0.0)
    pictures, arrived = Pictures(place()), Event()
    processes = [answering("import sys; sys.exit('error: its disk is away')"), answering(ANSWERS)]
    monkeypatch.setattr(pictures, "_running", lambda: processes[0])
    pictures.get(["i1"], arrived.set)
    arrived.wait()
    assert pictures.problem == "The instances cannot be shown: its disk is away"
    arrived.clear()
    processes.pop(0)
    pictures.get(["i1"], arrived.set)
    arrived.wait()
    assert pictures.get(["i1"], arrived.set) == {"i1": {"text": "i1"}}
    assert pictures.problem == ""
    processes[0].kill()
    processes[0].communicate()


def test_a_problem_of_one_instance_is_not_kept_on_disk(home, monkeypatch):
    pictures, arrived = Pictures(place()), Event()
    with answering('import sys\nfor line in sys.stdin:\n    print(\'{"problem": "away"}\', flush=True)\n') as process:
        monkeypatch.setattr(pictures, "_running", lambda: process)
        pictures.get(["i1"], arrived.set)
        arrived.wait()
        assert pictures.get(["i1"], arrived.set) == {"i1": {"problem": "away"}}
        process.terminate()
    assert Pictures(place())._cached("i1") is None
