"""From a finding of a broken model to the repaired one, with a worker that is killed in between; and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest
import yaml
from filelock import FileLock

from pipeline.cli.main import run
from pipeline.delivery.branches.offer import SIGN, announce, offer_of, queue_folder
from pipeline.delivery.branches.queue import BranchQueue, RequestState, RequestStatus
from pipeline.store.heartbeat import heartbeat
from tests.pipeline.command import ROOT
from tests.viewer.browsing import Visitor, errors_of_ours, served, why_not
from tests.viewer.test_browser_layout import COLLISIONS, CUT, SIZES, SMALL, WIDE
from tests.viewer.visits import Page, visit

TOKEN = "a token of twenty"
RECIPE = """
name: broken
model: {name: tiny, builder: residual_cnn, depths: [1], widths: [8]}
dataset: {name: digits, dataset: digits, size: 8, channels: 1, train: 600, calibration: 20, evaluation: 60, shift: 0}
tree:
  base:
    op: train
    with: {epochs: 3, batch_size: 20, learning_rate: 0.01}
    then: {broken: {op: magnitude_prune, with: {sparsity: 0.75, include: [stem.1]}}}
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "BOUILLON_TOKEN": TOKEN}


def pipeline(folder, *words):
    command = [sys.executable, "-m", "pipeline", *words]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


@contextmanager
def worker(folder):
    command = [sys.executable, "-m", "pipeline", "serve"]
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
            assert "gives the token of $BOUILLON_TOKEN" in said, "the token is not printed where it was given"
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Results of a network and of one whose normalisation was pruned, made by a run."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "recipe.yaml").write_text(RECIPE)
    done = pipeline(folder, "recipe=recipe.yaml", "bench=none", "executor=inprocess", "executor.threads=1")
    assert done.returncode == 0, done.stderr
    return folder / "results.duckdb"


@pytest.fixture(scope="module")
def plan(store):
    """What the page is told of a branch below the broken model."""
    (store.parent / "change.yaml").write_text("again: {op: restore, with: {include: [norm]}}\n")
    told = pipeline(store.parent, "branch", "base/broken", "--change", "change.yaml", "--json")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def until(condition):
    while not condition():
        time.sleep(0.1)


def states(results):
    return [each.status.state for each in BranchQueue(results).requests()]


def test_a_plan_finds_all_above_again_and_is_a_recipe_that_runs_by_hand(store, plan):
    assert [(step["path"], step["is_there"]) for step in plan["steps"]] == [
        ("base", True), ("base/broken", True), ("base/broken/again", False),
    ]  # fmt: skip
    (store.parent / "by_hand.yaml").write_text(plan["recipe"])
    settings = ["bench=none", "executor=inprocess", "executor.threads=1", "plan_only=true", "--json"]
    told = pipeline(store.parent, "recipe=by_hand.yaml", *settings)
    steps = json.loads(next(line for line in told.stdout.splitlines() if '"event": "plan"' in line))["steps"]
    assert [(each["key"], each["present"]) for each in steps] == [
        (each["key"], each["is_there"]) for each in plan["steps"]
    ]


def test_a_recipe_is_the_same_in_whatever_order_it_is_written(store, plan):
    (store.parent / "sorted.yaml").write_text(yaml.safe_dump(yaml.safe_load(plan["recipe"]), sort_keys=True))
    told = pipeline(store.parent, "branch", "base/broken", "--change", "change.yaml", "--expect", "sorted.yaml")
    assert (told.returncode, told.stdout) == (0, plan["recipe"])


def test_mistakes_are_those_of_a_recipe(store):
    (store.parent / "wrong.yaml").write_text("a: {op: restor}\nb: {op: restore, with: {includ: [norm]}}\n")
    told = pipeline(store.parent, "branch", "base/broken", "--change", "wrong.yaml", "--json")
    assert told.returncode == 2
    problems = [each["message"] for each in json.loads(told.stdout)["problems"]]
    assert problems[0].startswith("Step 'base/broken/a': No operation is called 'restor'. Did you mean 'restore'?")
    assert "unknown parameter 'includ'. Did you mean 'include'?" in problems[1]


def test_a_visitor_without_the_token_gets_no_further(store):
    page = Page(visit(store))
    assert "No worker runs branches" in page.say("set", field="page", value="branch")["panes"]["page"]
    key = next(
        key for key in page.app.session.results.keys if page.app.session.results.forest[key].op == "magnitude_prune"
    )
    page.say("try", key=key)
    assert page.app.state.branch.origin == "", "nothing is offered without a worker"
    assert 'data-do="try"' not in page.say("find", key=key)["panes"]["side"]
    page.say("clear")
    with worker(store.parent) as process:
        until(lambda: offer_of(store) is not None)
        side = page.say("find", key=key)["panes"]["side"]
        assert 'data-how="below"' in side
        assert 'data-how="instead"' in side
        page.say("clear")
        assert f'data-do="try" data-key="{key}"' in page.say("set", field="page", value="layers")["panes"]["page"]
        drawn = page.say("try", key=key, finding="flattened_norm", site="stem.1.weight")["panes"]["page"]
        assert page.app.state.branch.change == "restore:\n  op: restore\n  with:\n    include: [stem.1]\n"
        assert 'type="password"' in drawn
        assert "t-draft" not in drawn
        page.say("t_queue", who="Eve")
        assert "not the worker&#39;s token" in page.say("t_token", token="some other token")["panes"]["page"]
        for _ in range(4):
            page.say("t_token", token="some other token")
        assert "Too many wrong tokens" in page.say("t_token", token=TOKEN)["panes"]["page"]
        assert states(store) == []
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0, "it ends cleanly"
        assert "waits for the next worker" in process.stdout.read()


def asked(store, plan, who, user=""):
    own = {"origin": plan["origin"]["key"], "origin_name": "broken", "change": "again: {op: palettize}\n"}
    return BranchQueue(store).add(offer_of(store), TOKEN, recipe=plan["recipe"], who=who, user=user, **own)


def test_a_visitor_withdraws_what_they_asked_for_and_clears_what_is_finished(store, plan):
    page = Page(visit(store, {"page": "branch"}))
    page.app.session.user = "ann"
    announce(store, TOKEN)
    with heartbeat(store, SIGN):
        mine, other = asked(store, plan, "Ann", "ann"), asked(store, plan, "Bob", "bob")
        assert "t_withdraw" not in page.app._draw_page(), "not without the token"
        drawn = page.say("t_token", token=TOKEN)["panes"]["page"]
        assert drawn.count("t_withdraw") == 1
        assert f'data-do="t_withdraw" data-name="{mine.name}"' in drawn
        assert "who asked for it" in page.say("t_withdraw", name=other.name)["panes"]["page"]
        assert "Withdrawn" in page.say("t_withdraw", name=mine.name)["flash"]
        assert [each.name for each in BranchQueue(store).requests()] == [other.name]
        assert "no request is called" in page.say("t_withdraw", name=mine.name)["panes"]["page"]
        BranchQueue(store).write(other, RequestStatus(RequestState.REFUSED, "for a reason"))
        page.app._look_again()
        assert "t_clear" in page.updates[-1]["panes"]["page"]
        assert page.say("t_clear")["flash"] == "1 cleared away"
    assert BranchQueue(store).requests() == []


def test_who_has_no_token_withdraws_nothing_and_who_has_it_nothing_of_others(store, plan, monkeypatch):
    page = Page(visit(store, {"page": "branch"}))
    announce(store, TOKEN)
    monkeypatch.setattr("viewer.branch.view._MOST_SHOWN", 1)
    with heartbeat(store, SIGN):
        old, new = asked(store, plan, "Bob", "bob"), asked(store, plan, "Eve", "eve")
        for name in (old.name, new.name):
            assert "who asked for it" in page.say("t_withdraw", name=name)["panes"]["page"]
        page.say("t_token", token=TOKEN)
        for name in (old.name, new.name):
            assert "who asked for it" in page.say("t_withdraw", name=name)["panes"]["page"]
    assert [each.name for each in BranchQueue(store).requests()] == [old.name, new.name], (
        "the page lists the newest alone"
    )
    for each in (old, new):
        BranchQueue(store).withdraw(each.name)


def test_the_command_line_lists_withdraws_and_clears(store, plan, monkeypatch, capsys):
    monkeypatch.chdir(store.parent)

    def branch(*words):
        capsys.readouterr()
        return run(["branch", *words]), *capsys.readouterr()

    announce(store, TOKEN)
    with heartbeat(store, SIGN):
        one, two = asked(store, plan, "Ann"), asked(store, plan, "Bob")
    BranchQueue(store).write(two, RequestStatus(RequestState.FAILED, "of an error"))
    _, listed, _ = branch("--list")
    assert [line.split()[:2] for line in listed.splitlines()] == [[one.name, "queued"], [two.name, "failed"]]
    assert "(of an error)" in listed
    for words, why in (
        (["--withdraw", two.name], "it is failed already"),
        (["--withdraw", one.name[:-1]], f"Did you mean '{one.name}'?"),
        (["--withdraw", one.name, "base"], "go without a model"),
        ([], "name the model"),
    ):
        status, _, told = branch(*words)
        assert status == 2, words
        assert why in told
    assert branch("--withdraw", one.name)[1] == f"Withdrawn: {one.name}\n"
    assert branch("--clear")[1] == "Cleared away: 1 finished request\n"
    assert json.loads(branch("--list", "--json")[1]) == {"requests": []}
    assert list(queue_folder(store).glob("*.lock")) == [], "nothing is left of what is gone"


def decide(visitor):
    """Which model to ship within a budget, why not the other one, and which class pays most for that one."""
    page = visitor.page
    page.click("#budget-edit")
    page.fill("#budget-text", "size <= 1 MB")
    page.press("#budget-text", "Enter")
    visitor.until("location.search.includes('filters')")
    page.click("#page-decide")
    visitor.until("document.getElementById('sentence')?.textContent.length > 20")
    assert visitor.texts("#pane-budget_line .pill")[0].startswith("file bytes at most 1 MB")
    assert visitor.texts("#budget-edit") == ["2 of 2 pass"]
    named = [*visitor.texts("#sentence button, #sentence b"), *visitor.texts("#runners-up td button")]
    assert {"base", "broken"} <= set(named), "what to ship, and what decides against the other"
    assert visitor.texts("#runners-up td:last-child")[0]
    page.click("#page-behaviours")
    visitor.until("document.querySelectorAll('table.behaviours tbody tr').length === 10")
    told = visitor.texts("table.behaviours tbody td:last-child .whole-words")
    changes = [float(text.split()[0].replace("−", "-")) for text in told]  # noqa: RUF001 - the page's minus
    assert changes == sorted(changes, reverse=True), "the class that pays most comes first"


@pytest.mark.browser
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_a_repair_is_queued_from_a_finding_and_survives_its_worker(store, plan, chromium, tmp_path):
    log = tmp_path / "server.log"
    with worker(store.parent) as first, served(store, log) as address:
        visitor = Visitor(chromium.new_page())
        page = visitor.page
        visitor.open(address)
        decide(visitor)
        page.click("#page-layers")
        page.locator("#l-findings [data-do=try][data-finding=flattened_norm]").first.click()
        page.fill("#t-token", TOKEN)
        page.press("#t-token", "Enter")
        page.fill("#t-set-include", "norm")
        page.press("#t-set-include", "Tab")
        visitor.until("document.getElementById('t-text').value.includes('[norm]')")
        page.fill("#t-who", "Ann")
        page.wait_for_function("document.getElementById('t-queue')?.disabled === false")
        lines = visitor.run("document.querySelector('#t-recipe pre').textContent").splitlines()
        assert [line.strip() for line in lines[-4:]] == ["op: restore", "with:", "include:", "- norm"]
        for width, height, _ in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            for code in (SMALL, COLLISIONS, CUT):
                assert visitor.run(code) == [], (width, code)
            assert not visitor.run(WIDE), width
        # a second visitor asks at the same time, for a recipe that is no branch; then the worker is killed with what it has begun
        recipe, change = (
            plan["recipe"].replace("epochs: 3", "epochs: 9"),
            "again: {op: restore, with: {include: [norm]}}\n",
        )
        asked = {
            "origin": plan["origin"]["key"],
            "origin_name": "broken",
            "change": change,
            "recipe": recipe,
            "who": "Bob",
        }
        with FileLock(store.parent / ".bouillon" / f"{store.name}.lock"):  # so that it cannot be done before
            page.click("#t-queue")
            until(lambda: RequestState.RUNNING in states(store))
            BranchQueue(store).add(offer_of(store), TOKEN, **asked)
            for process in [first, *psutil.Process(first.pid).children()]:
                process.send_signal(signal.SIGKILL)
        first.wait()
        assert states(store) == [RequestState.RUNNING, RequestState.QUEUED]
        done = pipeline(store.parent, "serve", "--once")
        assert done.returncode == 0, done.stderr
        assert states(store) == [RequestState.DONE, RequestState.REFUSED], done.stdout
        assert "the recipe is not the branch of 'base/broken'" in done.stdout
        page.click("#t-requests [data-do=t_show]")
        visitor.until("bouillon.state().page === 'overview'")
        visitor.until("bouillon.model('nodes').data.key.length === 3")
        assert "restore" in visitor.texts("#pane-side h2")[0]
        page.click("#page-decide")
        page.locator("#get .command code").first.wait_for()
        for text in visitor.texts("#get .files code"):
            assert (store.parent / text).is_file(), "the files of the model to ship are where the page says"
        assert visitor.texts("#get .command code")[0].startswith("python -m pipeline package base")
        assert visitor.complaints == []
        page.close()
    assert errors_of_ours(log) == []
    assert [each.who for each in BranchQueue(store).requests()] == ["Ann", "Bob"]
    assert TOKEN not in "".join(file.read_text() for file in queue_folder(store).iterdir())
