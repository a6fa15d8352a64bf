"""Requests for branches: tokens, files, states, several who ask and several who work, and what goes wrong."""

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.delivery.branches import queue
from pipeline.delivery.branches.offer import SIGN, TokenError, announce, offer_of, own_token, queue_folder
from pipeline.delivery.branches.queue import BranchQueue, QueueError, RequestState, RequestStatus
from pipeline.delivery.branches.worker import BranchWorker
from pipeline.store.heartbeat import heartbeat
from tests.pipeline.command import ROOT

TOKEN = "a token of twenty"
RECIPE = "name: asked\ntree:\n  base: {op: train}\n"
ASKED = {"origin": "a" * 64, "origin_name": "base", "change": "b: {op: palettize}\n", "recipe": RECIPE}


@pytest.fixture
def results(tmp_path):
    """Results whose worker lives."""
    path = tmp_path / "results.duckdb"
    announce(path, TOKEN)
    with heartbeat(path, SIGN):
        yield path


def ask(results, who="Ann", token=TOKEN, **more):
    return BranchQueue(results).add(offer_of(results), token, who=who, **{**ASKED, **more})


def states(results):
    return [each.status.state for each in BranchQueue(results).requests()]


def test_a_request_is_a_recipe_file_with_all_that_was_asked_for(results):
    import yaml

    request = ask(results, "Ann\nB\x00")
    (file,) = queue_folder(results).glob("*.yaml")
    assert yaml.safe_load(file.read_text()) == {"name": "asked", "tree": {"base": {"op": "train"}}}
    (again,) = BranchQueue(results).requests()
    assert again == request
    assert (again.who, again.change, again.recipe) == ("AnnB", ASKED["change"], RECIPE)
    assert again.status == RequestStatus()
    assert TOKEN not in file.read_text() + (queue_folder(results) / "offer.json").read_text()


@pytest.mark.parametrize("token", ["", "a token of twentx", TOKEN + " ", "é" * 12, "\ud800" * 12])
def test_who_has_not_the_token_cannot_ask(results, token):
    with pytest.raises(QueueError, match="token"):
        ask(results, token=token)
    assert states(results) == []


def test_there_is_no_offer_without_a_worker_that_lives(tmp_path):
    path = tmp_path / "results.duckdb"
    assert offer_of(path) is None
    announce(path, TOKEN)
    assert offer_of(path) is None
    with heartbeat(path, SIGN):
        assert offer_of(path) is not None
        (queue_folder(path) / "offer.json").write_text('{"salt": 1}')
        assert offer_of(path) is None


def test_a_random_token_is_kept_for_the_person_alone_and_one_that_is_given_is_not(tmp_path):
    path = tmp_path / "results.duckdb"
    assert own_token(path, "given by a person") == "given by a person"
    assert not queue_folder(path).exists()
    first = own_token(path, None)
    assert len(first) >= 32
    assert own_token(path, None) == first
    assert stat.S_IMODE((queue_folder(path) / "token").stat().st_mode) == 0o600
    with pytest.raises(TokenError, match="12 to 200"):
        own_token(path, "short")


def test_a_worker_with_another_token_is_refused_while_one_lives(results):
    assert announce(results, TOKEN) == offer_of(results), "the same token: requests that are signed for it stay good"
    with pytest.raises(TokenError, match="another token"):
        announce(results, "some other token")


def test_what_was_changed_in_a_request_or_put_there_by_hand_is_refused_and_not_run(results):
    request = ask(results)
    file = queue_folder(results) / f"{request.name}.yaml"
    file.write_text(file.read_text().replace("op: train", "op: load"))
    said = []
    BranchWorker(results, TOKEN, [], said.append).serve(once=True)
    (refused,) = BranchQueue(results).requests()
    assert refused.status.state is RequestState.REFUSED
    assert refused.status.reason == "it was asked for without the worker's token"
    assert [line.partition(" ")[0] for line in said] == ["refused"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "name: x\n",
        "# head\n#: {}\nname: x\n",
        "# head\n#: [1]\n",
        "# head\n#: {\n",
        "\xff",
        '# h\n#: {"origin": 3}\n',
    ],
)
def test_files_that_are_no_requests_are_passed_over(results, content):
    (queue_folder(results) / "20260101T000000-x.yaml").write_text(content, encoding="latin-1")
    request = ask(results)
    for state in (
        '{"state": "eaten"}',
        '{"state": "done", "reason": "", "since": "", "done": Infinity, "total": 1, "models": []}',
    ):
        (queue_folder(results) / f"{request.name}.state.json").write_text(state)
        assert BranchQueue(results).requests() == [request]
        assert states(results) == [RequestState.QUEUED], "a state that cannot be read is as good as none"


def test_what_is_queued_is_read_back_as_it_was_asked_for(results):
    key = offer_of(results).key(TOKEN)
    request = BranchQueue(results).add(offer_of(results), TOKEN, who="Ann", **{**ASKED, "recipe": "a: b\rc\nd: 1\r\n"})
    (same,) = BranchQueue(results).requests()
    assert (same, same.is_signed(key)) == (request, True), "carriage returns are signed, too"
    for recipe, why in (("x" * 400_000, "more than 300,000 characters"), ("a: \ud800", "half a character")):
        with pytest.raises(QueueError, match=why):
            BranchQueue(results).add(offer_of(results), TOKEN, who="Ann", **{**ASKED, "recipe": recipe})
    assert BranchQueue(results).requests() == [request]
    assert [file.name for file in queue_folder(results).iterdir() if file.name.startswith(".")] == []


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(results):
    code = f"""if True:
        import resource
        from pathlib import Path
        from pipeline.delivery.branches.queue import BranchQueue, QueueError
        from pipeline.delivery.branches.offer import offer_of
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        try:
            BranchQueue(Path({str(results)!r})).add(offer_of(Path({str(results)!r})), {TOKEN!r}, who="Ann", **{ASKED!r})
        except QueueError as error:
            print(error)"""
    before = set(queue_folder(results).iterdir())
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == [f"{queue_folder(results)}: File too large. Nothing was queued"]
    assert set(queue_folder(results).iterdir()) == before


def test_many_who_ask_at_once_are_all_heard_up_to_a_bound(results, monkeypatch):
    monkeypatch.setattr(queue, "_MOST_WAITING", 12)
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda at: ask(results, f"visitor {at}").name, range(9)))
    assert sorted(names) == [each.name for each in BranchQueue(results).requests()]
    for each in BranchQueue(results).requests()[:2]:
        BranchQueue(results).write(each, RequestStatus(RequestState.DONE))
    for at in range(5):
        ask(results, f"another {at}")
    with pytest.raises(QueueError, match="12 requests are waiting"):
        ask(results)


def test_two_workers_never_have_the_same_request(results):
    first, second = ask(results), ask(results)
    requests = BranchQueue(results)
    with requests.next_request() as one, BranchQueue(results).next_request() as two:
        assert [one[0].name, two[0].name] == [first.name, second.name]
        with BranchQueue(results).next_request() as three:
            assert three is None
    requests.write(first, RequestStatus(RequestState.FAILED, "of an error"))
    with requests.next_request() as turn:
        assert turn[0].name == second.name


def test_a_request_whose_worker_was_killed_is_taken_up_again(results):
    request = ask(results)
    code = f"""if True:
        import sys, time
        from pathlib import Path
        from pipeline.delivery.branches.queue import BranchQueue, RequestState, RequestStatus
        queue = BranchQueue(Path({str(results)!r}))
        with queue.next_request() as turn:
            queue.write(turn[0], RequestStatus(RequestState.RUNNING, done=1, total=3))
            print("working", flush=True)
            time.sleep(600)"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout.readline() == "working\n"
        with BranchQueue(results).next_request() as turn:
            assert turn is None, "somebody works on it"
        os.kill(worker.pid, signal.SIGKILL)
    assert states(results) == [RequestState.RUNNING]
    with BranchQueue(results).next_request() as turn:
        assert turn[0].name == request.name


def test_a_process_that_a_killed_worker_left_behind_keeps_its_request(results):
    ask(results)
    with BranchQueue(results).next_request() as (_, lock):
        orphan = subprocess.Popen(["sleep", "600"], pass_fds=(lock,))
    try:
        with BranchQueue(results).next_request() as turn:
            assert turn is None
    finally:
        orphan.kill()
        orphan.wait()
    with BranchQueue(results).next_request() as turn:
        assert turn is not None


# ---- taking requests away
def test_a_request_that_waits_can_be_withdrawn_and_one_that_is_worked_on_or_finished_cannot(results):
    queue, (first, second, third) = BranchQueue(results), [ask(results) for _ in range(3)]
    queue.withdraw(second.name)
    assert [each.name for each in queue.requests()] == [first.name, third.name]
    assert [file for file in queue_folder(results).iterdir() if second.name in file.name] == []
    with queue.next_request() as turn:
        assert turn[0].name == first.name
        with pytest.raises(QueueError, match="a worker runs it"):
            queue.withdraw(first.name)
        queue.write(first, RequestStatus(RequestState.RUNNING))
    queue.write(third, RequestStatus(RequestState.FAILED, "of an error"))
    with pytest.raises(QueueError, match="it is failed already"):
        queue.withdraw(third.name)
    for odd in (second.name, "", "../offer", "*"):
        with pytest.raises(QueueError, match="no request is called"):
            queue.withdraw(odd)
    queue.withdraw(first.name)
    assert [each.name for each in queue.requests()] == [third.name], "its worker was killed: it waited again"


def test_what_is_finished_is_cleared_away_and_nothing_else(results):
    queue, requests = BranchQueue(results), [ask(results) for _ in RequestState]
    for request, state in zip(requests, RequestState, strict=True):
        queue.write(request, RequestStatus(state))
    assert queue.clear() == 3
    assert states(results) == [RequestState.QUEUED, RequestState.RUNNING]
    assert queue.clear() == 0
    assert offer_of(results) is not None


def test_a_worker_that_had_listed_a_request_passes_over_it_when_it_is_withdrawn(results, monkeypatch):
    queue, (first, second) = BranchQueue(results), (ask(results), ask(results))
    listed = queue.requests()
    queue.withdraw(first.name)
    monkeypatch.setattr(queue, "requests", lambda: listed)
    with queue.next_request() as turn:
        assert turn[0].name == second.name
    assert not (queue_folder(results) / f"{first.name}.lock").exists()


def test_the_name_that_the_server_knows_is_signed_and_requests_without_one_stay_good(results):
    key = offer_of(results).key(TOKEN)
    named, plain = ask(results, user="rosa"), ask(results)
    assert named.is_signed(key)
    assert plain.is_signed(key)
    assert [each.user for each in BranchQueue(results).requests()] == ["rosa", ""]
    file = queue_folder(results) / f"{named.name}.yaml"
    file.write_text(file.read_text().replace('"user": "rosa"', '"user": "emil"'))
    assert not BranchQueue(results).requests()[0].is_signed(key)
    old = queue_folder(results) / f"{plain.name}.yaml"
    old.write_text(old.read_text().replace('"user": "", ', ""))
    assert BranchQueue(results).requests()[1].is_signed(key), "as earlier versions wrote it"
