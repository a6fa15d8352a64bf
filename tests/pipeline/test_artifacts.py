"""What counts as an artifact, and how a damaged one is replaced."""

import hashlib
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pipeline.cli.commands.table import run_command
from pipeline.core.artifacts import ArtifactStore, DamagedArtifactError
from pipeline.core.keys import Key
from pipeline.core.machine import exchange
from pipeline.engine.executors.inprocess import InProcess
from pipeline.engine.jobs import Done, Failed
from pipeline.engine.runner import run, unsound
from pipeline.engine.worker import Worker
from pipeline.store.errors import StoreError
from tests.pipeline.command import ROOT

KEY = Key("ab" * 32)


@pytest.fixture
def published(artifacts):
    with artifacts.publish(KEY, {"what": "test"}) as folder:
        (folder / "file").write_text("one")
    return artifacts


@pytest.mark.parametrize("manifest", [b"", b'{"what": "te', b"\xff\xfe"])
def test_what_has_a_damaged_manifest_is_not_there_and_is_replaced(published, manifest):
    assert KEY in published
    assert not published.is_damaged(KEY)
    (published.path(KEY) / "manifest.json").write_bytes(manifest)
    assert KEY not in published
    assert published.is_damaged(KEY)
    with published.publish(KEY, {"what": "again"}) as folder:
        (folder / "file").write_text("two")
    assert published.manifest(KEY) == {"what": "again"}
    assert (published.path(KEY) / "file").read_text() == "two"


def test_who_comes_second_keeps_what_is_there(published):
    with published.publish(KEY, {"what": "again"}):
        pass
    assert published.manifest(KEY) == {"what": "test"}


def test_what_was_never_made_is_not_damaged(artifacts):
    assert KEY not in artifacts
    assert not artifacts.is_damaged(KEY)


def flip(file):
    """Change one bit; size and dates stay."""
    status = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_content_is_compared_when_it_is_first_read_in_a_process(published):
    file = published.path(KEY) / "file"
    assert published.folder(KEY) == published.path(KEY)
    flip(file)
    assert published.folder(KEY) == published.path(KEY)  # read once already
    other = ArtifactStore(published.root)
    assert KEY in other
    assert other.fault(KEY) == "the content of file is not what was written"
    with pytest.raises(DamagedArtifactError, match=r"was damaged \(the content of file .*\) and is now in .*run again"):
        other.folder(KEY)
    assert KEY not in other
    assert (published.root / "damaged" / KEY / "file").exists()


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda folder: (folder / "file").unlink(), "file is missing"),
        (lambda folder: (folder / "file").write_text("on"), "the content of file is not what was written"),
        (lambda folder: (folder / "sub" / "deep").write_text(""), "the content of sub/deep is not what was written"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "its manifest is not JSON"),
        (
            lambda folder: (folder / "manifest.json").write_text(
                (folder / "manifest.json").read_text().replace('"value": 1', '"value": 2')
            ),
            "its manifest is not what was written",
        ),
    ],
)
def test_what_is_missing_or_has_another_size_is_not_there(artifacts, damage, fault):
    with artifacts.publish(KEY, {"what": "test", "value": 1}) as folder:
        (folder / "file").write_text("one")
        (folder / "sub").mkdir()
        (folder / "sub" / "deep").write_text("two")
    assert artifacts.fault(KEY) is None
    damage(artifacts.path(KEY))
    assert KEY not in artifacts
    assert artifacts.is_damaged(KEY)
    assert artifacts.fault(KEY) == fault


def test_every_file_is_listed_with_the_digest_that_sha256sum_gives(published):
    listed = json.loads((published.path(KEY) / "manifest.json").read_text())["files"]
    assert listed == {"file": {"size": 3, "sha256": hashlib.sha256(b"one").hexdigest()}}


def test_verify_lists_everything_and_sets_aside_what_is_damaged(artifacts, tmp_path, capsys):
    names = {
        f"{number:02x}" * 32: name for number, name in enumerate(("sound", "flipped", "missing", "older", "empty"))
    }
    for key, name in names.items():
        with artifacts.publish(Key(key), {"what": "operation", "path": name}) as folder:
            (folder / "file").write_text("one")
    by_name = {name: artifacts.path(Key(key)) for key, name in names.items()}
    flip(by_name["flipped"] / "file")
    (by_name["missing"] / "file").unlink()
    (by_name["older"] / "manifest.json").write_text('{"what": "operation", "path": "older"}')
    (by_name["empty"] / "manifest.json").unlink()
    assert run_command(["verify", "--workspace", str(tmp_path)]) == 1
    out = capsys.readouterr().out.splitlines()
    states = {line.split()[3] if "operation" in line else "empty": line for line in out[:-1]}
    assert states["sound"].endswith("  ok")
    assert "ok (of an older version: no digests to compare with)" in states["older"]
    assert "damaged: the content of file is not what was written; set aside as artifacts/damaged/" in states["flipped"]
    assert "missing: file is missing; set aside" in states["missing"]
    assert "missing: manifest.json is missing; set aside" in states["empty"]
    assert out[-1] == "5 artifacts, 3 damaged: run the recipe again to make them"
    assert [by_name[name].exists() for name in ("sound", "flipped", "missing", "older", "empty")] == [1, 0, 0, 1, 0]
    assert run_command(["verify", "--workspace", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 artifacts, 0 damaged"


def test_verify_names_a_workspace_that_is_not_there(tmp_path):
    with pytest.raises(StoreError, match=r"--workspace .*nowhere: there is no such folder"):
        run_command(["verify", "--workspace", str(tmp_path / "nowhere")])
    with pytest.raises(StoreError, match="no workspace of a run, which has a folder `artifacts` in it"):
        run_command(["verify", "--workspace", str(tmp_path)])


def test_damage_in_what_a_run_would_read_is_mended_in_that_run(planned, operations, workplace, artifacts):
    """Of a chain base > a > b whose last step is to be made: what it reads is compared, and what that was made from."""
    tree = {
        "base": {
            "op": "toy_base",
            "then": {"a": {"op": "toy_add", "then": {"b": {"op": "toy_add", "with": {"amount": 2}}}}},
        }
    }
    jobs = operations(planned(tree))
    for job in jobs:
        assert isinstance(Worker(workplace).run(job), Done)
    whole = [(artifacts.path(job.key) / "model.safetensors").read_bytes() for job in jobs]
    for job in jobs[:2]:
        flip(artifacts.path(job.key) / "model.safetensors")
    assert unsound(jobs, artifacts) == []  # nothing is to be made, so nothing is read
    artifacts.remove(jobs[2].key)
    refused = Worker(workplace).run(jobs[2])
    assert isinstance(refused, Failed)
    assert "was damaged (the content of model.safetensors is not what was written)" in refused.error
    again = unsound(jobs, artifacts)  # `a` was set aside by the worker; its parent is read when it is made anew
    assert [job.path for job, _ in again] == ["base"]
    outcomes = [
        outcome
        for _, outcome in run(jobs, InProcess(workplace), artifacts, force={job.key for job, _ in again})
        if outcome
    ]
    assert all(isinstance(outcome, Done) and not outcome.cached for outcome in outcomes)
    assert [(artifacts.path(job.key) / "model.safetensors").read_bytes() for job in jobs] == whole


def put(artifacts, text, **options):
    with artifacts.publish(KEY, {"text": text}, **options) as folder:
        (folder / "file").write_text(text)


@pytest.mark.parametrize("in_steps", [False, True])
def test_a_replacement_takes_the_place_of_what_was_there(tmp_path, monkeypatch, in_steps):
    if in_steps:  # as on a file system that cannot exchange folders
        monkeypatch.setattr(exchange.ctypes, "CDLL", lambda *_, **__: SimpleNamespace())
    artifacts = ArtifactStore(tmp_path)
    put(artifacts, "old")
    with artifacts.publish(KEY, {"text": "new"}, replace=True) as folder:
        assert (artifacts.path(KEY) / "file").read_text() == "old"  # until the new one is whole
        (folder / "file").write_text("new")
    assert artifacts.manifest(KEY)["text"] == "new"
    assert (artifacts.path(KEY) / "file").read_text() == "new"
    assert [file.name for file in artifacts.path(KEY).parent.iterdir()] == [KEY]


def test_a_replacement_that_fails_leaves_what_was_there(tmp_path):
    artifacts = ArtifactStore(tmp_path)
    put(artifacts, "old")
    with pytest.raises(RuntimeError), artifacts.publish(KEY, {}, replace=True):
        raise RuntimeError
    assert artifacts.manifest(KEY)["text"] == "old"
    assert (artifacts.path(KEY) / "file").read_text() == "old"


def test_scratch_folders_of_killed_processes_are_swept(tmp_path):
    """As a session of measurements leaves one, if it is killed."""
    artifacts = ArtifactStore(tmp_path)
    script = (
        "import os, sys; from pathlib import Path; from pipeline.core.artifacts import ArtifactStore\n"
        "with ArtifactStore(Path(sys.argv[1])).scratch_folder() as folder: (folder / 'x').touch(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path], check=False, cwd=ROOT)
    with artifacts.scratch_folder() as own:
        assert len(list((tmp_path / "scratch").iterdir())) == 2
        artifacts.sweep()
        assert list((tmp_path / "scratch").iterdir()) == [own]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_a_process_of_another_container_writes_stays_while_it_lives(artifacts, tmp_path):
    """Its number is that of no process here."""
    script = (
        "import os, pathlib, sys; from pipeline.core.artifacts import ArtifactStore; os.getpid = lambda: 2**30\n"
        "store = ArtifactStore(pathlib.Path(sys.argv[1]))\n"
        "with store.scratch_folder(), store.publish('ab' * 32, {}): print('writes', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, artifacts.root],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "writes\n"
        artifacts.sweep()
        assert len(list(artifacts.root.glob("*/.tmp-*"))) == 2
        process.kill()
    artifacts.sweep()
    assert list(artifacts.root.glob("*/.tmp-*")) == []
