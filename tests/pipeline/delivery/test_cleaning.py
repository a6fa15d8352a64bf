"""A workspace is cleared up: what no kept model needs goes, figures stay, and a run makes again what it needs."""

import json
import os
import re
import shutil
import time

import pytest

from pipeline.core.artifacts import ArtifactStore
from pipeline.core.machine.lock import BusyError
from pipeline.core.machine.use_lock import alone, in_use
from tests.pipeline.delivery.conftest import Home


@pytest.fixture
def copy(swept, tmp_path):
    """A copy of the workspace that may be changed."""
    folder = tmp_path / "copy"
    shutil.copytree(swept.folder, folder, ignore=shutil.ignore_patterns("package", "tmp"))
    return Home(folder)


def manifests(place):
    store = ArtifactStore(place.artifacts)
    return {key: store.manifest(key) for key in store.keys()}  # noqa: SIM118 - a store is no mapping


def kinds(place, path):
    return {manifest["what"] for manifest in manifests(place).values() if manifest["path"] == path}


def test_without_a_choice_nothing_would_go(copy, call):
    before = manifests(copy)
    code, told, _ = call("clean", "--yes", folder=copy.folder)
    assert code == 0
    assert told.endswith("Nothing would go. Say what to keep: names of models, --keep best=3, --older 30d\n") or (
        "0 artifacts removed" in told
    )
    assert manifests(copy) == before
    assert re.search(r"  kept +[\d.]+ [kM]B  base/pruned/tuned: ", told)


def test_it_is_a_dry_run_by_default(copy, call):
    before = manifests(copy)
    code, told, _ = call("clean", "base/int8", folder=copy.folder)
    assert code == 0
    assert told.endswith("would go. Nothing was removed: say --yes\n")
    assert manifests(copy) == before


def test_what_kept_models_need_stays_and_the_rest_goes(copy, call):
    everything = kinds(copy, "base/int8")
    code, told, _ = call("clean", "base/int8", "--yes", "--json", "report.json", folder=copy.folder)
    assert code == 0
    assert "The results keep all figures" in told
    assert kinds(copy, "base/int8") == everything
    assert kinds(copy, "base") == {"operation", "export"}  # what it was made of
    assert kinds(copy, "base/pruned") == kinds(copy, "base/pruned/tuned") == set()
    report = json.loads((copy.folder / "report.json").read_text())
    sizes = {each["model"]: (each["bytes"], each["removable_bytes"]) for each in report["models"]}
    assert sizes["base/int8"][1] == 0
    assert sizes["base/pruned"][0] == sizes["base/pruned"][1] > 0
    assert report["removable_bytes"] == sum(gone for _, gone in sizes.values())
    assert len(copy.sql("FROM measurements WHERE model = 'base/pruned'")) > 10


@pytest.mark.slow
def test_a_run_makes_again_what_it_needs(copy, call):
    figures = "SELECT metric, value FROM measurements WHERE model = 'base/pruned/tuned' ORDER BY metric"
    before, weights = copy.sql(figures), digests(copy, "base/pruned/tuned")
    assert call("clean", "base/int8", "--yes", folder=copy.folder)[0] == 0
    assert digests(copy, "base/pruned/tuned") == {}
    code, _, said = copy.run("recipe=small", "bench=none", "executor.threads=1", "dataset.confirmation=0.4")
    assert code == 0, said
    assert digests(copy, "base/pruned/tuned") == weights
    assert copy.sql(figures) == before


def digests(place, path):
    store = ArtifactStore(place.artifacts)
    return {
        name: digest
        for key, manifest in manifests(place).items()
        if (manifest["what"], manifest["path"]) == ("operation", path)
        for name, digest in store.digests(key).items()
    }


def test_the_best_are_kept(copy, call):
    ((best,),) = copy.sql("SELECT model FROM scoreboard WHERE accuracy IS NOT NULL ORDER BY accuracy DESC LIMIT 1")
    assert call("clean", "--keep", "best=1", "--yes", folder=copy.folder)[0] == 0
    left = {manifest["path"] for manifest in manifests(copy).values() if manifest["what"] == "measure"}
    assert left == {best}


def test_what_is_young_is_kept(copy, call):
    day = 86400
    old = [key for key, manifest in manifests(copy).items() if manifest["path"] == "base/int8"]
    for key in old:
        os.utime(ArtifactStore(copy.artifacts).path(key), (time.time() - 40 * day,) * 2)
    assert call("clean", "--older", "50d", "--yes", folder=copy.folder)[0] == 0
    assert kinds(copy, "base/int8")
    assert call("clean", "--older", "30d", "--yes", folder=copy.folder)[0] == 0
    assert kinds(copy, "base/int8") == set()
    assert "predict" in kinds(copy, "base/pruned")


def test_damaged_artifacts_go(copy, call):
    store = ArtifactStore(copy.artifacts)
    key = next(key for key, manifest in manifests(copy).items() if manifest["path"] == "base/pruned")
    aside = store.set_aside(key)
    code, told, _ = call("clean", "base", "--yes", folder=copy.folder)
    assert code == 0
    assert not aside.exists()
    assert "damaged" in told


def test_nothing_goes_while_a_run_uses_the_workspace(copy, call):
    before = manifests(copy)
    with in_use(copy.folder / ".bouillon"), in_use(copy.folder / ".bouillon"):
        code, _, said = call("clean", "base", "--yes", folder=copy.folder)
        line = f"error: {copy.folder / '.bouillon'}: a run is going on here. Wait until it has ended, or stop it\n"
        assert (code, said) == (2, line)
        assert call("clean", "base", folder=copy.folder)[0] == 0  # to look does no harm
    assert manifests(copy) == before
    assert call("clean", "base", "--yes", folder=copy.folder)[0] == 0
    assert manifests(copy) != before


def test_a_run_holds_its_workspace(swept, monkeypatch):
    from pipeline.sweep import run as sweep

    held = []

    class Stub:
        def __init__(self, *arguments):
            self.workspace = swept.folder / ".bouillon"

        def run(self):
            with pytest.raises(BusyError), alone(self.workspace):
                held.append(False)
            held.append(True)

    monkeypatch.setattr(sweep, "_Run", Stub)
    prepared = type("Prepared", (), {"artifacts": ArtifactStore(swept.artifacts)})()
    sweep.run(prepared)
    assert held == [True]
    with alone(swept.folder / ".bouillon"):
        pass


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--older", "5"], "--older 5: is no age. Write 30d, 12h or 2w"),
        (["--keep", "3"], "--keep 3: write best=N, such as best=3; models to keep are named without --keep"),
        (["base/int9"], "No model of the workspace is called 'base/int9'. Did you mean 'base/int8'?"),
        (
            ["--workspace", "nowhere"],
            "--workspace nowhere: no workspace of a run, which has a folder `artifacts` in it",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(call, words, message):
    assert call("clean", *words) == (2, "", f"error: {message}\n")
