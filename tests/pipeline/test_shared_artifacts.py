"""Results behind an object store: the contract of a folder of artifacts, and what only a shared place can get wrong."""

import contextlib
import http.server
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from pipeline.core.artifacts import ArtifactStore, DamagedArtifactError
from pipeline.core.errors import BouillonError
from pipeline.core.keys import Key
from pipeline.core.sharing.object_store import ObjectStore, ObjectStoreError
from pipeline.core.sharing.shared_artifacts import SharedPlace, open_artifacts
from pipeline.engine.executors.inprocess import InProcess
from pipeline.engine.jobs import Done, Failed
from pipeline.engine.runner import run

pytest.importorskip("obstore", reason="needs the extra objectstore")
KEY, OTHER = Key("ab" * 32), Key("cd" * 32)
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
}  # fmt: skip


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def s3():
    """The address of a server that speaks S3."""
    if importlib.util.find_spec("moto") is None:
        pytest.skip("needs moto[server], whose botocore the pinned python-dateutil excludes")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-c", f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"]
    with subprocess.Popen(
        command, env={**os.environ, **CREDENTIALS}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            while True:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(urllib.request.Request(f"{address}/team", method="PUT")).close()
                    break
                assert server.poll() is None
                time.sleep(0.1)
            yield address
        finally:
            server.kill()


@pytest.fixture(params=["file", "s3"])
def url(request, tmp_path, monkeypatch):
    if request.param == "file":
        return f"file://{tmp_path}/objects"
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": request.getfixturevalue("s3")}.items():
        monkeypatch.setenv(name, value)
    return f"s3://team/{tmp_path.name}"


@pytest.fixture
def open_at(url, tmp_path):
    """Open the shared place from a machine of the given name."""

    def make(machine, **options):
        return open_artifacts(tmp_path / machine, SharedPlace(url, **options))

    return make


def put(artifacts, key=KEY, text="one", **options):
    with artifacts.publish(key, {"what": "test", "value": 0.1}, **options) as folder:
        (folder / "file").write_text(text)
        (folder / "sub").mkdir()
        (folder / "sub" / "deep").write_text("two")


def test_what_one_machine_publishes_another_finds_reads_and_holds_in_the_same_bytes(open_at):
    here, there = open_at("a"), open_at("b")
    assert KEY not in there
    put(here)
    assert KEY in there
    assert there.present([KEY, OTHER]) == {KEY}
    assert there.manifest(KEY) == {"what": "test", "value": 0.1}
    assert there.digests(KEY) == here.digests(KEY)
    assert there.fault(KEY) is None
    assert not there.path(KEY).exists()  # nothing was fetched so far
    assert (there.folder(KEY) / "sub" / "deep").read_text() == "two"
    for name in ("manifest.json", "file", "sub/deep"):
        assert (there.path(KEY) / name).read_bytes() == (here.path(KEY) / name).read_bytes()
    assert ArtifactStore(there.root).fault(KEY) is None
    there.remove(KEY)
    assert KEY not in open_at("c")
    assert KEY not in there


def test_of_many_keys_all_are_listed(open_at):
    here = open_at("a")
    put(here)
    many = [KEY, *(Key(f"{number:064x}") for number in range(60))]
    assert open_at("b").present(many) == {KEY}


def test_of_two_writers_the_first_wins_where_the_store_leads_and_their_files_never_mix(open_at):
    one, two = open_at("a", leads=True), open_at("b", leads=True)
    with one.publish(KEY, {"by": "one"}) as first, two.publish(KEY, {"by": "two"}) as second:
        (first / "file").write_text("one")
        (second / "file").write_text("two")
        (second / "more").write_text("two")
    # the inner block ended first
    for machine in (one, two, open_at("c", leads=True)):
        assert machine.manifest(KEY) == {"by": "two"} or machine is one
        assert (machine.folder(KEY) / "file").read_text() == "two"
        assert (machine.folder(KEY) / "more").exists()
        assert machine.manifest(KEY) == {"by": "two"}


def test_what_is_made_again_takes_the_place_of_what_others_have_fetched(open_at):
    one, two = open_at("a", leads=True), open_at("b", leads=True)
    put(one)
    assert (two.folder(KEY) / "file").read_text() == "one"
    put(one, text="new", replace=True)
    assert (open_at("b", leads=True).folder(KEY) / "file").read_text() == "new"


def test_results_that_are_here_alone_are_sent_when_they_are_needed_by_others(open_at, tmp_path):
    put(ArtifactStore(tmp_path / "a"))
    here = open_at("a")
    assert KEY in here
    assert KEY not in open_at("a", leads=True)
    assert KEY not in open_at("b")
    open_at("a", upload=False).share([KEY])
    assert KEY not in open_at("b")
    here.share([KEY, OTHER])
    assert KEY in open_at("b")


def test_without_leave_to_upload_nothing_is_sent_or_removed(open_at):
    reader = open_at("a", upload=False)
    put(reader)
    assert KEY not in open_at("b")
    put(open_at("b"))
    reader.remove(KEY)
    assert KEY in open_at("b")


def test_a_damaged_copy_is_fetched_again_and_what_is_damaged_there_is_made_again(open_at, tmp_path):
    here = open_at("a")
    put(here)
    there = open_at("b")
    (there.folder(KEY) / "file").unlink()
    fresh = open_at("b")
    assert not fresh.is_damaged(KEY)
    assert (fresh.folder(KEY) / "file").read_text() == "one"
    [name] = [item.path for item in here.objects.list(f"files/{KEY}") if item.path.endswith("/file")]
    here.objects.write(name, b"two")
    with pytest.raises(DamagedArtifactError, match=r"the content of file is not what was written.*run again"):
        open_at("c").folder(KEY)
    assert not (tmp_path / "c" / KEY[:2] / KEY).exists()
    assert KEY not in open_at("c")


def test_uploads_that_no_manifest_names_are_collected_after_a_day(open_at):
    here = open_at("a")
    put(here)
    put(here, text="new", replace=True)
    here.objects.write(f"files/{OTHER}/killed/file", b"half")
    assert here.collect() == 0
    assert here.collect(now=datetime.now(UTC) + timedelta(days=2)) == 3
    assert here.collect(now=datetime.now(UTC) + timedelta(days=2)) == 0
    assert (open_at("b").folder(KEY) / "file").read_text() == "new"


def test_a_cache_keeps_to_its_room_and_lets_nothing_go_that_is_read_or_is_here_alone(open_at):
    source = open_at("a")
    keys = [Key(f"{number:02x}" * 32) for number in range(1, 5)]
    for key in keys:
        with source.publish(key, {}) as folder:
            (folder / "file").write_bytes(bytes(10_000))
    node = open_at("b", cache_bytes=25_000, upload=False)
    alone = Key("ff" * 32)
    with ArtifactStore(node.root).publish(alone, {}) as folder:
        (folder / "file").write_text("only here")
    node.folder(keys[0])
    node.release()
    os.utime(node.path(keys[0]) / "manifest.json", (1, 1))
    node.folder(keys[1])  # held until it is released
    node.folder(keys[2])
    assert not node.path(keys[0]).exists()
    node.folder(keys[3])  # more than the room, but both others are read
    assert node.path(keys[1]).exists()
    assert node.path(keys[2]).exists()
    node.release()
    assert (node.folder(keys[0]) / "file").stat().st_size == 10_000  # fetched again, into a room that is made
    assert not node.path(keys[1]).exists()
    assert node.is_whole(alone)


def test_checkpoints_go_where_the_job_goes_on(open_at, tmp_path):
    one, two = open_at("a", leads=True), open_at("b", leads=True)
    first, second = tmp_path / "scratch1", tmp_path / "scratch2"
    first.mkdir()
    second.mkdir()

    def work():
        with one.checkpoints(KEY, first):
            (first / "checkpoint.pt").write_text("epoch 1")
            (first / "progress.json").write_text("{}")
            while not list(one.objects.list(f"checkpoints/{KEY}")):
                time.sleep(0.05)
            raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        work()
    with two.checkpoints(KEY, second):
        assert [file.name for file in second.iterdir()] == ["checkpoint.pt"]
        assert (second / "checkpoint.pt").read_text() == "epoch 1"
    assert not list(one.objects.list(f"checkpoints/{KEY}"))


def test_jobs_run_on_what_other_machines_have_made(workplace, planned, operations, url, tmp_path):
    tree = {"base": {"op": "toy_base", "then": {"a": {"op": "toy_add", "then": {"b": {"op": "toy_add"}}}}}}
    jobs = operations(planned(tree))
    place = SharedPlace(url)
    one = replace(workplace, artifacts=tmp_path / "one", shared=place)
    two = replace(workplace, artifacts=tmp_path / "two", shared=place)

    def outcomes(where, jobs):
        done = run(jobs, InProcess(where), open_artifacts(where.artifacts, place))
        return [outcome.cached for _, outcome in done if outcome is not None]

    assert outcomes(one, jobs[:2]) == [False, False]
    assert outcomes(two, jobs) == [True, True, False]
    assert outcomes(one, jobs) == [True, True, True]
    shutil.rmtree(tmp_path / "one")
    assert outcomes(one, jobs) == [True, True, True]


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers every request with the server's `answer`."""

    def _reply(self):
        status, body = self.server.answer
        text = f'<?xml version="1.0"?><Error><Code>{body}</Code></Error>'.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_HEAD = _reply  # noqa: N815 - names of the library's

    def log_message(self, *_):
        """Say nothing."""


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((403, "AccessDenied"), r"^s3://team/x: no rights to do this .*: check the credentials in the environment$"),
        (
            (400, "ExpiredToken"),
            r"^s3://team/x: the credentials have expired: renew them, and run again; what is .* kept$",
        ),
        ((404, "NoSuchBucket"), r"^s3://team/x: there is no such bucket or container .*: make it, or name another$"),
        ((503, "SlowDown"), r"^s3://team/x: out of reach for \d+ s: .*503.*run again when it answers$"),
    ],
)
def test_a_refusal_is_one_line(monkeypatch, answer, message):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.answer = answer
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}.items():
        monkeypatch.setenv(name, value)
    try:
        with pytest.raises(ObjectStoreError, match=message) as caught:
            ObjectStore("s3://team/x", patience=0.3)
        assert "\n" not in str(caught.value)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("url", "message"), [("nope://x", r"nope://x: cannot be opened: .*Write s3://"), ("x", r"x: cannot be opened")]
)
def test_what_is_no_url_is_told(url, message):
    with pytest.raises(ObjectStoreError, match=message):
        ObjectStore(url)


def cut_off(monkeypatch, clock, end):
    """Let every request fail as on a cut network until the clock has come to `end`; waiting moves the clock alone."""
    import obstore

    def failing(real):
        def request(*arguments, **options):
            if clock["now"] < end:
                raise obstore.exceptions.GenericError("Generic S3 error: HTTP error: error sending request")
            return real(*arguments, **options)

        return request

    for name in ("get", "put", "list", "delete"):
        monkeypatch.setattr(obstore, name, failing(getattr(obstore, name)))
    simulated = SimpleNamespace(
        sleep=lambda seconds: clock.update(now=clock["now"] + seconds), monotonic=lambda: clock["now"]
    )
    monkeypatch.setattr("pipeline.core.sharing.object_store.time", simulated)


def test_a_store_out_of_reach_for_half_a_minute_is_waited_for(tmp_path, monkeypatch):
    artifacts = open_artifacts(tmp_path / "a", SharedPlace(f"file://{tmp_path}/objects"))
    clock = {"now": 0.0}
    cut_off(monkeypatch, clock, 30.0)
    put(artifacts)
    assert 30 <= clock["now"] <= 41
    assert artifacts.is_shared(KEY)


@pytest.mark.parametrize("side", ["driver", "worker"])
def test_a_store_out_of_reach_for_ever_stops_the_run_and_what_is_finished_is_kept(
    workplace, planned, operations, tmp_path, monkeypatch, side
):
    place = SharedPlace(f"file://{tmp_path}/objects", patience=60)
    where = replace(workplace, shared=place)
    jobs = operations(planned({"base": {"op": "toy_base", "then": {"a": {"op": "toy_add"}}}}))
    artifacts = open_artifacts(where.artifacts, place)
    outcomes = []

    def work():
        for job, outcome in run(jobs, InProcess(where), artifacts):
            if outcome is not None:
                outcomes.append(outcome)
            if (outcome is not None) if side == "driver" else (job is jobs[1] and outcome is None):
                cut_off(monkeypatch, {"now": 0.0}, float("inf"))

    with pytest.raises(BouillonError, match=r"out of reach for \d+ s: .*What is finished is kept"):
        work()
    assert isinstance(outcomes[0], Done)
    if side == "worker":
        assert isinstance(outcomes[1], Failed)
        assert outcomes[1].halts
    monkeypatch.undo()
    ends = [outcome for _, outcome in run(jobs, InProcess(where), open_artifacts(where.artifacts, place)) if outcome]
    assert [type(end) for end in ends] == [Done, Done]
    assert ends[0].cached
    assert open_artifacts(tmp_path / "b", place).present(job.key for job in jobs) == {job.key for job in jobs}


def test_push_and_pull_move_a_workspace(url, tmp_path, monkeypatch):
    from pipeline.delivery.transfer import pull, push
    from pipeline.store.writer import Store
    from pipeline.sweep import known_data
    from tests.pipeline.store.facts import GROUND, model

    monkeypatch.setattr(known_data, "_FOLDER", tmp_path / "known")
    here, there = tmp_path / "here", tmp_path / "there"
    put(ArtifactStore(here / "artifacts"))
    put(ArtifactStore(here / "artifacts"), OTHER)
    store = Store(here / "results.duckdb")
    store.write([*GROUND, model("one")])
    store.publish()
    moved = push(here, here / "results.duckdb", url)
    assert (moved.artifacts, moved.present, moved.results) == (2, 0, 1)
    assert push(here, here / "results.duckdb", url).present == 2
    came = pull(there, there / "results.duckdb", url)
    assert (came.artifacts, came.results, came.merged.added["model"]) == (2, 1, 1)
    assert ArtifactStore(there / "artifacts").fault(KEY) is None
    again = pull(there, there / "results.duckdb", url)
    assert (again.artifacts, again.present, again.merged.rows) == (0, 2, 0)
    objects = ObjectStore(url)
    for stray in ("manifests/README.json", "manifests/...json", "files/README", "results/0.duckdb"):
        objects.write(stray, b"nothing of ours")
    mixed = pull(tmp_path / "third", tmp_path / "third" / "results.duckdb", url)
    assert (mixed.artifacts, mixed.results, mixed.merged.added["model"]) == (2, 1, 1)
    [why] = mixed.damaged
    assert why.startswith(f"{url}/results/0.duckdb ")
    assert push(here, here / "results.duckdb", url).orphans == 0
    assert Store(there / "results.duckdb").has_models()
