"""The part of the Ray executor that runs on a node: it says what the node is, and hands jobs to a process of their own."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import platform
import queue
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.core import environment
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.keys import digest
from pipeline.core.secret_values import note_variables
from pipeline.core.sharing.plugin_bundle import PluginArchive, unpack
from pipeline.engine.executors.local import WorkerProcess, outcome_in
from pipeline.engine.jobs import Done, Failed, Job, Workplace

__all__ = ["PROGRESS_FILE", "NodeFacts", "Started", "Ticket", "describe_node", "run_on_node"]

PROGRESS_FILE = "progress.json"
_FOLDER = "BOUILLON_NODE"
_DEFAULT = "~/.cache/bouillon/node"
_PROGRESS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """What every node must know of a run: plain data, sent once to each."""

    workplace: Workplace
    versions: Mapping[str, str]
    """Of Python and the libraries, where the run is driven: a node must have the same."""
    plugins: PluginArchive
    mark: str
    """Name of a file in the working folder, by which a node sees that it has the same folder."""
    folder: str | None
    directory: str = ""
    """Where the run is driven: relative paths of data begin there, on nodes that have it."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that the configuration refers to: results of a node hide their values too."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a node says of itself."""

    host: str
    device: str
    refusal: str | None
    """Why it cannot run jobs of this run; None if it can."""


@dataclass(frozen=True, slots=True)
class Started:
    """A job has begun on a node."""

    host: str


def describe_node(ticket: Ticket) -> NodeFacts:
    """Say what this node is, and whether it can run jobs of a run."""
    return NodeFacts(platform.node(), environment.device_id(), _refusal(ticket))


def _refusal(ticket: Ticket) -> str | None:
    here = platform.node()
    own = environment.versions()
    for name, version in ticket.versions.items():
        if own.get(name) != version:
            return (
                f"The node {here} has {name} {own.get(name, '(none)')}, but the run is driven with {version}: results would "
                "differ. Install the same versions on all nodes"
            )
    if ticket.workplace.shared is None and not (ticket.workplace.scratch / ticket.mark).exists():
        return (
            f"The node {here} does not see the workspace {ticket.workplace.scratch.parent}: let the nodes share results by an "
            "object store (artifacts.url=s3://BUCKET/PREFIX), or name a workspace on a disk that all of them have"
        )
    return None


_processes: dict[str, WorkerProcess] = {}
"""Of this Ray worker, by run: it keeps its libraries and data from one job to the next."""


def run_on_node(ticket: Ticket, packed_job: bytes) -> Iterator[Started | Mapping[str, Any] | Done | Failed]:
    """Run a job in a process of its own; yield that it has begun, its progress, and its outcome.

    The job comes pickled: its parameters may be of a person's own stage, whose module is unpacked first.
    """
    place = _place(ticket)
    process = _process_of(ticket, place)
    job: Job[Any] = pickle.loads(packed_job)
    refusal = _refusal(ticket)
    if refusal is None and job.resources.device not in ("", environment.device_id()):
        refusal = f"The node {platform.node()} is of another kind than the machine whose figures the job takes"
    if refusal is not None:
        yield Failed(job.key, None, refusal, halts=True)
        return
    yield Started(platform.node())
    ends: queue.SimpleQueue[Done | Failed] = queue.SimpleQueue()
    threading.Thread(target=lambda: ends.put(outcome_in(process, job, threading.Event())), daemon=True).start()
    progress = ""
    while True:
        try:
            yield ends.get(timeout=_PROGRESS_SECONDS)
        except queue.Empty:
            news = _progress(place.scratch / job.key / PROGRESS_FILE)
            if news and news != progress:
                progress = news
                yield _with_host(news)
            continue
        return


def _process_of(ticket: Ticket, place: Workplace) -> WorkerProcess:
    """The process of this Ray worker that runs the jobs of a run; what it needs is made ready when its first job comes."""
    if ticket.mark not in _processes:
        folder = unpack(ticket.plugins, place.scratch.parent / "plugins")
        if folder is not None:
            sys.path.insert(0, str(folder))  # the process of the job has this path too
        if ticket.workplace.shared is not None:  # a folder that all share is the driver's to clear up
            ArtifactStore(place.artifacts).sweep()
        os.environ.update(ticket.secrets)
        note_variables(ticket.secrets)
        with contextlib.suppress(OSError):
            os.chdir(ticket.directory)
        _processes[ticket.mark] = WorkerProcess(place)
    return _processes[ticket.mark]


def _place(ticket: Ticket) -> Workplace:
    """The workplace with this node's folders in the place of the driver's, unless all have one."""
    workplace = ticket.workplace
    if workplace.shared is None:
        return workplace
    root = (
        Path(ticket.folder or os.environ.get(_FOLDER) or _DEFAULT).expanduser()
        / digest({"url": workplace.shared.url})[:12]
    )
    scratch = root / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    data = workplace.data_folder if workplace.data_folder.is_dir() else root.parent / "data"
    return replace(workplace, artifacts=root / "artifacts", scratch=scratch, data_folder=data)


def _progress(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _with_host(text: str) -> Mapping[str, Any]:
    """A job's progress, with where it runs."""
    try:
        content = dict(json.loads(text))
    except (ValueError, TypeError):
        return {}
    return {**content, "text": f"{content.get('text', '')} on {platform.node()}".strip()}
