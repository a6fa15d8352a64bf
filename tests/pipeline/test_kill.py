"""kill -9 of driver or workers at random moments loses nothing and leaves nothing half done."""

import os
import subprocess
import time

import psutil
import pytest

from pipeline.store.heartbeat import is_alive
from tests.pipeline.command import Place
from tests.pipeline.killing import WORDS, files, fingerprint, kill_and_resume


@pytest.mark.slow
def test_a_killed_and_resumed_sweep_ends_like_an_undisturbed_one(tmp_path):
    calm, shaken = Place(tmp_path / "calm"), Place(tmp_path / "shaken")
    for place in (calm, shaken):
        place.folder.mkdir()
    code, _, err = calm.run(*WORDS)
    assert code == 0, err
    assert kill_and_resume(shaken, 5, seed=1, calm=files(calm)) >= 2
    one, two = fingerprint(calm), fingerprint(shaken)
    assert one["files"].keys() == two["files"].keys()
    assert [name for name in one["files"] if one["files"][name] != two["files"][name]] == []
    for table in ("models", "measurements", "predictions", "layers"):
        assert one[table] == two[table], table
        assert one[table], table
    assert not list((shaken.folder / ".bouillon" / "artifacts").glob("*/.tmp-*"))


@pytest.mark.slow
def test_a_run_gives_signs_of_life_which_a_kill_leaves_behind_and_an_end_takes_away(tmp_path):
    place = Place(tmp_path)
    process = place.start(*WORDS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def signs():
        return list((tmp_path / ".bouillon").glob("results.duckdb.runs/*"))

    while process.poll() is None and not signs():
        time.sleep(0.02)
    (sign,) = signs()
    assert is_alive(place.results, sign.name)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    psutil.wait_procs(workers)
    assert signs() == [sign], "nobody was left to take it away"
    os.utime(sign, (0, 0))
    code, _, err = place.run(*WORDS)
    assert code == 0, err
    assert signs() == []
