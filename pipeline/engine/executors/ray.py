"""Jobs on the nodes of a Ray cluster. Ray carries a job to a node and says when one is lost; all else is as on one machine.

On its node a job runs in a process of its own under the watcher of the local pool, which knows limits of time and memory and
what a process died of. So an error of Ray's is never the job's: the job is sent again, up to `lost` times, and goes on from
its last checkpoint; a failure of the job's own is its outcome, and is never tried again.

A job whose figures depend on the machine runs on a node of the kind that the run is planned for; without one, here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pickle
import shutil
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipeline.core import environment, secret_values
from pipeline.core.errors import BouillonError, reason
from pipeline.core.extras import install_command
from pipeline.core.keys import Key
from pipeline.core.machine.cpu_quota import cores
from pipeline.core.sharing.plugin_bundle import bundle
from pipeline.engine.executors import ray_node
from pipeline.engine.executors.local import LocalPool
from pipeline.engine.executors.nodes import missing, suits
from pipeline.engine.executors.ray_node import NodeFacts, Started, Ticket
from pipeline.engine.jobs import ClusterNode, Done, Failed, Job, Resources, Workplace

__all__ = ["ClusterError", "RayExecutor"]

_LOOK_SECONDS = 2.0
_PROBE_SECONDS = 120.0
_PAUSE_SECONDS = 1.0
_QUIET = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",  # of a cluster that is started here: else its jobs give way to everything
}


class ClusterError(BouillonError, RuntimeError):
    """The cluster cannot be used: the message says why, and what to do."""


@dataclass(slots=True)
class _Item:
    """A job that was submitted."""

    job: Job[Any]
    future: Future[Done | Failed]
    node: str = ""
    """Ray's name of the node that it was sent to; empty: Ray chooses."""
    stream: Any = None
    is_cancelled: bool = False


class RayExecutor:
    """Runs jobs on all nodes of a cluster that has this Python, these libraries, and the artifacts."""

    def __init__(
        self,
        workplace: Workplace,
        *,
        address: str = "auto",
        folder: str | None = None,
        lost: int = 3,
        wait_for_node: float = 300.0,
    ) -> None:
        """Connect, and look at every node.

        Args:
            workplace: shared by all jobs.
            address: HOST:PORT of the cluster's head; `auto`: that of this machine; `local`: one that is started here.
            folder: where nodes keep copies and checkpoints; None: BOUILLON_NODE of the node, or a folder of its user's.
            lost: how often a job is sent again because its node was lost.
            wait_for_node: seconds for which a job waits for a node that has what it needs.

        Raises:
            ClusterError: if there is no such cluster, or a node has other versions or does not see the artifacts.
        """
        self._ray = _connect(address)
        self._workplace, self._lost, self._patience = workplace, lost, wait_for_node
        self._mark = workplace.scratch / f"cluster-{uuid.uuid4().hex}"
        self._mark.touch()
        secrets = {name: os.environ[name] for name in secret_values.variables() if name in os.environ}
        ticket = Ticket(
            workplace,
            environment.versions(),
            bundle(workplace.plugins),
            self._mark.name,
            folder,
            str(Path.cwd()),
            secrets,
        )
        self._ticket = self._ray.put(ticket)
        self._pool = LocalPool(workplace)
        self._nodes: dict[str, ClusterNode] = {}
        self._items: dict[Key, _Item] = {}
        self._looked = 0.0
        self._lock = threading.Lock()
        self._run = self._ray.remote(ray_node.run_on_node)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self._look()
        except BaseException:
            self.__exit__()
            raise

    @property
    def workers(self) -> int:
        """Processors of all nodes, which is how many jobs of one each run at once."""
        return max(1, int(sum(node.cpus for node in self.nodes())))

    def nodes(self) -> list[ClusterNode]:
        """The nodes as they were seconds ago."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._look()
        return list(self._nodes.values())

    def refuse(self, resources: Resources) -> str | None:
        """Say what no node has now; a job waits some time for one that has it."""
        nodes = self.nodes()
        if self._is_for_here(resources):
            return self._pool.refuse(resources)
        return missing(resources, [node for node in nodes if resources.cpus <= node.cpus])

    def free(self, resources: Resources) -> bool:
        """Whether the processors of all nodes leave room for it; each node may have one job more, which waits there."""
        if self._is_for_here(resources):
            return self._pool.free(resources)
        if self.refuse(resources) is not None:
            return True
        taken = sum(self._cpus(item.job.resources) for item in list(self._items.values()))
        return taken + self._cpus(resources) <= sum(node.cpus for node in self._nodes.values()) + len(self._nodes)

    def submit(self, job: Job[Any]) -> Future[Done | Failed]:
        """Send a job to a node."""
        if self._is_for_here(job.resources):
            return self._pool.submit(job)
        item = _Item(job, Future())
        self._items[job.key] = item
        asyncio.run_coroutine_threadsafe(self._settle(item), self._loop)
        return item.future

    def cancel(self, key: Key) -> None:
        """Stop a job on its node: its process is killed."""
        self._pool.cancel(key)
        item = self._items.get(key)
        if item is not None:
            item.is_cancelled = True
            if item.stream is not None:
                self._ray.cancel(item.stream, force=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop what runs. The cluster stays, unless it was started here."""
        for key in list(self._items):
            with contextlib.suppress(Exception):
                self.cancel(key)
        for item in list(self._items.values()):
            with contextlib.suppress(Exception):
                item.future.result(timeout=_LOOK_SECONDS)
        self._pool.__exit__()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._mark.unlink(missing_ok=True)
        self._ray.shutdown()

    def _is_for_here(self, resources: Resources) -> bool:
        """Whether a job's figures are those of this kind of machine, and no node is one."""
        return bool(resources.device) and all(node.device != resources.device for node in self._nodes.values())

    def _cpus(self, resources: Resources) -> float:
        """Processors that a job takes: of a node that it has alone, all."""
        return max((node.cpus for node in self._nodes.values()), default=1.0) if resources.alone else resources.cpus

    def _look(self) -> None:
        """Look at the nodes; ask those that are new what they are.

        Raises:
            ClusterError: if a new one does not fit.
        """
        with self._lock:
            self._looked = time.monotonic()
            alive = {node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]}
            for name in self._nodes.keys() - alive.keys():
                del self._nodes[name]
            news = {name: self._probe(name) for name in alive.keys() - self._nodes.keys()}
            for name, answer in news.items():
                try:
                    facts: NodeFacts = self._ray.get(answer, timeout=_PROBE_SECONDS)
                except self._ray.exceptions.RayTaskError as error:
                    raise ClusterError(f"A node cannot run jobs: {_last_line(error)}") from None
                except self._ray.exceptions.RayError:  # it is gone, or busy: another look will tell
                    continue
                if facts.refusal is not None:
                    raise ClusterError(facts.refusal)
                has = alive[name]
                self._nodes[name] = ClusterNode(
                    facts.host,
                    facts.device,
                    has.get("CPU", 0.0),
                    has.get("GPU", 0.0),
                    int(has.get("memory", 0)) or None,
                )

    def _probe(self, node: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as Affinity

        options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": Affinity(node, soft=False)}
        return self._ray.remote(ray_node.describe_node).options(**options).remote(self._ticket)

    async def _settle(self, item: _Item) -> None:
        """Follow a job to its end, whatever that is."""
        try:
            outcome = await self._outcome(item)
        except Exception as error:  # noqa: BLE001 - boundary: a future of ours never raises
            outcome = Failed(
                item.job.key, None, f"The cluster failed: {type(error).__name__}: {reason(error)}", halts=True
            )
        if self._workplace.shared is not None:
            shutil.rmtree(self._workplace.scratch / item.job.key, ignore_errors=True)
        self._items.pop(item.job.key, None)
        item.future.set_result(outcome)

    async def _outcome(self, item: _Item) -> Done | Failed:
        key, why = item.job.key, ""
        for _ in range(self._lost + 1):
            if self._is_for_here(item.job.resources):  # the last node of its kind was lost
                return await asyncio.wrap_future(self._pool.submit(item.job))
            outcome = await self._attempt(item)
            if not isinstance(outcome, str):
                return outcome
            if item.is_cancelled:
                return Failed(key, None, "Interrupted")
            why = outcome
            await asyncio.sleep(_PAUSE_SECONDS)
        return Failed(key, None, f"Its node was lost {self._lost + 1} times, the last time with {why}")

    async def _attempt(self, item: _Item) -> Done | Failed | str:
        """Send a job to a node; return its outcome, or why its node was lost."""
        errors = self._ray.exceptions
        try:
            async for message in self._messages(item):
                if isinstance(message, Done | Failed):
                    return message
                self._note(item.job, message)
        except errors.RayTaskError as error:
            return Failed(item.job.key, None, f"A node cannot run jobs: {_last_line(error)}", halts=True)
        except errors.RayError as error:
            return f"{type(error).__name__}: {reason(error)}"
        return "the node gave no outcome"

    async def _messages(self, item: _Item) -> AsyncIterator[Any]:
        """Send a job, and yield what its node says; the failure, if no node has what it needs for too long."""
        start, is_running = time.monotonic(), False
        # of a job that belongs on one kind of node Ray must not choose the node, so it waits for one here
        while item.job.resources.device and (why := await asyncio.to_thread(self.refuse, item.job.resources)):
            if item.is_cancelled:
                return
            if time.monotonic() - start > self._patience:
                yield Failed(item.job.key, None, f"{why}. None came in {time.monotonic() - start:.0f} s")
                return
            await asyncio.sleep(_LOOK_SECONDS)
        item.stream = self._run.options(**self._options(item.job)).remote(self._ticket, pickle.dumps(item.job))
        answers = aiter(item.stream)
        while True:
            answer = asyncio.ensure_future(anext(answers))
            while not (await asyncio.wait({answer}, timeout=None if is_running else _LOOK_SECONDS))[0]:
                waited = time.monotonic() - start
                why = await asyncio.to_thread(self.refuse, item.job.resources)
                if why is not None and waited > self._patience:
                    self._ray.cancel(item.stream, force=True)
                    answer.cancel()
                    yield Failed(item.job.key, None, f"{why}. None came in {waited:.0f} s")
                    return
            try:
                message = await answer.result()
            except StopAsyncIteration:
                return
            is_running = True
            yield message

    def _options(self, job: Job[Any]) -> dict[str, Any]:
        needs = job.resources
        options: dict[str, Any] = {
            "num_returns": "streaming",
            "max_retries": 0,
            "num_cpus": self._cpus(needs),
            "num_gpus": needs.gpus,
            "name": f"{job.stage} of {job.path}",
            **({} if needs.memory_bytes is None else {"memory": needs.memory_bytes}),
        }
        if needs.device:
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as Affinity

            active = [item.node for item in self._items.values()]
            fitting = sorted(
                (active.count(name), name)
                for name, node in self._nodes.items()
                if suits(needs, node) and needs.cpus <= node.cpus
            )
            if fitting:
                name = fitting[0][1]
                self._items[job.key].node = name
                options["scheduling_strategy"] = Affinity(name, soft=False)
                if needs.alone:  # all processors of this node, which may have fewer than others
                    options["num_cpus"] = self._nodes[name].cpus
        return options

    def _note(self, job: Job[Any], message: Started | Mapping[str, Any]) -> None:
        """Write a job's progress where that of local jobs lies; a folder that nodes share has it already."""
        if self._workplace.shared is None:
            return
        folder = self._workplace.scratch / job.key
        content = (
            {"done": 0, "total": 1, "text": f"on {message.host}"} if isinstance(message, Started) else dict(message)
        )
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            scratch = folder / "progress.new"
            scratch.write_text(json.dumps(content))
            scratch.replace(folder / ray_node.PROGRESS_FILE)


def _connect(address: str) -> Any:
    """Connect to a cluster, quietly, and return the library."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    try:
        import ray
    except ImportError:
        raise ClusterError(f"executor=ray: needs Ray, which is not installed: {install_command('ray')}") from None
    options: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False} if address == "local" else {}
    try:
        with _silence():
            ray.init(address=address, namespace="bouillon", log_to_driver=False, configure_logging=False, **options)
    except Exception as error:  # noqa: BLE001 - boundary: Ray raises anything, plain exceptions too
        raise ClusterError(
            f"executor.address={address}: no Ray cluster can be used there: {reason(error)}. Start one with "
            "`ray start --head` (executor.address=auto), name its head (HOST:PORT), or start one for this run alone "
            "(executor.address=local)"
        ) from None
    # what its daemons have to say of a lost worker goes to standard output else, in spite of `log_to_driver`
    with contextlib.suppress(AttributeError):  # Ray's own affair: a version without it is louder, and nothing else
        ray._private.worker._worker_logs_enabled = False
    return ray


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Let nothing reach the terminal, from this process or what it starts: Ray's daemons write to where it stands."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {number: os.dup(number) for number in (1, 2)}
    with Path(os.devnull).open("w") as nowhere:
        for number in saved:
            os.dup2(nowhere.fileno(), number)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, before in saved.items():
            os.dup2(before, number)
            os.close(before)


def _last_line(error: BaseException) -> str:
    return [line.strip() for line in str(error).splitlines() if line.strip()][-1]
