"""Jobs on two nodes of a Ray cluster, each with a folder of its own; they share an object store and nothing else."""

import contextlib
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pipeline.core import environment
from pipeline.core.sharing.plugin_bundle import bundle, unpack
from pipeline.core.sharing.shared_artifacts import SharedPlace, open_artifacts
from pipeline.delivery.transfer import pull
from pipeline.engine.executors.local import LocalPool
from pipeline.engine.jobs import ClusterNode, Done, Limits, Resources
from pipeline.engine.runner import run
from tests.pipeline.command import Place
from tests.pipeline.executor_contract import TREE
from tests.pipeline.killing import fingerprint

ray = pytest.importorskip("ray", reason="needs the extra ray")
pytest.importorskip("obstore", reason="needs the extra objectstore")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
WORDS = ("recipe=small", "bench=none", "executor.threads=1")


def patiently(start):
    """Start a node of Ray's, again if the machine is so busy that it is not up within the half minute that Ray gives it."""
    me = psutil.Process()
    for _ in range(5):
        before = set(me.children(recursive=True))
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            for process in set(me.children(recursive=True)) - before:
                with contextlib.suppress(psutil.Error):
                    process.kill()
    return pytest.skip("the machine is too busy for Ray to start")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes of one processor each."""
    from ray.cluster_utils import Cluster

    folder = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as patch:
        root = str(Path(__file__).parents[2])
        settings = {
            "RAY_AUTH_MODE": "disabled", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_worker_niceness": "0", "PYTHONPATH": root,
        }  # fmt: skip
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.setenv("BOUILLON_NODE", str(folder / "head"))
        options = {"num_cpus": 1, "object_store_memory": 10**8, "include_dashboard": False}
        cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=options))
        cluster.folder = folder

        def add(name, processors=1):
            patch.setenv("BOUILLON_NODE", str(folder / name))
            return patiently(lambda: cluster.add_node(num_cpus=processors, object_store_memory=10**8))

        cluster.add = add
        add("second")
        yield cluster
        cluster.shutdown()


@pytest.fixture
def shared(workplace, tmp_path):
    return replace(workplace, shared=SharedPlace(f"file://{tmp_path}/objects", leads=True))


@pytest.fixture
def connected(cluster):
    """Make an executor on the cluster."""
    from pipeline.engine.executors.ray import RayExecutor

    return lambda workplace, **options: RayExecutor(workplace, address=cluster.address, **options)


def ends(jobs, executor, workplace):
    artifacts = open_artifacts(workplace.artifacts, workplace.shared)
    with executor:
        return {job.path: outcome for job, outcome in run(jobs, executor, artifacts) if outcome is not None}


def test_jobs_are_done_once_on_the_nodes_and_give_the_bytes_of_a_local_run(
    shared, workplace, connected, planned, operations, tmp_path, capfd
):
    tree = {"base": {**TREE["base"], "then": {**TREE["base"]["then"], "bad": {"op": "toy_fail"}, "killed": {"op": "toy_fail", "with": {"how": "kill"}}}}}  # fmt: skip
    jobs = operations(planned(tree))
    outcomes = ends(jobs, connected(replace(shared, limits=Limits(memory_bytes=10**11))), shared)
    assert {path for path, outcome in outcomes.items() if isinstance(outcome, Done)} == {
        "base",
        "base/a",
        "base/a/b",
        "base/t",
    }
    assert outcomes["base/bad"].error == "RuntimeError: told to fail"
    assert "toy_fail" in outcomes["base/bad"].traceback
    assert outcomes["base/killed"].error.startswith("The worker process ended by signal 9")
    artifacts = open_artifacts(shared.artifacts, shared.shared)
    elsewhere = replace(workplace, artifacts=tmp_path / "elsewhere")
    with LocalPool(elsewhere) as pool:
        local = {
            job.path for job, end in run(jobs, pool, open_artifacts(elsewhere.artifacts, None)) if isinstance(end, Done)
        }
    assert local == {"base", "base/a", "base/a/b", "base/t"}
    for job in jobs:
        if job.path in local:
            one, two = artifacts.folder(job.key), elsewhere.artifacts / job.key[:2] / job.key
            assert {f.name: f.read_bytes() for f in one.iterdir()} == {f.name: f.read_bytes() for f in two.iterdir()}
    again = ends(jobs[:2], connected(shared), shared)
    assert all(outcome.cached for outcome in again.values())
    assert not capfd.readouterr().err.strip()  # nothing of Ray's


def test_what_no_node_has_is_named_after_some_time(shared, connected, planned, operations):
    base, other = operations(planned({"base": {"op": "toy_base"}, "other": {"op": "toy_base", "with": {"seed": 1}}}))
    greedy = replace(other, resources=Resources(gpus=2))
    outcomes = ends([greedy, base], connected(shared, wait_for_node=1), shared)
    assert isinstance(outcomes["base"], Done)
    assert outcomes["other"].error.startswith("No node has what the job needs (2 GPUs, 1 processors). There are: ")
    assert "None came in" in outcomes["other"].error
    assert not outcomes["other"].halts


def test_jobs_that_take_a_node_alone_are_sent_to_nodes_of_any_size_with_the_processors_of_that_node(
    planned, operations
):
    from pipeline.engine.executors.ray import RayExecutor

    small, large = "aa" * 28, "bb" * 28
    executor = object.__new__(RayExecutor)  # what is sent to Ray needs no cluster
    executor._nodes = {small: ClusterNode("small", "kind", 2.0), large: ClusterNode("large", "kind", 8.0)}
    [job] = operations(planned({"base": {"op": "toy_base"}}))

    def sent(busy, **needs):
        executor._items = {job.key: SimpleNamespace(node=""), "other": SimpleNamespace(node=busy)}
        options = executor._options(replace(job, resources=Resources(device="kind", **needs)))
        assert options["scheduling_strategy"].node_id == executor._items[job.key].node
        return executor._items[job.key].node, options["num_cpus"]

    assert sent(large, alone=True) == (small, 2.0)
    assert sent(small, alone=True) == (large, 8.0)
    assert sent(large, cpus=4) == (large, 4)  # busy, but the other never has room


def test_a_job_can_be_cancelled(shared, connected, planned, operations, tmp_path):
    base, hanging = operations(planned({"base": {"op": "toy_base", "then": {"x": {"op": "toy_fail", "with": {"how": "hang", "marker": str(tmp_path / "begun")}}}}}))  # fmt: skip
    with connected(shared) as executor:
        assert isinstance(executor.submit(base).result(), Done)
        future = executor.submit(hanging)
        while not (tmp_path / "begun").exists():
            assert not future.done(), future.result()
            time.sleep(0.05)
        executor.cancel(hanging.key)
        assert future.result().error == "Interrupted"


def test_a_node_with_other_versions_is_refused_before_anything_runs(shared, connected, monkeypatch):
    from pipeline.engine.executors.ray import ClusterError

    monkeypatch.setattr(environment, "versions", lambda: {"python": "3.11", "torch": "1.0"})
    with pytest.raises(
        ClusterError,
        match=r"^The node \S+ has python \S+, but the run is driven with 3\.11: .* same versions on all nodes$",
    ):
        connected(shared)
    assert not ray.is_initialized()


def test_a_node_that_does_not_see_the_workspace_is_refused(workplace):
    from pipeline.engine.executors.ray_node import Ticket, describe_node

    ticket = Ticket(workplace, {}, bundle(()), "no such mark", None)
    assert "does not see the workspace" in describe_node(ticket).refusal
    assert "artifacts.url=s3://BUCKET/PREFIX" in describe_node(ticket).refusal


def test_modules_beside_a_plug_in_are_packed_and_what_is_installed_is_not(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "plugin_of_a_test.py").write_text("import beside_it")
    (tmp_path / "mine" / "beside_it.py").write_text("x = 1")
    (tmp_path / "mine" / "weights.bin").write_bytes(b"0" * 100)
    monkeypatch.syspath_prepend(tmp_path / "mine")
    folder = unpack(bundle(["plugin_of_a_test", "numpy"]), tmp_path / "there")
    assert sorted(file.name for file in folder.iterdir()) == ["beside_it.py", "plugin_of_a_test.py"]
    assert bundle(["numpy"]).archive == b""


@pytest.mark.parametrize("lost", ["a process", "the machine"])
def test_a_job_whose_node_is_lost_goes_on_from_its_last_checkpoint_with_equal_bytes(
    lost, shared, workplace, cluster, connected, planned, operations, tmp_path
):
    tree = {"base": {"op": "toy_base", "then": {"long": {"op": "toy_epochs", "with": {"epochs": 12, "log": str(tmp_path / "log")}}}}}  # fmt: skip
    base, long = operations(planned(tree))
    third = cluster.add("third", processors=2)
    with connected(shared) as executor:
        executor.submit(base).result()
        future = executor.submit(replace(long, resources=Resources(cpus=2)))  # which the two others have not
        artifacts = open_artifacts(shared.artifacts, shared.shared)
        while not list(artifacts.objects.list(f"checkpoints/{long.key}")):
            assert not future.done(), future.result()
            time.sleep(0.1)
        assert _node_of(long.key, cluster.folder) == "third"
        if lost == "a process":
            _kill_ray_worker(cluster.folder / "third")
        else:
            cluster.remove_node(third, allow_graceful=False)
            third = cluster.add("fourth", processors=2)
        outcome = future.result()
        assert isinstance(outcome, Done), outcome
        folder = artifacts.folder(long.key)
    cluster.remove_node(third, allow_graceful=False)
    epochs = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert sorted(set(epochs)) == list(range(12))
    assert len(epochs) < 24  # it did not begin anew
    assert epochs.count(0) == 1
    calm = replace(workplace, artifacts=tmp_path / "calm")
    with LocalPool(calm) as pool:
        for job in (base, long):
            assert isinstance(pool.submit(job).result(), Done)
    other = calm.artifacts / long.key[:2] / long.key
    assert (folder / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


def _node_of(key, folder):
    """Name of the node on which a job works."""
    while True:
        for name in ("head", "second", "third", "fourth"):
            if list((folder / name).glob(f"*/scratch/{key}/checkpoint.pt")):
                return name
        time.sleep(0.05)


def _kill_ray_worker(folder):
    for process in _job_processes(folder):
        process.parent().kill()


def _job_processes(folder):
    """Processes that run jobs on the nodes below a folder."""
    result = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "multiprocessing.spawn" in " ".join(process.cmdline()) and process.environ().get(
                "BOUILLON_NODE", ""
            ).startswith(str(folder)):
                result.append(process)
    return result


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_a_recipe_gives_what_a_local_run_gives_and_a_killed_driver_leaves_no_job_behind(cluster, place, tmp_path):
    url = f"file://{tmp_path}/objects"
    words = (*WORDS, "executor=ray", f"executor.address={cluster.address}", f"artifacts.url={url}")
    driver = place.start(*words)
    objects = tmp_path / "objects" / "manifests"
    while driver.poll() is None and not (objects.is_dir() and any(objects.iterdir())):
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    while _job_processes(cluster.folder):
        time.sleep(0.1)
    made = {file.stem for file in objects.iterdir()}
    code, _, said = place.run("--json", *words)
    assert code == 0, said
    [(run_id,)] = place.sql("SELECT run_id FROM runs ORDER BY started_at DESC LIMIT 1")
    outcomes = [outcome for (outcome,) in place.sql("SELECT outcome FROM steps WHERE run_id = ?", run_id)]
    assert set(outcomes) == {"done", "cached"}
    assert outcomes.count("cached") == len(made)
    pull(place.artifacts.parent, place.results, url)
    (tmp_path / "local").mkdir()
    local = Place(tmp_path / "local")
    code, _, said = local.run(*WORDS)
    assert code == 0, said
    assert fingerprint(place) == fingerprint(local)
